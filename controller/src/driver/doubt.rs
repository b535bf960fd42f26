//! What became of an order whose answer is lost: the provider's own record decides, and the order is never repeated here.
//!
//! **Invariants**
//! - Only reads. Found → followed. Absent, in a complete list, for `doubt_secs` → it never began.
//! - An operation that another effect owns, or that began before the intent by more than the clocks may differ, is never taken for this one's.
//! - An operation whose name says nothing holds the doubt open: a person's restart is not our recreate, and nothing is assumed.

use super::effects::Pursuit;
use super::machine_effects::{begun, note_once};
use iaso_engine::effect::Action;
use iaso_engine::time::Tick;
use iaso_providers::Operation;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// How far the provider's clock may lie behind ours.
const CLOCK_MARGIN: SignedDuration = SignedDuration::from_secs(120);
/// The same for a recreate: a clock that was an hour ahead when it was ordered must not lead to a second one. Whoever else wiped the
/// machine within a day did what was wanted.
const RECREATE_MARGIN: SignedDuration = SignedDuration::from_hours(24);

/// What an operation's name says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Recreate,
    Reboot,
    Start,
    Rescue,
    LeaveRescue,
    Other,
    Unclear,
}

fn kind(name: &str) -> Kind {
    let name = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    // "restart" holds "start", and "reinstall" holds "install": the longer word is asked for first.
    if has(&["recovery", "rescue"]) {
        if has(&["stop", "disable", "end", "exit", "leave"]) {
            Kind::LeaveRescue
        } else {
            Kind::Rescue
        }
    } else if has(&["recreat", "reinstall", "rebuild", "reimage"]) {
        Kind::Recreate
    } else if has(&["restart", "reboot", "power_cycle", "power-cycle", "reset"]) {
        Kind::Reboot
    } else if has(&[
        "password",
        "hostname",
        "nameserver",
        "snapshot",
        "backup",
        "firewall",
        "key",
        "stop",
    ]) {
        Kind::Other
    } else if has(&["start", "boot", "power_on", "poweron"]) {
        Kind::Start
    } else {
        Kind::Unclear
    }
}

fn wanted(action: &Action) -> Kind {
    match action {
        Action::Recreate { .. } => Kind::Recreate,
        Action::Reboot => Kind::Reboot,
        Action::Start => Kind::Start,
        Action::Rescue { .. } => Kind::Rescue,
        Action::LeaveRescue => Kind::LeaveRescue,
        Action::ApplyFix { .. }
        | Action::Remember
        | Action::Cordon
        | Action::StorePassword
        | Action::PrepareScript
        | Action::Release
        | Action::Restore { .. }
        | Action::Uncordon
        | Action::PromotePassword { .. }
        | Action::DiscardPassword { .. }
        | Action::Cleanup { .. }
        | Action::Page { .. } => Kind::Other,
    }
}

/// Asks until it is known.
pub(super) async fn resolve(pursuit: &Pursuit) {
    let Some(owned) = pursuit.hands.machines.of(&pursuit.effect.node) else {
        return pursuit
            .in_doubt("the node's machine is not configured any more: nobody can be asked")
            .await;
    };
    let margin = if matches!(pursuit.effect.action, Action::Recreate { .. }) {
        RECREATE_MARGIN
    } else {
        CLOCK_MARGIN
    };
    let Some(since) = timestamp(pursuit.intended).and_then(|at| at.checked_sub(margin).ok()) else {
        return pursuit
            .in_doubt("the intent has no readable time: look at the machine's actions")
            .await;
    };
    let doubt = Duration::from_secs(pursuit.hands.policy.doubt_secs);
    let begun_at = tokio::time::Instant::now();
    let mut last_error = String::new();
    loop {
        // The patience is measured before the question: an answer counts only if it was asked for late enough.
        let patient = begun_at.elapsed() >= doubt;
        match owned.provider.actions(&owned.id, since).await {
            Ok(operations) => match judge(
                &operations,
                wanted(&pursuit.effect.action),
                &pursuit.claimed,
            ) {
                Verdict::Found(operation) => return begun(pursuit, operation).await,
                Verdict::Unclear(operation) => {
                    let detail = format!(
                        "the provider did something named {:?} at that time; whether it is this order cannot be told: a person must look",
                        operation.name
                    );
                    pursuit.in_doubt(detail).await;
                }
                Verdict::Absent if patient => {
                    let detail = "the provider's own record does not have it: it was never taken";
                    return pursuit.not_started("transport", detail).await;
                }
                Verdict::Absent => {}
            },
            Err(error) => note_once(pursuit, &mut last_error, &error),
        }
        pursuit.pause(pursuit.hands.machines.poll_quick).await;
    }
}

enum Verdict<'a> {
    Found(&'a Operation),
    Unclear(&'a Operation),
    Absent,
}

fn judge<'a>(
    operations: &'a [Operation],
    wanted: Kind,
    claimed: &std::collections::BTreeSet<String>,
) -> Verdict<'a> {
    let free = || {
        operations
            .iter()
            .filter(|operation| !claimed.contains(operation.id.as_str()))
    };
    if let Some(found) = free().find(|operation| kind(&operation.name) == wanted) {
        return Verdict::Found(found);
    }
    free()
        .find(|operation| kind(&operation.name) == Kind::Unclear)
        .map_or(Verdict::Absent, Verdict::Unclear)
}

fn timestamp(tick: Tick) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(tick.0).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use iaso_providers::{OperationId, OperationState};

    fn operation(id: u64, name: &str) -> Operation {
        Operation {
            id: OperationId::from(id),
            name: name.into(),
            state: OperationState::Pending,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_operation_of_another_effect_is_never_taken() {
        let operations = [operation(1, "restart"), operation(2, "ct_restart")];
        let claimed = std::collections::BTreeSet::from(["1".to_owned()]);
        let Verdict::Found(found) = judge(&operations, Kind::Reboot, &claimed) else {
            panic!("not found")
        };
        assert_eq!(found.id.as_str(), "2");
    }

    #[test]
    fn a_start_is_no_restart_and_an_unclear_name_is_not_absence() {
        let none = std::collections::BTreeSet::new();
        assert!(matches!(
            judge(&[operation(1, "vm restart")], Kind::Start, &none),
            Verdict::Absent
        ));
        assert!(matches!(
            judge(&[operation(1, "job 7")], Kind::Recreate, &none),
            Verdict::Unclear(_)
        ));
        assert!(matches!(
            judge(&[operation(1, "set_hostname")], Kind::Recreate, &none),
            Verdict::Absent
        ));
    }

    #[test]
    fn the_way_into_the_rescue_image_is_not_the_way_out() {
        let none = std::collections::BTreeSet::new();
        let both = [
            operation(1, "start_recovery"),
            operation(2, "stop_recovery"),
        ];
        for (wanted, expect) in [(Kind::Rescue, "1"), (Kind::LeaveRescue, "2")] {
            let Verdict::Found(found) = judge(&both, wanted, &none) else {
                panic!("not found")
            };
            assert_eq!(found.id.as_str(), expect);
        }
        assert!(matches!(judge(&both, Kind::Start, &none), Verdict::Absent));
    }
}
