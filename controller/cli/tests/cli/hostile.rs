//! Text that would drive the terminal, and readers that go away.

use crate::controller::{Controller, Script, event};
use crate::iaso::{Home, run, run_with};
use iaso_proto::v1;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tonic::Status;

const EVIL: &str = "\u{1b}]0;pwned\u{7}\r\u{9b}2J\u{202e}\nfake";

fn evil_node() -> v1::NodeDetail {
    let finding = v1::NodeFinding {
        plugin: EVIL.to_owned(),
        code: EVIL.to_owned(),
        summary: EVIL.to_owned(),
        ..Default::default()
    };
    let broken = v1::NodeFinding {
        fault: EVIL.to_owned(),
        ..finding.clone()
    };
    v1::NodeDetail {
        node: Some(v1::Node {
            name: EVIL.to_owned(),
            agent: EVIL.to_owned(),
            waiting: vec![EVIL.to_owned()],
            ..Default::default()
        }),
        findings: vec![finding, broken],
        facts: vec![v1::FactLine {
            channel: EVIL.to_owned(),
            value: EVIL.to_owned(),
            ..Default::default()
        }],
    }
}

fn is_harmless(text: &str) -> bool {
    !text
        .chars()
        .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}')
        && !text.lines().any(|line| line.starts_with("fake"))
}

#[tokio::test]
async fn no_text_of_the_controllers_drives_the_terminal() {
    let script = Script {
        nodes: evil_node().node.into_iter().collect(),
        node: Some(evil_node()),
        streams: [vec![event(1, EVIL)]].into(),
        ..Default::default()
    };
    let controller = Controller::start(script).await;
    for args in [
        &["nodes"][..],
        &["node", "x"],
        &["node", "x", "--output", "json"],
        &["events"],
    ] {
        let ran = run(&controller, args).await;
        assert!(
            ran.out.contains("pwned") && is_harmless(&ran.out),
            "{args:?}: {}",
            ran.out.escape_debug()
        );
    }
}

#[tokio::test]
async fn no_error_of_the_controllers_drives_the_terminal() {
    let decision = Some(Err(Status::failed_precondition(EVIL)));
    let ran = run_with(
        Script {
            decision,
            ..Default::default()
        },
        &["approve", "x"],
    )
    .await;
    assert!(
        ran.err.contains("pwned") && is_harmless(&ran.err),
        "{}",
        ran.err.escape_debug()
    );
}

#[tokio::test]
async fn colours_are_off_in_a_pipe_and_on_when_asked_for() {
    let script = || Script {
        nodes: vec![v1::Node {
            name: "styx".to_owned(),
            agent: "gone".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let controller = Controller::start(script()).await;
    assert!(!run(&controller, &["nodes"]).await.out.contains('\u{1b}'));
    assert!(
        run(&controller, &["nodes", "--color", "always"])
            .await
            .out
            .contains("\u{1b}[")
    );
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_it_quietly() {
    let many = (1..=20_000)
        .map(|sequence| event(sequence, "a line that fills the pipe"))
        .collect();
    let controller = Controller::start(Script {
        streams: [many].into(),
        ..Default::default()
    })
    .await;
    let home = Home::new();
    let mut child = home
        .command(&controller.url(), &["events"])
        .spawn()
        .expect("iaso starts");
    let mut first = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert!(
        first
            .next_line()
            .await
            .expect("read")
            .is_some_and(|line| line.contains("a line"))
    );
    drop(first);
    let ended = child.wait_with_output().await.expect("ended");
    assert_eq!(
        (
            ended.status.code(),
            String::from_utf8_lossy(&ended.stderr).as_ref()
        ),
        (Some(0), "")
    );
}
