//! How long Styx takes at default timings, from silence to the decision to recreate, and which setting makes each part of it. The table in
//! `docs/simulator.md` is this test's: it fails when they differ.

use iaso_engine::effect::Action;
use iaso_engine::fact::Role;
use iaso_engine::id::NodeName;
use iaso_engine::policy::Policy;
use iaso_engine::record::{Diagnosis, Entry, Record, Rung};
use iaso_sim::plant::Plant;
use iaso_sim::scenario::{Fault, Heal, Ix, NodeSetup, SECOND, Scenario, Strike};
use iaso_sim::sim::run;

/// When the hypervisor's link is cut.
const SILENCE_SECS: u64 = 100;
/// The operator's patience, from the last heartbeat to the decision.
const DECIDED_SECS_MAX: u64 = 360;

/// Three nodes, one worker cut off outside the machine for good; a reboot does not help, a recreate does.
fn night() -> Scenario {
    let nodes = ["calypso", "styx", "tethys"].map(|name| {
        let role = if name == "tethys" {
            Role::Server
        } else {
            Role::Worker
        };
        NodeSetup::well(NodeName::new(name).expect("a valid name"), role)
    });
    let mut night = Scenario::quiet(nodes);
    night.strikes.push(Strike {
        at: SILENCE_SECS * SECOND,
        until: None,
        fault: Fault::Cut,
        nodes: vec![Ix(1)],
        heal: Heal {
            recreate: true,
            ..Heal::default()
        },
        remedies: Vec::new(),
        cause: 0,
    });
    night
}

fn first(entries: &[Entry], is: impl Fn(&Record) -> bool) -> u64 {
    let start = entries.first().expect("a controller started").at;
    let found = entries.iter().find(|e| is(&e.record));
    let at = found.expect("it happens in this night").at;
    at.since(start).as_secs() - SILENCE_SECS
}

fn intends(record: &Record, wanted: fn(&Action) -> bool) -> bool {
    matches!(record, Record::Intended { effect } if wanted(&effect.action))
}

fn isolated(record: &Record) -> bool {
    let is = |d: &Diagnosis| *d == Diagnosis::Isolated;
    matches!(record, Record::Diagnosed { diagnosis, .. } if is(diagnosis))
}

fn reboot_ended(record: &Record) -> bool {
    let is = |r: &Rung| *r == Rung::Reboot;
    matches!(record, Record::RungEnded { rung, .. } if is(rung))
}

fn recreate_begun(record: &Record) -> bool {
    let is = |r: &Rung| *r == Rung::Recreate;
    matches!(record, Record::RungStarted { rung, .. } if is(rung))
}

#[test]
fn styx_is_decided_on_within_six_minutes_and_the_book_says_why_not_sooner() {
    let p = Policy::default();
    let run = run(&night(), Plant::None);
    assert!(run.verdict.is_clean(), "{:#?}", run.verdict);
    let at = |is: fn(&Record) -> bool| first(&run.entries, is);
    let reboot = |r: &Record| intends(r, |a| *a == Action::Reboot);
    let wipe = |r: &Record| intends(r, |a| matches!(a, Action::Recreate { .. }));
    let decided = at(recreate_begun);
    let phases = [
        (
            at(|r| matches!(r, Record::IncidentOpened { .. })),
            "suspected",
            format!(
                "`agent_gone_secs` = {}, since the last heartbeat",
                p.agent_gone_secs
            ),
        ),
        (
            at(isolated),
            "diagnosed: isolated",
            format!(
                "`lease_stale_secs` = {}, since the last renewal",
                p.lease_stale_secs
            ),
        ),
        (
            at(reboot),
            "reboot tried",
            format!("`confirm_secs` = {}, and one more look", p.confirm_secs),
        ),
        (
            at(reboot_ended),
            "reboot judged: no help",
            format!(
                "the provider's operation and its proof by uptime, then `reboot_wait_secs` = {}",
                p.reboot_wait_secs
            ),
        ),
        (
            decided,
            "recreate decided",
            "at once: the facts have lasted".into(),
        ),
        (
            at(wipe),
            "machine wiped",
            "written down, cordoned, password and script made, looked at once more".into(),
        ),
    ];
    let book = include_str!("../../../docs/simulator.md");
    let lines = phases.map(|(secs, what, why)| format!("| {secs} s | {what} | {why} |"));
    println!("{}", lines.join("\n"));
    for line in &lines {
        assert!(
            book.contains(line),
            "docs/simulator.md does not say: {line}"
        );
    }
    assert!(decided <= DECIDED_SECS_MAX, "decided after {decided} s");
}
