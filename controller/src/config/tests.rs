use super::*;

fn parse(text: &str) -> Result<Config, String> {
    let parsed = Config::parse(text, Path::new("c.toml"), Path::new("/base"), false);
    parsed.map_err(|error| error.to_string())
}

const NODE: &str = "[[nodes]]\nname = \"styx\"\nrole = \"worker\"\naddress = \"10.0.0.7\"\n";

#[test]
fn a_small_configuration_has_defaults_and_paths_of_its_own_directory() {
    let config = parse(&format!("data_dir = \"d\"\n{NODE}")).unwrap();
    assert_eq!(config.data_dir, Path::new("/base/d"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:7443");
    assert!(
        config
            .inventory()
            .nodes
            .values()
            .all(|node| node.machine.is_none())
    );
    insta::assert_snapshot!(describe(&config), @r"
    gRPC (TLS) for agents and operators on 127.0.0.1:7443, status on 127.0.0.1:9465
    data in /base/d
    no Kubernetes: the lease is not a channel
    no provider: every ladder ends at a page
    no [rejoin]: nothing can be recreated
    modes: fix auto, start approve, reboot approve, recreate approve
    an agent cut off for more than 300 s may by itself do k3s-agent/restart, at most 2 times
    1 nodes
      styx (worker) at 10.0.0.7, provider none, probed on 22, 10250
    0 plugins, whoever made them
    ");
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_what_to_do() {
    let error = parse("data_dir = \"d\"\n\nheartbeet_secs = 5\n").unwrap_err();
    assert!(error.contains("line 3"), "{error}");
    assert!(
        error.contains("heartbeet_secs") && error.contains("heartbeat_secs"),
        "{error}"
    );
    assert!(error.contains("correct its spelling"), "{error}");
}

#[test]
fn what_cannot_be_meant_is_refused_in_words() {
    let cases = [
        ("data_dir = \"d\"\nstatus_listen = \"0.0.0.0:9465\"\n".to_owned(), "--insecure"),
        ("data_dir = \"d\"\n[identity]\ncertificate_ttl_secs = 60\n".to_owned(), "3600 to"),
        (
            "data_dir = \"d\"\n[rejoin]\ntemplate_id = 1\nk3s_url = \"https://a\"\nagent_url = \"http://a\"\n".to_owned(),
            "speaks TLS",
        ),
        (format!("data_dir = \"d\"\n{NODE}{NODE}"), "declared twice"),
        (format!("data_dir = \"d\"\n{NODE}provider = \"hostinger\"\nmachine = \"1\"\n"), "no [provider.hostinger]"),
        (format!("data_dir = \"d\"\n{NODE}provider = \"hetzner\"\n"), "unknown provider"),
        (format!("data_dir = \"d\"\n{NODE}machine = \"7\"\n"), "name the provider"),
        (
            "data_dir = \"d\"\n[[plugins]]\nname = \"a\"\npath = \"no.wasm\"\ninterval_secs = 1\ntimeout_ms = 1\n".to_owned(),
            "cannot be read",
        ),
        ("data_dir = \"d\"\nheartbeat_secs = 0\n".to_owned(), "1 to 300"),
        ("data_dir = \"d\"\nlisten = \"127.0.0.1:9465\"\n".to_owned(), "different ports"),
        ("data_dir = \"d\"\n[delegation]\nattempts = 0\n".to_owned(), "delegation.attempts = 0"),
        ("data_dir = \"d\"\n[delegation]\nfixes = [\"restart\"]\n".to_owned(), "PLUGIN/FIX"),
        ("data_dir = \"d\"\n[delegation]\nfixes = []\n".to_owned(), "delegation.enabled = false"),
        ("data_dir = \"d\"\n[delegation]\nafter = 3\n".to_owned(), "cut_off_after_secs"),
        ("data_dir = \"d\"\n[delegation]\nenabled = true\n[policy]\nfix = \"approve\"\n".to_owned(), "cannot ask anybody"),
        ("listen = \"nowhere\"\ndata_dir = \"d\"\n".to_owned(), "line 1"),
    ];
    for (text, expected) in cases {
        let error = parse(&text).expect_err(&text);
        assert!(
            error.contains(expected),
            "{error:?} does not say {expected:?}"
        );
    }
}

#[test]
fn what_needs_a_persons_yes_is_not_delegated() {
    let delegates = |more: &str| {
        parse(&format!("data_dir = \"d\"\n{more}"))
            .unwrap()
            .delegates()
    };
    assert!(delegates(""));
    assert!(!delegates("[policy]\nfix = \"approve\"\n"));
    assert!(!delegates("[delegation]\nenabled = false\n"));
}

#[test]
fn an_unreadable_file_is_named() {
    let error = Config::load(Path::new("/nowhere/c.toml"), false).unwrap_err();
    assert!(error.to_string().contains("/nowhere/c.toml"), "{error}");
}
