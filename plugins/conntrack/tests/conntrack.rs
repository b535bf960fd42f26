//! What the check says of a table in every state we know of.

use std::time::Duration;

use conntrack::Conntrack;
use iaso_plugin::Error;
use iaso_plugin::capability::Chunk;
use iaso_plugin::testing::{MockHost, check, chunk, file_stat, lines};

const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const HEAD: &str = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error";

/// What `/proc` says; the drops of two CPUs.
fn statistics(drops: [u32; 2]) -> Chunk {
    let line = |drops: u32| {
        format!(
            "000000ff  00000000 00000003 00000000 00000001 0 0 0 0 0000000a {drops:08x} 00000000 00000000"
        )
    };
    chunk(format!("{HEAD}\n{}\n{}\n", line(drops[0]), line(drops[1])))
}

fn table(count: &str, max: &str) -> MockHost {
    MockHost::new()
        .on_read(
            "read /proc/sys/net/netfilter/nf_conntrack_count",
            [Ok(chunk(count))],
        )
        .on_read(format!("read {MAX}"), [Ok(chunk(max))])
        .on_read("read /proc/net/stat/nf_conntrack", [Ok(statistics([5, 6]))])
}

fn expect(host: &MockHost, expected: &[&str]) {
    assert_eq!(lines::<Conntrack>(host, &[]), expected);
}

#[test]
fn the_thresholds_are_exact() {
    expect(&table("7499\n", "10000\n"), &["ok ok nf_conntrack"]);
    expect(&table("7500", "10000"), &["full warning nf_conntrack"]);
    expect(&table("9500", "10000"), &["full critical nf_conntrack"]);
    expect(&table("10017", "10000"), &["full critical nf_conntrack"]);
}

#[test]
fn drops_count_by_how_they_grow_between_two_looks() {
    let host = table("1", "100").on_read(
        "read /proc/net/stat/nf_conntrack",
        [
            Ok(statistics([5, 6])),
            Ok(statistics([5, 6])),
            Ok(statistics([7, 9])),
            Ok(statistics([0, 0])),
        ],
    );
    expect(&host, &["ok ok nf_conntrack"]);
    expect(&host, &["ok ok nf_conntrack"]);
    host.advance(Duration::from_secs(30));
    let findings = check::<Conntrack>(&host, &[]).expect("a right configuration");
    assert_eq!(findings[0].code, "conntrack.drops");
    assert!(
        findings[0].summary.starts_with("5 packets"),
        "{}",
        findings[0].summary
    );
    // After a reboot they count anew.
    expect(&host, &["ok ok nf_conntrack"]);
}

#[test]
fn a_kernel_without_the_table_is_told_from_one_that_may_not_be_asked() {
    let absent = MockHost::new().on_stat(format!("stat {MAX}"), [Ok(file_stat("missing"))]);
    expect(&absent, &["absent info nf_conntrack"]);
    for why in [
        Error::Denied("files.read".into()),
        Error::Timeout,
        Error::Other("x".into()),
    ] {
        let host = MockHost::new()
            .on_read("read *", [Err(why.clone())])
            .on_stat("stat *", [Err(why)]);
        expect(&host, &["unknown unknown nf_conntrack"]);
    }
}

#[test]
fn numbers_that_cannot_be_are_unknown() {
    for (count, max) in [
        ("1", "0"),
        ("201", "100"),
        ("", "1"),
        ("-1", "1"),
        ("1", "x"),
        ("18446744073709551615", "2"),
    ] {
        let host = table(count, max).on_stat("stat *", [Ok(file_stat("file"))]);
        expect(
            &host,
            if (count, max) == ("201", "100") {
                &["full critical nf_conntrack"]
            } else {
                &["unknown unknown nf_conntrack"]
            },
        );
    }
    let cut = table("1", "1").on_read(
        format!("read {MAX}"),
        [Ok(Chunk {
            data: b"1".to_vec(),
            truncated: true,
        })],
    );
    expect(&cut, &["unknown unknown nf_conntrack"]);
}

#[test]
fn drops_that_cannot_be_known_are_said_to_be_unknown_and_never_to_be_none() {
    let says = |host: &MockHost| {
        check::<Conntrack>(host, &[]).expect("a right configuration")[0]
            .summary
            .clone()
    };
    for text in [
        "",
        "entries searched\n0 0\n",
        HEAD,
        "drop\nzz\n",
        "drop\n\n",
    ] {
        let host = table("1", "100").on_read("read /proc/net/stat/nf_conntrack", [Ok(chunk(text))]);
        assert!(says(&host).contains("drops are not known"), "{text}");
    }
    let denied = table("1", "100").on_read(
        "read /proc/net/stat/nf_conntrack",
        [Err(Error::Denied("files.read".into()))],
    );
    assert!(says(&denied).contains("drops are not known: not granted"));
    assert!(says(&table("1", "100").with_broken_state()).contains("drops are not known"));
    assert!(
        says(&table("1", "100").with_state("drops", b"\xff")).contains("from the next look on")
    );
}

#[test]
fn a_wrong_configuration_is_refused() {
    let text = lines::<Conntrack>(&table("1", "1"), &[("warn", "1")]).join("");
    assert!(
        text.starts_with("error: unknown configuration key `warn`"),
        "{text}"
    );
    let text = lines::<Conntrack>(&table("1", "1"), &[("used_warn_percent", "96")]).join("");
    assert!(text.starts_with("error: `used_warn_percent`"), "{text}");
}
