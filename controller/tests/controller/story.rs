//! What a user would tell: paused, restarted, and killed in the middle of an order.

use crate::support::{FakeProvider, STYX, controller, operator};
use iaso_controller::driver::View;
use iaso_engine::effect::{Action, Effect};
use iaso_engine::id::{EffectId, IncidentId, NodeName};
use iaso_engine::record::{Diagnosis, Record, Rung, RungResult};
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
        kinds
            .iter()
            .any(|json| json.contains("nora (admin), for ada")),
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

pub(crate) fn parked(
    denied: Option<Rung>,
) -> impl FnOnce(&View<'_>) -> Result<Vec<Record>, String> {
    let incident = IncidentId("styx-9".into());
    let (who, reason) = ("ada".to_owned(), "its disk is wanted".to_owned());
    move |view| {
        let opened = Record::IncidentOpened {
            incident: incident.clone(),
            node: NodeName::new("styx").unwrap(),
            since: view.now,
            diagnosis: Diagnosis::Isolated,
            evidence: Vec::new(),
        };
        let said_no = denied.map(|rung| Record::Denied {
            incident: incident.clone(),
            rung,
            who,
            reason,
        });
        let told = Record::RungStarted {
            incident: incident.clone(),
            rung: Rung::Page,
            attempt: 1,
            why: "x".into(),
        };
        let over = Record::RungEnded {
            incident: incident.clone(),
            rung: Rung::Page,
            result: RungResult::NoHelp,
            why: "x".into(),
        };
        let parked = Record::Parked {
            incident,
            why: "x".into(),
        };
        let end = [told, over, parked];
        Ok([opened].into_iter().chain(said_no).chain(end).collect())
    }
}

/// Catches: a word about a parked incident that is taken for one about its page.
#[tokio::test]
async fn a_later_yes_is_about_the_rung_that_was_denied_and_never_about_a_page() {
    let decision = v1::DecisionRequest {
        incident: "styx-9".into(),
        who: "bob".into(),
        ..Default::default()
    };
    let dir = tempfile::tempdir().unwrap();
    let running = controller(dir.path(), STYX, Arc::new(NoProvider)).await;
    running
        .handle
        .change(parked(Some(Rung::Recreate)))
        .await
        .unwrap();
    let mut people = operator(&running).await;
    let no = people.deny(decision.clone()).await.unwrap_err();
    assert!(no.message().contains("is parked"), "{no}");
    let yes = people.approve(decision.clone()).await.unwrap().into_inner();
    assert_eq!(yes.message, "approved: recreate for incident styx-9");
    running.stop().await;

    let dir = tempfile::tempdir().unwrap();
    let running = controller(dir.path(), STYX, Arc::new(NoProvider)).await;
    running.handle.change(parked(None)).await.unwrap();
    let mut people = operator(&running).await;
    let refused = people.approve(decision).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        refused.message().contains("iaso report styx-9"),
        "{refused}"
    );
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
