//! What the facts say: channels, observers, a cluster's domains.

use crate::night::{Night, critical, name, running};
use crate::{ago, facts, peer, probe_at, styx, well};
use iaso_engine::diagnose::channel::{Agent, Lease, Machine};
use iaso_engine::diagnose::reach::Reach;
use iaso_engine::diagnose::{Assessment, Assessments, assess};
use iaso_engine::fact::{Observer, PluginFault, ProbeOutcome, Role, Severity};
use iaso_engine::record::Diagnosis;
use iaso_engine::time::Tick;
use iaso_engine::world::AgentLink;

fn all(night: &Night) -> Assessments {
    assess(&night.situation())
}

fn seen(night: &Night) -> Assessment {
    all(night).nodes[&name("styx")].clone()
}

/// What styx is after its facts were changed, in a night in which all are well.
fn after(change: impl Fn(&mut Night)) -> Assessment {
    let mut night = well();
    change(&mut night);
    seen(&night)
}

/// An agent is gone, a provider's word old and a lease silent at the moment at which their time is over, not after it.
#[test]
fn a_channel_s_word_is_over_at_its_own_moment() {
    let never_seen = |ms: u64| {
        after(|n| {
            n.world.since = ago(n, ms);
            facts(n, "styx").agent = None;
            facts(n, "styx").heartbeat = None;
        })
        .agent
    };
    assert_eq!(never_seen(29_999), Agent::Unknown);
    assert!(matches!(
        never_seen(30_000),
        Agent::Gone { seen: false, .. }
    ));
    let asked = |ms: u64| {
        after(|n| {
            let at = ago(n, ms);
            facts(n, "styx").machine = Some(iaso_engine::world::Seen {
                at,
                value: running(),
            });
        })
        .machine
    };
    assert!(matches!(asked(59_999), Machine::Known { .. }));
    assert_eq!(asked(60_000), Machine::Unasked);
    // The API server fell silent, whatever is still fresh of the node.
    let api = |ms: u64| {
        after(|n| {
            let at = ago(n, ms);
            n.world.kube_api.as_mut().expect("it was asked").at = at;
        })
        .lease
    };
    assert_eq!(api(49_999), Lease::Fresh);
    assert!(matches!(api(50_000), Lease::Unknown { .. }));
    // A lease of which no change was seen yet is not stale before it has had its time.
    let never_renewed = |ms: u64| {
        after(|n| {
            n.world.since = ago(n, ms);
            let kube = facts(n, "styx").kube.as_mut().expect("it was seen");
            kube.value.lease_changed = None;
        })
        .lease
    };
    assert_eq!(never_renewed(49_999), Lease::Young);
    assert!(matches!(never_renewed(50_000), Lease::Stale { .. }));
}

/// Who may accuse others: fit by its own word, on time, in the cluster, and with nothing open against it.
#[test]
fn an_observer_is_fit_in_every_way() {
    let counts = |change: &dyn Fn(&mut Night)| {
        let mut night = well();
        change(&mut night);
        all(&night).healthy_observers.contains(&name("styx"))
    };
    assert!(counts(&|_| {}));
    assert!(counts(&|n| facts(n, "styx").self_health = 3));
    assert!(!counts(&|n| facts(n, "styx").self_health = 4));
    assert!(counts(&|n| facts(n, "styx").skew_ms = -30_000));
    assert!(!counts(&|n| facts(n, "styx").skew_ms = -30_001));
    assert!(!counts(&|n| {
        let kube = facts(n, "styx").kube.as_mut().expect("it was seen");
        kube.value.lease_changed = Some(Tick(1));
    }));
    assert!(!counts(&|n| named(n, Severity::Critical, false)));
}

/// A finding of styx, of a plugin that is whole or broken.
fn named(night: &mut Night, severity: Severity, broken: bool) {
    let run = facts(night, "styx").plugins.get_mut("k3s-agent");
    let run = &mut run.expect("it ran").value;
    run.findings = vec![critical("k3s-agent.dead", &["restart"])];
    run.findings[0].severity = severity;
    run.fault = broken.then(|| PluginFault {
        class: "trap".into(),
        message: "x".into(),
    });
}

#[test]
fn only_a_critical_finding_of_a_whole_plugin_that_is_acted_on_is_a_fault() {
    let faults = |severity: Severity, broken: bool, act_on: &str| {
        after(|n| {
            named(n, severity, broken);
            n.policy.act_on = vec![act_on.into()];
        })
        .faults
        .len()
    };
    assert_eq!(faults(Severity::Critical, false, "k3s-agent.*"), 1);
    assert_eq!(faults(Severity::Critical, true, "k3s-agent.*"), 0);
    assert_eq!(faults(Severity::Warning, false, "k3s-agent.*"), 0);
    assert_eq!(faults(Severity::Critical, false, "coredns.*"), 0);
}

#[test]
fn an_agent_that_calls_itself_unfit_is_told_of_from_the_first_number_that_is() {
    let told = |health: u32| {
        let words = after(|n| facts(n, "styx").self_health = health).evidence;
        words.iter().any(|word| word.contains("calls itself unfit"))
    };
    assert!(!told(3) && told(4) && told(5));
}

/// Two agents with stale leases are the API server's trouble already; one is its own.
#[test]
fn two_stale_leases_of_two_live_agents_are_the_api_server_s_trouble() {
    let mut night = well();
    for node in ["styx", "calypso"] {
        let kube = facts(&mut night, node).kube.as_mut().expect("it was seen");
        kube.value.lease_changed = Some(Tick(1));
    }
    assert!(matches!(seen(&night).lease, Lease::Stale { .. }));
    facts(&mut night, "tethys").agent = None;
    facts(&mut night, "tethys").heartbeat = None;
    assert!(matches!(seen(&night).lease, Lease::Unknown { .. }));
}

/// Silence is nobody's answer and enough who asked, the controller among them; a chorus the controller's own ear and no silence.
#[test]
fn silence_and_chorus_are_what_they_say() {
    let reach =
        |reached: u32, silent: u32, controller_silent: bool, controller_reached: bool| Reach {
            reached,
            silent,
            controller_silent,
            controller_reached,
        };
    assert!(reach(0, 2, true, false).is_silence(2));
    assert!(!reach(0, 1, true, false).is_silence(2));
    assert!(!reach(0, 2, false, false).is_silence(2));
    assert!(!reach(0, 0, false, false).is_silence(2));
    assert!(!reach(1, 2, true, false).is_silence(2));
    assert!(!reach(0, 0, true, false).is_silence(0));
    assert!(reach(2, 0, false, true).is_chorus());
    assert!(!reach(2, 1, false, true).is_chorus());
    assert!(!reach(2, 0, false, false).is_chorus());
}

/// Whose ear it was that an answer reached.
#[test]
fn the_controller_s_own_ear_is_told_apart_from_a_peer_s() {
    let heard_by = |observer: Observer| {
        let reach = after(|n| {
            let now = n.now();
            probe_at(n, now, observer.clone(), ProbeOutcome::Reached);
        })
        .reach;
        (reach.reached, reach.controller_reached)
    };
    assert_eq!(heard_by(Observer::Controller), (1, true));
    assert_eq!(heard_by(peer("tethys")), (1, false));
}

/// Two and more than half, and not the whole cluster.
#[test]
fn a_domain_fails_with_two_of_its_nodes_and_more_than_half() {
    let held = |zone: &[&str], others: usize, down: &[&str]| {
        let (mut night, _) =
            crate::night::moment::before(styx(), crate::night::moment::intends("reboot"));
        let (dark, fine) = (
            night.world.nodes[&name("styx")].clone(),
            night.world.nodes[&name("tethys")].clone(),
        );
        let more = (0..others).map(|n| format!("other-{n}"));
        for node in zone.iter().map(|n| (*n).to_owned()).chain(more) {
            if node != "styx" {
                night.add(&node, Role::Worker, true);
                let is_down = down.contains(&node.as_str());
                let facts = if is_down { &dark } else { &fine };
                night.world.nodes.insert(name(&node), facts.clone());
            }
        }
        for node in zone {
            let spec = night.inventory.nodes.get_mut(&name(node));
            let domains = &mut spec.expect("it is declared").domains;
            domains.insert("zone".into(), "fra1".into());
        }
        night.policy.storm_limit = 99;
        !all(&night).domains.is_empty()
    };
    assert!(!held(&["styx"], 3, &["styx"]), "one of one");
    assert!(held(&["styx", "a"], 3, &["styx", "a"]), "two of two");
    assert!(!held(&["styx", "a", "b"], 3, &["styx"]), "one of three");
    assert!(held(&["styx", "a", "b"], 3, &["styx", "a"]), "two of three");
    assert!(!held(&["styx", "a", "b", "c"], 3, &["styx", "a"]), "half");
}

/// Who never joined is not lost, and is not one of those of whom most are.
#[test]
fn nodes_that_never_joined_do_not_make_the_controller_cut_off() {
    let mut night = well();
    for node in ["lethe", "acheron"] {
        night.add(node, Role::Worker, true);
        let mut stranger = night.world.nodes[&name("calypso")].clone();
        (stranger.agent, stranger.heartbeat) = (None, None);
        stranger.kube.as_mut().expect("it was seen").value.exists = false;
        night.world.nodes.insert(name(node), stranger);
    }
    assert_eq!(
        all(&night).nodes[&name("lethe")].alone,
        Diagnosis::NeverJoined
    );
    let facts = facts(&mut night, "styx");
    facts.heartbeat = Some(Tick(1));
    assert_eq!(all(&night).cut_off, None, "one of three is lost");
}

/// A node of which an incident knows that it joined has not "never joined" because its Node object is gone.
#[test]
fn a_node_whose_object_is_gone_has_joined_all_the_same_where_its_incident_knows() {
    let missing = |n: &mut Night| {
        let kube = facts(n, "styx").kube.as_mut().expect("it was seen");
        kube.value.exists = false;
    };
    let (mut dark, _) =
        crate::night::moment::before(styx(), crate::night::moment::intends("reboot"));
    missing(&mut dark);
    assert_eq!(seen(&dark).alone, Diagnosis::Isolated);
    let wakes = |n: &mut Night| {
        let now = n.now();
        let boot = "boot-2".into();
        let facts = facts(n, "styx");
        facts.heartbeat = Some(now);
        facts.agent = Some(iaso_engine::world::Seen {
            at: now,
            value: AgentLink::Up { boot },
        });
    };
    wakes(&mut dark);
    assert_eq!(seen(&dark).alone, Diagnosis::K3sAgentDown);
    assert_eq!(after(missing).alone, Diagnosis::NeverJoined);
}

/// Without Kubernetes' word: everybody's answer is a lost agent, one silence among them a partition.
#[test]
fn one_silence_among_answers_is_a_partition() {
    let alone = |calypso: ProbeOutcome| {
        after(|n| {
            let now = n.now();
            n.world.kube_api = None;
            facts(n, "styx").heartbeat = Some(Tick(1));
            probe_at(n, now, Observer::Controller, ProbeOutcome::Reached);
            probe_at(n, now, peer("calypso"), calypso);
        })
        .alone
    };
    assert_eq!(alone(ProbeOutcome::Reached), Diagnosis::AgentLost);
    assert_eq!(alone(ProbeOutcome::Timeout), Diagnosis::PartialPartition);
}

/// What holds for one node holds in the first look already.
#[test]
fn a_node_s_own_policy_is_known_from_the_first_look() {
    let mut night = well();
    let own = iaso_engine::policy::Override {
        confirm_secs: Some(7),
        ..Default::default()
    };
    night.policy.nodes.insert(name("styx"), own);
    let situation = night.situation();
    let all = assess(&situation);
    let confirm = |node: &str| all.policy(&situation, &name(node)).confirm_secs;
    assert_eq!((confirm("styx"), confirm("calypso")), (7, 30));
}
