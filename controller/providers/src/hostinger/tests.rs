//! The client against a server that answers as told: classes, bounds, what is repeated and what is not.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, http::Response, http::StatusCode};
use tempfile::TempDir;

use super::*;
use crate::OperationState;

const ACTION: &str = r#"{"id":5,"name":"ct_restart","state":"sent","created_at":"2026-11-23T23:45:00Z","updated_at":"2026-11-23T23:45:01Z"}"#;

type Script = Arc<Mutex<VecDeque<(u16, String)>>>;
type Seen = Arc<Mutex<Vec<String>>>;

/// Answers in turn, the last one for ever, and remembers who asked for what.
struct Scripted {
    provider: Hostinger,
    seen: Seen,
    dir: TempDir,
}

impl Scripted {
    fn seen(&self) -> Vec<String> {
        self.seen
            .lock()
            .expect("no test thread panics with the lock")
            .clone()
    }

    fn token_file(&self) -> std::path::PathBuf {
        self.dir.path().join("token")
    }
}

fn config(base_url: String, dir: &Path) -> HostingerConfig {
    let token_file = dir.join("token");
    std::fs::write(&token_file, "good\n").expect("the token can be written");
    let interval = Duration::from_millis(1);
    HostingerConfig {
        base_url,
        min_interval: interval,
        wait_max: interval * 20,
        ..HostingerConfig::new(token_file)
    }
}

async fn scripted(answers: &[(u16, &str)]) -> Scripted {
    let script: Script = Arc::new(Mutex::new(
        answers
            .iter()
            .map(|(status, body)| (*status, (*body).into()))
            .collect(),
    ));
    let seen = Seen::default();
    let record = Arc::clone(&seen);
    let answer = move |request: axum::extract::Request| async move {
        let auth = request
            .headers()
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .unwrap_or("-");
        record.lock().expect("unpoisoned").push(format!(
            "{} {} {auth}",
            request.method(),
            request.uri()
        ));
        let mut script = script.lock().expect("unpoisoned");
        let (status, body) = if script.len() > 1 {
            script.pop_front()
        } else {
            script.front().cloned()
        }
        .unwrap_or((500, String::new()));
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        response
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let dir = tempfile::tempdir().expect("a directory");
    let provider = Hostinger::new(config(format!("http://{address}"), dir.path()))
        .expect("a valid configuration");
    Scripted {
        provider,
        seen,
        dir,
    }
}

fn styx() -> MachineId {
    MachineId::from(712_695)
}

#[tokio::test]
async fn every_status_has_its_class_for_questions_and_for_orders() {
    for (status, question, order) in [
        (400, "unexpected", "unexpected"),
        (401, "unauthorized", "unauthorized"),
        (403, "forbidden", "forbidden"),
        (404, "not_found", "not_found"),
        (408, "unexpected", "ambiguous"),
        (409, "conflict", "conflict"),
        (422, "invalid", "invalid"),
        (429, "rate_limited", "rate_limited"),
        (302, "unexpected", "ambiguous"),
        (500, "server", "ambiguous"),
        (503, "server", "ambiguous"),
    ] {
        let body = r#"{"error":"no","correlation_id":"c-9"}"#;
        let error = scripted(&[(status, body)])
            .await
            .provider
            .get(&styx())
            .await
            .expect_err("refused");
        assert_eq!(error.class(), question, "GET {status}: {error}");
        if status != 429 {
            assert_eq!(error.correlation_id(), Some("c-9"), "GET {status}");
        }
        let server = scripted(&[(status, body)]).await;
        let error = server
            .provider
            .power_cycle(&styx())
            .await
            .expect_err("refused");
        assert_eq!(error.class(), order, "POST {status}: {error}");
        assert_eq!(error.correlation_id(), Some("c-9"), "POST {status}");
        assert_eq!(
            server.seen().len(),
            1,
            "an order was repeated after {status}"
        );
        assert!(error.means_unknown());
    }
}

#[tokio::test]
async fn a_question_is_asked_again_after_trouble_that_passes() {
    let machine = r#"{"id":712695,"hostname":"styx","state":"running","actions_lock":"unlocked",
        "ipv4":[{"id":1,"address":"1.2.3.4","ptr":"x"}],"ipv6":null,"template":{"id":1077,"name":"Ubuntu 24.04"},
        "created_at":"2024-09-05T07:25:36Z","subscription_id":"s","plan":"KVM 2","cpus":2}"#;
    let server = scripted(&[(502, "<html>"), (503, ""), (200, machine)]).await;
    let found = server
        .provider
        .get(&styx())
        .await
        .expect("the third try is answered");
    assert_eq!(
        (found.state, found.locked),
        (crate::MachineState::Running, false)
    );
    assert_eq!(found.template.as_deref(), Some("Ubuntu 24.04"));
    assert_eq!(
        found.addresses,
        ["1.2.3.4".parse::<std::net::IpAddr>().expect("an address")]
    );
    assert_eq!(server.seen().len(), 3);
    assert_eq!(
        server.seen().first().map(String::as_str),
        Some("GET /api/vps/v1/virtual-machines/712695 Bearer good")
    );
}

#[tokio::test]
async fn a_rotated_token_is_picked_up_for_an_order_that_was_refused() {
    let server = scripted(&[(200, ACTION), (401, "{}"), (200, ACTION)]).await;
    server.provider.power_cycle(&styx()).await.expect("taken");
    std::fs::write(server.token_file(), "new").expect("rotated");
    let operation = server
        .provider
        .power_cycle(&styx())
        .await
        .expect("taken with the new token");
    assert_eq!(operation.state, OperationState::Pending);
    assert!(
        server
            .seen()
            .last()
            .is_some_and(|last| last.ends_with("Bearer new"))
    );
}

#[tokio::test]
async fn an_unchanged_token_is_not_tried_twice() {
    let server = scripted(&[(401, r#"{"message":"Unauthenticated."}"#)]).await;
    let error = server.provider.get(&styx()).await.expect_err("refused");
    assert_eq!(error.class(), "unauthorized");
    assert!(error.to_string().contains("renew it in"), "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_bad_token_file_is_said_before_anything_is_sent() {
    let server = scripted(&[(200, ACTION)]).await;
    for content in ["", "two\nlines", &"x".repeat(5000), "g\u{f6}t"] {
        std::fs::write(server.token_file(), content).expect("written");
        let error = server
            .provider
            .power_cycle(&styx())
            .await
            .expect_err("no token");
        assert_eq!(
            (error.class(), error.may_have_acted()),
            ("token", false),
            "{error}"
        );
    }
    std::fs::remove_file(server.token_file()).expect("removed");
    assert_eq!(
        server
            .provider
            .get(&styx())
            .await
            .expect_err("no token")
            .class(),
        "token"
    );
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn an_answer_that_does_not_read_is_ambiguous_for_an_order() {
    for body in [
        "",
        "<html>ok</html>",
        "{}",
        r#"{"id":5,"state":"sent","created_at":"yesterday"}"#,
    ] {
        let server = scripted(&[(200, body)]).await;
        let error = server
            .provider
            .power_cycle(&styx())
            .await
            .expect_err("unreadable");
        assert!(error.may_have_acted(), "{body:?}: {error}");
        assert_eq!(
            server
                .provider
                .get(&styx())
                .await
                .expect_err("unreadable")
                .class(),
            "unexpected"
        );
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let huge = format!("[{}1]", "1,".repeat(600_000));
    let error = scripted(&[(200, &huge)])
        .await
        .provider
        .get(&styx())
        .await
        .expect_err("too large");
    assert_eq!(error.class(), "unexpected");
    assert!(
        error.to_string().contains("more than 1048576 bytes"),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_listening_is_a_transport_error_and_no_doubt() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let dir = tempfile::tempdir().expect("a directory");
    let provider = Hostinger::new(config(format!("http://{address}"), dir.path())).expect("valid");
    let error = provider
        .power_cycle(&styx())
        .await
        .expect_err("nobody is there");
    assert_eq!(
        (error.class(), error.may_have_acted()),
        ("transport", false)
    );
    assert!(error.to_string().contains("check base_url"), "{error}");
}

#[tokio::test]
async fn what_the_api_would_refuse_is_not_sent() {
    let server = scripted(&[(200, ACTION)]).await;
    let provider = &server.provider;
    let name = MachineId::new("srv712695").expect("an id");
    assert!(
        provider
            .get(&name)
            .await
            .expect_err("not a number")
            .refuses("machine")
    );
    let spec = RecreateSpec {
        template_id: 1,
        password: Secret::new("short".into()),
        script_id: None,
    };
    assert!(
        provider
            .recreate(&styx(), &spec)
            .await
            .expect_err("weak")
            .refuses("password")
    );
    let long = Secret::new("x".repeat(SCRIPT_BYTES_MAX + 1));
    assert!(
        provider
            .put_script("s", &long)
            .await
            .expect_err("too long")
            .refuses("content")
    );
    assert!(
        provider
            .put_script("", &Secret::new("x".into()))
            .await
            .expect_err("no name")
            .refuses("name")
    );
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn another_machine_than_asked_for_is_not_believed() {
    let server = scripted(&[(200, r#"{"id":1,"state":"stopped"}"#)]).await;
    let error = server
        .provider
        .get(&styx())
        .await
        .expect_err("the wrong one");
    assert!(
        error
            .to_string()
            .contains("asked for machine 712695 and got 1"),
        "{error}"
    );
}

#[tokio::test]
async fn a_list_without_end_is_an_error_and_not_a_short_list() {
    let page =
        format!(r#"{{"data":[{ACTION}],"meta":{{"current_page":1,"per_page":1,"total":99999}}}}"#);
    let server = scripted(&[(200, &page)]).await;
    let error = server
        .provider
        .actions(&styx(), Timestamp::UNIX_EPOCH)
        .await
        .expect_err("endless");
    assert!(error.to_string().contains("more than 40 pages"), "{error}");
    assert_eq!(server.seen().len(), 40);
}
