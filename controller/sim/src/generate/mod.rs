//! Makes a scenario from a seed and a number: faults × topologies × providers that lie × crashes × messages that are lost, late or doubled.
//!
//! What is assumed, so that a decision can be right at all: a machine answers probes within the policy's `reboot_wait_secs` after a reboot
//! that worked; the quorum is at least two; an outage that several machines share passes by itself or is healed by what the policy allows.

mod faults;
mod policy;

use crate::rng::{Stream, hash};
use crate::scenario::{
    Answer, CrashOn, Ms, NetManner, NodeSetup, Operator, ProviderManner, RebootManner,
    RecreateManner, SECOND, Scenario,
};
use iaso_engine::fact::Role;
use iaso_engine::id::NodeName;

/// The run ends here at the latest: three hours.
const HORIZON: Ms = 3 * 3_600 * SECOND;

/// The scenario of a seed and a number.
#[must_use]
pub fn scenario(seed: u64, number: u64) -> Scenario {
    let seed = hash(seed, [number, 0, 9]);
    let mut topology = Stream::new(seed, "topology");
    let mut manners = Stream::new(seed, "manners");
    let nodes = nodes(&mut topology);
    let has_cluster = topology.percent(92);
    let policy = policy::policy(&mut Stream::new(seed, "policy"));
    let strikes = faults::strikes(&mut Stream::new(seed, "faults"), &nodes);
    Scenario {
        seed,
        has_cluster,
        policy,
        strikes,
        provider: provider(&mut manners),
        net: net(&mut manners),
        operator: Operator {
            answer: manners.weighted(
                &[(70, Answer::Yes), (15, Answer::No), (15, Answer::Never)],
                Answer::Yes,
            ),
            delay: manners.between(5, 600) * SECOND,
        },
        crash_on: crash_on(&mut Stream::new(seed, "crashes")),
        horizon: HORIZON,
        nodes,
    }
}

fn nodes(stream: &mut Stream) -> Vec<NodeSetup> {
    let count = match stream.below(1_000) {
        0..60 => 1,
        60..160 => 2,
        160..480 => 3,
        480..780 => stream.between(4, 6),
        780..970 => stream.between(7, 12),
        970..998 => stream.between(13, 40),
        _ => stream.between(41, 200),
    };
    let servers = if count >= 5 && stream.percent(40) {
        3
    } else {
        1
    };
    // A control plane elsewhere, in some.
    let servers = if stream.percent(15) { 0 } else { servers };
    let machines = stream.percent(92);
    let zones = if count >= 4 && stream.percent(60) {
        stream.between(2, 4)
    } else {
        0
    };
    let mut nodes: Vec<NodeSetup> = (0..count)
        .map(|number| node(stream, number, number < servers, machines))
        .collect();
    for node in &mut nodes {
        node.zone = (zones > 0).then(|| u8::try_from(stream.below(zones)).unwrap_or(0));
    }
    nodes
}

fn node(stream: &mut Stream, number: u64, server: bool, machines: bool) -> NodeSetup {
    let slow = stream.percent(10);
    NodeSetup {
        name: NodeName::new(format!("n{number:03}")).expect("letters and digits are a valid name"),
        role: if server { Role::Server } else { Role::Worker },
        machine: machines && stream.percent(92),
        zone: None,
        local_data: stream.percent(12),
        cordoned: stream.percent(3),
        joined: server || !stream.percent(2),
        boot: stream.between(10, 80) * SECOND,
        ready: if slow {
            stream.between(300, 780) * SECOND
        } else {
            stream.between(8, 90) * SECOND
        },
        skew_ms: if stream.percent(8) {
            i64::try_from(stream.below(7_200_000)).unwrap_or(0) - 3_600_000
        } else {
            0
        },
    }
}

fn provider(stream: &mut Stream) -> ProviderManner {
    let flaky = stream.percent(30);
    let some = |stream: &mut Stream, most: u64| if flaky { stream.below(most) } else { 0 };
    let slow = stream.percent(10);
    ProviderManner {
        latency: if slow {
            (2 * SECOND, 18 * SECOND)
        } else {
            (250, 2 * SECOND)
        },
        lost_calls: some(stream, 120),
        lost_answers: some(stream, 250),
        refused: some(stream, 150),
        reboot: stream.weighted(
            &[
                (70, RebootManner::Works),
                (15, RebootManner::DoesNothing),
                (15, RebootManner::Fails),
            ],
            RebootManner::Works,
        ),
        recreate: stream.weighted(
            &[
                (80, RecreateManner::Works),
                (5, RecreateManner::FailsBefore),
                (5, RecreateManner::HalfDone),
                (5, RecreateManner::ComesUpBare),
                (5, RecreateManner::RefusesPassword),
            ],
            RecreateManner::Works,
        ),
        power: (5 * SECOND, stream.between(10, 120) * SECOND),
        reinstall: (30 * SECOND, stream.between(60, 400) * SECOND),
        meters: stream.percent(70),
    }
}

fn net(stream: &mut Stream) -> NetManner {
    let bad = stream.percent(40);
    NetManner {
        loss: if bad { stream.between(5, 150) } else { 0 },
        duplicates: if bad { stream.below(100) } else { 0 },
        delay: if stream.percent(35) {
            stream.below(9) * SECOND
        } else {
            0
        },
        breaks: if stream.percent(10) {
            stream.between(5, 60)
        } else {
            0
        },
    }
}

fn crash_on(stream: &mut Stream) -> Vec<CrashOn> {
    const STEPS: [(u64, &str); 12] = [
        (4, "reboot"),
        (6, "recreate"),
        (1, "start"),
        (2, "apply-fix"),
        (1, "remember"),
        (2, "cordon"),
        (2, "store-password"),
        (2, "prepare-script"),
        (1, "release"),
        (1, "restore"),
        (1, "uncordon"),
        (1, "cleanup"),
    ];
    let count = stream.weighted(&[(80, 0), (15, 1), (5, 2)], 0);
    (0..count)
        .map(|_| CrashOn {
            action: stream.weighted(&STEPS, "recreate"),
            sent: stream.percent(50),
            down: stream.weighted(&[(60, 3), (30, 40), (10, 300)], 3) * SECOND,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_gives_the_same_scenario_and_another_gives_another() {
        let show = |seed, number| format!("{:?}", scenario(seed, number));
        assert_eq!(show(1, 5), show(1, 5));
        assert_ne!(show(1, 5), show(1, 6));
        assert_ne!(show(1, 5), show(2, 5));
    }

    #[test]
    fn a_thousand_scenarios_hold_every_size_fault_and_manner() {
        let all: Vec<Scenario> = (0..1_000).map(|n| scenario(3, n)).collect();
        let text = format!("{all:?}");
        for word in [
            "Cut",
            "Hang",
            "PowerOff",
            "K3sDown",
            "KubeletSilent",
            "Check",
            "AgentDead",
            "Stalled",
            "PluginBroken",
            "Sluggish",
            "Path",
            "ZoneSplit",
            "Blind",
            "ControllerCut",
            "ApiDown",
            "ApiOverload",
            "LeaseFrozen",
            "ReadyLatched",
            "Unauthorized",
            "NotFound",
            "RateLimited",
            "Suspended",
            "Locked",
            "SaysRunning",
            "SaysStopped",
            "SecretStore",
            "Journal",
            "Paused",
            "Crash",
            "DoesNothing",
            "HalfDone",
            "ComesUpBare",
        ] {
            assert!(text.contains(word), "{word} is never generated");
        }
        assert!(all.iter().any(|s| s.nodes.len() == 1));
        assert!(all.iter().any(|s| s.nodes.len() > 40));
        assert!(
            all.iter()
                .all(|s| s.policy.quorum >= 2 && !s.strikes.is_empty())
        );
    }
}
