//! Since when each difference is seen.

use std::collections::BTreeMap;
use std::time::Duration;

use iaso_plugin::{Error, State};

use crate::compare::Drift;

const KEY: &str = "since";
/// Differences that are remembered; what is more begins anew at every look, and so is never said to last.
const DRIFTS_MAX: usize = 64;

/// One line for each difference: milliseconds since the Unix epoch, a tab, its key.
pub(crate) struct Memory {
    since_ms: BTreeMap<String, u64>,
}

impl Memory {
    pub(crate) fn load<H: State>(host: &H) -> Self {
        let bytes = host.get(KEY).ok().flatten().unwrap_or_default();
        let since_ms = String::from_utf8_lossy(&bytes)
            .lines()
            .filter_map(|line| {
                let (ms, key) = line.split_once('\t')?;
                Some((key.to_owned(), ms.parse().ok()?))
            })
            .collect();
        Self { since_ms }
    }

    /// Each difference with how long it has been seen; what is no more seen is forgotten.
    pub(crate) fn lasting(&mut self, drifts: &[Drift], now_ms: u64) -> Vec<(Drift, Duration)> {
        let mut since_ms = BTreeMap::new();
        let mut lasting = Vec::new();
        for drift in drifts {
            let key = drift.key();
            // A clock that was set back begins anew.
            let first_ms = self
                .since_ms
                .get(&key)
                .copied()
                .filter(|first_ms| *first_ms <= now_ms)
                .unwrap_or(now_ms);
            let seen_for = Duration::from_millis(now_ms - first_ms);
            lasting.push((drift.clone(), seen_for));
            if since_ms.len() < DRIFTS_MAX {
                since_ms.insert(key, first_ms);
            }
        }
        self.since_ms = since_ms;
        lasting
    }

    pub(crate) fn save<H: State>(&self, host: &H) -> Result<(), Error> {
        let lines: Vec<String> = self
            .since_ms
            .iter()
            .map(|(key, ms)| format!("{ms}\t{key}"))
            .collect();
        host.set(KEY, lines.join("\n").as_bytes())
    }
}
