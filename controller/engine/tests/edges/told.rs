//! What people are told: once, by whom, and with which words.

use crate::night::moment::{before, intends};
use crate::night::{Night, critical, name, unknown};
use crate::{facts, pages, planned, styx};
use iaso_engine::effect::{Action, Effect};
use iaso_engine::fact::{Finding, Role, Severity};
use iaso_engine::id::{EffectId, IncidentId, MachineId};
use iaso_engine::ledger::{EffectState, Standing};
use iaso_engine::record::{Closing, Record, Waiting};
use iaso_engine::time::Tick;

/// Catches: a veto that stops a node in silence, or is forgotten in the next plan.
#[test]
fn a_step_that_the_checker_vetoed_is_told_and_not_taken() {
    let (mut night, _) = before(styx(), intends("reboot"));
    let why = "quorum-of-silence".to_owned();
    let open = night
        .ledger
        .open_incident(&name("styx"))
        .expect("it is open");
    let waiting = vec![Waiting::Vetoed { why: why.clone() }];
    let incident = open.id.clone();
    night.journal(Record::WaitingChanged { incident, waiting });
    let plan = planned(&night);
    assert_eq!(crate::intends(&night), ["page"]);
    assert!(pages(&plan)[0].contains(&why), "{:?}", pages(&plan));
    assert_eq!(plan.nodes[&name("styx")].waiting, [Waiting::Vetoed { why }]);
}

/// Somebody was told of styx, in an incident that is over: of this, on this node, so long ago.
#[test]
fn that_a_node_flaps_is_told_once_in_a_while() {
    let mut night = Night::new();
    for k in 0..8 {
        night.at.push((60 + k * 90, |n| n.cut("styx")));
        night.at.push((60 + k * 90 + 45, |n| n.heal("styx")));
    }
    night.snapshots = Some(Vec::new());
    let night = night.run(700);
    let (then, _) = before(&night, intends("page"));
    let told = |about: &str, node: &str, action: Action, ago_secs: u64| {
        let mut night = then.clone();
        let now = night.now();
        let mut old = night
            .ledger
            .open_incident(&name("styx"))
            .expect("open")
            .clone();
        old.id = IncidentId("styx-0".into());
        old.standing = Standing::Closed(Tick(2), Closing::RecoveredByItself);
        let effect = Effect {
            id: EffectId("styx-0/1".into()),
            incident: old.id.clone(),
            node: name(node),
            action,
            evidence: vec![about.into()],
        };
        old.effects = vec![EffectState {
            effect,
            intended: Tick(now.0 - ago_secs * 1_000),
            latest: None,
        }];
        night.ledger.incidents.insert(old.id.clone(), old);
        !pages(&planned(&night)).is_empty()
    };
    let page = || Action::Page {
        message: "look".into(),
    };
    assert!(!told("flapping", "styx", page(), 3_599), "it is known");
    assert!(told("flapping", "styx", page(), 3_600), "that was long ago");
    assert!(told("storm", "styx", page(), 10), "of something else");
    assert!(told("flapping", "calypso", page(), 10), "of another node");
    assert!(told("flapping", "styx", Action::Remember, 10), "to nobody");
}

/// A provider's trouble is one page; another provider's is another.
#[test]
fn each_provider_that_fails_has_a_page_of_its_own() {
    let paged = |second_fails: bool| {
        let mut night = Night::new();
        for node in [
            "a-1", "a-2", "b-1", "b-2", "c-1", "c-2", "c-3", "c-4", "c-5", "c-6",
        ] {
            night.add(node, Role::Worker, true);
            let spec = night.inventory.nodes.get_mut(&name(node));
            let provider = node.split('-').next().expect("it has one");
            let machine = (provider.to_owned(), MachineId(node.into()));
            spec.expect("it is declared").machine = Some(machine);
        }
        night.policy.storm_limit = 9;
        night.at.push((60, |n| {
            for node in ["a-1", "a-2", "b-1"] {
                n.cut(node);
                n.host(node).machine = unknown("transport");
            }
        }));
        if second_fails {
            night.at.push((60, |n| {
                n.cut("b-2");
                n.host("b-2").machine = unknown("transport");
            }));
        } else {
            night.at.push((60, |n| n.cut("b-2")));
            night.policy.reboot = iaso_engine::policy::Mode::Observe;
        }
        let night = night.run(400);
        let told = night.ledger.effects().filter(|e| {
            let about = e.effect.evidence.first().map(String::as_str);
            about == Some("provider-unknown")
        });
        told.map(|e| e.effect.node.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(paged(true), ["a-1", "b-1"]);
    assert_eq!(
        paged(false),
        ["a-1", "b-1"],
        "one machine is not its provider"
    );
}

fn finding(severity: Severity) -> Vec<Finding> {
    let mut finding = critical("k3s-agent.slow", &[]);
    finding.severity = severity;
    vec![finding]
}

/// The last page of a report: each check by its worst word, the first so many by name.
#[test]
fn checks_at_the_end_are_told_by_their_worst_word_and_counted_beyond_what_fits() {
    let closes = |r: &Record| matches!(r, Record::Closed { .. });
    let says = |checks: usize, severity: Severity| {
        let (mut night, _) = before(styx(), closes);
        let plugins = &mut facts(&mut night, "styx").plugins;
        let mut run = plugins["k3s-agent"].clone();
        run.value.findings = finding(severity);
        plugins.clear();
        for n in 0..checks {
            plugins.insert(format!("check-{n:02}"), run.clone());
        }
        let records = planned(&night).records;
        records.into_iter().find_map(|r| match r {
            Record::Closed { verified, .. } => Some(verified.join("; ")),
            _ => None,
        })
    };
    let says = |checks: usize, severity: Severity| says(checks, severity).expect("it closes");
    assert!(says(1, Severity::Ok).contains("check check-00: well"));
    assert!(says(1, Severity::Info).contains("check check-00: well"));
    assert!(says(1, Severity::Warning).contains("check check-00: k3s-agent.slow"));
    assert!(says(40, Severity::Ok).contains("and 8 more checks"));
    assert!(!says(32, Severity::Ok).contains("more checks"));
}
