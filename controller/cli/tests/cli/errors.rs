//! Each error: its exit code, and that it says what to do.

use crate::controller::{Controller, Script, event};
use crate::iaso::{Home, finish, nobody, run, run_with};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tonic::Status;

#[tokio::test]
async fn a_wrong_token_exits_5_and_names_the_file() {
    let controller = Controller::start(Script::default()).await;
    let home = Home::new();
    // Of the right controller, and nobody's.
    let (mut not_it, secret) = (crate::controller::token(), "0".repeat(64));
    not_it.replace_range(not_it.len() - 64.., &secret);
    let file = home.token("wrong.token", &not_it);
    let url = controller.url();
    let ran = home
        .run(
            &url,
            &["nodes", "--token-file", file.to_str().expect("UTF-8")],
        )
        .await;
    assert_eq!(ran.code, 5);
    ran.assert_says(&[
        file.to_str().expect("UTF-8"),
        &url,
        "wrong operator token",
        "--token-file",
    ]);
    assert!(
        !ran.err.contains(&secret),
        "the token itself is never shown"
    );
}

#[tokio::test]
async fn what_is_no_operators_token_is_shown_to_nobody() {
    let controller = Controller::start(Script::default()).await;
    let home = Home::new();
    let file = home.token("wrong.token", "some-other-secret");
    let file = file.to_str().expect("UTF-8");
    let args = ["nodes", "--token-file", file];
    let ran = home.run(&controller.url(), &args).await;
    assert_eq!(ran.code, 5);
    ran.assert_says(&[file, "iaso-operator1"]);
    assert!(!ran.err.contains("some-other-secret"));
}

#[tokio::test]
async fn a_token_of_another_controller_is_not_sent_and_exits_4() {
    let controller = Controller::start(Script::default()).await;
    let home = Home::new();
    let mut other = crate::controller::token();
    let fingerprint = "iaso-operator1.".len();
    other.replace_range(fingerprint..fingerprint + 64, &"0".repeat(64));
    let file = home.token("other.token", &other);
    let args = ["nodes", "--token-file", file.to_str().expect("UTF-8")];
    let ran = home.run(&controller.url(), &args).await;
    assert_eq!(ran.code, 4);
    ran.assert_says(&["another controller", "IASO_TOKEN_FILE"]);
    assert!(controller.asked().is_empty());
}

#[tokio::test]
async fn a_role_that_is_not_enough_exits_5_and_says_which_is() {
    let controller = Controller::start(Script::default()).await;
    let ran = run(&controller, &["revoke", "styx", "--reason", "sold"]).await;
    assert_eq!(ran.code, 5);
    ran.assert_says(&["nora (viewer)", "needs the role admin"]);
    assert_eq!(controller.asked(), ["revoke styx [sold]"]);
}

#[tokio::test]
async fn a_join_token_is_printed_alone_so_that_it_can_be_piped() {
    let controller = Controller::start(Script::default()).await;
    let ran = run(&controller, &["join-token", "styx", "--ttl", "10m"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "iaso-join1.shown-once\n"));
    assert_eq!(controller.asked(), ["join-token styx 600"]);
}

#[tokio::test]
async fn a_missing_token_exits_5_and_names_the_places_looked_at() {
    let home = Home::new();
    let ran = home
        .run(
            "https://127.0.0.1:1",
            &["nodes", "--token-file", "/nowhere/t"],
        )
        .await;
    assert_eq!(ran.code, 5);
    ran.assert_says(&["/nowhere/t: no such file", "IASO_TOKEN_FILE"]);
}

#[tokio::test]
async fn nobody_listening_exits_4_and_says_where_and_what_to_look_at() {
    let url = nobody().await;
    let ran = Home::new().run(&url, &["nodes"]).await;
    assert_eq!(ran.code, 4);
    ran.assert_says(&[
        &url,
        "refused",
        "systemctl status iaso-controller",
        "IASO_CONTROLLER",
    ]);
}

#[tokio::test]
async fn a_listener_that_never_answers_exits_4_after_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", silent.local_addr().expect("bound"));
    let ran = Home::new()
        .run(&url, &["nodes", "--timeout-secs", "1"])
        .await;
    assert_eq!(ran.code, 4);
    ran.assert_says(&["no answer within 1 s", "--timeout-secs"]);
}

#[tokio::test]
async fn something_that_is_not_a_controller_exits_4_and_names_the_right_port() {
    let other = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", other.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = other.accept().await {
            let _ = socket
                .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                .await;
        }
    });
    let ran = Home::new().run(&url, &["nodes"]).await;
    assert_eq!(ran.code, 4);
    ran.assert_says(&["Something else listens there", "status_listen"]);
}

#[tokio::test]
async fn an_unknown_name_exits_6_and_says_where_names_are_listed() {
    let controller = Controller::start(Script::default()).await;
    for (args, list) in [
        (["node", "x"], "iaso nodes"),
        (["explain", "x"], "iaso nodes"),
        (["incident", "x"], "iaso incidents"),
        (["report", "x"], "iaso incidents"),
    ] {
        let ran = run(&controller, &args).await;
        assert_eq!(ran.code, 6, "{args:?}");
        assert!(
            ran.err.contains("no such") && ran.err.contains(list),
            "{}",
            ran.err
        );
    }
    assert_eq!(
        run(&controller, &["incident", "x", "--follow"]).await.code,
        6
    );
}

#[tokio::test]
async fn a_wrong_command_line_exits_2() {
    let home = Home::new();
    for args in [
        &["nodes", "--frobnicate"][..],
        &["pause", "styx"],
        &["incidents", "--limit", "0"],
        &["node", ""],
        &["nodes", "--controller", "http://127.0.0.1:7443"],
        &["join-token", "styx", "--ttl", "1w"],
        &["revoke", "styx"],
        &["nodes", "--timeout-secs", "0"],
    ] {
        let ran = home.run("https://127.0.0.1:1", args).await;
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}");
        assert!(!ran.err.is_empty(), "{args:?}");
    }
    let controller = Controller::start(Script::default()).await;
    let mut unsigned = home.command(&controller.url(), &["approve", "inc-7"]);
    unsigned.env_remove("USER");
    let ran = finish(unsigned).await;
    assert_eq!(ran.code, 2);
    ran.assert_says(&["--who"]);
}

#[tokio::test]
async fn a_reader_that_was_cut_off_is_told_how_to_go_on() {
    let streams = [vec![
        event(4, "a"),
        Err(Status::data_loss("you read too slowly")),
    ]]
    .into();
    let ran = run_with(
        Script {
            streams,
            ..Default::default()
        },
        &["events"],
    )
    .await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.contains('a')
            && ran.err.contains("you read too slowly")
            && ran.err.contains("--since"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn help_documents_every_exit_code() {
    let ran = Home::new().run("https://127.0.0.1:1", &["--help"]).await;
    assert_eq!(ran.code, 0);
    for code in 0..=6 {
        assert!(
            ran.out.contains(&format!("\n  {code}  ")),
            "{code}: {}",
            ran.out
        );
    }
}
