//! The ladder: which rung comes next for a diagnosis, or why none does.
//!
//! **Invariants**
//! - The policy orders the rungs, and [`allowed`](crate::policy::step::allowed) says which a diagnosis may have at all: a fault of DNS, disk
//!   or a certificate never leads to a reboot, and a machine that answers is never recreated.
//! - A rung has a bound of attempts. What brought the node back for a while is not followed by a recreate: its disk is not the fault.
//! - A server node is never recreated, and a machine is recreated at most once in an incident.

use crate::diagnose::Assessment;
use crate::diagnose::channel::Machine;
use crate::effect::{Action, Outcome, Yield};
use crate::fact::Role;
use crate::ledger::Incident;
use crate::policy::Policy;
use crate::policy::step::{StepKind, Terms};
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
        Diagnosis::K3sAgentDown
        | Diagnosis::CheckFailing
        | Diagnosis::NotReady
        | Diagnosis::Hung
        | Diagnosis::PoweredOff
        | Diagnosis::Isolated => climb(policy, node, incident),
        Diagnosis::AgentLost => tell(
            "the agent is gone and the machine answers: look at the unit iaso-agent on it; nothing is restarted for that",
        ),
        Diagnosis::PartialPartition => tell(
            "some observers reach it and some do not, or nobody does although its agent speaks: a partition, which no reboot mends; look at the network and the firewall between them",
        ),
        Diagnosis::Flapping => tell(
            "it came back and went away again and again: whatever is done now would be undone or would look like success; look for what comes and goes (network, disk, memory, power)",
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
        Diagnosis::NeverJoined => tell(
            "it is declared and never joined: join it, or remove it from the controller's [[nodes]]; Iaso repairs only what once worked",
        ),
        Diagnosis::Unknown => {
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

pub(crate) fn need(
    policy: &Policy,
    diagnosis: Diagnosis,
    kind: StepKind,
    incident: &Incident,
) -> Need {
    // What is off is powered on before anything larger is done.
    let off = diagnosis == Diagnosis::PoweredOff && kind != StepKind::Start;
    let starts = |t: &Terms| t.kind == StepKind::Start;
    if off && policy.steps(diagnosis).iter().any(starts) && incident.attempts(&Rung::Start) == 0 {
        return Need::Gone;
    }
    // What a wipe rests on was seen by a controller that went away: its machine may have come back meanwhile, and a reboot comes first again.
    let large = matches!(kind, StepKind::Rescue | StepKind::Recreate);
    let began = incident.running().map(|rung| rung.started);
    let reboots = |t: &Terms| t.kind == StepKind::Reboot;
    if large
        && began.is_some_and(|at| incident.unwatched_since(at))
        && policy.steps(diagnosis).iter().any(reboots)
    {
        return Need::Gone;
    }
    if policy.steps(diagnosis).iter().any(|t| t.kind == kind) {
        return Need::Stands;
    }
    match diagnosis {
        Diagnosis::Unknown
        | Diagnosis::ProviderUnknown
        | Diagnosis::ProviderTrouble
        | Diagnosis::GoneNoProvider
        | Diagnosis::ControllerCutOff
        | Diagnosis::Storm => Need::Unsure,
        Diagnosis::Healthy
        | Diagnosis::Isolated
        | Diagnosis::PoweredOff
        | Diagnosis::K3sAgentDown
        | Diagnosis::CheckFailing
        | Diagnosis::NotReady
        | Diagnosis::AgentLost
        | Diagnosis::Hung
        | Diagnosis::PartialPartition
        | Diagnosis::Flapping
        | Diagnosis::NeverJoined => Need::Gone,
    }
}

fn climb(policy: &Policy, node: &Assessment, incident: &Incident) -> Next {
    let steps = policy.steps(node.diagnosis);
    for terms in &steps {
        let rung = match terms.kind {
            StepKind::Fix => match fix(terms, node, incident) {
                Some(next) => return next,
                None => continue,
            },
            StepKind::Start => Rung::Start,
            StepKind::Reboot => Rung::Reboot,
            StepKind::Rescue => Rung::Rescue,
            StepKind::Recreate => Rung::Recreate,
            StepKind::Page => break,
        };
        if node.machine == Machine::NoProvider {
            continue;
        }
        if rung != Rung::Start
            && let Some(ends) = ends_here(&rung, node, incident)
        {
            return ends;
        }
        let begun = incident.attempts(&rung);
        let left = incident.tried(&rung) < terms.attempts
            && begun < terms.attempts.saturating_add(MOOT_ATTEMPTS_MAX);
        if left {
            let why = why(node.diagnosis, &rung, incident);
            return Next::Take { rung, why };
        }
    }
    exhausted(node, incident, &steps)
}

/// What ends the climb before a rung, whatever the policy says.
fn ends_here(rung: &Rung, node: &Assessment, incident: &Incident) -> Option<Next> {
    let exhausted = |why: String| Some(Next::Exhausted { why });
    if let Some(recreate) = incident.recreate() {
        return exhausted(format!(
            "the machine was recreated once in this incident ({}) and is not well; Iaso never does that twice. It may still be cordoned. Look at the provider's console and at /post_install.log on the machine",
            recreate.effect.id
        ));
    }
    if !matches!(rung, Rung::Rescue | Rung::Recreate) {
        return None;
    }
    if node.role == Role::Server {
        return exhausted("a server node never goes past a reboot by itself: recreating it could lose the cluster. Restore it by hand".into());
    }
    let before = incident.helped_for_a_while()?;
    exhausted(format!(
        "{} brought it back for a while and it went away again: its disk is not the fault, so it is not wiped. Look at the network, the provider and the machine's memory; to wipe it all the same, do it by hand",
        before.rung
    ))
}

fn why(diagnosis: Diagnosis, rung: &Rung, incident: &Incident) -> String {
    let rebooted = incident.attempts(&Rung::Reboot) > 0;
    let text = match (diagnosis, rung) {
        (_, Rung::Start) => "the provider says that it is powered off",
        (Diagnosis::PoweredOff, Rung::Reboot) => "it was powered on and is still off",
        (Diagnosis::Hung, Rung::Reboot) => {
            "everybody reaches the machine, and neither its agent nor its kubelet lives: what runs on it hangs, and a reboot may bring it back"
        }
        (Diagnosis::K3sAgentDown, Rung::Reboot) => {
            "its kubelet is down, the fixes did not help, and the policy says reboot"
        }
        (_, Rung::Reboot) => {
            "nobody reaches it and the provider says that it runs: one reboot may bring it back"
        }
        (_, Rung::Rescue) => {
            "nobody reaches it: whether the provider's rescue image answers tells a fault of its own system, whose disk can be read, from one outside it"
        }
        (_, Rung::Recreate) if incident.rescue_answered() == Some(true) => {
            "the fault is in its own system: the rescue image answered, and its own disk may be read before it is wiped"
        }
        (_, Rung::Recreate) if incident.rescue_answered() == Some(false) => {
            "nobody reached the rescue image either: the fault is outside its own system"
        }
        (_, Rung::Recreate) if rebooted => "it was rebooted and nobody reaches it still",
        (_, Rung::Recreate) => "nobody reaches it, and the policy has no reboot before a recreate",
        (_, Rung::Fix(_) | Rung::Page) => "the policy says so",
    };
    text.into()
}

/// The end of a ladder. Where a machine was switched or wiped in vain a person must decide; a fault of a running one may still change.
fn exhausted(node: &Assessment, incident: &Incident, steps: &[Terms]) -> Next {
    let diagnosis = node.diagnosis;
    if steps.is_empty() {
        let why = format!("the policy has no rung for {diagnosis}: a person must look");
        return Next::Tell { why };
    }
    let is_fault = matches!(
        diagnosis,
        Diagnosis::CheckFailing | Diagnosis::NotReady | Diagnosis::K3sAgentDown
    );
    if node.machine == Machine::NoProvider && !is_fault {
        return Next::Tell {
            why: "it has no provider that could reboot it: somebody must go and look".into(),
        };
    }
    match diagnosis {
        Diagnosis::CheckFailing | Diagnosis::NotReady | Diagnosis::K3sAgentDown => Next::Tell {
            why: no_fix(node, incident),
        },
        Diagnosis::Hung => Next::Exhausted {
            why: "it was rebooted and hangs still: it answers, so its disk may be read. Look at its console, save what is needed, and recreate it by hand if you must".into(),
        },
        Diagnosis::Healthy
        | Diagnosis::Unknown
        | Diagnosis::AgentLost
        | Diagnosis::PartialPartition
        | Diagnosis::Flapping
        | Diagnosis::Isolated
        | Diagnosis::PoweredOff
        | Diagnosis::ProviderTrouble
        | Diagnosis::ProviderUnknown
        | Diagnosis::GoneNoProvider
        | Diagnosis::ControllerCutOff
        | Diagnosis::Storm
        | Diagnosis::NeverJoined => Next::Exhausted {
            why: "every rung of the policy was tried: look at the provider's console".into(),
        },
    }
}

fn no_fix(node: &Assessment, incident: &Incident) -> String {
    let causes: Vec<String> = node
        .faults
        .iter()
        .map(|f| format!("{} ({})", f.code, f.summary))
        .collect();
    if !causes.is_empty() {
        return format!(
            "no fix is left for {}: a restart cannot help, or was tried",
            causes.join(", ")
        );
    }
    let rebooted = if incident.attempts(&Rung::Reboot) > 0 {
        ", and a reboot did not help"
    } else {
        ""
    };
    if node.diagnosis == Diagnosis::NotReady {
        return "its kubelet is alive and says that the node is not Ready, and no check says why: read the node's conditions with kubectl describe node".into();
    }
    format!(
        "kubelet or k3s-agent is down, and no check says why{rebooted}: look at the unit k3s-agent on the node"
    )
}

/// The best remedy that is left.
fn fix(terms: &Terms, node: &Assessment, incident: &Incident) -> Option<Next> {
    let remedies = node
        .faults
        .iter()
        .flat_map(|f| f.remedies.iter().map(move |r| (f, r)));
    for (fault, remedy) in remedies {
        let rung = Rung::Fix(format!("{}/{remedy}", fault.plugin));
        let left = incident.tried(&rung) < terms.attempts
            && incident.attempts(&rung) < terms.attempts.saturating_add(MOOT_ATTEMPTS_MAX)
            && !refused(incident, &fault.plugin, remedy);
        if left {
            return Some(Next::Take {
                rung,
                why: format!("{} is critical: {}", fault.code, fault.summary),
            });
        }
    }
    None
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
