//! Tells a table of tracked connections that is full, fills up or drops.
//!
//! **Invariants**
//! - A kernel that tracks no connections has no table that could be full: that is known, and is no fault.
//! - Counters of drops count only by how they grew between two looks: what was dropped before the first one may be a year old.
//! - A number that cannot be makes the table unknown.
//!
//! Deliberately absent: setting a sysctl, and which connections fill it.

use iaso_plugin::{Check, Config, Error, Files, Finding, Host, Severity, State};

const MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
const STATISTICS: &str = "/proc/net/stat/nf_conntrack";
const KEY: &str = "drops";
/// A line for each CPU; the largest machines have some thousand.
const STATISTICS_BYTES_MAX: u32 = 1 << 20;
const SUBJECT: &str = "nf_conntrack";

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct Conntrack;

struct Settings {
    used_warn_percent: u64,
    used_critical_percent: u64,
    drops_warn: u64,
}

/// Packets lost since the last look.
enum Drops {
    Grown {
        by: u64,
        over_secs: u64,
    },
    /// The first look, a reboot, a clock that was set: nothing to compare with.
    Fresh,
    Unseen(String),
}

impl<H: Files + Host + State> Check<H> for Conntrack {
    const KEYS: &'static [&'static str] =
        &["used_warn_percent", "used_critical_percent", "drops_warn"];

    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
        let settings = Settings::new(config)?;
        let (count, max) = match (number(host, COUNT), number(host, MAX)) {
            (Ok(count), Ok(max)) => (count, max),
            (Err(why), _) | (_, Err(why)) => return Ok(vec![unseen(host, &why)]),
        };
        // The kernel lets the count pass the limit by what is in flight, never by so much.
        if max == 0 || count / 2 > max {
            let summary = format!("{count} of at most {max} entries: these numbers cannot be");
            return Ok(vec![Finding::unknown(
                "conntrack.unknown",
                SUBJECT,
                summary,
            )]);
        }
        Ok(judge(&settings, count, max, &drops(host)))
    }
}

iaso_plugin::export!(Conntrack: check);

impl Settings {
    fn new(config: &Config) -> Result<Self, String> {
        let settings = Self {
            used_warn_percent: config.number("used_warn_percent", 75, 1..=100)?,
            used_critical_percent: config.number("used_critical_percent", 95, 1..=100)?,
            drops_warn: config.number("drops_warn", 1, 1..=1_000_000)?,
        };
        if settings.used_warn_percent > settings.used_critical_percent {
            return Err("`used_warn_percent` must not be over `used_critical_percent`".to_owned());
        }
        Ok(settings)
    }
}

fn number<H: Files>(host: &H, path: &str) -> Result<u64, Error> {
    let text = host.read_text(path, 64)?;
    text.trim()
        .parse()
        .map_err(|_| Error::Other(format!("{path} does not hold a number")))
}

/// Nothing to be full, or nothing known.
fn unseen<H: Files>(host: &H, why: &Error) -> Finding {
    let is_absent = host.stat(MAX).is_ok_and(|stat| stat.kind == "missing");
    if is_absent {
        let summary = "this kernel tracks no connections (nf_conntrack is not loaded), so no table can be full; a k3s node has one once \
                       kube-proxy runs";
        return Finding::info("conntrack.absent", SUBJECT, summary);
    }
    let summary = format!("the table could not be looked at: {why}");
    Finding::unknown("conntrack.unknown", SUBJECT, summary)
}

fn judge(settings: &Settings, count: u64, max: u64, drops: &Drops) -> Vec<Finding> {
    let used = u64::try_from(u128::from(count) * 100 / u128::from(max)).unwrap_or(u64::MAX);
    let raise =
        "raise net.netfilter.nf_conntrack_max, and look for what opens so many (`conntrack -S`)";
    let mut findings = Vec::new();
    let severity = if used >= settings.used_critical_percent {
        Some(Severity::Critical)
    } else if used >= settings.used_warn_percent {
        Some(Severity::Warning)
    } else {
        None
    };
    if let Some(severity) = severity {
        let summary = format!(
            "{count} of at most {max} connections are tracked ({used} %); when it is full, new ones are dropped without a word: {raise}"
        );
        findings.push(Finding::new("conntrack.full", severity, SUBJECT, summary));
    }
    let mut told = "drops are compared from the next look on".to_owned();
    match drops {
        Drops::Grown { by, over_secs } if *by >= settings.drops_warn => {
            let summary = format!(
                "{by} packets were dropped in the last {over_secs} s because no entry could be made: {raise}"
            );
            findings.push(Finding::critical("conntrack.drops", SUBJECT, summary));
        }
        Drops::Grown { by, over_secs } => told = format!("{by} drops in the last {over_secs} s"),
        Drops::Fresh => {}
        Drops::Unseen(why) => told = format!("drops are not known: {why}"),
    }
    if findings.is_empty() {
        let summary =
            format!("{count} of at most {max} connections are tracked ({used} %); {told}");
        findings.push(Finding::ok("conntrack.ok", SUBJECT, summary));
    }
    findings
        .into_iter()
        .map(|finding| {
            finding
                .attribute("count", count.to_string())
                .attribute("max", max.to_string())
        })
        .collect()
}

fn drops<H: Files + Host + State>(host: &H) -> Drops {
    let total = match host.read_text(STATISTICS, STATISTICS_BYTES_MAX) {
        Ok(text) => match dropped(&text) {
            Some(total) => total,
            None => return Drops::Unseen(format!("{STATISTICS} is not as this plugin knows it")),
        },
        Err(why) => return Drops::Unseen(why.to_string()),
    };
    let facts = match host.info() {
        Ok(facts) => facts,
        Err(why) => return Drops::Unseen(why.to_string()),
    };
    let now = facts.now_unix_ms;
    let before = match host.get(KEY) {
        Ok(bytes) => bytes.and_then(|bytes| decode(&bytes)),
        Err(why) => return Drops::Unseen(why.to_string()),
    };
    if let Err(why) = host.set(KEY, format!("{now}:{total}").as_bytes()) {
        return Drops::Unseen(why.to_string());
    }
    before
        .and_then(|(at, then)| {
            Some(Drops::Grown {
                by: total.checked_sub(then)?,
                over_secs: now.checked_sub(at)? / 1000,
            })
        })
        .unwrap_or(Drops::Fresh)
}

fn decode(bytes: &[u8]) -> Option<(u64, u64)> {
    let (at, total) = std::str::from_utf8(bytes).ok()?.split_once(':')?;
    Some((at.parse().ok()?, total.parse().ok()?))
}

/// The sum over all CPUs of `drop`, which counts what found the table full. `early_drop` also makes room, and `insert_failed` also counts
/// races that harm nobody. Columns are found by name: kernels differ.
fn dropped(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let column = lines
        .next()?
        .split_whitespace()
        .position(|name| name == "drop")?;
    let mut total = 0_u64;
    let mut cpus = 0_usize;
    for line in lines {
        let value = line.split_whitespace().nth(column)?;
        total = total.checked_add(u64::from_str_radix(value, 16).ok()?)?;
        cpus += 1;
    }
    (cpus > 0).then_some(total)
}
