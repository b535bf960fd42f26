//! Maps whose keys are no text, written as lists of pairs: JSON has only text for keys.

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(crate) fn serialize<K, V, S>(map: &BTreeMap<K, V>, serializer: S) -> Result<S::Ok, S::Error>
where
    K: Serialize,
    V: Serialize,
    S: Serializer,
{
    serializer.collect_seq(map)
}

pub(crate) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(match Written::deserialize(deserializer)? {
        Written::Pairs(pairs) => pairs.into_iter().collect(),
        Written::Map(map) => map,
    })
}

/// A map that was written before it became pairs has only keys that are text.
#[derive(Deserialize)]
#[serde(
    untagged,
    bound(deserialize = "K: Deserialize<'de> + Ord, V: Deserialize<'de>")
)]
enum Written<K, V> {
    Pairs(Vec<(K, V)>),
    Map(BTreeMap<K, V>),
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails"
)]
mod tests {
    use crate::fact::{Observer, ProbeOutcome, ProbeResult};
    use crate::id::NodeName;
    use crate::ledger::Ledger;
    use crate::time::Tick;
    use crate::world::{Seen, World};

    #[test]
    fn a_world_and_a_ledger_come_back_from_json_as_they_were() {
        let node = NodeName::new("styx").unwrap();
        let mut world = World::new(Tick(7));
        let value = vec![ProbeResult {
            kind: "icmp".into(),
            outcome: ProbeOutcome::Timeout,
            rtt_us: None,
        }];
        let facts = world.nodes.entry(node.clone()).or_default();
        for observer in [Observer::Controller, Observer::Node(node.clone())] {
            let value = value.clone();
            let at = Tick(9);
            facts.silent_since.insert(observer.clone(), at);
            facts.probes.insert(observer, Seen { at, value });
        }
        let text = serde_json::to_string(&world).unwrap();
        assert_eq!(serde_json::from_str::<World>(&text).unwrap(), world);
        // As it was written before: an object.
        let mut old = serde_json::to_value(&world).unwrap();
        let silent = &mut old["nodes"]["styx"]["silent_since"];
        *silent = serde_json::json!({ "controller": 9 });
        let read: World = serde_json::from_value(old).unwrap();
        assert_eq!(read.nodes[&node].silent_since.len(), 1);
        let mut ledger = Ledger::default();
        ledger.paused.insert(None, "all".into());
        ledger.paused.insert(Some(node), "one".into());
        let text = serde_json::to_string(&ledger).unwrap();
        assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
    }
}
