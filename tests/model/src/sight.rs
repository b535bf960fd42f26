//! What controllers see in each tick: the truth, as far as it reaches them.

use crate::Protocol;
use crate::controller;
use crate::state::{Fault, Peer, Stage, State, at, peer, worker};
use iaso_engine::fact::{
    Finding, MachineSeen, MachineState, Observation, Observer, ProbeOutcome, ProbeResult, Severity,
};
use iaso_engine::id::NodeName;
use iaso_engine::world::{AgentLink, World};

/// Every controller that lives looks at everything, and decides.
pub(crate) fn look(protocol: &Protocol, state: &mut State) {
    let now = at(state.tick);
    let terms: Vec<u64> = state.controllers.iter().map(|c| c.term).collect();
    for term in terms {
        let mut sights = of_agent(&peer(), "tethys-1", None);
        if state.connected() {
            let boot = format!("styx-{}", state.agent.boot);
            sights.extend(of_agent(&worker(), &boot, Some(state.fault)));
        }
        sights.extend(of_others(state));
        let Some(controller) = state.controllers.iter_mut().find(|c| c.term == term) else {
            continue;
        };
        for sight in sights {
            if !is_old_session(&controller.world, &sight) {
                controller.world.observe(now, sight);
            }
        }
        controller::decide(protocol, state, term);
    }
    // The session's first words carry the leader's term.
    if state.connected()
        && let Some(leader) = state.controllers.iter().map(|c| c.term).max()
    {
        state.agent.term = state.agent.term.max(leader);
    }
}

/// A session that is open already does not open again.
fn is_old_session(world: &World, sight: &Observation) -> bool {
    let Observation::AgentConnected { node, boot, .. } = sight else {
        return false;
    };
    let link = world.nodes.get(node).and_then(|f| f.agent.as_ref());
    link.is_some_and(|l| matches!(&l.value, AgentLink::Up { boot: known } if known == boot))
}

fn of_agent(node: &NodeName, boot: &str, fault: Option<Fault>) -> Vec<Observation> {
    let mut sights = vec![
        Observation::AgentConnected {
            node: node.clone(),
            boot: boot.into(),
            host_boot_unix_ms: 1,
        },
        Observation::AgentHeartbeat {
            node: node.clone(),
            self_health: 0,
            skew_ms: 0,
        },
    ];
    if let Some(fault) = fault {
        let sick = Finding {
            code: "k3s-agent.dead".into(),
            severity: Severity::Critical,
            subject: "k3s-agent".into(),
            summary: "it is dead".into(),
            remedies: vec!["restart".into(), "killall".into()],
            attributes: Vec::new(),
        };
        sights.push(Observation::Report {
            node: node.clone(),
            plugin: "k3s-agent".into(),
            findings: if fault == Fault::Sick {
                vec![sick]
            } else {
                Vec::new()
            },
            fault: None,
        });
    }
    sights
}

fn of_others(state: &State) -> Vec<Observation> {
    let dark = state.fault == Fault::Dark;
    let probed = |observer, silent: bool| Observation::Probed {
        target: worker(),
        observer,
        round: state.tick,
        results: vec![ProbeResult {
            kind: "icmp".into(),
            outcome: if silent {
                ProbeOutcome::Timeout
            } else {
                ProbeOutcome::Reached
            },
            rtt_us: None,
        }],
    };
    let busy = state.operations.iter().any(|o| o.stage == Stage::Pending);
    let mut sights = vec![
        probed(Observer::Controller, dark),
        Observation::Machine {
            node: worker(),
            seen: MachineSeen::Known {
                state: MachineState::Running,
                locked: false,
                pending: busy.then(|| "at work".into()),
            },
        },
    ];
    let peer_silent = dark && state.peer == Peer::Silent;
    if !dark || state.peer != Peer::Mute {
        sights.push(probed(Observer::Node(peer()), peer_silent));
    }
    sights
}
