//! The operator: reads what the controller says, and waits for it to say something.

use super::Paths;
use anyhow::{Context, Result, bail};
use iaso_identity::Token;
use iaso_proto::v1::operator_service_client::OperatorServiceClient;
use iaso_proto::v1::{
    Event, ExplainRequest, Explanation, GetIncidentRequest, GetNodeRequest, GetReportRequest,
    Incident, IncidentDetail, ListIncidentsRequest, ListNodesRequest, Node, NodeDetail,
    PauseRequest, Report, WatchEventsRequest,
};
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};

/// How long the controller may take to listen.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A connection; it outlives the controller's restarts.
#[derive(Debug, Clone)]
pub struct Operator {
    client: OperatorServiceClient<Channel>,
    token: MetadataValue<Ascii>,
}

impl Operator {
    /// Waits until the controller answers.
    pub(crate) async fn connect(paths: &Paths, token: &Token) -> Result<Self> {
        let endpoint = Endpoint::from_shared(paths.controller_url())?
            .connect_timeout(Duration::from_secs(2))
            .timeout(ANSWER_WITHIN);
        let operator = Self {
            client: OperatorServiceClient::new(iaso_identity::connect_lazy(
                &endpoint,
                token.fingerprint().client()?,
            )),
            token: format!("Bearer {}", token.presented())
                .parse()
                .context("the token is not text")?,
        };
        operator.answers().await?;
        Ok(operator)
    }

    /// Waits until the controller answers again.
    pub async fn answers(&self) -> Result<()> {
        crate::until(LISTENS_WITHIN, "the controller to answer", || async {
            self.nodes().await.is_ok()
        })
        .await
    }

    fn ask<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("authorization", self.token.clone());
        request
    }

    /// All nodes.
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        let answer = self
            .client
            .clone()
            .list_nodes(self.ask(ListNodesRequest {}))
            .await?;
        Ok(answer.into_inner().nodes)
    }

    /// What the controller says of itself.
    pub async fn controller_state(&self) -> Result<String> {
        let answer = self
            .client
            .clone()
            .list_nodes(self.ask(ListNodesRequest {}))
            .await?;
        Ok(answer.into_inner().controller_state)
    }

    /// One node with its findings.
    pub async fn node(&self, name: &str) -> Result<NodeDetail> {
        let request = GetNodeRequest { name: name.into() };
        Ok(self
            .client
            .clone()
            .get_node(self.ask(request))
            .await?
            .into_inner())
    }

    /// All incidents, in the controller's order.
    pub async fn incidents(&self) -> Result<Vec<Incident>> {
        let request = ListIncidentsRequest {
            limit: 100,
            state: String::new(),
        };
        Ok(self
            .client
            .clone()
            .list_incidents(self.ask(request))
            .await?
            .into_inner()
            .incidents)
    }

    /// One incident with its timeline.
    pub async fn incident(&self, id: &str) -> Result<IncidentDetail> {
        let request = GetIncidentRequest { id: id.into() };
        Ok(self
            .client
            .clone()
            .get_incident(self.ask(request))
            .await?
            .into_inner())
    }

    /// The report, `md` or `json`.
    pub async fn report(&self, id: &str, format: &str) -> Result<Report> {
        let request = GetReportRequest {
            id: id.into(),
            format: format.into(),
        };
        Ok(self
            .client
            .clone()
            .get_report(self.ask(request))
            .await?
            .into_inner())
    }

    /// Why this, why not that.
    pub async fn explain(&self, node: &str) -> Result<Explanation> {
        let request = ExplainRequest { node: node.into() };
        Ok(self
            .client
            .clone()
            .explain(self.ask(request))
            .await?
            .into_inner())
    }

    /// Holds every disruptive effect on a node.
    pub async fn pause(&self, node: &str) -> Result<()> {
        let request = PauseRequest {
            node: node.into(),
            reason: "a test".into(),
            who: "lab".into(),
        };
        self.client.clone().pause(self.ask(request)).await?;
        Ok(())
    }

    /// The journal from the beginning, and on.
    pub async fn events(&self, after_sequence: u64) -> Result<Streaming<Event>> {
        let request = WatchEventsRequest {
            after_sequence,
            follow: true,
            incident: String::new(),
        };
        let mut request = self.ask(request);
        // The stream lives longer than any one answer.
        request.set_timeout(Duration::from_hours(1));
        Ok(self
            .client
            .clone()
            .watch_events(request)
            .await?
            .into_inner())
    }

    /// Follows the journal until an event is what is waited for; `what` names it when the time is up. Goes on over the
    /// controller's restarts.
    pub async fn until_event(
        &self,
        within: Duration,
        what: &str,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> Result<Event> {
        let (mut after, deadline) = (0, tokio::time::Instant::now() + within);
        let follow = async {
            loop {
                let Ok(mut stream) = self.events(after).await else {
                    self.answers().await?;
                    continue;
                };
                while let Ok(Some(event)) = stream.message().await {
                    after = event.sequence;
                    if wanted(&event) {
                        return Ok(event);
                    }
                }
            }
        };
        match tokio::time::timeout_at(deadline, follow).await {
            Ok(found) => found,
            Err(_) => bail!("waited {} s in vain for {what}", within.as_secs()),
        }
    }

    /// Waits until an incident of this node is closed or parked, and answers it.
    pub async fn until_settled(&self, node: &str, within: Duration) -> Result<Incident> {
        let closes = |event: &Event| {
            event.node == node
                && ["\"closed\"", "\"parked\""]
                    .iter()
                    .any(|kind| event.json.contains(&format!("\"type\":{kind}")))
        };
        let event = self
            .until_event(
                within,
                &format!("an incident of {node} to be closed or parked"),
                closes,
            )
            .await?;
        let detail = self.incident(&event.incident).await?;
        detail.incident.context("the incident is not there")
    }
}
