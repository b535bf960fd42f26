//! Every gate by its name, closed on purpose at a moment at which all of them are open. A gate that is not in this table fails the test.

#![allow(
    clippy::indexing_slicing,
    reason = "a test that indexes wrongly fails, as it should"
)]

mod night;

use iaso_engine::diagnose::assess;
use iaso_engine::effect::{Action, Effect, Outcome};
use iaso_engine::fact::{Observation, Observer, ProbeOutcome, ProbeResult, Role};
use iaso_engine::gate::{self, Question, answers};
use iaso_engine::id::{EffectId, IncidentId};
use iaso_engine::ledger::{EffectState, Incident, Standing};
use iaso_engine::policy::Mode;
use iaso_engine::record::{Closing, Diagnosis, Record, Rung, Waiting};
use iaso_engine::time::Tick;
use night::moment::{before, intends, tell};
use night::{Night, critical, failed, name, shut, unknown};
use std::collections::BTreeSet;
use std::sync::LazyLock;

type Spoil = fn(&mut Night);

/// Styx is cut off, its reboot fails, and it is recreated.
fn styx() -> &'static Night {
    static TOLD: LazyLock<Night> = LazyLock::new(|| {
        let mut night = Night::new();
        night.at.push((60, |n| n.cut("styx")));
        night.replies.insert("reboot", vec![failed("error")]);
        tell(night, 900)
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

fn the_incident(night: &mut Night) -> &mut Incident {
    let mut open = night.ledger.incidents.values_mut();
    open.find(|i| i.node == name("styx")).expect("one is open")
}

/// Facts must be newer than the rung, and than what was prepared for it.
fn since(incident: &Incident) -> Tick {
    let begun = incident.running().expect("a rung runs").started;
    incident
        .effects
        .iter()
        .filter_map(EffectState::done)
        .fold(begun, Tick::max)
}

/// Asks about styx now.
fn ask<T>(night: &Night, rung: &Rung, since: Tick, what: fn(&Question<'_>) -> T) -> T {
    let situation = night.situation();
    let all = assess(&situation);
    let incident = night.ledger.open_incident(&name("styx"));
    what(&Question {
        situation: &situation,
        all: &all,
        node: &all.nodes[&name("styx")],
        policy: all.policy(&situation, &name("styx")),
        incident: incident.expect("one is open"),
        rung,
        since,
        claimed: None,
    })
}

/// What every gate of a rung says of styx now.
fn asked(night: &Night, rung: &Rung, since: Tick) -> Vec<(&'static str, bool)> {
    let said = ask(night, rung, since, answers).into_iter();
    said.map(|(gate, why)| (gate, why.is_some())).collect()
}

fn closed(night: &Night, action: &str, rung: &Rung, spoil: Spoil) -> Vec<&'static str> {
    let (mut night, _) = before(night, intends(action));
    let since = since(the_incident(&mut night));
    spoil(&mut night);
    let said = asked(&night, rung, since).into_iter();
    said.filter(|(_, shut)| *shut)
        .map(|(gate, _)| gate)
        .collect()
}

fn everybody_reaches_styx(night: &mut Night) {
    let peers = [
        Observer::Node(name("tethys")),
        Observer::Node(name("calypso")),
    ];
    for observer in peers.into_iter().chain([Observer::Controller]) {
        let seen = Observation::Probed {
            target: name("styx"),
            observer,
            round: 9,
            results: vec![ProbeResult {
                kind: "icmp".into(),
                outcome: ProbeOutcome::Reached,
                rtt_us: None,
            }],
        };
        night.world.observe(night.now(), seen);
    }
}

fn renews(night: &mut Night) {
    let now = night.now();
    let facts = night.world.nodes.get_mut(&name("styx"));
    let kube = facts.and_then(|f| f.kube.as_mut()).expect("it was seen");
    kube.value.lease_changed = Some(now);
}

/// An incident of another node, with a reboot that was sent.
fn another(night: &mut Night) -> IncidentId {
    let incident = IncidentId("lethe-1".into());
    night.journal(Record::IncidentOpened {
        incident: incident.clone(),
        node: name("lethe"),
        since: night.now(),
        diagnosis: Diagnosis::Isolated,
        evidence: Vec::new(),
    });
    night.journal(Record::RungStarted {
        incident: incident.clone(),
        rung: Rung::Reboot,
        attempt: 1,
        why: "x".into(),
    });
    let effect = Effect {
        id: EffectId("lethe-1/1".into()),
        incident: incident.clone(),
        node: name("lethe"),
        action: Action::Reboot,
        evidence: vec!["x".into()],
    };
    night.journal(Record::Intended { effect });
    incident
}

fn as_server(night: &mut Night) {
    let spec = night.inventory.nodes.get_mut(&name("styx"));
    spec.expect("it is declared").role = Role::Server;
}

const REBOOT: &[(&str, Spoil)] = &[
    ("journal", |n| n.world.store = Some("disk full".into())),
    ("pause", |n| {
        n.ledger.paused.insert(Some(name("styx")), "upgrade".into());
    }),
    ("opt-out", |n| {
        let facts = n.world.nodes.get_mut(&name("styx"));
        let kube = facts.and_then(|f| f.kube.as_mut()).expect("it was seen");
        kube.value.opt_out = Some("training".into());
    }),
    ("denied", |n| {
        n.person_says(Rung::Reboot, false, "ann", "x");
    }),
    ("observe", |n| n.policy.reboot = Mode::Observe),
    ("approval", |n| n.policy.reboot = Mode::Approve),
    ("window", |n| n.policy.windows = vec![shut()]),
    ("in-flight", |n| {
        another(n);
    }),
    ("cut-off", |n| {
        for facts in n.world.nodes.values_mut() {
            facts.heartbeat = Some(Tick(1));
        }
    }),
    ("storm", |n| {
        n.add("lethe", Role::Worker, true);
        let dark = n.world.nodes[&name("styx")].clone();
        n.world.nodes.insert(name("lethe"), dark);
        n.policy.storm_limit = 1;
    }),
    ("canary", |n| {
        let now = n.now();
        let other = another(n);
        n.journal(Record::Resolved {
            effect: EffectId("lethe-1/1".into()),
            outcome: failed("error"),
        });
        the_incident(n).held = Some(now);
        n.ledger.incidents.get_mut(&other).expect("it is open").held = Some(now);
    }),
    ("provider", |n| {
        let now = n.now();
        let node = name("styx");
        let seen = unknown("transport");
        n.world.observe(now, Observation::Machine { node, seen });
    }),
    ("fresh-provider", |n| {
        let then = since(the_incident(n));
        let facts = n.world.nodes.get_mut(&name("styx"));
        let seen = facts.and_then(|f| f.machine.as_mut());
        seen.expect("it was asked").at = then;
    }),
    ("fresh-probes", |n| {
        let then = since(the_incident(n));
        let facts = n.world.nodes.get_mut(&name("styx")).expect("it was seen");
        facts.probes.values_mut().for_each(|seen| seen.at = then);
    }),
    ("quorum", |n| n.policy.quorum = 4),
    ("lasting-silence", |n| {
        let ago = Tick(n.now().0 - 299_000);
        let facts = n.world.nodes.get_mut(&name("styx")).expect("it was seen");
        facts.answered = Some(ago);
    }),
    ("silent-kubelet", renews),
    ("boots", |n| {
        let ago = Tick(n.now().0 - 30_000);
        the_incident(n).on = Some(ago);
    }),
    ("reboot-budget", |n| n.policy.reboots_per_day = 0),
    ("lost-by-kubernetes", |n| {
        everybody_reaches_styx(n);
        renews(n);
    }),
    ("disruption", |n| {
        everybody_reaches_styx(n);
        let facts = n.world.nodes.get_mut(&name("calypso"));
        let kube = facts.and_then(|f| f.kube.as_mut()).expect("it was seen");
        kube.value.unschedulable = true;
    }),
    ("etcd-quorum", as_server),
];

const RECREATE: &[(&str, Spoil)] = &[
    ("cooldown", |n| {
        let mut before = the_incident(n).clone();
        before.id = IncidentId("styx-0".into());
        before.standing = Standing::Closed(Tick(2), Closing::Recovered);
        let at = Tick(n.now().0 - 2 * 86_400_000);
        let effect = Effect {
            id: EffectId("styx-0/1".into()),
            incident: before.id.clone(),
            node: name("styx"),
            action: Action::Recreate {
                password_key: "a".into(),
                script: "b".into(),
            },
            evidence: Vec::new(),
        };
        before.effects = vec![EffectState {
            effect,
            intended: at,
            latest: Some((at, failed("error"))),
        }];
        n.ledger.incidents.insert(before.id.clone(), before);
    }),
    ("control-plane", as_server),
    ("kubernetes", |n| {
        let now = n.now();
        let trouble = Some("timed out".into());
        n.world.observe(now, Observation::KubeApi { trouble });
    }),
    ("local-data", |n| {
        let facts = n.world.nodes.get_mut(&name("styx"));
        let kube = facts.and_then(|f| f.kube.as_mut()).expect("it was seen");
        kube.value.local_data = vec!["pvc-1".into()];
    }),
    ("secret-store", |n| {
        n.world.secret_store = Some("sealed".into());
    }),
    ("recreate-budget", |n| n.policy.recreates_per_day = 0),
    ("approval", |n| n.policy.recreate = Mode::Approve),
    ("provider", |n| {
        let now = n.now();
        let node = name("styx");
        let seen = unknown("transport");
        n.world.observe(now, Observation::Machine { node, seen });
    }),
    ("quorum", |n| n.policy.quorum = 4),
];

const FIX: &[(&str, Spoil)] = &[
    ("fix-budget", |n| n.policy.fixes_per_day = 0),
    ("observe", |n| n.policy.fix = Mode::Observe),
];

fn restart() -> Rung {
    Rung::Fix("k3s-agent/restart".into())
}

/// Catches: a gate that never closes, for whose reason another one or the ladder usually stands in.
#[test]
fn each_gate_closes_for_its_own_reason() {
    let rows = |night: &'static Night, action: &'static str, rung: Rung, table| {
        let table: &[(&'static str, Spoil)] = table;
        assert_eq!(closed(night, action, &rung, |_| {}), [""; 0], "{action}");
        for (gate, spoil) in table {
            let shut = closed(night, action, &rung, *spoil);
            assert!(
                shut.contains(gate),
                "{action}: {gate} is open; shut: {shut:?}"
            );
        }
    };
    rows(styx(), "reboot", Rung::Reboot, REBOOT);
    rows(styx(), "recreate", Rung::Recreate, RECREATE);
    rows(sick(), "apply-fix", restart(), FIX);
}

/// Catches a wipe that waited for its turn and rests on what the provider said before.
#[test]
fn in_the_end_a_wipe_wants_a_newer_word_of_the_provider_than_a_reboot() {
    for (age_ms, rung, held) in [
        (29_999, Rung::Recreate, false),
        (30_000, Rung::Recreate, true),
        (59_999, Rung::Reboot, false),
    ] {
        let (mut night, _) = before(styx(), intends("recreate"));
        let then = Tick(night.now().0 - age_ms);
        let facts = night.world.nodes.get_mut(&name("styx"));
        let seen = facts.and_then(|f| f.machine.as_mut());
        seen.expect("it was asked").at = then;
        let wanted = Waiting::FreshFacts {
            channel: "provider".into(),
        };
        let waits = ask(&night, &rung, Tick(1), gate::closed);
        assert_eq!(waits.contains(&wanted), held, "{rung} {age_ms}: {waits:?}");
    }
}

#[test]
fn the_table_has_every_gate_and_nothing_else() {
    let (mut night, _) = before(styx(), intends("reboot"));
    let since = since(the_incident(&mut night));
    let rungs = [
        Rung::Start,
        Rung::Reboot,
        Rung::Rescue,
        Rung::Recreate,
        restart(),
    ];
    let known = rungs.iter().flat_map(|rung| asked(&night, rung, since));
    let known: BTreeSet<&str> = known.map(|(gate, _)| gate).collect();
    let told = [REBOOT, RECREATE, FIX].into_iter().flatten();
    let told: BTreeSet<&str> = told.map(|(gate, _)| *gate).collect();
    assert_eq!(told, known);
}

/// Bounds: the last moment at which something counts, and the first at which it does not.
#[test]
fn a_gate_opens_at_its_own_moment_and_not_before() {
    let mending = |ago: u64| {
        let (mut night, _) = before(styx(), intends("reboot"));
        let since = since(the_incident(&mut night));
        let other = another(&mut night);
        let at = Tick(night.now().0 - ago * 1_000);
        let incident = night.ledger.incidents.get_mut(&other).expect("it is open");
        let done = Outcome::Done {
            detail: "ok".into(),
            yielded: iaso_engine::effect::Yield::Nothing,
        };
        incident.effects[0].latest = Some((at, done));
        let said = asked(&night, &Rung::Reboot, since);
        said.contains(&("in-flight", true))
    };
    assert!(mending(1_199) && !mending(1_200));
    let held = |ago: u64, outcome: Outcome| {
        let (mut night, _) = before(styx(), intends("reboot"));
        let since = since(the_incident(&mut night));
        let other = another(&mut night);
        night.journal(Record::Resolved {
            effect: EffectId("lethe-1/1".into()),
            outcome,
        });
        let at = Tick(night.now().0 - ago * 1_000);
        the_incident(&mut night).held = Some(at);
        let incident = night.ledger.incidents.get_mut(&other).expect("it is open");
        incident.held = Some(at);
        let said = asked(&night, &Rung::Reboot, since);
        said.contains(&("canary", true))
    };
    let secs = night::Night::new().policy.canary_secs;
    assert!(held(secs - 1, failed("x")) && !held(secs, failed("x")));
    // One that never began is no canary.
    assert!(!held(60, night::not_started("busy")));
}

/// Half of the servers is no majority: of two, one; of four, two.
#[test]
fn the_others_agree_only_with_more_than_half_of_all() {
    let others = |servers: &[&str], stale: bool| {
        let (mut night, _) = before(styx(), intends("reboot"));
        let since = since(the_incident(&mut night));
        as_server(&mut night);
        let well = night.world.nodes[&name("tethys")].clone();
        for server in servers {
            night.add(server, Role::Server, true);
            night.world.nodes.insert(name(server), well.clone());
        }
        if stale {
            let facts = night.world.nodes.get_mut(&name("tethys"));
            let kube = facts.and_then(|f| f.kube.as_mut()).expect("it was seen");
            kube.value.lease_changed = Some(Tick(1));
        }
        let said = asked(&night, &Rung::Reboot, since);
        said.contains(&("etcd-quorum", true))
    };
    assert!(others(&[], false));
    assert!(!others(&["rhea"], false));
    // An agent that speaks on a server that Kubernetes has lost is no vote.
    assert!(others(&["rhea"], true));
    assert!(!others(&["rhea", "gaia"], false));
    assert!(others(&["rhea", "gaia"], true));
}
