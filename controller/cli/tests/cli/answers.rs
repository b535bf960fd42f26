//! What each command asks, prints and exits with.

use crate::controller::{Controller, Script, event, incident};
use crate::iaso::{Home, run, run_with};
use iaso_proto::v1;
use std::fs;
use tonic::Status;

fn well(name: &str) -> v1::Node {
    v1::Node {
        name: name.to_owned(),
        agent: "up".to_owned(),
        lease: "fresh".to_owned(),
        diagnosis: "healthy".to_owned(),
        worst: "ok".to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn nodes_exits_0_when_all_are_well_and_1_when_one_is_not() {
    let controller = Controller::start(Script {
        nodes: vec![well("lethe")],
        ..Default::default()
    })
    .await;
    let ran = run(&controller, &["nodes"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(ran.out.contains("lethe"));
    let gone = v1::Node {
        agent: "gone".to_owned(),
        ..well("styx")
    };
    let controller = Controller::start(Script {
        nodes: vec![well("lethe"), gone],
        ..Default::default()
    })
    .await;
    assert_eq!(run(&controller, &["nodes"]).await.code, 1);
}

#[tokio::test]
async fn a_node_in_json_is_one_object() {
    let detail = v1::NodeDetail {
        node: Some(well("lethe")),
        facts: vec![v1::FactLine {
            channel: "agent".to_owned(),
            age_ms: -1,
            ..Default::default()
        }],
        ..Default::default()
    };
    let controller = Controller::start(Script {
        node: Some(detail),
        ..Default::default()
    })
    .await;
    let ran = run(&controller, &["node", "lethe", "--output", "json"]).await;
    assert_eq!(ran.code, 0);
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json.pointer("/node/name"), Some(&"lethe".into()));
    assert_eq!(
        json.pointer("/facts/0/age_ms"),
        Some(&serde_json::Value::Null)
    );
    assert_eq!(controller.asked(), ["node lethe"]);
}

#[tokio::test]
async fn an_incident_exits_by_its_state() {
    for (state, code) in [("open", 1), ("parked", 3), ("closed", 0)] {
        let script = Script {
            incident: [incident(state, 2)].into(),
            ..Default::default()
        };
        let ran = run_with(script, &["incident", "inc-7"]).await;
        assert_eq!(ran.code, code, "{state}");
        assert!(
            ran.out.contains("line 1") && ran.out.contains("line 2"),
            "{}",
            ran.out
        );
    }
}

#[tokio::test]
async fn incidents_passes_its_filter_on_and_exits_3_when_one_awaits_approval() {
    let waiting = v1::Incident {
        id: "inc-7".to_owned(),
        state: "open".to_owned(),
        awaits_approval: "recreate".to_owned(),
        ..Default::default()
    };
    let controller = Controller::start(Script {
        incidents: vec![waiting],
        ..Default::default()
    })
    .await;
    let ran = run(
        &controller,
        &["incidents", "--state", "open", "--limit", "5"],
    )
    .await;
    assert_eq!(ran.code, 3);
    assert!(ran.out.contains("iaso approve inc-7"), "{}", ran.out);
    assert_eq!(controller.asked(), ["incidents 5 [open]"]);
}

#[tokio::test]
async fn decisions_say_who_and_why() {
    let controller = Controller::start(Script {
        decision: Some(Ok("recreate approved".to_owned())),
        ..Default::default()
    })
    .await;
    let ran = run(
        &controller,
        &["approve", "inc-7", "--reason", "data is safe"],
    )
    .await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "recreate approved\n"));
    run(&controller, &["deny", "inc-7", "--who", "otto"]).await;
    assert_eq!(
        run(&controller, &["pause", "--reason", "network work"])
            .await
            .code,
        0
    );
    assert_eq!(
        run(&controller, &["resume", "styx", "--output", "json"])
            .await
            .out,
        "{\"message\":\"resumed styx\"}\n"
    );
    let asked = [
        "approve inc-7 [data is safe] by nora",
        "deny inc-7 [] by otto",
        "pause [] [network work] by nora",
        "resume [styx] [] by nora",
    ];
    assert_eq!(controller.asked(), asked);
}

#[tokio::test]
async fn a_decision_that_nobody_waits_for_exits_1() {
    let decision = Some(Err(Status::failed_precondition(
        "nothing waits for approval in inc-7",
    )));
    let ran = run_with(
        Script {
            decision,
            ..Default::default()
        },
        &["approve", "inc-7"],
    )
    .await;
    assert_eq!(ran.code, 1);
    ran.assert_says(&["nothing waits for approval in inc-7", "iaso incidents"]);
}

#[tokio::test]
async fn a_report_goes_to_the_terminal_or_byte_for_byte_to_a_file() {
    let report = v1::Report {
        format: "md".to_owned(),
        body: "# styx\u{1b}[2J\n".to_owned(),
        path: "/var/lib/x.md".to_owned(),
    };
    let controller = Controller::start(Script {
        report: Some(report),
        ..Default::default()
    })
    .await;
    let home = Home::new();
    let url = controller.url();
    let ran = home.run(&url, &["report", "inc-7"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "# styx\\u{1b}[2J\n"));
    assert!(ran.err.contains("/var/lib/x.md"));
    let file = home.path().join("r.md");
    let ran = home
        .run(
            &url,
            &[
                "report",
                "inc-7",
                "--format",
                "json",
                "--out",
                file.to_str().expect("UTF-8"),
            ],
        )
        .await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert_eq!(
        fs::read_to_string(&file).expect("written"),
        "# styx\u{1b}[2J\n"
    );
    assert_eq!(controller.asked(), ["report inc-7 md", "report inc-7 json"]);
    let ran = home
        .run(&url, &["report", "inc-7", "--out", "/nowhere/r.md"])
        .await;
    assert_eq!(ran.code, 1);
    ran.assert_says(&["cannot write /nowhere/r.md", "--out"]);
}

#[tokio::test]
async fn an_explanation_exits_0_whatever_it_says() {
    let rung = v1::ExplainLine {
        name: "recreate".to_owned(),
        yes: false,
        why: "no quorum".to_owned(),
    };
    let explanation = v1::Explanation {
        node: "styx".to_owned(),
        rungs: vec![rung],
        next_look_ms: -1,
        ..Default::default()
    };
    let ran = run_with(
        Script {
            explanation: Some(explanation),
            ..Default::default()
        },
        &["explain", "styx"],
    )
    .await;
    assert_eq!(ran.code, 0);
    assert!(
        ran.out.contains("no quorum") && ran.out.contains("when something changes"),
        "{}",
        ran.out
    );
}

#[tokio::test]
async fn events_ends_with_the_journal_and_json_is_one_object_a_line() {
    let script = Script {
        streams: [vec![event(4, "a"), event(5, "b")]].into(),
        ..Default::default()
    };
    let controller = Controller::start(script).await;
    let ran = run(&controller, &["events", "--since", "3", "--output", "json"]).await;
    assert_eq!(ran.code, 0);
    let sequences: Vec<_> = ran
        .out
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["sequence"].clone()
        })
        .collect();
    assert_eq!(sequences, [4, 5]);
    assert!(ran.out.contains(r#""json":{"note":1}"#));
    assert_eq!(controller.asked(), ["watch 3 false []"]);
}

#[tokio::test]
async fn completions_need_neither_controller_nor_token() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let mut command = home.command("https://127.0.0.1:1", &["completions", shell]);
        command.env_remove("IASO_TOKEN_FILE");
        let ran = crate::iaso::finish(command).await;
        assert_eq!(
            (ran.code, ran.out.contains("incident")),
            (0, true),
            "{shell}"
        );
    }
}
