//! Rungs: how often, whether they helped, and what is said of them.

use crate::night::moment::{before, intends, tell};
use crate::night::{Night, critical, failed, name, not_started};
use crate::{facts, planned, sick, styx};
use iaso_engine::diagnose::{Assessment, assess};
use iaso_engine::effect::{Outcome, Yield};
use iaso_engine::ladder::{Next, next};
use iaso_engine::ledger::{EffectState, Incident, RungState};
use iaso_engine::policy::step::{Step, StepKind, Verify};
use iaso_engine::record::{Diagnosis, Record, Rung, RungResult};
use iaso_engine::time::Tick;
use std::sync::LazyLock;

/// How the rung ended that a plan of this moment ends first, and why.
fn ends(night: &Night) -> Option<(RungResult, String)> {
    let mut records = planned(night).records.into_iter();
    records.find_map(|record| match record {
        Record::RungEnded { result, why, .. } => Some((result, why)),
        _ => None,
    })
}

fn the_incident(night: &mut Night) -> &mut Incident {
    let mut all = night.ledger.incidents.values_mut();
    all.next().expect("one is open")
}

fn node(night: &Night) -> Assessment {
    assess(&night.situation()).nodes[&name("styx")].clone()
}

fn ended(rung: &Rung, times: u32, result: RungResult) -> Vec<RungState> {
    let one = |attempt| RungState {
        rung: rung.clone(),
        attempt,
        started: Tick(1),
        effects_before: 0,
        ended: Some((Tick(2), result)),
    };
    (1..=times).map(one).collect()
}

/// What comes next for styx, after these rungs.
fn then(night: &Night, rungs: Vec<RungState>, change: impl Fn(&mut Assessment)) -> Next {
    let mut incident = night
        .ledger
        .open_incident(&name("styx"))
        .expect("open")
        .clone();
    incident.rungs = rungs;
    incident.effects.clear();
    let mut node = node(night);
    change(&mut node);
    next(&night.policy, &node, &incident)
}

fn words(next: &Next) -> &str {
    match next {
        Next::Take { why, .. } | Next::Tell { why } | Next::Exhausted { why } => why,
        Next::Nothing => "",
    }
}

/// One attempt and five that were not needed: the seventh is not begun.
#[test]
fn a_rung_that_is_never_needed_is_left_alone_after_its_attempts_and_five_more() {
    let (night, _) = before(styx(), intends("reboot"));
    let after = |times: u32| {
        let moot = ended(&Rung::Reboot, times, RungResult::Moot);
        match then(&night, moot, |_| {}) {
            Next::Take { rung, .. } => rung,
            other => unreachable!("{other:?}"),
        }
    };
    assert_eq!((after(5), after(6)), (Rung::Reboot, Rung::Recreate));
}

/// Catches: a wipe that is told to follow a reboot that never was.
#[test]
fn why_a_machine_is_wiped_says_whether_it_was_rebooted() {
    let (mut night, _) = before(styx(), intends("reboot"));
    let failed = ended(&Rung::Reboot, 1, RungResult::Failed);
    let rebooted = then(&night, failed, |_| {});
    assert!(words(&rebooted).contains("was rebooted"), "{rebooted:?}");
    let steps = vec![Step::new(StepKind::Recreate)];
    night.policy.ladder.insert(Diagnosis::Isolated, steps);
    let at_once = then(&night, Vec::new(), |_| {});
    assert!(words(&at_once).contains("no reboot before"), "{at_once:?}");
}

#[test]
fn the_end_of_a_ladder_says_what_is_missing_and_what_was_tried() {
    let (mut night, _) = before(styx(), intends("reboot"));
    let homeless = |diagnosis: Diagnosis| {
        move |node: &mut Assessment| {
            node.diagnosis = diagnosis;
            node.machine = iaso_engine::diagnose::channel::Machine::NoProvider;
        }
    };
    let hung = then(&night, Vec::new(), homeless(Diagnosis::Hung));
    assert!(words(&hung).contains("no provider"), "{hung:?}");
    let down = then(&night, Vec::new(), homeless(Diagnosis::K3sAgentDown));
    assert!(words(&down).contains("no check says why: look"), "{down:?}");
    let steps = [StepKind::Fix, StepKind::Reboot].map(Step::new).to_vec();
    night.policy.ladder.insert(Diagnosis::K3sAgentDown, steps);
    let tried = ended(&Rung::Reboot, 1, RungResult::NoHelp);
    let down = then(&night, tried, |node| {
        node.diagnosis = Diagnosis::K3sAgentDown;
    });
    assert!(
        words(&down).contains("and a reboot did not help"),
        "{down:?}"
    );
}

/// Two attempts are allowed, and the agent would say the same again.
#[test]
fn a_fix_that_the_agent_refused_is_not_asked_for_again() {
    let mut night = Night::new();
    night.at.push((60, |n| {
        n.host("styx").findings = vec![critical("k3s-agent.dead", &["restart"])];
    }));
    let refused = Outcome::Done {
        detail: "not on its list".into(),
        yielded: Yield::Fix {
            result: "refused".into(),
        },
    };
    night.replies.insert("apply-fix", vec![refused]);
    let night = night.run(1_500);
    assert_eq!(night.intended("apply-fix"), 1, "{}", night.trace());
}

/// The fix of [`sick`] is begun and held by a pause.
fn held(change: impl Fn(&mut Night)) -> Option<(RungResult, String)> {
    let (mut night, _) = before(sick(), intends("apply-fix"));
    night.ledger.paused.insert(None, "upgrade".into());
    change(&mut night);
    ends(&night)
}

fn finds(night: &mut Night, code: &str) {
    let run = facts(night, "styx").plugins.get_mut("k3s-agent");
    run.expect("it ran").value.findings = vec![critical(code, &[])];
}

#[test]
fn a_fix_ends_when_its_node_is_well_or_its_cause_is_no_longer_named() {
    assert_eq!(held(|_| {}), None, "it is named still");
    let (result, why) = held(|n| {
        facts(n, "styx").plugins.clear();
    })
    .expect("nothing is wrong");
    assert_eq!(
        (result, why.as_str()),
        (RungResult::Moot, "the node is healthy now")
    );
    let (result, why) = held(|n| finds(n, "k3s-agent.other")).expect("another cause");
    assert_eq!(result, RungResult::Moot);
    assert!(why.contains("no check names"), "{why}");
}

/// A controller that begins to listen has heard no check yet: the fix is not given up before a check has had its time.
#[test]
fn a_fix_of_which_no_check_has_spoken_waits_as_long_as_a_finding_counts() {
    let waits = |ms: u64| {
        held(|n| {
            n.world.since = Tick(n.now().0 - ms);
            let facts = facts(n, "styx");
            facts.plugins.clear();
            let kube = facts.kube.as_mut().expect("it was seen");
            kube.value.lease_changed = Some(Tick(1));
            the_incident(n).diagnosis = Diagnosis::K3sAgentDown;
            the_incident(n).rungs[0].started = Tick(1);
        })
        .is_none()
    };
    assert!(waits(179_999) && !waits(180_000));
}

/// Styx's reboot was done, and nobody reaches it two minutes later.
fn dark() -> Night {
    static THEN: LazyLock<Night> = LazyLock::new(|| {
        let mut night = Night::new();
        night.at.push((60, |n| n.cut("styx")));
        let proven = Some(false);
        let reply = Outcome::Done {
            detail: "ok".into(),
            yielded: Yield::Reboot { proven },
        };
        night.replies.insert("reboot", vec![reply]);
        let ends = |r: &Record| matches!(r, Record::RungEnded { .. });
        before(&tell(night, 400), ends).0
    });
    THEN.clone()
}

fn act_done(night: &mut Night) -> Tick {
    let mut effects = the_incident(night).effects.iter();
    let done = effects.find_map(EffectState::done);
    done.expect("it was done")
}

#[test]
fn a_reboot_helped_for_a_while_only_where_the_machine_answered_after_it() {
    let result = |shift: fn(u64) -> u64| {
        let mut night = dark();
        let at = act_done(&mut night);
        facts(&mut night, "styx").answered = Some(Tick(shift(at.0)));
        ends(&night).expect("it is time").0
    };
    assert_eq!(result(|at| at - 1), RungResult::NoHelp);
    assert_eq!(result(|at| at), RungResult::NoHelp);
    assert_eq!(result(|at| at + 1), RungResult::Recovered);
    let (_, why) = ends(&dark()).expect("it is time");
    assert!(why.contains("uptime did not fall"), "{why}");
}

/// Where Ready is enough: only a lease that was renewed after the fix, and is fresh, says so.
#[test]
fn ready_is_enough_only_by_a_lease_that_was_renewed_after_the_fix() {
    let ends_fix = |r: &Record| matches!(r, Record::RungEnded { .. });
    let enough = |shift: fn(u64) -> u64, stale_secs: u64| {
        let (mut night, _) = before(sick(), ends_fix);
        let mut step = Step::new(StepKind::Fix);
        step.verify = Some(Verify::Ready);
        for diagnosis in [Diagnosis::CheckFailing, Diagnosis::K3sAgentDown] {
            let steps = vec![step.clone()];
            night.policy.ladder.insert(diagnosis, steps);
        }
        night.policy.lease_stale_secs = stale_secs;
        let at = act_done(&mut night);
        let kube = facts(&mut night, "styx").kube.as_mut();
        kube.expect("it was seen").value.lease_changed = Some(Tick(shift(at.0)));
        ends(&night).is_some_and(|(_, why)| why.contains("Kubernetes says Ready"))
    };
    assert!(!enough(|at| at - 1, 3_600) && !enough(|at| at, 3_600));
    assert!(enough(|at| at + 1, 3_600));
    assert!(!enough(|at| at + 1, 50), "renewed, and silent again");
}

/// What a provider refuses as invalid is a person's after five tries; what it does not take for now is tried on.
#[test]
fn a_wipe_that_is_refused_as_invalid_five_times_is_given_up() {
    let tries = |class: &str| {
        let mut night = Night::new();
        night.at.push((60, |n| n.cut("styx")));
        night.replies.insert("reboot", vec![failed("error")]);
        night.replies.insert("recreate", vec![not_started(class)]);
        let night = night.run(2_600);
        (
            night.intended("recreate"),
            night.trace().contains("refuses the recreate"),
        )
    };
    assert_eq!(tries("invalid"), (5, true));
    let (many, refused) = tries("unavailable");
    assert!(many > 5 && !refused, "{many}");
}
