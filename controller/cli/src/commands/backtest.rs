//! `iaso backtest --policy NEW.toml`. A table is an answer, whatever it says: it exits 0, unless nothing could be tried.

use super::Session;
use super::recordings::{self, Source};
use crate::args::{BacktestArgs, Format, Global};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{output, render};
use iaso_engine::policy::Policy;
use iaso_replay::backtest::{Backtest, backtest};
use jiff::{SignedDuration, Timestamp};
use std::path::Path;
use std::time::Duration;

/// Largest policy file, in bytes.
const POLICY_BYTES_MAX: u64 = 1 << 20;

pub(super) async fn run(global: &Global, what: &BacktestArgs) -> Result<Exit, Failure> {
    let policy = policy(&what.policy)?;
    let sources = if what.recordings.is_empty() {
        let since = since(&what.since, Timestamp::now())?;
        let session = Session::open(global).await?;
        let stream = session.client.recording("", since).await?;
        vec![Source::Bytes(recordings::collect(stream).await?)]
    } else {
        what.recordings.iter().cloned().map(Source::File).collect()
    };
    let mut found = Backtest::default();
    for source in sources {
        let name = source.name();
        let one = backtest(source.open()?, &policy)
            .map_err(|error| recordings::unusable(&name, &error))?;
        found.merge(one);
    }
    output::print(&match global.output {
        Format::Json => render::json(&render::backtest_model(&found)),
        Format::Table => render::backtest(&output::style(global.color), &found),
    })?;
    Ok(if found.decisions == 0 {
        Exit::Wrong
    } else {
        Exit::Ok
    })
}

/// A policy's keys, alone or under `[policy]` as in the controller's configuration.
fn policy(file: &Path) -> Result<Policy, Failure> {
    let read = |source| Failure::Read {
        file: file.to_owned(),
        source,
    };
    let size = std::fs::metadata(file).map_err(read)?.len();
    if size > POLICY_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "the policy {} has {size} bytes, more than 1 MiB: is this the right file?",
            file.display()
        )));
    }
    let text = std::fs::read_to_string(file).map_err(read)?;
    parse(&text).map_err(|why| {
        Failure::Usage(format!(
            "the policy {} cannot be used: {why}",
            file.display()
        ))
    })
}

fn parse(text: &str) -> Result<Policy, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
    if let Some(own) = table.get("policy") {
        return own.clone().try_into().map_err(|error| error.to_string());
    }
    toml::from_str(text).map_err(|error| error.to_string())
}

/// Since the Unix epoch.
fn since(given: &str, now: Timestamp) -> Result<Duration, Failure> {
    let at = ago(given)
        .and_then(|span| now.checked_sub(span).ok())
        .or_else(|| given.parse().ok());
    let at: Timestamp = at.ok_or_else(|| {
        Failure::Usage(format!(
            "--since {given:?} is neither a span (36h, 7d) nor a time (2026-11-24T23:00:00Z)"
        ))
    })?;
    Ok(Duration::from_millis(
        u64::try_from(at.as_millisecond()).unwrap_or(0),
    ))
}

fn ago(given: &str) -> Option<SignedDuration> {
    let (number, unit) = given.split_at_checked(given.len().checked_sub(1)?)?;
    let number: i64 = number.parse().ok().filter(|n| *n >= 0)?;
    let secs = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    Some(SignedDuration::from_secs(number.checked_mul(secs)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_stands_alone_or_in_a_configuration_and_unknown_keys_are_refused() {
        let alone = parse("confirm_secs = 7").unwrap();
        let within = parse("data_dir = \"x\"\n[policy]\nconfirm_secs = 7").unwrap();
        assert_eq!((alone.confirm_secs, within.confirm_secs), (7, 7));
        assert!(
            parse("confirm_sec = 7")
                .unwrap_err()
                .contains("confirm_sec")
        );
    }

    #[test]
    fn since_is_a_span_or_a_time() {
        let now: Timestamp = "2026-11-25T00:00:00Z".parse().unwrap();
        let day = since("1d", now).unwrap();
        assert_eq!(day, since("24h", now).unwrap());
        assert_eq!(day, since("2026-11-24T00:00:00Z", now).unwrap());
        for wrong in ["", "d", "-1d", "soon", "99999999999999999999d"] {
            assert!(since(wrong, now).is_err(), "{wrong}");
        }
    }
}
