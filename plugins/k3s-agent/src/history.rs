//! How often the unit was restarted, remembered between runs: a crash loop looks well at every single look.

use iaso_plugin::{Host, State};

use crate::look::Sight;
use crate::settings::Settings;

const KEY: &str = "restarts";
const KEY_RESTARTED: &str = "restarted-at";
/// More changes than this within one window are a crash loop by any setting.
const SAMPLES_MAX: usize = 64;

/// What the samples say, newest last: `(wall clock in milliseconds, restarts so far)`.
type Samples = Vec<(u64, u64)>;

/// Adds this look to the history, and tells by how much the count grew within the window. Nothing is known without a clock or a memory.
pub(crate) fn record<H: Host + State>(host: &H, settings: &Settings, sight: &Sight) -> Option<u64> {
    let samples = samples(host, settings, sight)?;
    // A memory that cannot be written shows in the agent's log; the look itself is still true.
    let _ = host.set(KEY, encode(&samples).as_bytes());
    growth(&samples)
}

/// As [`record`], without writing.
pub(crate) fn peek<H: Host + State>(host: &H, settings: &Settings, sight: &Sight) -> Option<u64> {
    growth(&samples(host, settings, sight)?)
}

/// Milliseconds since this plugin last restarted the unit.
pub(crate) fn since_own_restart<H: Host + State>(host: &H, sight: &Sight) -> Option<u64> {
    let text = host.get(KEY_RESTARTED).ok()??;
    let at: u64 = std::str::from_utf8(&text).ok()?.parse().ok()?;
    // A clock that was set back makes the memory useless, not eternal.
    sight.now_unix_ms?.checked_sub(at)
}

/// Remembers that this plugin restarts the unit now, and forgets the history: what a person or a fix restarts is no crash.
pub(crate) fn note_own_restart<H: Host + State>(host: &H, now_unix_ms: Option<u64>) {
    if let Some(now) = now_unix_ms {
        let _ = host.set(KEY_RESTARTED, now.to_string().as_bytes());
    }
    let _ = host.delete(KEY);
}

fn samples<H: Host + State>(host: &H, settings: &Settings, sight: &Sight) -> Option<Samples> {
    let now = sight.now_unix_ms?;
    let restarts = u64::from(sight.unit.as_ref().ok()?.restarts);
    let mut samples = host
        .get(KEY)
        .ok()?
        .map(|bytes| decode(&bytes))
        .unwrap_or_default();
    let window_ms = u64::try_from(settings.crash_loop_window.as_millis()).unwrap_or(u64::MAX);
    // The count falls when the unit is started by hand, and the clock may be set back: both begin a new history.
    if samples
        .last()
        .is_some_and(|&(at, count)| at > now || count > restarts)
    {
        samples.clear();
    }
    if samples.last().is_none_or(|&(_, count)| count != restarts) {
        samples.push((now, restarts));
    }
    // The last sample before the window is the count with which the window began.
    let keep = samples
        .iter()
        .rposition(|&(at, _)| now - at > window_ms)
        .unwrap_or(0)
        .max(samples.len().saturating_sub(SAMPLES_MAX));
    samples.drain(..keep);
    Some(samples)
}

fn growth(samples: &Samples) -> Option<u64> {
    Some(samples.last()?.1 - samples.first()?.1)
}

fn encode(samples: &Samples) -> String {
    let pairs: Vec<String> = samples
        .iter()
        .map(|(at, count)| format!("{at}:{count}"))
        .collect();
    pairs.join(" ")
}

/// What cannot be read is forgotten.
fn decode(bytes: &[u8]) -> Samples {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let pairs: Option<Samples> = text
        .split_whitespace()
        .map(|pair| {
            pair.split_once(':')
                .and_then(|(at, count)| Some((at.parse().ok()?, count.parse().ok()?)))
        })
        .collect();
    let ordered = |samples: &Samples| {
        samples
            .iter()
            .zip(samples.iter().skip(1))
            .all(|(a, b)| a.0 <= b.0 && a.1 <= b.1)
    };
    pairs.filter(ordered).unwrap_or_default()
}
