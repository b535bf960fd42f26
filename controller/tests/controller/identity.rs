//! Who is let in, and who is not: refused, counted, and told what to do.

use crate::support::{
    STYX, TWO, agent, agent_with, bearer, channel, connect, controller, enrolled, join_token,
    operator, operator_as, refused, said, token,
};
use iaso_controller::identity::access::Role;
use iaso_controller::run::Running;
use iaso_identity::{Authority, NodeIdentity, NodeKey, Request, unix_now};
use iaso_proto::v1;
use iaso_proto::v1::agent_service_client::AgentServiceClient;
use iaso_proto::v1::controller_message::Kind as Down;
use iaso_proto::v1::identity_service_client::IdentityServiceClient;
use iaso_proto::v1::operator_service_client::OperatorServiceClient;
use iaso_providers::NoProvider;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Status};

async fn running(dir: &Path) -> Running {
    controller(dir, &format!("{STYX}{TWO}"), Arc::new(NoProvider)).await
}

/// Refused with this code, counted under this kind, in words that hold these.
async fn assert_refused(running: &Running, status: &Status, code: Code, kind: &str, words: &str) {
    assert_eq!(status.code(), code, "{kind}: {status}");
    assert!(status.message().contains(words), "{kind}: {status}");
    assert!(refused(running, kind).await > 0, "{kind} is not counted");
}

/// A session with this identity, as far as it gets.
async fn session(running: &Running, identity: &NodeIdentity, node: &str) -> Result<Down, Status> {
    let channel = connect(running, identity.client().unwrap()).await;
    agent_with(channel, node, "a").await?.next().await
}

/// A certificate of this authority for styx, issued then for a day.
fn forged(authority: &Authority, running: &Running, issued: u64) -> NodeIdentity {
    let key = NodeKey::generate().unwrap();
    let request = Request::read(&key.request().unwrap()).unwrap();
    let issued = authority
        .node(&request, "styx", issued, Duration::from_hours(24))
        .unwrap();
    NodeIdentity::new(
        "styx".into(),
        running.identities.fingerprint(),
        &key,
        issued.certificate,
    )
}

async fn enrol(
    channel: Channel,
    node: &str,
    token: &str,
) -> Result<v1::CertificateResponse, Status> {
    let request = v1::EnrolRequest {
        node: node.into(),
        token: token.into(),
        request: NodeKey::generate().unwrap().request().unwrap(),
    };
    let answer = IdentityServiceClient::new(channel).enrol(request).await?;
    Ok(answer.into_inner())
}

#[tokio::test]
async fn an_agent_is_let_in_with_a_certificate_of_its_own_node_and_with_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let running = running(dir.path()).await;
    let own = Authority::open(&dir.path().join("data"), unix_now()).unwrap();
    let foreign_dir = tempfile::tempdir().unwrap();
    let foreign = Authority::open(foreign_dir.path(), unix_now()).unwrap();

    let nobody = agent_with(channel(&running).await, "styx", "a")
        .await
        .err()
        .unwrap();
    assert_refused(
        &running,
        &nobody,
        Code::Unauthenticated,
        "no-certificate",
        "iaso join-token NODE",
    )
    .await;
    let cases = [
        (
            forged(&own, &running, unix_now() - 3 * 86_400),
            "certificate-expired",
            "ended",
        ),
        (
            forged(&own, &running, unix_now()),
            "certificate-unknown",
            "restored from a backup",
        ),
        (
            forged(&foreign, &running, unix_now()),
            "certificate-wrong-authority",
            "another controller",
        ),
    ];
    for (identity, kind, words) in cases {
        let status = session(&running, &identity, "styx").await.unwrap_err();
        assert_refused(&running, &status, Code::Unauthenticated, kind, words).await;
    }
    let calypso = enrolled(&running, "calypso");
    let let_in = session(&running, &calypso, "calypso").await;
    assert!(matches!(let_in, Ok(Down::Assignment(_))));
    running.stop().await;
}

#[tokio::test]
async fn a_certificate_of_one_node_speaks_for_no_other_and_is_no_operators() {
    let dir = tempfile::tempdir().unwrap();
    let running = running(dir.path()).await;
    // calypso's own certificate, and styx's name.
    let calypso = enrolled(&running, "calypso");
    let other = session(&running, &calypso, "styx").await.unwrap_err();
    assert_refused(
        &running,
        &other,
        Code::PermissionDenied,
        "other-node",
        "speaks for node \"calypso\"",
    )
    .await;
    let fetch = v1::FetchPluginRequest {
        node: "styx".into(),
        compiled_digest: String::new(),
    };
    let mut client = AgentServiceClient::new(connect(&running, calypso.client().unwrap()).await);
    assert_eq!(
        client.fetch_plugin(fetch).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    // A node is no operator, whatever it presents.
    let mut client = OperatorServiceClient::new(connect(&running, calypso.client().unwrap()).await);
    let status = client
        .list_nodes(v1::ListNodesRequest {})
        .await
        .unwrap_err();
    assert_refused(
        &running,
        &status,
        Code::Unauthenticated,
        "no-token",
        "operator add",
    )
    .await;

    running.stop().await;
}

#[tokio::test]
async fn a_join_token_lets_in_once_and_a_replay_is_refused_counted_and_journaled() {
    let dir = tempfile::tempdir().unwrap();
    let running = running(dir.path()).await;
    let token = join_token(&running, "styx");
    let cases = [
        (
            "calypso",
            token.as_str(),
            Code::PermissionDenied,
            "join-token-other-node",
            "another node",
        ),
        (
            "styx",
            "0011223344556677.00",
            Code::Unauthenticated,
            "join-token-wrong",
            "iaso join-token NODE",
        ),
    ];
    for (node, token, code, kind, words) in cases {
        let status = enrol(channel(&running).await, node, token)
            .await
            .unwrap_err();
        assert_refused(&running, &status, code, kind, words).await;
    }
    let unknown = enrol(channel(&running).await, "lethe", &token)
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound, "{unknown}");

    let certified = enrol(channel(&running).await, "styx", &token)
        .await
        .unwrap();
    assert!(certified.renew_at_unix_secs < certified.not_after_unix_secs);
    for _ in 0..2 {
        let replayed = enrol(channel(&running).await, "styx", &token)
            .await
            .unwrap_err();
        assert_refused(
            &running,
            &replayed,
            Code::Unauthenticated,
            "join-token-replayed",
            "iaso revoke NODE",
        )
        .await;
    }
    let replays: Vec<String> = said(&running)
        .await
        .into_iter()
        .filter(|text| text.contains("presented again"))
        .collect();
    assert_eq!(replays.len(), 1, "{replays:?}");
    running.stop().await;
}

/// The journal's texts.

#[tokio::test]
async fn a_revoked_node_is_out_at_once_and_comes_back_with_a_fresh_token_only() {
    let dir = tempfile::tempdir().unwrap();
    let running = running(dir.path()).await;
    let identity = enrolled(&running, "styx");
    let channel_of = || async { connect(&running, identity.client().unwrap()).await };
    let mut open = agent_with(channel_of().await, "styx", "a").await.unwrap();
    assert!(matches!(open.next().await, Ok(Down::Assignment(_))));

    let auth = bearer(&token(&running, "nora", Role::Admin));
    let mut admin = IdentityServiceClient::with_interceptor(channel(&running).await, auth);
    let revoke = v1::RevokeNodeRequest {
        node: "styx".into(),
        reason: "sold".into(),
    };
    let revoked = admin.revoke_node(revoke).await.unwrap().into_inner();
    assert_eq!(revoked.certificates, 1);
    let ended = open.next().await.unwrap_err();
    assert_refused(
        &running,
        &ended,
        Code::Unauthenticated,
        "certificate-revoked",
        "iaso join-token NODE",
    )
    .await;
    let again = session(&running, &identity, "styx").await.unwrap_err();
    assert_eq!(again.code(), Code::Unauthenticated);
    let mut renewing = IdentityServiceClient::new(channel_of().await);
    let request = v1::RenewRequest {
        request: NodeKey::generate().unwrap().request().unwrap(),
    };
    assert_eq!(
        renewing.renew(request).await.unwrap_err().code(),
        Code::Unauthenticated
    );

    let create = v1::CreateJoinTokenRequest {
        node: "styx".into(),
        ttl_secs: 60,
    };
    let made = admin
        .create_join_token(create)
        .await
        .unwrap()
        .into_inner()
        .token;
    let presented = made.splitn(3, '.').nth(2).unwrap();
    enrol(channel(&running).await, "styx", presented)
        .await
        .unwrap();
    let texts = said(&running).await;
    let all = [
        "nora (admin) revoked this node",
        "sold",
        "nora (admin) made join token",
        "enrolled from",
    ];
    for words in all {
        assert!(
            texts.iter().any(|text| text.contains(words)),
            "{words:?} is not in {texts:#?}"
        );
    }
    let secret = made.rsplit('.').next().unwrap();
    assert!(texts.iter().all(|text| !text.contains(secret)));
    running.stop().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_as_good_and_another_machine_of_the_same_name_ends_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let running = running(dir.path()).await;
    let identity = enrolled(&running, "styx");
    let mut client =
        IdentityServiceClient::new(connect(&running, identity.client().unwrap()).await);
    let key = NodeKey::generate().unwrap();
    let request = v1::RenewRequest {
        request: key.request().unwrap(),
    };
    let answer = client.renew(request).await.unwrap().into_inner();
    let renewed = NodeIdentity::new(
        "styx".into(),
        running.identities.fingerprint(),
        &key,
        answer.certificate,
    );
    let channel_of_renewed = connect(&running, renewed.client().unwrap()).await;
    let mut open = agent_with(channel_of_renewed, "styx", "a").await.unwrap();
    assert!(matches!(open.next().await, Ok(Down::Assignment(_))));
    // The machine is recreated: whatever the old one still has does not count any more.
    let token = join_token(&running, "styx");
    enrol(channel(&running).await, "styx", &token)
        .await
        .unwrap();
    let ended = open.next().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
    assert!(session(&running, &identity, "styx").await.is_err());
    running.stop().await;
}

#[tokio::test]
async fn a_role_decides_what_a_person_may_and_the_journal_names_the_tokens_owner() {
    let dir = tempfile::tempdir().unwrap();
    let running = running(dir.path()).await;
    drop(agent(&running, "styx", "a").await);
    let pause = || v1::PauseRequest {
        node: "styx".into(),
        reason: "work".into(),
        who: "somebody-else".into(),
    };
    let decision = || v1::DecisionRequest {
        incident: "styx-1".into(),
        ..Default::default()
    };

    let mut viewer = operator_as(&running, "vera", Role::Viewer).await;
    viewer.list_nodes(v1::ListNodesRequest {}).await.unwrap();
    let refusals = [
        viewer.approve(decision()).await.unwrap_err(),
        viewer.deny(decision()).await.unwrap_err(),
        viewer.pause(pause()).await.unwrap_err(),
        viewer.resume(pause()).await.unwrap_err(),
    ];
    for status in refusals {
        assert_refused(
            &running,
            &status,
            Code::PermissionDenied,
            "role",
            "vera (viewer) may not do this: it needs the role operator",
        )
        .await;
    }
    assert_eq!(refused(&running, "role").await, 4);

    let mut oscar = operator_as(&running, "oscar", Role::Operator).await;
    oscar.pause(pause()).await.unwrap();
    let auth = bearer(&token(&running, "olga", Role::Operator));
    let mut client = IdentityServiceClient::with_interceptor(channel(&running).await, auth);
    let status = client
        .create_join_token(v1::CreateJoinTokenRequest {
            node: "styx".into(),
            ttl_secs: 0,
        })
        .await
        .unwrap_err();
    assert_refused(
        &running,
        &status,
        Code::PermissionDenied,
        "role",
        "needs the role admin",
    )
    .await;
    // There is such an incident for nobody, but an operator is told so and not that they may not.
    assert_eq!(
        oscar.approve(decision()).await.unwrap_err().code(),
        Code::NotFound
    );

    let texts = said(&running).await;
    assert!(
        texts
            .iter()
            .any(|text| text.contains("oscar (operator), for somebody-else")),
        "{texts:#?}"
    );
    assert!(
        texts.iter().all(|text| !text.contains("vera")),
        "what was refused is not journaled"
    );

    running.stop().await;
}

#[tokio::test]
async fn nobodys_token_is_told_how_to_get_one() {
    let dir = tempfile::tempdir().unwrap();
    let running = running(dir.path()).await;
    for (presented, kind) in [("", "no-token"), ("0011.22", "token-wrong")] {
        let mut client =
            OperatorServiceClient::with_interceptor(channel(&running).await, bearer(presented));
        let status = client
            .list_nodes(v1::ListNodesRequest {})
            .await
            .unwrap_err();
        assert_refused(
            &running,
            &status,
            Code::Unauthenticated,
            kind,
            "operator add",
        )
        .await;
    }
    drop(operator(&running).await);
    running.stop().await;
}

#[tokio::test]
async fn a_client_without_tls_gets_nothing_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let running = running(dir.path()).await;
    let plain = Channel::from_shared(format!("http://{}", running.address)).unwrap();
    if let Ok(channel) = plain.connect().await {
        let auth = bearer(&token(&running, "nora", Role::Admin));
        let mut client = OperatorServiceClient::with_interceptor(channel, auth);
        assert!(client.list_nodes(v1::ListNodesRequest {}).await.is_err());
    }
    assert!(refused(&running, "plaintext").await > 0);
    running.stop().await;
}

#[tokio::test]
async fn who_is_known_is_known_after_a_restart_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let first = running(dir.path()).await;
    let (identity, auth) = (
        enrolled(&first, "styx"),
        token(&first, "nora", Role::Viewer),
    );
    first.stop().await;
    let second = running(dir.path()).await;
    assert!(matches!(
        session(&second, &identity, "styx").await,
        Ok(Down::Assignment(_))
    ));
    let mut client = OperatorServiceClient::with_interceptor(channel(&second).await, bearer(&auth));
    client.list_nodes(v1::ListNodesRequest {}).await.unwrap();
    second.stop().await;
}
