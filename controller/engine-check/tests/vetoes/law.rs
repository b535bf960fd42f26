//! The operator's words for a role, a node, a rung and an hour: the nearest one is what a plan is held to, and a wider one is none.

use crate::before::night::{Night, critical, name, shut};
use crate::before::{before, facts, incident, intends, named, probe, rejoining, sick, styx};
use iaso_engine::fact::{KubeNode, Observation, Observer, ProbeOutcome, ProbeResult, Ready, Role};
use iaso_engine::id::{EffectId, IncidentId};
use iaso_engine::ledger::Standing;
use iaso_engine::policy::step::{Step, StepKind};
use iaso_engine::policy::window::{Day, TimeOfDay, UtcOffset, Window};
use iaso_engine::policy::{Mode, Override};
use iaso_engine::record::{Closing, Diagnosis, Record};
use iaso_engine::time::Tick;
use std::collections::BTreeSet;

/// One word of an operator, for whom it is said.
type Word = fn(&mut Override);

fn said(of: fn(&mut Override)) -> Override {
    let mut word = Override::default();
    of(&mut word);
    word
}

fn the_night(action: &str) -> &'static Night {
    if action == "apply-fix" {
        sick()
    } else {
        styx()
    }
}

/// What the checker names at the moment of an action, under other words.
fn under(action: &str, words: &dyn Fn(&mut Night)) -> Vec<String> {
    let (mut night, plan) = before(the_night(action), intends(action));
    words(&mut night);
    named(&night, &plan)
}

fn step(rung: StepKind, change: fn(&mut Step)) -> Step {
    let mut step = Step::new(rung);
    change(&mut step);
    step
}

/// Of a ladder: how its rung is to be taken, with one beside it that says nothing.
fn rungs(kind: StepKind, change: fn(&mut Step)) -> Vec<Step> {
    let beside = match kind {
        StepKind::Reboot => StepKind::Recreate,
        StepKind::Fix
        | StepKind::Start
        | StepKind::Rescue
        | StepKind::Recreate
        | StepKind::Page => StepKind::Reboot,
    };
    vec![Step::new(beside), step(kind, change)]
}

/// A wipe of styx two days ago.
fn wiped_before(night: &mut Night) {
    let mut before = rejoining("styx");
    before.id = IncidentId("styx-0".into());
    before.standing = Standing::Closed(Tick(2), Closing::Recovered);
    let days_ago = Tick(night.now().0 - 2 * 86_400_000);
    for state in &mut before.effects {
        state.effect.id = EffectId(format!("{}-before", state.effect.id));
        state.effect.incident = before.id.clone();
        state.intended = days_ago;
    }
    night.ledger.incidents.insert(before.id.clone(), before);
}

/// Narrower than the cluster's word: before which action, and what then forbids it.
const NARROWER: &[(&str, &str, Word)] = &[
    ("reboot", "observe-acts-not", |o| {
        o.reboot = Some(Mode::Observe);
    }),
    ("recreate", "approval-first", |o| {
        o.recreate = Some(Mode::Approve);
    }),
    ("apply-fix", "observe-acts-not", |o| {
        o.fix = Some(Mode::Observe);
    }),
    ("reboot", "reboot-budget", |o| o.reboots_per_day = Some(0)),
    ("apply-fix", "fix-budget", |o| o.fixes_per_day = Some(0)),
    ("apply-fix", "fix-budget", |o| o.fix_attempts = Some(0)),
    ("apply-fix", "fix-of-a-finding", |o| {
        o.act_on = Some(vec!["k3s-agent.other".into()]);
    }),
    ("reboot", "repair-window-open", |o| {
        o.windows = Some(vec![shut()]);
    }),
    ("reboot", "observe-acts-not", |o| {
        let steps = rungs(StepKind::Reboot, |s| s.mode = Some(Mode::Observe));
        o.ladder.insert(Diagnosis::Isolated, steps);
    }),
    ("recreate", "approval-first", |o| {
        let steps = rungs(StepKind::Recreate, |s| s.mode = Some(Mode::Approve));
        o.ladder.insert(Diagnosis::Isolated, steps);
    }),
    ("apply-fix", "fix-budget", |o| {
        let steps = rungs(StepKind::Fix, |s| s.attempts = Some(0));
        o.ladder.insert(Diagnosis::CheckFailing, steps);
    }),
];

/// As wide as the cluster's word of these nights.
fn wide(o: &mut Override) {
    o.fix = Some(Mode::Auto);
    o.reboot = Some(Mode::Auto);
    o.recreate = Some(Mode::Auto);
    o.reboots_per_day = Some(3);
    o.fixes_per_day = Some(12);
    o.fix_attempts = Some(2);
    o.act_on = Some(vec!["k3s-agent.*".into()]);
    o.windows = Some(Vec::new());
    for diagnosis in [Diagnosis::Isolated, Diagnosis::CheckFailing] {
        let kinds = [StepKind::Fix, StepKind::Reboot, StepKind::Recreate];
        let steps = kinds.into_iter().map(Step::new).collect();
        o.ladder.insert(diagnosis, steps);
    }
}

/// Catches: a checker that reads the cluster's word alone, so that what an operator forbade for one node is let through.
#[test]
fn a_narrower_word_for_a_node_or_its_role_is_kept() {
    for (number, (action, broken, word)) in NARROWER.iter().enumerate() {
        let asked = |words: &dyn Fn(&mut Night)| under(action, words);
        let row = format!("row {number}: {action}, {broken}");
        let of_node = |n: &mut Night| {
            n.policy.nodes.insert(name("styx"), said(*word));
        };
        let of_role = |n: &mut Night| {
            n.policy.roles.insert(Role::Worker, said(*word));
        };
        assert_eq!(asked(&of_node), [*broken], "{row}, of the node");
        assert_eq!(asked(&of_role), [*broken], "{row}, of the role");
        let of_others = |n: &mut Night| {
            n.policy.nodes.insert(name("calypso"), said(*word));
            n.policy.roles.insert(Role::Server, said(*word));
        };
        assert_eq!(asked(&of_others), [""; 0], "{row}, of others");
        let nearer = |n: &mut Night| {
            n.policy.roles.insert(Role::Worker, said(*word));
            n.policy.nodes.insert(name("styx"), said(wide));
        };
        assert_eq!(asked(&nearer), [""; 0], "{row}, and a nearer word");
    }
}

/// Wider than the cluster's: what is forbidden to all is let through where an operator says so.
#[test]
fn a_wider_word_for_a_node_opens_what_is_shut_for_the_others() {
    let opened = |action: &str, broken: &str, shut: fn(&mut Night), word: Word| {
        assert_eq!(under(action, &shut), [broken], "{action}");
        let nearer = |n: &mut Night| {
            shut(n);
            n.policy.nodes.insert(name("styx"), said(word));
        };
        assert_eq!(under(action, &nearer), [""; 0], "{action}, {broken}");
    };
    let keeps = |n: &mut Night| {
        let kube = facts(n, "styx").kube.as_mut().expect("it was seen");
        kube.value.local_data = vec!["pvc-1".into()];
    };
    opened("recreate", "local-data-kept", keeps, |o| {
        o.local_data_expendable = Some(true);
    });
    opened("recreate", "recreate-cooldown", wiped_before, |o| {
        o.recreate_cooldown_secs = Some(86_400);
    });
    opened("recreate", "recreate-cooldown", wiped_before, |o| {
        let steps = rungs(StepKind::Recreate, |s| s.cooldown_secs = Some(86_400));
        o.ladder.insert(Diagnosis::Isolated, steps);
    });
    opened(
        "reboot",
        "observe-acts-not",
        |n| n.policy.reboot = Mode::Observe,
        wide,
    );
}

/// The cluster's own ladder, where neither the node's nor its role's table has one.
#[test]
fn a_ladder_of_the_whole_cluster_is_kept() {
    let ladder = |n: &mut Night, of: Diagnosis| {
        let steps = rungs(StepKind::Reboot, |s| s.mode = Some(Mode::Observe));
        n.policy.ladder.insert(of, steps);
    };
    let own = |n: &mut Night| ladder(n, Diagnosis::Isolated);
    assert_eq!(under("reboot", &own), ["observe-acts-not"]);
    assert_eq!(under("recreate", &own), [""; 0]);
    let another = |n: &mut Night| ladder(n, Diagnosis::NotReady);
    assert_eq!(under("reboot", &another), [""; 0]);
}

/// An incident that was diagnosed anew is held to the ladder of what it is now.
#[test]
fn the_ladder_of_the_latest_diagnosis_counts() {
    let anew = |n: &mut Night| {
        let steps = rungs(StepKind::Reboot, |s| s.mode = Some(Mode::Observe));
        n.policy.ladder.insert(Diagnosis::Isolated, steps);
        let incident = incident(n);
        n.journal(Record::Diagnosed {
            incident,
            diagnosis: Diagnosis::ProviderUnknown,
            evidence: Vec::new(),
        });
    };
    assert_eq!(under("reboot", &anew), [""; 0]);
}

#[test]
fn a_code_is_acted_on_by_its_whole_name_or_by_a_beginning_with_a_star() {
    let acts_on = |pattern: &str| {
        let words = |n: &mut Night| n.policy.act_on = vec![pattern.into()];
        under("apply-fix", &words).is_empty()
    };
    for pattern in ["k3s-agent.dead", "k3s-agent.*", "k3s*", "*"] {
        assert!(acts_on(pattern), "{pattern}");
    }
    for pattern in [
        "k3s-agent.dea",
        "k3s-agent.dead.x",
        "coredns.*",
        "k3s-agent",
        "",
    ] {
        assert!(!acts_on(pattern), "{pattern}");
    }
}

/// Everybody reaches styx, and Kubernetes has lost it.
fn hangs(night: &mut Night) {
    let mut observers: BTreeSet<Observer> =
        night.hosts.keys().cloned().map(Observer::Node).collect();
    observers.remove(&Observer::Node(name("styx")));
    observers.insert(Observer::Controller);
    for observer in observers {
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

/// Catches: a checker that takes a machine that answers for one that may be rebooted, whatever the operator's ladders say.
#[test]
fn a_machine_that_answers_is_rebooted_only_where_a_ladder_has_it() {
    let ladders = |all: &[(Diagnosis, StepKind)]| {
        let words = |n: &mut Night| {
            hangs(n);
            for (diagnosis, kind) in all {
                n.policy.ladder.insert(*diagnosis, vec![Step::new(*kind)]);
            }
        };
        under("reboot", &words)
    };
    let (hung, down) = (Diagnosis::Hung, Diagnosis::K3sAgentDown);
    assert_eq!(
        ladders(&[]),
        [""; 0],
        "the usual ladder of a hung machine has it"
    );
    assert_eq!(ladders(&[(hung, StepKind::Reboot)]), [""; 0]);
    assert_eq!(ladders(&[(hung, StepKind::Page)]), ["silence-of-all"]);
    let of_another = [(hung, StepKind::Page), (down, StepKind::Reboot)];
    assert_eq!(ladders(&of_another), [""; 0]);
    let of_none = [(hung, StepKind::Page), (down, StepKind::Fix)];
    assert_eq!(ladders(&of_none), ["silence-of-all"]);
}

/// Catches: a checker whose veto is an ill observer's: the machine that hangs was never rebooted, and the incident stood still.
#[test]
fn silence_met_by_a_node_that_a_check_accuses_does_not_speak_against_the_answer_of_all() {
    let doubted = |found_secs_ago: Option<u64>| {
        under("reboot", &|n: &mut Night| {
            hangs(n);
            let now = n.now();
            probe(n, Observer::Node(name("calypso")), ProbeOutcome::Timeout);
            if let Some(ago) = found_secs_ago {
                let said = Observation::Report {
                    node: name("calypso"),
                    plugin: "coredns".into(),
                    findings: vec![critical("coredns.upstream-timeout", &[])],
                    fault: None,
                };
                n.world.observe(Tick(now.0 - ago * 1_000), said);
            }
        })
    };
    assert_eq!(doubted(None), ["quorum-of-answers"]);
    assert_eq!(doubted(Some(1)), [""; 0]);
    assert_eq!(
        doubted(Some(600)),
        ["quorum-of-answers"],
        "what was said long ago accuses nobody"
    );
}

/// Catches: the same, of an observer whose kubelet Kubernetes has lost or calls not Ready.
#[test]
fn silence_met_by_a_node_that_kubernetes_calls_unwell_does_not_speak_against_the_answer_of_all() {
    type Spoil = fn(&mut KubeNode, Tick);
    let doubted = |spoil: Spoil| {
        under("reboot", &|n: &mut Night| {
            hangs(n);
            probe(n, Observer::Node(name("calypso")), ProbeOutcome::Timeout);
            let now = n.now();
            let facts = n.world.nodes.get_mut(&name("calypso"));
            let kube = facts.and_then(|f| f.kube.as_mut()).expect("it was seen");
            spoil(&mut kube.value, now);
        })
    };
    assert_eq!(doubted(|_, _| {}), ["quorum-of-answers"]);
    let stale: Spoil = |kube, now| kube.lease_changed = Some(Tick(now.0 - 50_000));
    let renewed: Spoil = |kube, now| kube.lease_changed = Some(Tick(now.0 - 49_999));
    assert_eq!(doubted(stale), [""; 0]);
    assert_eq!(doubted(renewed), ["quorum-of-answers"]);
    assert_eq!(doubted(|kube, _| kube.ready = Ready::False), [""; 0]);
}

fn window(days: &[Day], from: u64, to: u64, offset: i16) -> Window {
    let time = |minutes: u64| TimeOfDay {
        minutes: u16::try_from(minutes).expect("a day is short"),
    };
    Window {
        days: days.to_vec(),
        from: time(from),
        to: time(to),
        utc_offset: UtcOffset { minutes: offset },
        rungs: vec![StepKind::Reboot],
    }
}

/// By the minute: the first in which a window is open, the last, over midnight, over the end of the week, and by another clock.
#[test]
fn a_repair_window_is_open_from_its_first_minute_to_its_last() {
    let (night, plan) = before(styx(), intends("reboot"));
    let minute = night.now().0 / 60_000 % 1_440;
    assert!(
        (1_425..1_439).contains(&minute),
        "late on a Saturday: {minute}"
    );
    let open = |days: &[Day], from: u64, to: u64, offset: i16| {
        let mut night = night.clone();
        night.policy.windows = vec![window(days, from, to, offset)];
        match named(&night, &plan).as_slice() {
            [] => true,
            [one] if one == "repair-window-open" => false,
            other => unreachable!("{other:?}"),
        }
    };
    let (sat, sun, fri) = (&[Day::Sat], &[Day::Sun], &[Day::Fri]);
    for days in [&[][..], sat, &[Day::Mon, Day::Sat]] {
        assert!(open(days, minute, minute + 1, 0), "{days:?}");
        assert!(!open(days, minute + 1, minute + 2, 0), "{days:?}");
        assert!(!open(days, minute - 1, minute, 0), "{days:?}");
        assert!(open(days, minute - 9, 120, 0), "over midnight, {days:?}");
        assert!(!open(days, minute + 1, 120, 0), "not yet, {days:?}");
    }
    assert!(!open(sun, minute, minute + 1, 0), "another day");
    // From 20 minutes after now on Friday to 10 minutes after now on Saturday, by a clock of its own.
    assert!(open(fri, minute - 600 + 20, minute - 600 + 10, -600));
    assert!(!open(fri, minute - 600 + 20, minute - 600, -600));
    // Two hours east it is Sunday.
    let local = minute + 120 - 1_440;
    assert!(open(sun, local, local + 1, 120));
    assert!(!open(sat, local, local + 1, 120));
    assert!(open(sat, 1_380, local + 1, 120), "opened on the day before");
    assert!(!open(sat, 1_380, local, 120));
    // From midnight to midnight, and from one minute to the same: a whole day.
    assert!(open(sat, 0, 1_440, 0));
    assert!(open(sat, minute, minute, 0));
    assert!(!open(sun, 0, 1_440, 0));
}

/// A window names its rungs: the others wait for none.
#[test]
fn a_window_holds_the_rungs_that_it_names() {
    let hour = |night: &Night| night.now().0 / 60_000 % 1_440;
    let words = |rungs: &'static [StepKind]| {
        move |n: &mut Night| {
            let at = hour(n);
            let mut shut = window(&[], at - 2, at - 1, 0);
            shut.rungs = rungs.to_vec();
            n.policy.windows = vec![shut];
        }
    };
    let shut = ["repair-window-open"];
    assert_eq!(under("reboot", &words(&[StepKind::Reboot])), shut);
    assert_eq!(under("recreate", &words(&[StepKind::Reboot])), [""; 0]);
    assert_eq!(under("recreate", &words(&[StepKind::Recreate])), shut);
    assert_eq!(under("apply-fix", &words(&[StepKind::Fix])), shut);
    // One of two is enough.
    let two = |n: &mut Night| {
        let at = hour(n);
        n.policy.windows = vec![window(&[], at - 2, at - 1, 0), window(&[], at, at + 1, 0)];
    };
    assert_eq!(under("reboot", &two), [""; 0]);
}
