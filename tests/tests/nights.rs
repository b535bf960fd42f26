//! The nights that Iaso must get through, on hosts that really run its programs.

#![allow(
    clippy::indexing_slicing,
    reason = "a JSON value that is not there is null, which fails the assertion"
)]

use anyhow::{Context, Result};
use iaso_proto::v1::Event;
use iaso_tests::dns::DnsFault;
use iaso_tests::hostinger::{CallKind, Faults};
use iaso_tests::hosts::HostKind;
use iaso_tests::kubeapi::Verb;
use iaso_tests::scene::{Crash, Lab, LabOptions};
use iaso_tests::{story, until};
use serde_json::Value;
use std::time::Duration;

const RECOVERS: Duration = Duration::from_secs(150);
const SEEN: Duration = Duration::from_mins(1);

fn record(event: &Event) -> Value {
    serde_json::from_str(&event.json).unwrap_or_default()
}

/// Whether the event intends this action.
fn intends(event: &Event, action: &str) -> bool {
    let record = record(event);
    record["type"] == "intended" && record["effect"]["action"]["do"] == action
}

/// A failure without the lab's own account could not be understood.
async fn told<T>(lab: &Lab, result: Result<T>) -> Result<T> {
    match result {
        Ok(value) => Ok(value),
        Err(error) => Err(error.context(lab.account().await)),
    }
}

async fn sequence_of(lab: &Lab, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<u64> {
    Ok(lab
        .operator
        .until_event(Duration::from_secs(5), what, wanted)
        .await?
        .sequence)
}

/// Nothing disruptive was asked of the provider.
fn assert_untouched(lab: &Lab) {
    let calls = lab.provider.calls();
    for kind in [
        CallKind::Restart,
        CallKind::Recreate,
        CallKind::Stop,
        CallKind::Start,
    ] {
        assert_eq!(
            calls.received(kind),
            0,
            "{kind:?} was asked of the provider"
        );
    }
}

async fn the_night_of_styx(name: &str, kind: HostKind) -> Result<()> {
    let Some(lab) = story::lab(name, LabOptions::new(kind)).await? else {
        return Ok(());
    };
    lab.host("styx")?.cut().await?;
    let settled = lab.operator.until_settled("styx", RECOVERS).await;
    let incident = told(&lab, settled).await?;
    assert_eq!(incident.state, "closed", "{}", lab.account().await);
    assert_eq!(incident.recreates, 1);
    assert_eq!(incident.rungs, ["reboot", "recreate"]);
    let calls = lab.provider.calls();
    assert_eq!(
        (
            calls.taken(CallKind::Restart),
            calls.taken(CallKind::Recreate)
        ),
        (1, 1)
    );
    assert_eq!(lab.host("styx")?.life().recreates(), 1);

    let stored = sequence_of(&lab, "the password to be stored", |event| {
        let record = record(event);
        record["type"] == "resolved" && record["outcome"]["yielded"]["kind"] == "password"
    });
    let stored = stored.await?;
    let recreated = sequence_of(&lab, "the recreate", |event| intends(event, "recreate")).await?;
    assert!(
        stored < recreated,
        "the password must be stored before the machine is wiped"
    );

    lab.green().await?;
    assert_eq!(lab.kube.ready("styx"), "True");
    let node = lab
        .kube
        .get("nodes", "", "styx")
        .context("the node is gone")?;
    assert_eq!(node["metadata"]["labels"]["iaso.lab/disk"], "ssd");
    assert_ne!(node["spec"]["unschedulable"], true);
    assert!(
        lab.provider.scripts().is_empty(),
        "the script with its token is still at the provider"
    );

    let report = lab.operator.report(&incident.id, "json").await?.body;
    let report: Value = serde_json::from_str(&report)?;
    assert_eq!(
        (&report["outcome"], &report["diagnosis"]),
        (&"recovered".into(), &"isolated".into())
    );
    assert!(
        report["timeline"]
            .as_array()
            .is_some_and(|lines| lines.len() > 10)
    );
    let tried = report["tried"].as_array().context("nothing was tried")?;
    assert!(
        tried
            .iter()
            .all(|rung| rung["why"].as_str().is_some_and(|why| !why.is_empty()))
    );
    assert!(
        !report.to_string().contains("labjoin"),
        "a token is in the report"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn styx_is_cut_off_rebooted_recreated_once_and_well_again_on_containers() -> Result<()> {
    the_night_of_styx("styx on containers", HostKind::Nspawn).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescue_image_that_nobody_reaches_is_left_before_the_machine_is_recreated() -> Result<()>
{
    let mut options = LabOptions::new(HostKind::Process);
    let ladder = r#"[{ rung = "reboot" }, { rung = "rescue" }, { rung = "recreate" }]"#;
    options.policy.extend([
        ("ladder.isolated", ladder.to_owned()),
        ("rescue", "\"auto\"".to_owned()),
        ("rescue_wait_secs", "6".to_owned()),
    ]);
    let Some(lab) = story::lab("rescue image", options).await? else {
        return Ok(());
    };
    lab.host("styx")?.cut().await?;
    let settled = lab.operator.until_settled("styx", RECOVERS).await;
    let incident = told(&lab, settled).await?;
    assert_eq!(incident.state, "closed", "{}", lab.account().await);
    assert_eq!(incident.rungs, ["reboot", "rescue", "recreate"]);
    let calls = lab.provider.calls();
    let taken = [
        CallKind::Restart,
        CallKind::RecoveryStart,
        CallKind::RecoveryStop,
        CallKind::Recreate,
    ]
    .map(|kind| calls.taken(kind));
    assert_eq!(taken, [1; 4], "{}", lab.account().await);
    let left = sequence_of(&lab, "the image to be left", |event| {
        intends(event, "leave-rescue")
    });
    let left = left.await?;
    let wiped = sequence_of(&lab, "the recreate", |event| intends(event, "recreate")).await?;
    assert!(left < wiped, "it was wiped in the rescue image");
    let report = lab.operator.report(&incident.id, "md").await?.body;
    assert!(
        report.contains("the fault was outside the machine"),
        "{report}"
    );
    lab.green().await
}

#[tokio::test(flavor = "multi_thread")]
async fn styx_is_cut_off_rebooted_recreated_once_and_well_again_on_processes() -> Result<()> {
    the_night_of_styx("styx on processes", HostKind::Process).await
}

async fn a_killed_k3s_agent(name: &str, kind: HostKind) -> Result<()> {
    let Some(lab) = story::lab(name, LabOptions::new(kind)).await? else {
        return Ok(());
    };
    let styx = lab.host("styx")?;
    let (_, before) = styx.unit("k3s-agent.service").await?;
    styx.kill_unit("k3s-agent.service").await?;
    let settled = lab.operator.until_settled("styx", RECOVERS).await;
    let incident = told(&lab, settled).await?;
    assert_eq!(incident.state, "closed", "{}", lab.account().await);
    assert!(
        incident
            .rungs
            .iter()
            .all(|rung| rung.contains("k3s-agent/")),
        "{:?}",
        incident.rungs
    );
    let (state, after) = styx.unit("k3s-agent.service").await?;
    assert_eq!(state, "active");
    assert!(
        after != 0 && after != before,
        "the unit's program is the same as before"
    );
    assert_untouched(&lab);
    assert_eq!((styx.life().boots(), styx.life().recreates()), (1, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_k3s_agent_is_restarted_by_its_plugin_over_the_real_dbus() -> Result<()> {
    a_killed_k3s_agent("k3s-agent killed on containers", HostKind::Nspawn).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_k3s_agent_is_restarted_by_its_plugin_on_processes() -> Result<()> {
    a_killed_k3s_agent("k3s-agent killed on processes", HostKind::Process).await
}

/// The agent hangs and k3s-agent is down, and the machine's kernel still answers probes: nobody is left there who could act.
/// At its next boot k3s-agent dies at once, and systemd does not try again; a later start works.
fn let_k3s_die_at_boot(lab: &Lab, host: &str) -> Result<()> {
    let root = lab.directory().join(host).join("root");
    let drop_in = root.join("etc/systemd/system/k3s-agent.service.d");
    std::fs::create_dir_all(&drop_in)?;
    std::fs::write(
        drop_in.join("lab.conf"),
        "[Service]\nRestart=no\nExecStartPre=/bin/sh -c 'test ! -e /k3s-dies-once || { rm /k3s-dies-once; exit 1; }'\n",
    )?;
    std::fs::write(root.join("k3s-dies-once"), "")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_boots_with_k3s_dead_is_mended_by_its_own_agent_and_says_so() -> Result<()> {
    let name = "a host that boots with k3s dead";
    let Some(lab) = story::lab(name, LabOptions::new(HostKind::Nspawn)).await? else {
        return Ok(());
    };
    let styx = lab.host("styx")?;
    let_k3s_die_at_boot(&lab, "styx")?;
    styx.power_off().await?;
    let settled = lab.operator.until_settled("styx", RECOVERS).await;
    let incident = told(&lab, settled).await?;
    assert_eq!(incident.state, "closed", "{}", lab.account().await);
    let (mended, other): (Vec<_>, Vec<_>) = incident
        .rungs
        .iter()
        .partition(|rung| rung.contains("k3s-agent/"));
    assert!(!mended.is_empty(), "{:?}", incident.rungs);
    assert_eq!(
        other,
        ["start"],
        "it was switched on, and the rest is its agent's doing"
    );
    assert_eq!(styx.unit("k3s-agent.service").await?.0, "active");
    assert_eq!((styx.life().boots(), styx.life().recreates()), (2, 0));
    let report = lab.operator.report(&incident.id, "md").await?;
    assert!(
        report.body.contains("k3s-agent says k3s-agent."),
        "{}",
        report.body
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_agent_is_named_and_given_time_and_mends_its_node_when_it_lives_again() -> Result<()>
{
    let Some(lab) = story::lab("agent hung", LabOptions::new(HostKind::Process)).await? else {
        return Ok(());
    };
    let styx = lab.host("styx")?;
    styx.freeze_unit("iaso-agent.service").await?;
    styx.kill_unit("k3s-agent.service").await?;
    let named = until(SEEN, "styx to be called hung, and given time", || async {
        let nodes = lab.operator.nodes().await.unwrap_or_default();
        nodes.iter().any(|node| {
            let given_time = node.waiting.iter().any(|why| why.contains("before reboot"));
            node.name == "styx" && node.diagnosis == "hung" && given_time
        })
    });
    told(&lab, named.await).await?;
    assert_untouched(&lab);

    styx.thaw().await?;
    let settled = lab.operator.until_settled("styx", RECOVERS).await;
    let incident = told(&lab, settled).await?;
    assert_eq!(incident.state, "closed", "{}", lab.account().await);
    assert_eq!(styx.unit("k3s-agent.service").await?.0, "active");
    assert_untouched(&lab);
    assert_eq!((styx.life().boots(), styx.life().recreates()), (1, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_upstream_of_coredns_is_named_and_reboots_nothing() -> Result<()> {
    let Some(lab) = story::lab("CoreDNS broken", LabOptions::new(HostKind::Process)).await? else {
        return Ok(());
    };
    lab.set_dns(DnsFault::UpstreamGone);
    let found = until(
        SEEN,
        "a finding about the upstream on every node",
        || async {
            for name in lab.hosts.keys() {
                let Ok(detail) = lab.operator.node(name).await else {
                    return false;
                };
                let named = detail.findings.iter().any(|finding| {
                    finding.plugin == "coredns"
                        && finding.severity != "ok"
                        && finding.code.contains("upstream")
                });
                if !named {
                    return false;
                }
            }
            true
        },
    );
    told(&lab, found.await).await?;
    assert_untouched(&lab);
    lab.set_dns(DnsFault::None);
    told(&lab, lab.green().await).await?;
    assert_untouched(&lab);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_killed_in_a_recreate_finishes_it_and_never_repeats_it() -> Result<()> {
    let Some(mut lab) = story::lab("controller killed", LabOptions::new(HostKind::Process)).await?
    else {
        return Ok(());
    };
    lab.host("styx")?.cut().await?;
    let begun = lab
        .operator
        .until_event(RECOVERS, "the recreate to begin", |event| {
            intends(event, "recreate")
        });
    let begun = begun.await;
    let begun = told(&lab, begun).await?;
    // The order is on its way, taken or not: the hardest moment.
    lab.controller.crash(Crash::Kill).await?;
    lab.controller_again().await?;
    let settled = lab.operator.until_settled("styx", RECOVERS).await;
    let incident = told(&lab, settled).await?;
    assert_eq!(
        (incident.id.as_str(), incident.state.as_str()),
        (begun.incident.as_str(), "closed"),
        "{}",
        lab.account().await
    );
    assert_eq!(lab.provider.calls().taken(CallKind::Recreate), 1);
    assert_eq!(lab.host("styx")?.life().recreates(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_is_itself_cut_off_says_so_and_touches_nothing() -> Result<()> {
    let Some(lab) = story::lab("controller cut off", LabOptions::new(HostKind::Process)).await?
    else {
        return Ok(());
    };
    lab.kube.hang();
    for host in lab.hosts.values() {
        host.cut().await?;
    }
    let said = until(
        SEEN,
        "the controller to say that it may be the one cut off",
        || async {
            let nodes = lab.operator.nodes().await.unwrap_or_default();
            nodes
                .iter()
                .any(|node| node.diagnosis == "controller-cut-off")
        },
    );
    told(&lab, said.await).await?;
    let explanation = lab.operator.explain("styx").await?;
    assert!(
        explanation
            .rungs
            .iter()
            .chain(&explanation.gates)
            .any(|line| !line.yes && !line.why.is_empty())
    );
    lab.kube.unhang();
    for host in lab.hosts.values() {
        host.heal().await?;
    }
    told(&lab, lab.green().await).await?;
    assert_untouched(&lab);
    assert!(
        !lab.kube
            .deeds()
            .iter()
            .any(|deed| deed.who == "admin" && deed.verb == Verb::Delete)
    );
    Ok(())
}

/// The provider's word is unknown: nothing climbs, and the operator reads why.
async fn nothing_escalates(lab: &Lab, word: &str) -> Result<()> {
    lab.host("styx")?.cut().await?;
    let said = until(SEEN, "the operator to read why nothing happens", || async {
        let nodes = lab.operator.nodes().await.unwrap_or_default();
        nodes.iter().any(|node| {
            node.name == "styx"
                && node.diagnosis == "provider-unknown"
                && format!("{} {:?}", node.machine_state, node.waiting).contains(word)
        })
    });
    told(lab, said.await).await?;
    assert_untouched(lab);
    assert_eq!(lab.host("styx")?.life().boots(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_answers_404_to_everything_escalates_nothing() -> Result<()> {
    let Some(lab) = story::lab("provider 404", LabOptions::new(HostKind::Process)).await? else {
        return Ok(());
    };
    lab.provider.set_faults(Faults {
        not_found_everywhere: true,
        ..Faults::default()
    });
    nothing_escalates(&lab, "not-found").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_the_provider_does_not_know_is_never_acted_on() -> Result<()> {
    let options = LabOptions {
        styx_machine: Some("999999".into()),
        ..LabOptions::new(HostKind::Process)
    };
    let Some(lab) = story::lab("unknown machine", options).await? else {
        return Ok(());
    };
    nothing_escalates(&lab, "not-found").await
}
