//! `--follow`: ends when the incident does, and bridges a lost stream without losing or repeating a line.

use crate::controller::{Controller, Script, event, incident};
use crate::iaso::{Home, nobody, run, run_with};
use tonic::Status;

fn lines(out: &str) -> Vec<&str> {
    out.lines()
        .filter_map(|line| line.find("line ").and_then(|at| line.get(at..)))
        .collect()
}

#[tokio::test]
async fn an_incident_is_followed_until_it_closes() {
    let script = Script {
        incident: [
            incident("open", 1),
            incident("open", 2),
            incident("closed", 4),
        ]
        .into(),
        streams: [vec![event(2, "x"), event(3, "x"), event(4, "x")]].into(),
        ..Default::default()
    };
    let controller = Controller::start(script).await;
    let ran = run(&controller, &["incident", "inc-7", "--follow"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(lines(&ran.out), ["line 1", "line 2", "line 3", "line 4"]);
    assert_eq!(
        controller.asked(),
        [
            "incident inc-7",
            "watch 1 true [inc-7]",
            "incident inc-7",
            "incident inc-7"
        ]
    );
}

#[tokio::test]
async fn a_parked_incident_ends_it_with_3() {
    let script = Script {
        incident: [incident("open", 1), incident("parked", 2)].into(),
        streams: [vec![event(2, "x")]].into(),
        ..Default::default()
    };
    let ran = run_with(script, &["incident", "inc-7", "-f"]).await;
    assert_eq!(ran.code, 3);
    assert!(ran.out.contains("parked"), "{}", ran.out);
}

#[tokio::test]
async fn an_incident_that_is_over_is_not_waited_for() {
    let script = Script {
        incident: [incident("closed", 2)].into(),
        ..Default::default()
    };
    let ran = run_with(
        script,
        &["incident", "inc-7", "--follow", "--output", "json"],
    )
    .await;
    assert_eq!(ran.code, 0);
    let kinds: Vec<_> = ran
        .out
        .lines()
        .map(|line| line.get(..9).unwrap_or_default().to_owned())
        .collect();
    assert_eq!(kinds, ["{\"inciden", "{\"entry\":", "{\"entry\":"]);
}

#[tokio::test]
async fn a_dropped_stream_is_resumed_after_the_last_line_shown() {
    let script = Script {
        incident: [
            incident("open", 1),
            incident("open", 2),
            incident("open", 2),
            incident("closed", 3),
        ]
        .into(),
        streams: [
            vec![event(2, "x"), Err(Status::data_loss("too slow"))],
            vec![event(2, "x"), event(3, "x")],
        ]
        .into(),
        ..Default::default()
    };
    let controller = Controller::start(script).await;
    let ran = run(&controller, &["incident", "inc-7", "--follow"]).await;
    assert_eq!(ran.code, 0);
    assert_eq!(lines(&ran.out), ["line 1", "line 2", "line 3"]);
    ran.assert_says(&["too slow", "the controller is back"]);
    assert!(
        controller
            .asked()
            .contains(&"watch 2 true [inc-7]".to_owned()),
        "{:?}",
        controller.asked()
    );
}

#[tokio::test]
async fn events_of_an_incident_are_resumed_and_end_with_it() {
    let script = Script {
        incident: [
            incident("open", 1),
            incident("open", 1),
            incident("closed", 3),
        ]
        .into(),
        streams: [
            vec![event(1, "line 1")],
            vec![event(1, "line 1"), event(2, "line 2"), event(3, "line 3")],
        ]
        .into(),
        ..Default::default()
    };
    let controller = Controller::start(script).await;
    let ran = run(&controller, &["events", "--follow", "--incident", "inc-7"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(lines(&ran.out), ["line 1", "line 2", "line 3"]);
    assert!(
        controller
            .asked()
            .contains(&"watch 1 true [inc-7]".to_owned()),
        "{:?}",
        controller.asked()
    );
}

#[tokio::test]
async fn a_controller_that_stays_away_ends_it_with_4() {
    let script = Script {
        streams: [vec![
            event(1, "line 1"),
            Err(Status::unavailable("shutting down")),
        ]]
        .into(),
        ..Default::default()
    };
    let ran = run_with(script, &["events", "--follow", "--reconnect-secs", "0"]).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    assert_eq!(lines(&ran.out), ["line 1"]);
    let ran = Home::new()
        .run(&nobody().await, &["events", "--follow"])
        .await;
    assert_eq!(
        ran.code, 4,
        "a wrong address is told at once, however long --reconnect-secs is"
    );
}
