//! The very moment, number or word at which something begins to count: on one side of it the engine decides one thing, on the other another.

#![allow(
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that indexes wrongly fails, as it should"
)]

mod gates;
#[path = "../night/mod.rs"]
mod night;
mod planner;
mod rungs;
mod seen;
mod told;
mod twice;

use iaso_engine::effect::Action;
use iaso_engine::fact::{Observation, Observer, ProbeOutcome, ProbeResult};
use iaso_engine::plan::{Plan, plan};
use iaso_engine::record::Record;
use iaso_engine::time::Tick;
use iaso_engine::world::NodeFacts;
use night::moment::tell;
use night::{Night, critical, failed, name};
use std::sync::LazyLock;

/// Styx is cut off, its reboot fails, it is recreated and comes back.
fn styx() -> &'static Night {
    static TOLD: LazyLock<Night> = LazyLock::new(|| {
        let mut night = Night::new();
        night.at.push((60, |n| n.cut("styx")));
        night.replies.insert("reboot", vec![failed("error")]);
        night.after.insert("recreate", (120, |n| n.heal("styx")));
        tell(night, 1_500)
    });
    &TOLD
}

/// A check of styx names a fix.
fn sick() -> &'static Night {
    static TOLD: LazyLock<Night> = LazyLock::new(|| {
        let mut night = Night::new();
        night.at.push((60, |n| {
            n.host("styx").findings = vec![critical("k3s-agent.dead", &["restart"])];
        }));
        tell(night, 300)
    });
    &TOLD
}

/// All are well, and have been for two minutes.
fn well() -> Night {
    Night::new().run(120)
}

fn facts<'a>(night: &'a mut Night, node: &str) -> &'a mut NodeFacts {
    night.world.nodes.get_mut(&name(node)).expect("it was seen")
}

fn ago(night: &Night, ms: u64) -> Tick {
    Tick(night.now().0 - ms)
}

/// One observer's word about styx.
fn probe_at(night: &mut Night, at: Tick, observer: Observer, outcome: ProbeOutcome) {
    let results = vec![ProbeResult {
        kind: "icmp".into(),
        outcome,
        rtt_us: None,
    }];
    let seen = Observation::Probed {
        target: name("styx"),
        observer,
        round: 9,
        results,
    };
    night.world.observe(at, seen);
}

fn peer(node: &str) -> Observer {
    Observer::Node(name(node))
}

/// What a plan of this moment intends, by name.
fn intends(night: &Night) -> Vec<&'static str> {
    let records = planned(night).records.into_iter();
    let names = records.filter_map(|record| match record {
        Record::Intended { effect } => Some(effect.action.name()),
        _ => None,
    });
    names.collect()
}

fn pages(plan: &Plan) -> Vec<String> {
    let intended = plan.records.iter().filter_map(|record| match record {
        Record::Intended { effect } => Some(&effect.action),
        _ => None,
    });
    let messages = intended.filter_map(|action| match action {
        Action::Page { message } => Some(message.clone()),
        _ => None,
    });
    messages.collect()
}

fn planned(night: &Night) -> Plan {
    plan(&night.situation())
}
