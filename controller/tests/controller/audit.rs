//! Who changed something is in the journal, whichever way they did it.

use crate::replay::say;
use crate::story::parked;
use crate::support::{
    Agent, STYX, TWO, agent, bearer, channel, controller, join_token, metrics, operator_as,
    refused, said, token,
};
use iaso_controller::identity::Identities;
use iaso_controller::identity::access::{self, Access, Role};
use iaso_controller::run::Running;
use iaso_engine::id::NodeName;
use iaso_engine::record::Rung;
use iaso_proto::v1;
use iaso_proto::v1::identity_service_client::IdentityServiceClient;
use iaso_proto::v1::operator_service_client::OperatorServiceClient;
use iaso_providers::NoProvider;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status};

/// A fix needs a yes.
fn more() -> String {
    format!("{STYX}{TWO}[policy]\nfix = \"approve\"\nconfirm_secs = 1\n")
}

async fn running(dir: &Path) -> Running {
    controller(dir, &more(), Arc::new(NoProvider)).await
}

/// Every call of the protocol that changes something on a person's word.
fn changing() -> Vec<String> {
    let set: prost_types::FileDescriptorSet =
        prost::Message::decode(iaso_proto::v1::DESCRIPTORS).unwrap();
    let mut calls = Vec::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                if matches!(access::of(&path), Some(Access::Decision(_))) {
                    calls.push(method.name().to_owned());
                }
            }
        }
    }
    calls.sort();
    calls
}

/// The disk of calypso fills up, and its fix waits for a person's word: the agent, and the incident.
async fn asks(running: &Running) -> (Agent, String) {
    let agent = agent(running, "calypso", "a").await;
    say(&agent, 1, "critical").await;
    let mut client = operator_as(running, "reader", Role::Viewer).await;
    let looks = async {
        loop {
            let request = v1::ListIncidentsRequest::default();
            let found = client.list_incidents(request).await.unwrap().into_inner();
            let waits = |incident: &v1::Incident| {
                incident.node == "calypso" && !incident.awaits_approval.is_empty()
            };
            if let Some(incident) = found.incidents.into_iter().find(waits) {
                return incident.id;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(20), looks).await;
    (agent, found.expect("nothing waits for a person"))
}

/// Makes a call with this person's token.
async fn make(
    running: &Running,
    call: &str,
    (name, role): (&str, Role),
    incident: &str,
) -> Result<(), Status> {
    let token = token(running, name, role);
    let (first, second) = (channel(running).await, channel(running).await);
    let mut people = OperatorServiceClient::with_interceptor(first, bearer(&token));
    let mut identities = IdentityServiceClient::with_interceptor(second, bearer(&token));
    let about = v1::DecisionRequest {
        incident: incident.into(),
        ..Default::default()
    };
    let hold = v1::PauseRequest {
        node: "styx".into(),
        ..Default::default()
    };
    match call {
        "Approve" => people.approve(about).await.map(drop),
        "Deny" => people.deny(about).await.map(drop),
        "Pause" => people.pause(hold).await.map(drop),
        "Resume" => people.resume(hold).await.map(drop),
        "CreateJoinToken" => {
            let request = v1::CreateJoinTokenRequest {
                node: "styx".into(),
                ttl_secs: 0,
            };
            identities.create_join_token(request).await.map(drop)
        }
        "RevokeNode" => {
            let request = v1::RevokeNodeRequest {
                node: "styx".into(),
                reason: "sold".into(),
            };
            identities.revoke_node(request).await.map(drop)
        }
        other => panic!(
            "{other} changes something, and nobody proves that it is journaled: make it here"
        ),
    }
}

/// Catches: a call that changes something and does not say in the journal who made it; a new call of which nobody thought.
#[tokio::test]
async fn every_call_that_changes_something_is_journaled_with_whose_token_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let running = running(dir.path()).await;
    running
        .handle
        .change(parked(Some(Rung::Recreate)))
        .await
        .unwrap();
    let (_agent, asked) = asks(&running).await;
    let calls = changing();
    assert!(calls.len() >= 6, "{calls:?}");
    for (made, call) in calls.iter().enumerate() {
        let incident = if call == "Deny" { &asked } else { "styx-9" };
        let vera = make(&running, call, ("vera", Role::Viewer), incident).await;
        let refusal = vera.unwrap_err();
        assert_eq!(refusal.code(), Code::PermissionDenied, "{call}: {refusal}");
        assert_eq!(refused(&running, "role").await, made as u64 + 1, "{call}");

        let name = format!("{}-maker", call.to_lowercase());
        let made = make(&running, call, (&name, Role::Admin), incident).await;
        made.unwrap();
        let signed = format!("{name} (admin)");
        let texts = said(&running).await;
        assert!(
            texts.iter().any(|text| text.contains(&signed)),
            "{call} is not journaled as {signed}: {texts:#?}"
        );
        assert!(
            texts.iter().all(|text| !text.contains("vera")),
            "{call}: what was refused is journaled"
        );
    }
    running.stop().await;
}

#[tokio::test]
async fn what_the_command_line_changes_is_journaled_by_the_controller_that_runs_or_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let running = running(dir.path()).await;
    let config = crate::support::config(dir.path(), &more());
    let desk = Identities::at_the_desk(&config).unwrap();
    desk.add_operator("nora", Role::Admin, None).unwrap();
    journaled(&running, "made a token for nora (admin)").await;
    running.stop().await;

    let styx = NodeName::new("styx").unwrap();
    let made = desk
        .join_token(&styx, Duration::from_mins(10), "desk")
        .unwrap();
    assert!(desk.remove_operator("nora").unwrap());
    let running = self::running(dir.path()).await;
    journaled(
        &running,
        &format!("made join token {} for node styx, for 600 s", made.id),
    )
    .await;
    journaled(&running, "took nora's token back").await;
    running.stop().await;
    // Once each: they are journaled in their order, and olga is the last.
    let running = self::running(dir.path()).await;
    desk.add_operator("olga", Role::Viewer, None).unwrap();
    journaled(&running, "made a token for olga (viewer)").await;
    let texts = said(&running).await;
    let count = |words: &str| texts.iter().filter(|text| text.contains(words)).count();
    assert_eq!(
        (count("token for nora"), count("nora's token")),
        (1, 1),
        "{texts:#?}"
    );
    running.stop().await;
}

async fn journaled(running: &Running, words: &str) {
    let looks = async {
        while !said(running).await.iter().any(|text| text.contains(words)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(20), looks).await;
    assert!(seen.is_ok(), "{words:?} is not journaled");
}

/// When styx's certificate ends, by the metrics.
async fn ends(running: &Running) -> Option<u64> {
    let line = "iaso_controller_certificate_not_after_seconds{node=\"styx\"} ";
    let text = metrics(running).await;
    let found = text.lines().find_map(|said| said.strip_prefix(line));
    found.map(|secs| secs.parse().unwrap())
}

#[tokio::test]
async fn the_metrics_say_when_a_certificate_ends_over_a_restart_and_until_it_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let running = running(dir.path()).await;
    assert_eq!(ends(&running).await, None);
    let token = join_token(&running, "styx");
    let request = v1::EnrolRequest {
        node: "styx".into(),
        token,
        request: iaso_identity::NodeKey::generate()
            .unwrap()
            .request()
            .unwrap(),
    };
    let mut client = IdentityServiceClient::new(channel(&running).await);
    let answer = client.enrol(request).await.unwrap().into_inner();
    let told = Some(answer.not_after_unix_secs.unsigned_abs());
    assert_eq!(ends(&running).await, told);
    running.stop().await;

    let running = self::running(dir.path()).await;
    assert_eq!(ends(&running).await, told);
    make(&running, "RevokeNode", ("nora", Role::Admin), "")
        .await
        .unwrap();
    assert_eq!(ends(&running).await, None);
    running.stop().await;
}
