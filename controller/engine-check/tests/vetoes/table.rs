//! Every invariant by its name, with one thing broken on purpose and nothing else: the checker names exactly that one. An invariant that is
//! not in this table fails the test.

use crate::before::night::{Night, critical, in_state, name, shut};
use crate::before::{
    Spoil, before, effect, facts, forget, incident, instead, intends, machine, named, page, past,
    probe, rejoining, server, sick, styx, the_incident,
};
use crate::rescue::rescued;
use iaso_engine::effect::{Action, Remembered};
use iaso_engine::fact::{MachineState, Observation, Observer, ProbeOutcome, ProbeResult, Role};
use iaso_engine::id::{EffectId, IncidentId};
use iaso_engine::ledger::Standing;
use iaso_engine::policy::Mode;
use iaso_engine::record::{Closing, Record, Rung, RungResult};
use iaso_engine::time::Tick;
use std::collections::BTreeSet;
use std::path::Path;

/// Breaks one thing, and answers what the checker names.
type Breaks = fn() -> Vec<String>;

fn spoilt(action: &str, spoil: Spoil) -> Vec<String> {
    spoilt_in(styx(), action, spoil)
}

fn spoilt_in(night: &Night, action: &str, spoil: Spoil) -> Vec<String> {
    let (mut night, mut plan) = before(night, intends(action));
    spoil(&mut night, &mut plan);
    named(&night, &plan)
}

fn closing(spoil: fn(&mut Night)) -> Vec<String> {
    let (mut night, plan) = before(styx(), |r| matches!(r, Record::Closed { .. }));
    spoil(&mut night);
    named(&night, &plan)
}

/// The cordon, after the incident came to stand elsewhere.
fn standing(record: fn(IncidentId) -> Record) -> Vec<String> {
    let (mut night, plan) = before(styx(), intends("cordon"));
    let id = incident(&mut night);
    night.journal(record(id));
    named(&night, &plan)
}

fn discards(key: fn(&mut Night) -> String) -> Vec<String> {
    let (mut night, mut plan) = before(styx(), intends("release"));
    let password_key = key(&mut night);
    instead(&mut plan, Action::DiscardPassword { password_key });
    named(&night, &plan)
}

/// The word of a person, or of nobody.
fn no(incident: IncidentId) -> Record {
    Record::Denied {
        incident,
        rung: Rung::Recreate,
        who: "ann".into(),
        reason: "wait".into(),
    }
}

/// Everybody reaches the machine, a moment ago.
fn answers_all(night: &mut Night, node: &str) {
    let target = name(node);
    let mut observers: Vec<Observer> = night.hosts.keys().cloned().map(Observer::Node).collect();
    observers.retain(|o| *o != Observer::Node(target.clone()));
    observers.push(Observer::Controller);
    for observer in observers {
        let seen = Observation::Probed {
            target: target.clone(),
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

/// Another node that is as dark as styx.
fn as_dark_as_styx(night: &mut Night, node: &str) {
    night.add(node, Role::Worker, true);
    let dark = night.world.nodes[&name("styx")].clone();
    night.world.nodes.insert(name(node), dark);
}

const FORM: &[(&str, Breaks)] = &[
    ("effect-id-once", || {
        spoilt("recreate", |n, p| {
            let first = n.ledger.effects().next().expect("there are some");
            effect(p).id = first.effect.id.clone();
        })
    }),
    ("effect-of-its-incident", || {
        spoilt("cordon", |_, p| effect(p).node = name("calypso"))
    }),
    ("effect-of-its-rung", || {
        spoilt("reboot", |n, _| {
            let incident = incident(n);
            n.journal(Record::RungEnded {
                incident,
                rung: Rung::Reboot,
                result: RungResult::Moot,
                why: "x".into(),
            });
        })
    }),
    ("evidence-carried", || {
        spoilt("reboot", |_, p| effect(p).evidence.clear())
    }),
    ("parked-is-still", || {
        standing(|incident| Record::Parked {
            incident,
            why: "x".into(),
        })
    }),
    ("verifying-is-still", || {
        standing(|incident| Record::Verifying {
            incident,
            why: "x".into(),
        })
    }),
    ("closed-is-over", || {
        standing(|incident| Record::Closed {
            incident,
            closing: Closing::Recovered,
            verified: Vec::new(),
        })
    }),
    ("no-forged-word", || {
        let (mut night, mut plan) = before(styx(), intends("reboot"));
        let incident = incident(&mut night);
        plan.records.push(no(incident));
        named(&night, &plan)
    }),
];

const PEOPLE: &[(&str, Breaks)] = &[
    ("paused-means-still", || {
        spoilt("reboot", |n, _| {
            n.ledger.paused.insert(Some(name("styx")), "upgrade".into());
        })
    }),
    ("no-means-no", || {
        spoilt("recreate", |n, _| {
            let incident = incident(n);
            n.journal(no(incident));
        })
    }),
    ("observe-acts-not", || {
        spoilt("recreate", |n, _| n.policy.recreate = Mode::Observe)
    }),
    ("approval-first", || {
        spoilt("reboot", |n, _| n.policy.reboot = Mode::Approve)
    }),
    ("opted-out-means-still", || {
        spoilt("reboot", |n, _| {
            let kube = facts(n, "styx").kube.as_mut().expect("it was seen");
            kube.value.opt_out = Some("training".into());
        })
    }),
    ("repair-window-open", || {
        spoilt("reboot", |n, _| n.policy.windows = vec![shut()])
    }),
    ("servers-keep-quorum", || {
        spoilt("reboot", |n, _| {
            let spec = n.inventory.nodes.get_mut(&name("styx"));
            spec.expect("it is declared").role = Role::Server;
        })
    }),
    ("only-server-silent", || {
        spoilt_in(server(), "reboot", |n, _| answers_all(n, "tethys"))
    }),
    ("server-never-recreated", || {
        spoilt("recreate", |n, _| {
            let spec = n.inventory.nodes.get_mut(&name("styx"));
            spec.expect("it is declared").role = Role::Server;
        })
    }),
];

const SIGHT: &[(&str, Breaks)] = &[
    ("silence-of-all", || {
        spoilt("recreate", |n, _| {
            probe(n, Observer::Node(name("calypso")), ProbeOutcome::Refused);
        })
    }),
    ("silence-that-lasts", || {
        spoilt("recreate", |n, _| {
            let ago = Tick(n.now().0 - 299_000);
            facts(n, "styx").answered = Some(ago);
        })
    }),
    ("quorum-of-silence", || {
        spoilt("recreate", |n, _| n.policy.quorum = 4)
    }),
    ("quorum-of-answers", || {
        spoilt("reboot", |n, _| {
            probe(n, Observer::Node(name("calypso")), ProbeOutcome::Refused);
        })
    }),
    ("alive-means-lost-by-kubernetes", || {
        spoilt("reboot", |n, _| {
            answers_all(n, "styx");
            let now = n.now();
            let kube = facts(n, "styx").kube.as_mut().expect("it was seen");
            kube.value.lease_changed = Some(now);
        })
    }),
    ("kubelet-is-silent", || {
        spoilt("recreate", |n, _| {
            let now = n.now();
            let kube = facts(n, "styx").kube.as_mut().expect("it was seen");
            kube.value.lease_changed = Some(now);
        })
    }),
    ("looked-at-the-last-moment", || {
        spoilt("recreate", |n, _| {
            let begun = past(n, "remember").intended;
            facts(n, "styx").machine.as_mut().expect("it was seen").at = begun;
        })
    }),
    ("provider-known-and-idle", || {
        spoilt("reboot", |n, _| {
            machine(n, in_state(MachineState::Recovery));
        })
    }),
    ("start-only-when-stopped", || {
        let mut night = Night::new();
        night.at.push((60, |n| {
            n.cut("styx");
            n.host("styx").machine = in_state(MachineState::Stopped);
        }));
        spoilt_in(&night, "start", |n, _| {
            machine(n, in_state(MachineState::Running));
        })
    }),
    ("local-data-known", || {
        spoilt("recreate", |n, _| n.world.kube_api = None)
    }),
    ("local-data-kept", || {
        spoilt("recreate", |n, _| {
            let kube = facts(n, "styx").kube.as_mut().expect("it was seen");
            kube.value.local_data = vec!["pvc-1".into()];
        })
    }),
    ("fix-needs-the-agent", || {
        spoilt_in(sick(), "apply-fix", |n, _| facts(n, "styx").agent = None)
    }),
    ("fix-of-a-finding", || {
        spoilt_in(sick(), "apply-fix", |n, _| {
            let run = facts(n, "styx").plugins.get_mut("k3s-agent");
            run.expect("it ran").value.findings = vec![critical("k3s-agent.dead", &["killall"])];
        })
    }),
    ("controller-not-cut-off", || {
        spoilt("reboot", |n, _| {
            for facts in n.world.nodes.values_mut() {
                facts.heartbeat = Some(Tick(1));
            }
        })
    }),
    ("no-storm", || {
        spoilt("reboot", |n, _| {
            as_dark_as_styx(n, "lethe");
            n.policy.storm_limit = 1;
        })
    }),
    ("no-domain-failure", || {
        spoilt("reboot", |n, _| {
            as_dark_as_styx(n, "lethe");
            n.policy.storm_limit = 9;
            for node in ["styx", "lethe"] {
                let spec = n.inventory.nodes.get_mut(&name(node));
                let domains = &mut spec.expect("it is declared").domains;
                domains.insert("zone".into(), "fra1".into());
            }
        })
    }),
];

const BOUNDS: &[(&str, Breaks)] = &[
    ("recreate-budget", || {
        spoilt("recreate", |n, _| n.policy.recreates_per_day = 0)
    }),
    ("recreate-cooldown", || {
        spoilt("recreate", |n, _| {
            let mut before = rejoining("styx");
            before.id = IncidentId("styx-0".into());
            before.standing = Standing::Closed(Tick(2), Closing::Recovered);
            let days_ago = Tick(n.now().0 - 2 * 86_400_000);
            for state in &mut before.effects {
                state.effect.id = EffectId(format!("{}-before", state.effect.id));
                state.effect.incident = before.id.clone();
                state.intended = days_ago;
            }
            n.ledger.incidents.insert(before.id.clone(), before);
        })
    }),
    ("reboot-budget", || {
        spoilt("reboot", |n, _| n.policy.cluster_reboots_per_day = 0)
    }),
    ("fix-budget", || {
        spoilt_in(sick(), "apply-fix", |n, _| n.policy.fixes_per_day = 0)
    }),
    ("one-disruption-at-a-time", || {
        spoilt("recreate", |n, _| past(n, "reboot").latest = None)
    }),
    ("one-node-at-a-time", || {
        spoilt("reboot", |n, _| {
            n.add("lethe", Role::Worker, true);
            let mut other = rejoining("lethe");
            let then = Tick(n.now().0 - 60_000);
            for state in &mut other.effects {
                state.latest = state.latest.take().map(|(_, outcome)| (then, outcome));
            }
            n.ledger.incidents.insert(other.id.clone(), other);
        })
    }),
    ("journal-works", || {
        spoilt("reboot", |n, _| n.world.store = Some("disk full".into()))
    }),
    ("secret-store-works", || {
        spoilt("recreate", |n, _| {
            n.world.secret_store = Some("disk full".into());
        })
    }),
];

const SAGA: &[(&str, Breaks)] = &[
    ("one-recreate", || {
        spoilt("release", |n, p| {
            n.policy.recreates_per_day = 9;
            effect(p).action = past(n, "recreate").effect.action.clone();
        })
    }),
    ("password-stored-first", || {
        spoilt("recreate", |n, _| forget(n, "store-password"))
    }),
    ("script-first", || {
        spoilt("recreate", |n, _| forget(n, "prepare-script"))
    }),
    ("remembered-and-cordoned-first", || {
        spoilt("recreate", |n, _| forget(n, "cordon"))
    }),
    ("remembered-before-cordon", || {
        spoilt("cordon", |n, _| forget(n, "remember"))
    }),
    ("prepared-before-the-wipe", || {
        spoilt("release", |_, p| instead(p, Action::StorePassword))
    }),
    ("fence-before-release", || {
        spoilt("release", |n, _| past(n, "recreate").latest = None)
    }),
    ("restored-after-the-wipe", || {
        spoilt("restore", |n, _| past(n, "recreate").latest = None)
    }),
    ("restore-what-was-remembered", || {
        spoilt("restore", |_, p| {
            let remembered = Remembered::default();
            instead(p, Action::Restore { remembered });
        })
    }),
    ("uncordon-only-our-own", || {
        spoilt("uncordon", |n, _| forget(n, "cordon"))
    }),
    ("uncordon-only-when-back", || {
        spoilt("uncordon", |n, _| facts(n, "styx").agent = None)
    }),
    ("promote-what-was-used", || {
        spoilt("promote-password", |n, _| past(n, "recreate").latest = None)
    }),
    ("discard-only-our-own", || discards(|_| "another".into())),
    ("used-password-kept", || {
        discards(|n| match &past(n, "recreate").effect.action {
            Action::Recreate { password_key, .. } => password_key.clone(),
            other => unreachable!("{other:?}"),
        })
    }),
    ("cleanup-only-our-own", || {
        spoilt("cleanup", |_, p| {
            let (script, token) = ("another".into(), "token-1".into());
            instead(p, Action::Cleanup { script, token });
        })
    }),
    ("script-kept-while-needed", || {
        spoilt("cleanup", |n, _| past(n, "recreate").latest = None)
    }),
    ("own-disk-first", || {
        spoilt_in(rescued(), "recreate", |n, _| {
            past(n, "leave-rescue").latest = None;
        })
    }),
    ("leave-only-our-own-rescue", || {
        spoilt_in(rescued(), "leave-rescue", |n, _| forget(n, "rescue"))
    }),
    ("never-left-in-rescue", || {
        let (mut night, plan) = before(rescued(), |r| matches!(r, Record::Closed { .. }));
        past(&mut night, "leave-rescue").latest = None;
        named(&night, &plan)
    }),
    ("parked-is-told", || {
        let (night, plan) = before(server(), |r| matches!(r, Record::Parked { .. }));
        named(&night, &plan)
    }),
    ("closed-when-well", || {
        closing(|n| the_incident(n).standing = Standing::Open)
    }),
    ("closed-when-settled", || {
        closing(|n| past(n, "reboot").latest = None)
    }),
    ("never-left-cordoned", || closing(|n| forget(n, "uncordon"))),
];

fn table() -> impl Iterator<Item = &'static (&'static str, Breaks)> {
    [FORM, PEOPLE, SIGHT, BOUNDS, SAGA].into_iter().flatten()
}

#[test]
fn each_invariant_broken_alone_is_named_alone() {
    let wrong: Vec<_> = table()
        .map(|(name, breaks)| (*name, breaks()))
        .filter(|(name, vetoed)| vetoed != &[*name])
        .collect();
    assert_eq!(wrong, [], "what was to be named, and what was");
}

/// What is right is let through: so it was the broken thing that was named.
#[test]
fn what_is_broken_in_the_table_was_right_before() {
    for action in [
        "reboot", "cordon", "recreate", "release", "restore", "uncordon", "cleanup",
    ] {
        assert_eq!(spoilt(action, |_, _| {}), [""; 0], "{action}");
    }
    assert_eq!(spoilt_in(sick(), "apply-fix", |_, _| {}), [""; 0]);
    assert_eq!(spoilt_in(server(), "reboot", |_, _| {}), [""; 0]);
    assert_eq!(closing(|_| {}), [""; 0]);
    assert_eq!(spoilt("release", |_, p| instead(p, page())), [""; 0]);
}

/// Catches: an invariant that nobody has seen veto anything.
#[test]
fn the_table_has_every_invariant_and_nothing_else() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/invariant");
    let mut written = BTreeSet::new();
    for file in std::fs::read_dir(source).expect("the checker has its source") {
        let path = file.expect("it can be listed").path();
        let text = std::fs::read_to_string(path).expect("it can be read");
        written.extend(names(&text));
    }
    let told: BTreeSet<String> = table().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(told, written);
    assert_eq!(told.len(), table().count(), "one of them is there twice");
}

/// Names in quotes: words of small letters with hyphens between them, as no other text in these files is written.
fn names(text: &str) -> impl Iterator<Item = String> {
    let quoted = text.split('"').skip(1).step_by(2);
    let is_name = |quoted: &&str| {
        let words = || quoted.split('-');
        let small = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
        words().count() > 1 && words().all(small)
    };
    quoted.filter(is_name).map(ToOwned::to_owned)
}
