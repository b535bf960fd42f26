//! How much was free at earlier looks, so that a disk that fills up is told before it is full.

use std::collections::BTreeMap;
use std::time::Duration;

use iaso_plugin::{Host, State};

use crate::settings::{Mount, Settings};

const KEY: &str = "free";
/// Samples kept of one mount, spread over the window.
const SAMPLES_MAX: u64 = 12;
/// Less time than this between two samples says nothing about hours to come.
const SPAN_MIN_MS: u64 = 10 * 60_000;

/// One look at one mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    at_unix_ms: u64,
    available_bytes: u64,
    is_writable: bool,
}

/// What is remembered of each mount, oldest first, this look included.
#[derive(Debug, Default)]
pub(crate) struct History {
    samples: BTreeMap<String, Vec<Sample>>,
}

/// Adds this look. Without a clock or a memory nothing is known of the past, and the look itself is still true.
pub(crate) fn record<H: Host + State>(host: &H, settings: &Settings, mounts: &[Mount]) -> History {
    let (Ok(facts), Ok(old)) = (host.info(), host.get(KEY)) else {
        return History::default();
    };
    let now = facts.now_unix_ms;
    let window = millis(settings.growth_window);
    let mut old = old.map(|bytes| decode(&bytes)).unwrap_or_default();
    let mut kept = BTreeMap::new();
    let mut all = History::default();
    for mount in mounts {
        let name = &mount.disk.mount;
        let mut samples = old.remove(name).unwrap_or_default();
        // A clock that was set back makes the memory useless.
        samples.retain(|sample| sample.at_unix_ms <= now && now - sample.at_unix_ms <= window);
        let sample = Sample {
            at_unix_ms: now,
            available_bytes: mount.disk.available_bytes,
            is_writable: !mount.disk.read_only,
        };
        let is_due = samples
            .last()
            .is_none_or(|last| now - last.at_unix_ms >= window / SAMPLES_MAX);
        let mut with_now = samples.clone();
        with_now.push(sample);
        if is_due {
            samples.push(sample);
        }
        kept.insert(name.clone(), samples);
        all.samples.insert(name.clone(), with_now);
    }
    let _ = host.set(KEY, encode(&kept).as_bytes());
    all
}

impl History {
    /// Time until it is full, if it goes on as it did over the window and also as it did lately. None: it does not fill up, or too
    /// little is known.
    pub(crate) fn full_within(&self, mount: &str) -> Option<Duration> {
        let samples = self.samples.get(mount)?;
        let last = samples.last()?;
        let first = samples.first()?;
        let middle = last.at_unix_ms - (last.at_unix_ms - first.at_unix_ms) / 2;
        let halfway = samples
            .iter()
            .rev()
            .find(|sample| sample.at_unix_ms <= middle)?;
        let left = remaining(first, last)?.max(remaining(halfway, last)?);
        Some(Duration::from_millis(left))
    }

    /// True when an earlier look saw it writable.
    pub(crate) fn was_writable(&self, mount: &str) -> bool {
        self.samples
            .get(mount)
            .is_some_and(|samples| samples.iter().any(|sample| sample.is_writable))
    }
}

/// Milliseconds until nothing is left, at the rate between these two.
fn remaining(from: &Sample, to: &Sample) -> Option<u64> {
    let span = to.at_unix_ms.checked_sub(from.at_unix_ms)?;
    let lost = from.available_bytes.checked_sub(to.available_bytes)?;
    if span < SPAN_MIN_MS || lost == 0 {
        return None;
    }
    let left = u128::from(to.available_bytes) * u128::from(span) / u128::from(lost);
    u64::try_from(left).ok()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A line for each mount: its name, a tab, and samples. A name that would break the line is not remembered.
fn encode(samples: &BTreeMap<String, Vec<Sample>>) -> String {
    let line = |(mount, samples): (&String, &Vec<Sample>)| {
        let samples: Vec<String> = samples
            .iter()
            .map(|sample| {
                let mode = if sample.is_writable { "w" } else { "r" };
                format!("{}:{}:{mode}", sample.at_unix_ms, sample.available_bytes)
            })
            .collect();
        format!("{mount}\t{}\n", samples.join(" "))
    };
    samples
        .iter()
        .filter(|(mount, _)| mount.len() <= 512 && !mount.contains(['\t', '\n']))
        .map(line)
        .collect()
}

/// What cannot be read is forgotten.
fn decode(bytes: &[u8]) -> BTreeMap<String, Vec<Sample>> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (mount, samples) = line.split_once('\t')?;
            let samples: Option<Vec<Sample>> = samples.split(' ').map(sample).collect();
            let samples = samples?;
            let ordered = samples
                .iter()
                .zip(samples.iter().skip(1))
                .all(|(a, b)| a.at_unix_ms <= b.at_unix_ms);
            ordered.then(|| (mount.to_owned(), samples))
        })
        .collect()
}

fn sample(text: &str) -> Option<Sample> {
    let mut parts = text.split(':');
    let at_unix_ms = parts.next()?.parse().ok()?;
    let available_bytes = parts.next()?.parse().ok()?;
    let is_writable = parts.next()? == "w";
    Some(Sample {
        at_unix_ms,
        available_bytes,
        is_writable,
    })
}
