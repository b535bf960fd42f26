//! Broken plugins and absent controllers, end to end: what the operator reads, and what goes on all the same.

use anyhow::Result;
use iaso_components::Hostile;
use iaso_tests::hosts::HostKind;
use iaso_tests::scene::{Crash, Lab, LabOptions};
use iaso_tests::{story, until};
use std::fmt::Write;
use std::time::Duration;

const RECOVERS: Duration = Duration::from_secs(150);
const SEEN: Duration = Duration::from_mins(1);

/// A failure without the lab's own account could not be understood.
async fn told<T>(lab: &Lab, result: Result<T>) -> Result<T> {
    match result {
        Ok(value) => Ok(value),
        Err(error) => Err(error.context(lab.account().await)),
    }
}

/// Every hostile plugin, and the words that the operator must read.
fn hostile() -> Vec<(Hostile, &'static str)> {
    let refused = [
        (Hostile::NotWasm, "not assigned: this is not WebAssembly"),
        (
            Hostile::CoreModule,
            "not assigned: this is a core module, not a component",
        ),
    ];
    Hostile::COMPILED.into_iter().chain(refused).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_plugins_are_shown_as_broken_by_class_and_a_killed_k3s_agent_is_mended_beside_them()
-> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut plugins = String::new();
    for (hostile, _) in hostile() {
        let path = directory.path().join(format!("{}.wasm", hostile.name()));
        std::fs::write(&path, hostile.bytes())?;
        writeln!(
            plugins,
            "[[plugins]]\nname = \"{}\"\npath = \"{}\"\ninterval_secs = 1\ntimeout_ms = 5000",
            hostile.name(),
            path.display()
        )?;
    }
    let options = LabOptions {
        plugins,
        ..LabOptions::new(HostKind::Process)
    };
    let Some(lab) = story::lab("hostile plugins", options).await? else {
        return Ok(());
    };
    let styx = lab.host("styx")?;
    let agent = styx.unit("iaso-agent.service").await?;

    let shown = until(
        SEEN,
        "every hostile plugin to be shown as broken",
        || async {
            let Ok(detail) = lab.operator.node("styx").await else {
                return false;
            };
            hostile().iter().all(|(hostile, words)| {
                let of = detail
                    .findings
                    .iter()
                    .filter(|f| f.plugin == hostile.name());
                of.clone().count() == 1 && of.clone().all(|f| f.fault.starts_with(words))
            })
        },
    );
    told(&lab, shown.await).await?;
    let printed = story::iaso_node(&lab, "styx").await?;
    // A line that is too long for the terminal goes on in the next.
    let printed = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    for (hostile, words) in hostile() {
        let line = format!("*plugin broken* {}: {words}", hostile.name());
        assert!(printed.contains(&line), "{line:?} is not in\n{printed}");
    }

    styx.kill_unit("k3s-agent.service").await?;
    let incident = told(&lab, lab.operator.until_settled("styx", RECOVERS).await).await?;
    assert_eq!(incident.state, "closed", "{}", lab.account().await);
    assert!(
        incident
            .rungs
            .iter()
            .all(|rung| rung.contains("k3s-agent/")),
        "{:?}",
        incident.rungs
    );
    assert_eq!(
        styx.unit("iaso-agent.service").await?,
        agent,
        "the agent lives"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_controller_dead_the_agent_restarts_k3s_agent_itself_and_the_journal_has_it_afterwards()
-> Result<()> {
    let options = LabOptions {
        plugins: "[delegation]\ncut_off_after_secs = 4\n".into(),
        ..LabOptions::new(HostKind::Process)
    };
    let Some(mut lab) = story::lab("controller dead", options).await? else {
        return Ok(());
    };
    let (_, before) = lab.host("styx")?.unit("k3s-agent.service").await?;
    lab.controller.crash(Crash::Kill).await?;
    lab.host("styx")?.kill_unit("k3s-agent.service").await?;
    let mended = until(SEEN, "the agent to restart the unit by itself", || async {
        let Ok(styx) = lab.host("styx") else {
            return false;
        };
        let unit = styx.unit("k3s-agent.service").await;
        unit.is_ok_and(|(state, pid)| state == "active" && pid != 0 && pid != before)
    });
    told(&lab, mended.await).await?;

    lab.controller_again().await?;
    let noted = lab.operator.until_event(SEEN, "a word of it", |event| {
        event.node == "styx"
            && event
                .text
                .contains("the agent applied k3s-agent/restart on its own")
    });
    let noted = noted.await;
    let noted = told(&lab, noted).await?;
    assert!(
        noted.text.contains("k3s-agent."),
        "the finding that it rests on: {}",
        noted.text
    );
    told(&lab, lab.green().await).await?;
    assert_eq!(lab.host("styx")?.life().boots(), 1);
    Ok(())
}
