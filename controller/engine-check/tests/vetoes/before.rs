//! The moment before something is written down, in a night that is otherwise right, and a way to spoil it.

#[path = "../../../engine/tests/night/mod.rs"]
pub mod night;

use iaso_engine::effect::{Action, Effect};
use iaso_engine::fact::{MachineSeen, Observation, Observer, ProbeOutcome, ProbeResult};
use iaso_engine::id::{EffectId, IncidentId};
use iaso_engine::ledger::{EffectState, Incident};
use iaso_engine::plan::Plan;
use iaso_engine::record::Record;
use iaso_engine::time::Tick;
use iaso_engine::world::NodeFacts;
use iaso_engine_check::vet;
use night::{Night, critical, failed, moment, name};
use std::sync::LazyLock;

pub type Spoil = fn(&mut Night, &mut Plan);

/// Styx is cut off, its reboot fails, it is recreated and comes back. Told once, for all tests.
pub fn styx() -> &'static Night {
    static TOLD: LazyLock<Night> = LazyLock::new(|| tell(styx_begins()));
    &TOLD
}

pub fn styx_begins() -> Night {
    let mut night = Night::new();
    night.at.push((60, |n| n.cut("styx")));
    night
        .replies
        .insert("reboot", vec![failed("the action ended in error")]);
    night.after.insert("recreate", (120, |n| n.heal("styx")));
    night
}

/// A check of styx names a fix.
pub fn sick() -> &'static Night {
    static TOLD: LazyLock<Night> = LazyLock::new(|| tell(sick_begins()));
    &TOLD
}

fn sick_begins() -> Night {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.host("styx").findings = vec![critical("k3s-agent.dead", &["restart"])];
    }));
    night
}

/// The only server is cut off, and its reboot fails.
pub fn server() -> &'static Night {
    static TOLD: LazyLock<Night> = LazyLock::new(|| tell(server_begins()));
    &TOLD
}

fn server_begins() -> Night {
    let mut night = Night::new();
    night.at.push((60, |n| n.cut("tethys")));
    night
        .replies
        .insert("reboot", vec![failed("the action ended in error")]);
    night
}

/// Runs a night to its end, and keeps every moment at which something was written down.
pub fn tell(night: Night) -> Night {
    moment::tell(night, 1_500)
}

/// A night at the moment before a record is written down, and the plan that writes it.
pub fn before(night: &Night, wanted: impl Fn(&Record) -> bool) -> (Night, Plan) {
    let (then, record) = match night.snapshots {
        Some(_) => moment::before(night, wanted),
        None => moment::before(&tell(night.clone()), wanted),
    };
    let plan = Plan {
        records: vec![record],
        ..Plan::default()
    };
    (then, plan)
}

pub fn intends(action: &str) -> impl Fn(&Record) -> bool {
    move |r| matches!(r, Record::Intended { effect } if effect.action.name() == action)
}

/// The names of the invariants that are broken.
pub fn named(night: &Night, plan: &Plan) -> Vec<String> {
    let vetoes = vet(&night.situation(), plan).into_iter();
    vetoes.map(|v| v.invariant).collect()
}

/// Spoils the night of [`styx`] just before one action, and says which invariants must be named.
pub fn check(action: &str, expect: &[&str], spoil: Spoil) {
    check_in(styx(), action, expect, spoil);
}

pub fn check_in(night: &Night, action: &str, expect: &[&str], spoil: Spoil) {
    let (mut night, mut plan) = before(night, intends(action));
    spoil(&mut night, &mut plan);
    assert_eq!(named(&night, &plan), expect, "{action}");
}

pub fn effect(plan: &mut Plan) -> &mut Effect {
    match &mut plan.records[0] {
        Record::Intended { effect } => effect,
        other => unreachable!("{other:?}"),
    }
}

pub fn probe(night: &mut Night, observer: Observer, outcome: ProbeOutcome) {
    let result = ProbeResult {
        kind: "icmp".into(),
        outcome,
        rtt_us: None,
    };
    let target = name("styx");
    let seen = Observation::Probed {
        target,
        observer,
        round: 9,
        results: vec![result],
    };
    night.world.observe(night.now(), seen);
}

pub fn machine(night: &mut Night, seen: MachineSeen) {
    let now = night.now();
    night.world.observe(
        now,
        Observation::Machine {
            node: name("styx"),
            seen,
        },
    );
}

pub fn facts<'a>(night: &'a mut Night, node: &str) -> &'a mut NodeFacts {
    night.world.nodes.get_mut(&name(node)).expect("it was seen")
}

pub fn the_incident(night: &mut Night) -> &mut Incident {
    night
        .ledger
        .incidents
        .values_mut()
        .next()
        .expect("one is open")
}

pub fn incident(night: &mut Night) -> IncidentId {
    the_incident(night).id.clone()
}

/// The latest effect of this kind.
pub fn past<'a>(night: &'a mut Night, action: &str) -> &'a mut EffectState {
    let mut effects = the_incident(night).effects.iter_mut().rev();
    effects
        .find(|e| e.effect.action.name() == action)
        .expect("it was intended")
}

pub fn forget(night: &mut Night, action: &str) {
    the_incident(night)
        .effects
        .retain(|e| e.effect.action.name() != action);
}

pub fn page() -> Action {
    Action::Page {
        message: "look".into(),
    }
}

/// The same plan with another action.
pub fn instead(plan: &mut Plan, action: Action) {
    effect(plan).action = action;
}

/// Styx's incident with its machine just wiped, as if it were another node's.
pub fn rejoining(node: &str) -> Incident {
    let (mut night, _) = before(styx(), intends("release"));
    let mut incident = the_incident(&mut night).clone();
    incident.id = IncidentId(format!("{node}-1"));
    incident.node = name(node);
    for (number, state) in incident.effects.iter_mut().enumerate() {
        state.effect.id = EffectId(format!("{node}-1/{}", number + 1));
        state.effect.incident = incident.id.clone();
        state.effect.node = name(node);
        state.intended = Tick(1);
    }
    incident
}
