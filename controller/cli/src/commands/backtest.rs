//! `iaso backtest --policy NEW.toml`. A table is an answer, whatever it says: it exits 0, unless nothing could be tried.

use super::Session;
use super::recordings::{self, Source};
use crate::args::{BacktestArgs, Format, Global};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{output, render};
use iaso_replay::backtest::{Backtest, backtest};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

pub(super) async fn run(global: &Global, what: &BacktestArgs) -> Result<Exit, Failure> {
    let policy = super::policy::load(&what.policy)?.policy;
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
