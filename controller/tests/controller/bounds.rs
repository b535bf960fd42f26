//! Bad input: a clear error with what to do, and nothing lost.

use crate::support::{STYX, agent, config, controller, operator};
use iaso_controller::run::{Outside, start};
use iaso_proto::v1;
use iaso_proto::v1::agent_message::Kind;
use iaso_proto::v1::controller_message::Kind as Down;
use iaso_providers::NoProvider;
use iaso_providers::secrets::FileStore;
use std::sync::Arc;
use tonic::Code;

#[tokio::test]
async fn an_unknown_node_is_told_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let running = controller(dir.path(), STYX, Arc::new(NoProvider)).await;
    let refused = agent(&running, "lethe", "a")
        .await
        .next()
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains("[[nodes]]"), "{refused}");
    let refused = operator(&running)
        .await
        .get_node(v1::GetNodeRequest {
            name: "lethe".into(),
        })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    running.stop().await;
}

#[tokio::test]
async fn a_second_live_agent_of_the_same_name_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let running = controller(dir.path(), STYX, Arc::new(NoProvider)).await;
    let mut first = agent(&running, "styx", "a").await;
    assert!(matches!(first.next().await, Ok(Down::Assignment(_))));
    let refused = agent(&running, "styx", "b").await.next().await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    first
        .say(Kind::Report(v1::PluginReport {
            sequence: 1,
            plugin: "p".into(),
            ..Default::default()
        }))
        .await;
    assert!(matches!(first.next().await, Ok(Down::Ack(ack)) if ack.sequence == 1));
    running.stop().await;
}

#[tokio::test]
async fn an_oversize_report_is_refused_in_words_and_the_agent_may_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let running = controller(dir.path(), STYX, Arc::new(NoProvider)).await;
    let mut first = agent(&running, "styx", "a").await;
    assert!(matches!(first.next().await, Ok(Down::Assignment(_))));
    let huge = "x".repeat(iaso_proto::MAX_MESSAGE_BYTES + 1);
    first
        .say(Kind::Report(v1::PluginReport {
            plugin: huge,
            ..Default::default()
        }))
        .await;
    let refused = first.next().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("report less"), "{refused}");
    let mut again = agent(&running, "styx", "a").await;
    assert!(matches!(again.next().await, Ok(Down::Assignment(_))));
    running.stop().await;
}

#[tokio::test]
async fn a_second_controller_and_a_taken_port_are_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let running = controller(dir.path(), STYX, Arc::new(NoProvider)).await;
    let outside = || Outside {
        provider: Arc::new(NoProvider),
        cluster: None,
        shown_in: None,
        secrets: Arc::new(FileStore::open(dir.path().join("secrets")).unwrap()),
    };
    let error = start(config(dir.path(), STYX), outside())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("another controller"),
        "{error:#}"
    );
    let mut other = config(dir.path(), STYX);
    other.data_dir = dir.path().join("other");
    other.listen = running.address;
    let error = start(other, outside()).await.unwrap_err();
    assert!(error.to_string().contains("ss -ltnp"), "{error:#}");
    running.stop().await;
}
