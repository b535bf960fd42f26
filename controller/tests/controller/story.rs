//! What a user would tell: paused, restarted, and killed in the middle of an order.

use crate::support::{FakeProvider, STYX, controller, operator};
use iaso_engine::effect::{Action, Effect};
use iaso_engine::id::{EffectId, IncidentId, NodeName};
use iaso_engine::record::{Diagnosis, Record};
use iaso_proto::v1;
use iaso_providers::{NoProvider, Provider};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tonic::Code;

#[tokio::test]
async fn a_pause_survives_a_restart_and_is_signed() {
    let dir = tempfile::tempdir().unwrap();
    let running = controller(dir.path(), STYX, Arc::new(NoProvider)).await;
    let hold = v1::PauseRequest {
        node: String::new(),
        reason: "moving".into(),
        who: "ada".into(),
    };
    operator(&running).await.pause(hold.clone()).await.unwrap();
    running.kill();
    let running = controller(dir.path(), STYX, Arc::new(NoProvider)).await;
    let mut operator = operator(&running).await;
    let nodes = operator
        .list_nodes(v1::ListNodesRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(
        nodes.nodes[0].paused && nodes.controller_state.contains("moving"),
        "{nodes:?}"
    );
    let mut events = operator
        .watch_events(v1::WatchEventsRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut kinds = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        kinds.push(event.json);
    }
    assert_eq!(
        kinds
            .iter()
            .filter(|json| json.contains("controller-started"))
            .count(),
        2
    );
    assert!(
        kinds.iter().any(|json| json.contains("\"ada\"")),
        "{kinds:?}"
    );
    operator.resume(hold.clone()).await.unwrap();
    let refused = operator.resume(hold).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    running.stop().await;
}

#[tokio::test]
async fn nothing_waits_for_approval_is_said_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let running = controller(dir.path(), STYX, Arc::new(NoProvider)).await;
    let decision = v1::DecisionRequest {
        incident: "styx-1".into(),
        ..Default::default()
    };
    let refused = operator(&running)
        .await
        .approve(decision)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains("iaso incidents"), "{refused}");
    running.stop().await;
}

const AT_HOSTINGER: &str = "[provider.hostinger]\ntoken_file = \"t\"\nmin_interval_ms = 1\n[probe]\nicmp = false\ntcp_ports = []\n\
    [[nodes]]\nname = \"styx\"\nrole = \"worker\"\naddress = \"127.0.0.9\"\nprovider = \"hostinger\"\nmachine = \"7\"\n";

#[tokio::test]
async fn a_controller_killed_in_the_middle_of_an_order_asks_and_never_orders_again() {
    let dir = tempfile::tempdir().unwrap();
    let provider = Arc::new(FakeProvider::default());
    let running = controller(
        dir.path(),
        AT_HOSTINGER,
        Arc::clone(&provider) as Arc<dyn Provider>,
    )
    .await;
    let node = NodeName::new("styx").unwrap();
    let incident = IncidentId("styx-9".into());
    let effect = Effect {
        id: EffectId("styx-9/1".into()),
        incident: incident.clone(),
        node: node.clone(),
        action: Action::Reboot,
        evidence: Vec::new(),
    };
    let intended = move |view: &iaso_controller::driver::View<'_>| {
        Ok(vec![
            Record::IncidentOpened {
                incident,
                node,
                since: view.now,
                diagnosis: Diagnosis::Isolated,
                evidence: Vec::new(),
            },
            Record::Intended { effect },
        ])
    };
    running.handle.change(intended).await.unwrap();
    while provider.polls.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    running.kill();
    let asked = provider.polls.load(Ordering::SeqCst);
    let running = controller(
        dir.path(),
        AT_HOSTINGER,
        Arc::clone(&provider) as Arc<dyn Provider>,
    )
    .await;
    while provider.polls.load(Ordering::SeqCst) == asked {
        tokio::task::yield_now().await;
    }
    assert_eq!(provider.reboots.load(Ordering::SeqCst), 1);
    running.stop().await;
}
