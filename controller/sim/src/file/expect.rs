//! What a scenario's author expects of the run: a scenario is then a test of a policy.

use crate::story::Story;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What should come of it. What is not said is not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// So many recreates are ordered.
    pub recreates: Option<u64>,
    /// So many reboots are ordered.
    pub reboots: Option<u64>,
    /// So many power-ons are ordered.
    pub starts: Option<u64>,
    /// So many fixes are ordered.
    pub fixes: Option<u64>,
    /// The end of a node's last incident: `recovered`, `recovered-by-itself`, `parked`, `open`, or `none` where there is none.
    pub outcomes: BTreeMap<String, String>,
    /// Reasons that something waited for, by their short names: `storm`, `quorum`, `approval`, …
    pub waited_for: Vec<String>,
    /// From a fault to verified recovery, at most so long, of every incident that was recovered.
    pub recovered_within_secs: Option<u64>,
}

impl Expect {
    /// What did not come as expected, each in words.
    #[must_use]
    pub fn unmet(&self, story: &Story) -> Vec<String> {
        let mut all = Vec::new();
        for (what, wanted, got) in [
            ("recreates", self.recreates, story.acts.recreates),
            ("reboots", self.reboots, story.acts.reboots),
            ("power-ons", self.starts, story.acts.starts),
            ("fixes", self.fixes, story.acts.fixes),
        ] {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != got) {
                all.push(format!("{what}: {got}, expected {wanted}"));
            }
        }
        for (node, wanted) in &self.outcomes {
            let last = story.incidents.iter().rev().find(|i| &i.node == node);
            let got = last.map_or("none", |incident| incident.outcome.as_str());
            if got != wanted {
                all.push(format!("{node}: {got}, expected {wanted}"));
            }
        }
        for wanted in &self.waited_for {
            if !story.holds.iter().any(|hold| &hold.name == wanted) {
                all.push(format!("nothing waited for {wanted}"));
            }
        }
        if let Some(most) = self.recovered_within_secs {
            let slow = story.incidents.iter().filter(|i| i.total_s() > Some(most));
            for incident in slow {
                let took = incident.total_s().unwrap_or_default();
                all.push(format!(
                    "{}: recovered after {took} s, expected {most} s at most",
                    incident.incident
                ));
            }
        }
        all
    }
}
