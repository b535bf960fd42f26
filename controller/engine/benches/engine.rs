//! How fast facts are taken in, and how long one decision takes, on clusters of 3, 100 and 10,000 nodes.

#![allow(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark reads the clock, which the engine must not"
)]

use iaso_engine::fact::{
    Inventory, KubeNode, MachineSeen, MachineState, NodeSpec, Observation, Ready, Role,
};
use iaso_engine::id::{MachineId, NodeName};
use iaso_engine::ledger::Ledger;
use iaso_engine::plan::{Planner, Situation, plan};
use iaso_engine::policy::Policy;
use iaso_engine::time::Tick;
use iaso_engine::world::World;
use iaso_measure::{Figure, Times};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

const START: u64 = 1_760_226_300_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    facts_taken_in()?;
    for (nodes, steps) in [(3, 20_000), (100, 5_000), (10_000, 300)] {
        step(nodes, steps)?;
    }
    Ok(())
}

fn name(i: usize) -> Result<NodeName, iaso_engine::id::InvalidName> {
    NodeName::new(format!("node-{i:05}"))
}

struct Cluster {
    names: Vec<NodeName>,
    inventory: Inventory,
    world: World,
}

/// All well, every channel known.
fn cluster(nodes: usize) -> Result<Cluster, Box<dyn std::error::Error>> {
    let mut inventory = Inventory {
        has_cluster: true,
        ..Inventory::default()
    };
    let mut world = World::new(Tick(START));
    let now = Tick(START + 60_000);
    world.observe(now, Observation::KubeApi { trouble: None });
    let mut names = Vec::with_capacity(nodes);
    for i in 0..nodes {
        let node = name(i)?;
        inventory.nodes.insert(
            node.clone(),
            NodeSpec {
                name: node.clone(),
                role: Role::Worker,
                machine: Some(("hostinger".into(), MachineId(i.to_string()))),
                domains: std::collections::BTreeMap::new(),
            },
        );
        for fact in facts(&node) {
            world.observe(now, fact);
        }
        names.push(node);
    }
    Ok(Cluster {
        names,
        inventory,
        world,
    })
}

/// One of each that a quiet node sends all day.
fn facts(node: &NodeName) -> [Observation; 5] {
    [
        Observation::AgentConnected {
            node: node.clone(),
            boot: "boot".into(),
            host_boot_unix_ms: 1,
        },
        heartbeat(node),
        Observation::Report {
            node: node.clone(),
            plugin: "k3s-agent".into(),
            findings: Vec::new(),
            fault: None,
        },
        Observation::Kube {
            node: node.clone(),
            seen: KubeNode {
                exists: true,
                ready: Ready::True,
                lease_changed: Some(Tick(START + 60_000)),
                unschedulable: false,
                uid: "uid".into(),
                kubelet_version: "v1.33.4+k3s1".into(),
                stuck_pods: 0,
                local_data: Vec::new(),
                opt_out: None,
            },
        },
        Observation::Machine {
            node: node.clone(),
            seen: MachineSeen::Known {
                state: MachineState::Running,
                locked: false,
                pending: None,
            },
        },
    ]
}

fn heartbeat(node: &NodeName) -> Observation {
    Observation::AgentHeartbeat {
        node: node.clone(),
        self_health: 0,
        skew_ms: 0,
    }
}

fn facts_taken_in() -> Result<(), Box<dyn std::error::Error>> {
    const ROUNDS: usize = 20;
    let mut made = cluster(10_000)?;
    let all: Vec<Observation> = made.names.iter().flat_map(facts).collect();
    let texts: Vec<String> = all
        .iter()
        .map(serde_json::to_string)
        .collect::<Result<_, _>>()?;
    let (mut taken, mut parsed) = (Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        let batch = all.clone();
        let now = Tick(START + 61_000 + round as u64);
        let started = Instant::now();
        for fact in batch {
            made.world.observe(now, fact);
        }
        taken += started.elapsed();
        let started = Instant::now();
        for text in &texts {
            black_box(serde_json::from_str::<Observation>(text)?);
        }
        parsed += started.elapsed();
    }
    let count = (all.len() * ROUNDS) as f64;
    Figure {
        name: "engine.facts".into(),
        unit: "1/s".into(),
        value: count / taken.as_secs_f64(),
        baseline_is: "the same facts parsed from JSON".into(),
        baseline: count / parsed.as_secs_f64(),
        reach: Some(1e6),
        runs: all.len() * ROUNDS,
    }
    .tell()?;
    Ok(())
}

/// One heartbeat comes in, and everything that follows from it is decided.
fn step(nodes: usize, steps: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut made = cluster(nodes)?;
    let (policy, ledger) = (Policy::default(), Ledger::default());
    let mut turn = 0_usize;
    let mut planner = Planner::default();
    let mut step = |going_on: bool| {
        turn += 1;
        let now = Tick(START + 60_000 + turn as u64);
        let Some(node) = made.names.get(turn % nodes) else {
            return;
        };
        made.world.observe(now, heartbeat(node));
        let situation = Situation {
            now,
            policy: &policy,
            inventory: &made.inventory,
            world: &made.world,
            ledger: &ledger,
        };
        if going_on {
            black_box(planner.step(&situation, BTreeSet::from([node.clone()])));
        } else {
            black_box(plan(&situation));
        }
    };
    let full = Times::measure(steps / 10, steps, || step(false));
    let going_on = Times::measure(steps / 10, steps.max(2_000), || step(true));
    for (what, per_mille, reach) in [("p50", 500, None), ("p99", 990, Some(1_000.0))] {
        Figure {
            name: format!("engine.step-{what}.{nodes}-nodes"),
            unit: "us".into(),
            value: going_on.quantile_us(per_mille),
            baseline_is: "planning the whole cluster anew".into(),
            baseline: full.quantile_us(per_mille),
            reach,
            runs: going_on.runs(),
        }
        .tell()?;
    }
    Ok(())
}
