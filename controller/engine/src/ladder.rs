//! The ladder: which rung comes next for a diagnosis, or why none does.
//!
//! **Invariants**
//! - Only `Isolated` and `PoweredOff` lead to a reboot or a recreate; a fault of DNS, disk or a certificate never does.
//! - A rung that was taken to its end is not taken again, fixes excepted, and those have a bound.
//! - A server node is never recreated, and a machine is recreated at most once in an incident.

use crate::diagnose::Assessment;
use crate::effect::{Action, Outcome, Yield};
use crate::fact::Role;
use crate::ledger::Incident;
use crate::policy::Policy;
use crate::record::{Diagnosis, Rung};

/// A rung that ended again and again as not needed is left alone after so many.
const MOOT_ATTEMPTS_MAX: u32 = 5;

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Take this rung.
    Take {
        /// Which.
        rung: Rung,
        /// Why this one now.
        why: String,
    },
    /// Tell a person and stay open: the facts may still change.
    Tell {
        /// What they should know and do.
        why: String,
    },
    /// Everything was tried: tell a person and park.
    Exhausted {
        /// Why, with what to do.
        why: String,
    },
    /// Nothing is wrong.
    Nothing,
}

/// The next rung for what a node is now.
#[must_use]
pub fn next(policy: &Policy, node: &Assessment, incident: &Incident) -> Next {
    let tell = |why: &str| Next::Tell { why: why.into() };
    match node.diagnosis {
        Diagnosis::Healthy => Next::Nothing,
        Diagnosis::K3sAgentDown | Diagnosis::CheckFailing => fix(policy, node, incident),
        Diagnosis::PoweredOff => power(node, incident, true),
        Diagnosis::Isolated => power(node, incident, false),
        Diagnosis::AgentLost => tell(
            "the agent is gone and the node is fine: look at the unit iaso-agent on it; nothing is restarted for that",
        ),
        Diagnosis::PartialPartition => tell(
            "some observers reach it and some do not: a partition, which no reboot mends; look at the network between them",
        ),
        Diagnosis::ProviderTrouble => tell(
            "the provider has blocked the machine or runs its rescue image: settle that with the provider first",
        ),
        Diagnosis::ProviderUnknown => tell(
            "nobody reaches the machine, and the provider's word is unknown: check the provider's token, machine id and base URL in the controller's configuration; unknown is not failed, so nothing is escalated",
        ),
        Diagnosis::GoneNoProvider => tell(
            "nobody reaches the machine, and it has no provider to ask: somebody must go and look",
        ),
        Diagnosis::ControllerCutOff => tell(
            "the controller reaches none of the nodes it lost: check the controller's own network first; all is held",
        ),
        Diagnosis::Storm => tell(
            "too many nodes are down at once: look for the common cause; all is held until fewer are down",
        ),
        Diagnosis::Unknown | Diagnosis::NeverJoined => {
            tell("too little is known of the machine to act: see what it waits for")
        }
    }
}

/// Whether a running power or recreate rung is still the answer to the facts, may be again in a moment, or is not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Stands,
    Unsure,
    Gone,
}

pub(crate) fn need(diagnosis: Diagnosis) -> Need {
    match diagnosis {
        Diagnosis::Isolated | Diagnosis::PoweredOff => Need::Stands,
        Diagnosis::Unknown
        | Diagnosis::ProviderUnknown
        | Diagnosis::ProviderTrouble
        | Diagnosis::GoneNoProvider
        | Diagnosis::ControllerCutOff
        | Diagnosis::Storm => Need::Unsure,
        Diagnosis::Healthy
        | Diagnosis::K3sAgentDown
        | Diagnosis::CheckFailing
        | Diagnosis::AgentLost
        | Diagnosis::PartialPartition
        | Diagnosis::NeverJoined => Need::Gone,
    }
}

fn fix(policy: &Policy, node: &Assessment, incident: &Incident) -> Next {
    let causes: Vec<String> = node
        .faults
        .iter()
        .map(|f| format!("{} ({})", f.code, f.summary))
        .collect();
    let remedies = node
        .faults
        .iter()
        .flat_map(|f| f.remedies.iter().map(move |r| (f, r)));
    for (fault, remedy) in remedies {
        let rung = Rung::Fix(format!("{}/{remedy}", fault.plugin));
        let left = incident.tried(&rung) < policy.fix_attempts
            && incident.attempts(&rung) < policy.fix_attempts.saturating_add(MOOT_ATTEMPTS_MAX)
            && !refused(incident, &fault.plugin, remedy);
        if left {
            return Next::Take {
                rung,
                why: format!("{} is critical: {}", fault.code, fault.summary),
            };
        }
    }
    let why = if causes.is_empty() {
        "kubelet or k3s-agent is down, and no check says why: look at the unit k3s-agent on the node".into()
    } else {
        format!(
            "no fix is left for {}: a restart cannot help, or was tried",
            causes.join(", ")
        )
    };
    Next::Tell { why }
}

/// The agent refused it in this incident: asking again would say the same.
fn refused(incident: &Incident, plugin: &str, fix: &str) -> bool {
    incident.effects.iter().any(|e| {
        let same = matches!(&e.effect.action, Action::ApplyFix { plugin: p, fix: f } if p == plugin && f == fix);
        same && matches!(
            &e.latest,
            Some((_, Outcome::Done { yielded: Yield::Fix { result }, .. })) if result == "refused"
        )
    })
}

fn power(node: &Assessment, incident: &Incident, off: bool) -> Next {
    let left =
        |rung: &Rung| incident.tried(rung) == 0 && incident.attempts(rung) < MOOT_ATTEMPTS_MAX;
    if off && left(&Rung::Start) {
        return Next::Take {
            rung: Rung::Start,
            why: "the provider says that it is powered off".into(),
        };
    }
    if let Some(recreate) = incident.recreate() {
        return Next::Exhausted {
            why: format!(
                "the machine was recreated once in this incident ({}) and is not well; Iaso never does that twice. It may still be cordoned. Look at the provider's console and at /post_install.log on the machine",
                recreate.effect.id
            ),
        };
    }
    if left(&Rung::Reboot) {
        return Next::Take {
            rung: Rung::Reboot,
            why: if off {
                "it was powered on and is still off".into()
            } else {
                "nobody reaches it and the provider says that it runs: one reboot may bring it back"
                    .into()
            },
        };
    }
    if node.role == Role::Server {
        return Next::Exhausted {
            why: "a server node never goes past a reboot by itself: recreating it could lose the cluster. Restore it by hand".into(),
        };
    }
    if left(&Rung::Recreate) {
        return Next::Take {
            rung: Rung::Recreate,
            why: "it was rebooted and nobody reaches it still".into(),
        };
    }
    Next::Exhausted {
        why: "every rung was tried: look at the provider's console".into(),
    }
}
