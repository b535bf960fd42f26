//! `iaso replay`: from the controller, to a file, and from it again.

use crate::controller::{Controller, Script};
use crate::iaso::Home;
use iaso_engine::time::Tick;
use iaso_replay::codec::member;
use iaso_replay::line::{FORMAT, Header, Line};

/// A bundle of an incident of which nothing was recorded.
fn empty(format: u32) -> Vec<u8> {
    let header = Line::Header(Header {
        format,
        controller: "0.1.0".into(),
        at: Tick(0),
        incidents: vec!["styx-7".into()],
    });
    let end = Line::End {
        recordings: 0,
        entries: 0,
    };
    member([&header, &end]).expect("lines")
}

#[tokio::test]
async fn what_was_not_recorded_is_incomplete_and_exits_1() {
    let script = Script {
        recording: empty(FORMAT),
        ..Default::default()
    };
    let controller = Controller::start(script).await;
    let home = Home::new();
    let ran = home.run(&controller.url(), &["replay", "styx-7"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out.contains("incomplete") && ran.out.contains("nothing was recorded"),
        "{ran:?}"
    );
    let ran = home
        .run(&controller.url(), &["replay", "styx-7", "--output", "json"])
        .await;
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json["verdict"], "incomplete");
}

#[tokio::test]
async fn an_export_is_replayed_without_a_controller() {
    let script = Script {
        recording: empty(FORMAT),
        ..Default::default()
    };
    let controller = Controller::start(script).await;
    let home = Home::new();
    let file = home.path().join("styx-7.gz");
    let name = file.to_str().expect("plain");
    let ran = home
        .run(&controller.url(), &["replay", "styx-7", "--export", name])
        .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(std::fs::read(&file).expect("written"), empty(FORMAT));
    drop(controller);
    let ran = home
        .run("https://127.0.0.1:1", &["replay", "--file", name])
        .await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("incomplete"), "{ran:?}");
}

#[tokio::test]
async fn what_is_no_recording_or_a_newer_one_is_refused_in_words() {
    let home = Home::new();
    let file = home.path().join("x");
    let name = file.to_str().expect("plain");
    for (bytes, words) in [
        (b"{}".to_vec(), "cut or damaged"),
        (empty(99), "format 99"),
        (Vec::new(), "cut or damaged"),
    ] {
        std::fs::write(&file, bytes).expect("written");
        let ran = home
            .run("https://127.0.0.1:1", &["replay", "--file", name])
            .await;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.err.contains(words), "{ran:?}");
    }
    let ran = home.run("https://127.0.0.1:1", &["replay"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
}
