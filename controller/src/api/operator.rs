//! The operators' service: what is, why, and what a person decides.

use super::{Shared, auth, convert, events, recordings, render};
use crate::driver::ChangeError;
use crate::identity::Operator;
use crate::store::reports;
use crate::text::bounded;
use iaso_engine::id::{IncidentId, NodeName};
use iaso_engine::ledger::{Incident, Standing};
use iaso_engine::record::{Record, Rung};
use iaso_engine::report::Report;
use iaso_proto::v1;
use iaso_proto::v1::operator_service_server::OperatorService;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Largest report that is answered.
const REPORT_BYTES_MAX: usize = 4 << 20;
/// Events that may wait for one reader.
const EVENTS_QUEUED_MAX: usize = 256;
/// Lines of a timeline in one answer: the rest is in the events and the report.
const TIMELINE_MAX: usize = 2_000;

/// The service.
#[derive(Debug)]
pub(super) struct Operators {
    shared: Shared,
}

impl Operators {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    /// What observing alone would have done, and whether that would have been right so far.
    async fn scored(&self, incident: &IncidentId) -> Result<Vec<String>, Status> {
        let entries = self
            .shared
            .store
            .incident(incident.as_str())
            .await
            .map_err(|error| events::unreadable(&error))?;
        let now = self.shared.clock.now();
        let scored = iaso_engine::score::would_haves(&entries, incident, now);
        let line = |one: iaso_engine::score::Scored| {
            let ago = iaso_engine::score::span(now.since(one.at));
            format!(
                "{}, {ago} ago: {}, {}",
                one.rung,
                one.verdict.name(),
                one.why
            )
        };
        Ok(scored.into_iter().map(line).collect())
    }

    async fn ask<T, F>(&self, question: F) -> Result<T, Status>
    where
        T: Send + 'static,
        F: FnOnce(&crate::driver::View<'_>) -> T + Send + 'static,
    {
        self.shared
            .handle
            .ask(question)
            .await
            .map_err(|gone| Status::unavailable(gone.to_string()))
    }

    /// A node of the configuration.
    fn node(&self, name: &str) -> Result<NodeName, Status> {
        auth::declared(&self.shared, name)
    }

    async fn decide(
        &self,
        request: Request<v1::DecisionRequest>,
        yes: bool,
    ) -> Result<Response<v1::DecisionResponse>, Status> {
        let operator = auth::operator(&request)?;
        let request = request.into_inner();
        let id = IncidentId(bounded(&request.incident, 300));
        let (who, reason) = signed(&operator, &request.who, &request.reason);
        let (told, rung) = tokio::sync::oneshot::channel::<Rung>();
        let incident = id.clone();
        let change = move |view: &crate::driver::View<'_>| {
            let found = view
                .ledger
                .incidents
                .get(&incident)
                .ok_or_else(|| no_incident(incident.as_str()))?;
            let rung = subject(found, yes)?;
            // Nobody listens any more: the journal has it.
            let _ = told.send(rung.clone());
            Ok(vec![Record::decision(incident, rung, yes, who, reason)])
        };
        self.shared
            .handle
            .change(change)
            .await
            .map_err(|error| refused(&error))?;
        self.shared.sessions.assign_anew();
        let rung = rung.await.map(|rung| rung.to_string()).unwrap_or_default();
        let word = if yes { "approved" } else { "denied" };
        Ok(Response::new(v1::DecisionResponse {
            message: format!("{word}: {rung} for incident {id}"),
        }))
    }

    async fn hold(
        &self,
        request: Request<v1::PauseRequest>,
        hold: bool,
    ) -> Result<Response<v1::PauseResponse>, Status> {
        let operator = auth::operator(&request)?;
        let request = request.into_inner();
        let node = if request.node.is_empty() {
            None
        } else {
            Some(self.node(&request.node)?)
        };
        let (who, reason) = signed(&operator, &request.who, &request.reason);
        let whose = node
            .as_ref()
            .map_or_else(|| "all nodes".to_owned(), |node| format!("node {node}"));
        let subject = whose.clone();
        let change = move |view: &crate::driver::View<'_>| {
            let is_paused = view.ledger.paused.contains_key(&node);
            match (hold, is_paused) {
                (true, _) => Ok(vec![Record::Paused { node, who, reason }]),
                (false, true) => Ok(vec![Record::Resumed { node, who, reason }]),
                (false, false) => Err(format!(
                    "{subject} is not paused: `iaso nodes` shows what is"
                )),
            }
        };
        self.shared
            .handle
            .change(change)
            .await
            .map_err(|error| refused(&error))?;
        self.shared.sessions.assign_anew();
        let message = if hold {
            format!("paused {whose}: nothing disruptive is begun there; what runs already runs on")
        } else {
            format!("resumed {whose}")
        };
        Ok(Response::new(v1::PauseResponse { message }))
    }
}

/// What a person's word is about: the rung that waits for it, or, of a parked incident, the one that somebody said no to.
fn subject(incident: &Incident, yes: bool) -> Result<Rung, String> {
    if let Some(rung) = render::awaits_approval(incident) {
        return Ok(rung);
    }
    let id = &incident.id;
    let parked = incident.standing == Standing::Parked;
    match incident.denied().filter(|_| parked && yes) {
        Some(rung) => Ok(rung.clone()),
        None if parked && yes => Err(format!(
            "incident {id} is parked, and no rung of it waits for a yes: what Iaso may do was tried, and `iaso report {id}` says what. Mend the node by \
             hand: the incident ends by itself when the node is well"
        )),
        None if parked => Err(format!(
            "incident {id} is parked: nothing is begun in it that a no could stop"
        )),
        None => Err(format!(
            "incident {id} waits for nobody's approval: `iaso incident {id}` says what it does"
        )),
    }
}

/// Who decides is whose token it was; for whom they say that they do stands beside it.
fn signed(operator: &Operator, who: &str, reason: &str) -> (String, String) {
    let or = |text: &str, other: &str| {
        if text.trim().is_empty() {
            other.to_owned()
        } else {
            bounded(text.trim(), 500)
        }
    };
    let who = match who.trim() {
        "" => operator.to_string(),
        same if same == operator.name => operator.to_string(),
        other => format!("{operator}, for {}", bounded(other, 300)),
    };
    (who, or(reason, "no reason given"))
}

pub(super) fn no_incident(id: &str) -> String {
    format!("there is no incident {id:?}: see `iaso incidents`")
}

fn refused(error: &ChangeError) -> Status {
    let text = bounded(&error.to_string(), 600);
    match error {
        ChangeError::Refused(_) if text.starts_with("there is no incident") => {
            Status::not_found(text)
        }
        ChangeError::Refused(_) => Status::failed_precondition(text),
        ChangeError::Store(_) | ChangeError::Gone(_) => Status::unavailable(text),
    }
}

fn limit(asked: u32) -> usize {
    match asked {
        0 => 100,
        more => usize::try_from(more).unwrap_or(1_000).min(1_000),
    }
}

#[tonic::async_trait]
impl OperatorService for Operators {
    type WatchEventsStream = ReceiverStream<Result<v1::Event, Status>>;
    type GetRecordingStream = ReceiverStream<Result<v1::RecordingChunk, Status>>;

    async fn list_nodes(
        &self,
        _: Request<v1::ListNodesRequest>,
    ) -> Result<Response<v1::ListNodesResponse>, Status> {
        let config = Arc::clone(&self.shared.config);
        let answer = self.ask(move |view| {
            let nodes = config
                .nodes
                .iter()
                .filter_map(|node| render::node(view, &config, &node.name))
                .collect();
            let state = match (&view.world.store, view.ledger.paused.get(&None)) {
                (Some(trouble), _) => format!("holding: the journal cannot be written ({trouble})"),
                (None, Some(reason)) => format!("paused: {reason}"),
                (None, None) => format!("leading, term {}", view.ledger.term),
            };
            v1::ListNodesResponse {
                nodes,
                controller_state: state,
            }
        });
        Ok(Response::new(answer.await?))
    }

    async fn get_node(
        &self,
        request: Request<v1::GetNodeRequest>,
    ) -> Result<Response<v1::NodeDetail>, Status> {
        let name = self.node(&request.into_inner().name)?;
        let (config, plugins) = (
            Arc::clone(&self.shared.config),
            Arc::clone(&self.shared.plugins),
        );
        let detail = self
            .ask(move |view| render::detail(view, &config, &plugins, &name))
            .await?;
        detail
            .map(Response::new)
            .ok_or_else(|| Status::not_found("the node is not declared any more"))
    }

    async fn list_incidents(
        &self,
        request: Request<v1::ListIncidentsRequest>,
    ) -> Result<Response<v1::ListIncidentsResponse>, Status> {
        let request = request.into_inner();
        if !["", "open", "parked", "closed"].contains(&request.state.as_str()) {
            return Err(Status::invalid_argument(
                "state must be open, parked or closed, or empty for all",
            ));
        }
        let incidents = self.ask(move |view| {
            let mut found: Vec<_> = view
                .ledger
                .incidents
                .values()
                .filter(|incident| {
                    request.state.is_empty() || render::state(incident) == request.state
                })
                .collect();
            found.sort_by_key(|incident| std::cmp::Reverse(incident.opened));
            found
                .into_iter()
                .take(limit(request.limit))
                .map(render::incident)
                .collect()
        });
        Ok(Response::new(v1::ListIncidentsResponse {
            incidents: incidents.await?,
        }))
    }

    async fn get_incident(
        &self,
        request: Request<v1::GetIncidentRequest>,
    ) -> Result<Response<v1::IncidentDetail>, Status> {
        let id = bounded(&request.into_inner().id, 300);
        let key = IncidentId(id.clone());
        let incident = self
            .ask(move |view| view.ledger.incidents.get(&key).map(render::incident))
            .await?;
        let incident = incident.ok_or_else(|| Status::not_found(no_incident(&id)))?;
        let entries = self
            .shared
            .store
            .incident(&id)
            .await
            .map_err(|error| events::unreadable(&error))?;
        let cut = entries.len().saturating_sub(TIMELINE_MAX);
        let timeline = entries.iter().skip(cut).map(render::timeline).collect();
        Ok(Response::new(v1::IncidentDetail {
            incident: Some(incident),
            timeline,
        }))
    }

    async fn get_report(
        &self,
        request: Request<v1::GetReportRequest>,
    ) -> Result<Response<v1::Report>, Status> {
        let request = request.into_inner();
        let extension = match request.format.as_str() {
            "" | "md" => "md",
            "json" => "json",
            _ => return Err(Status::invalid_argument("format must be md or json")),
        };
        let id = bounded(&request.id, 300);
        let entries = self
            .shared
            .store
            .incident(&id)
            .await
            .map_err(|error| events::unreadable(&error))?;
        let report = Report::build(&entries, self.shared.clock.now())
            .ok_or_else(|| Status::not_found(no_incident(&id)))?;
        let body = if extension == "json" {
            serde_json::to_string_pretty(&report)
                .map_err(|error| Status::internal(error.to_string()))?
        } else {
            report.markdown()
        };
        let path = reports::path(self.shared.store.data_dir(), &id, extension);
        if body.len() > REPORT_BYTES_MAX {
            return Err(Status::out_of_range(format!(
                "the report has {} bytes, more than 4 MiB: read it on the controller, at {}",
                body.len(),
                path.display()
            )));
        }
        let path = path.display().to_string();
        Ok(Response::new(v1::Report {
            format: extension.into(),
            body,
            path,
        }))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::Explanation>, Status> {
        let name = self.node(&request.into_inner().node)?;
        let explained = self.ask(move |view| {
            let explained = iaso_engine::explain::explain(&view.situation(), &name)?;
            let open = view.ledger.open_incident(&name);
            let observed = open.filter(|incident| !incident.would_have.is_empty());
            let observed = observed.map(|incident| incident.id.clone());
            Some((render::explanation(view, explained), observed))
        });
        let (mut explained, observed) = explained
            .await?
            .ok_or_else(|| Status::not_found("the node is not declared any more"))?;
        if let Some(incident) = observed {
            explained.would_have = self.scored(&incident).await?;
        }
        Ok(Response::new(explained))
    }

    async fn approve(
        &self,
        request: Request<v1::DecisionRequest>,
    ) -> Result<Response<v1::DecisionResponse>, Status> {
        self.decide(request, true).await
    }

    async fn deny(
        &self,
        request: Request<v1::DecisionRequest>,
    ) -> Result<Response<v1::DecisionResponse>, Status> {
        self.decide(request, false).await
    }

    async fn pause(
        &self,
        request: Request<v1::PauseRequest>,
    ) -> Result<Response<v1::PauseResponse>, Status> {
        self.hold(request, true).await
    }

    async fn resume(
        &self,
        request: Request<v1::PauseRequest>,
    ) -> Result<Response<v1::PauseResponse>, Status> {
        self.hold(request, false).await
    }

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let request = request.into_inner();
        if request.incident.len() > 300 {
            return Err(Status::invalid_argument(convert::text(
                "incident is longer than any id",
            )));
        }
        let (out, stream) = mpsc::channel(EVENTS_QUEUED_MAX);
        tokio::spawn(events::stream(self.shared.clone(), request, out));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_recording(
        &self,
        request: Request<v1::GetRecordingRequest>,
    ) -> Result<Response<Self::GetRecordingStream>, Status> {
        recordings::get(&self.shared, request.into_inner())
            .await
            .map(Response::new)
    }
}
