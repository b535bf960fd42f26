//! The operator's command against a real controller: each exit code of `docs/cli.md`, and words that say what to do.

use crate::setup::{Alone, NODES, Session, run, skipped};
use anyhow::{Context, Result};
use iaso_tests::hostinger::{Clock, Emulator, FakeMachines};
use iaso_tests::until;
use std::time::Duration;

/// Incidents within a second.
const HASTY: &str =
    "[policy]\nagent_gone_secs = 3\nconfirm_secs = 1\nverify_secs = 1\nfix = \"approve\"\n";
const SEEN: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_token_that_is_wrong_or_not_enough_has_its_exit_code_and_says_what_to_do() -> Result<()> {
    if skipped("operator's mistakes")? {
        return Ok(());
    }
    let alone = Alone::start(NODES).await?;
    let url = alone.url();
    // A node's token is no operator's, and another controller's operator is none here.
    let other = Alone::start(NODES).await?;
    let taken_back = alone.operator("gone", "viewer").await?;
    alone.says(&["operator", "remove", "gone"]).await?;
    let cases = [
        (
            alone.path(&alone.join_token("styx").await?),
            5,
            "iaso-operator1",
        ),
        (other.path("admin.token"), 4, "another controller"),
        (
            taken_back,
            5,
            "iaso-controller operator add NAME --role ROLE",
        ),
    ];
    for (file, code, said) in cases {
        let named = ["--controller", &url, "--token-file", &file, "nodes"];
        let ran = run("iaso", &named).await?;
        ran.assert(code, &[said]);
        let secret = std::fs::read_to_string(&file)?;
        let secret = secret.trim().rsplit('.').next().unwrap_or_default();
        assert!(!ran.err.contains(secret), "{ran:?}");
    }
    let viewer = alone.operator("vera", "viewer").await?;
    let named = ["--controller", &url, "--token-file", &viewer];
    run("iaso", &[&named[..], &["nodes"]].concat())
        .await?
        .assert(1, &[]);
    for arguments in [&["approve", "styx-9"][..], &["join-token", "styx"]] {
        let ran = run("iaso", &[&named[..], arguments].concat()).await?;
        ran.assert(5, &["vera (viewer) may not do this", "it needs the role"]);
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_name_url_or_argument_has_its_exit_code_and_says_what_to_do() -> Result<()> {
    if skipped("operator's typing errors")? {
        return Ok(());
    }
    let mut alone = Alone::start(NODES).await?;
    let (url, operators) = (alone.url(), alone.path("admin.token"));
    for arguments in [["node", "lethy"], ["explain", "lethy"]] {
        alone
            .iaso(&arguments)
            .await?
            .assert(6, &["lethy", "`iaso nodes` lists"]);
    }
    for arguments in [
        ["incident", "styx-9"],
        ["report", "styx-9"],
        ["approve", "styx-9"],
    ] {
        let ran = alone.iaso(&arguments).await?;
        ran.assert(6, &["styx-9", "`iaso incidents` lists"]);
    }
    for (bad, said) in [
        ("127.0.0.1:7443", "the scheme must be https"),
        ("https://", "not a URL"),
        ("http://127.0.0.1:7443", "speaks TLS"),
    ] {
        let ran = run(
            "iaso",
            &["--controller", bad, "--token-file", &operators, "nodes"],
        )
        .await?;
        ran.assert(2, &[said, "https://127.0.0.1:7443"]);
    }
    alone
        .iaso(&["pause", "styx"])
        .await?
        .assert(2, &["--reason"]);
    alone
        .iaso(&["incidents", "--limit", "0"])
        .await?
        .assert(2, &["--limit"]);
    alone.controller.kill().await?;
    let said = [
        &*url,
        "nothing listens there",
        "systemctl status iaso-controller",
        "IASO_CONTROLLER",
    ];
    alone.iaso(&["nodes"]).await?.assert(4, &said);
    Ok(())
}

/// Waits until the command ends with this code.
async fn ends_with(alone: &Alone, code: i32, arguments: &[&str]) -> Result<String> {
    let what = format!("iaso {arguments:?} to end with {code}");
    let waited = until(SEEN, &what, || {
        let ran = alone.iaso(arguments);
        async move { ran.await.is_ok_and(|ran| ran.code == code) }
    });
    waited.await?;
    Ok(alone.iaso(arguments).await?.out)
}

#[tokio::test]
async fn scripts_can_tell_a_well_node_from_a_sick_one_and_from_one_that_needs_a_person()
-> Result<()> {
    if skipped("exit codes")? {
        return Ok(());
    }
    let alone = Alone::start(&format!("{HASTY}{NODES}")).await?;
    // What was never seen is not well.
    alone.iaso(&["node", "calypso"]).await?.assert(1, &[]);
    let mut sessions: Vec<Session> = Vec::new();
    for node in ["styx", "calypso", "lethe"] {
        let session = alone.session(node).await?;
        drop(session.beats());
        sessions.push(session);
    }
    ends_with(&alone, 0, &["nodes"]).await?;
    alone.iaso(&["incidents"]).await?.assert(0, &[]);

    let calypso = sessions.get_mut(1).context("three")?;
    calypso.report(1, "critical").await?;
    alone.iaso(&["node", "calypso"]).await?.assert(1, &[]);
    alone.iaso(&["node", "styx"]).await?.assert(0, &[]);
    let open = ends_with(&alone, 3, &["incidents", "--output", "json"]).await?;
    let open: serde_json::Value = serde_json::from_str(&open)?;
    let id = open["incidents"][0]["id"].as_str().context("no id")?;
    alone.iaso(&["incident", id]).await?.assert(3, &[]);
    alone.iaso(&["deny", id]).await?.assert(0, &[]);
    let followed = ["incident", id, "--follow"];
    alone.iaso(&followed).await?.assert(3, &[]);
    alone.iaso(&["report", id]).await?.assert(0, &[]);
    alone.iaso(&["explain", "calypso"]).await?.assert(0, &[]);
    // Somebody mends it by hand.
    calypso.report(2, "ok").await?;
    ends_with(&alone, 0, &["incident", id]).await?;
    // Nothing awaits approval any more: understood, and not to be done.
    let late = alone.iaso(&["approve", id]).await?;
    late.assert(1, &[id, "`iaso incidents` shows what awaits approval"]);
    Ok(())
}

#[tokio::test]
async fn a_machine_that_the_provider_does_not_know_is_said_so_with_what_to_look_at() -> Result<()> {
    if skipped("unknown machine")? {
        return Ok(());
    }
    let machines = FakeMachines::running_for_a_day(Vec::new(), Clock::System);
    let provider = Emulator::start(([127, 0, 0, 1], 0).into(), Box::new(machines)).await?;
    let secrets = tempfile::tempdir()?;
    let token = secrets.path().join("hostinger.token");
    std::fs::write(&token, provider.token())?;
    let alone = Alone::start(&format!(
        "{HASTY}[provider.hostinger]\nbase_url = \"{}\"\ntoken_file = \"{}\"\nmin_interval_ms = 1\npoll_secs = 1\n\
         [[nodes]]\nname = \"styx\"\nrole = \"worker\"\naddress = \"127.0.0.9\"\nprovider = \"hostinger\"\nmachine = \"999999\"\n",
        provider.base_url(),
        token.display()
    ))
    .await?;
    let said = until(SEEN, "the operator to read it", || async {
        let node = alone.iaso(&["node", "styx"]).await;
        node.is_ok_and(|ran| ran.code == 1 && ran.out.contains("not-found"))
    });
    said.await?;
    let node = alone.iaso(&["node", "styx"]).await?;
    for words in ["999999", "machine", "base_url"] {
        assert!(
            node.out.contains(words),
            "{words:?} is not in: {}",
            node.out
        );
    }
    assert_eq!(
        provider
            .calls()
            .received(iaso_tests::hostinger::CallKind::Restart),
        0
    );
    Ok(())
}
