//! The thin client: the only module that knows protobuf types. Models come out, [`Failure`]s in words.

mod convert;
mod wrong;

use crate::failure::Failure;
use crate::model;
use crate::token::Token;
use iaso_proto::v1::identity_service_client::IdentityServiceClient;
use iaso_proto::v1::{self, operator_service_client::OperatorServiceClient};
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;
use tonic::codegen::http::Uri;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::{Interceptor, interceptor::InterceptedService};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

/// Largest answer, in bytes: a report of 4 MiB and what surrounds it.
const ANSWER_BYTES_MAX: usize = 5 << 20;
/// A controller that is silent for so long on an open stream is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What the operator decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Do it.
    Approve,
    /// Do not.
    Deny,
}

/// A pause, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Hold everything disruptive.
    Pause,
    /// Go on.
    Resume,
}

/// What goes to the journal with it.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    /// Why.
    pub(crate) reason: String,
    /// Who says so.
    pub(crate) who: String,
}

/// A controller that answered at least once.
pub(crate) struct Client {
    service: OperatorServiceClient<InterceptedService<Channel, Bearer>>,
    identities: IdentityServiceClient<InterceptedService<Channel, Bearer>>,
    context: Context,
}

/// What error messages need.
#[derive(Debug, Clone)]
struct Context {
    url: String,
    file: PathBuf,
    timeout: Duration,
}

#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Client {
    /// Connects, so that a wrong address is told before anything is asked.
    pub(crate) async fn connect(
        uri: &Uri,
        token: Token,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let context = Context {
            url: uri.to_string().trim_end_matches('/').to_owned(),
            file: token.file,
            timeout,
        };
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {}", token.secret.presented())
            .parse()
            .expect("a token is printable ASCII: token::read checked it");
        bearer.set_sensitive(true);
        let endpoint = Endpoint::from(uri.clone())
            .connect_timeout(timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(timeout)
            .keep_alive_while_idle(true);
        let tls = token.secret.fingerprint().client();
        let tls = tls.map_err(|error| wrong::connecting(&context, &error))?;
        let connect = iaso_identity::connect(&endpoint, tls);
        let channel = match tokio::time::timeout(timeout, connect).await {
            Ok(connected) => connected.map_err(|error| wrong::connecting(&context, &error))?,
            Err(_) => return Err(wrong::silent(&context)),
        };
        let bearer = Bearer(bearer);
        let identities = IdentityServiceClient::with_interceptor(channel.clone(), bearer.clone());
        let service = OperatorServiceClient::with_interceptor(channel, bearer)
            .max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Self {
            service,
            identities,
            context,
        })
    }

    /// All nodes.
    pub(crate) async fn nodes(&self) -> Result<model::Nodes, Failure> {
        let mut service = self.service.clone();
        self.ask(service.list_nodes(v1::ListNodesRequest {}), wrong::NO_NODE)
            .await
            .map(convert::nodes)
    }

    /// One node.
    pub(crate) async fn node(&self, name: String) -> Result<model::NodeDetail, Failure> {
        let mut service = self.service.clone();
        self.ask(
            service.get_node(v1::GetNodeRequest { name }),
            wrong::NO_NODE,
        )
        .await
        .map(convert::node_detail)
    }

    /// Incidents; an empty state is all.
    pub(crate) async fn incidents(
        &self,
        limit: u32,
        state: &str,
    ) -> Result<model::Incidents, Failure> {
        let mut service = self.service.clone();
        let request = v1::ListIncidentsRequest {
            limit,
            state: state.to_owned(),
        };
        self.ask(service.list_incidents(request), wrong::NO_INCIDENT)
            .await
            .map(convert::incidents)
    }

    /// One incident with its timeline.
    pub(crate) async fn incident(&self, id: &str) -> Result<model::IncidentDetail, Failure> {
        let mut service = self.service.clone();
        let request = v1::GetIncidentRequest { id: id.to_owned() };
        self.ask(service.get_incident(request), wrong::NO_INCIDENT)
            .await
            .map(convert::incident_detail)
    }

    /// An incident's report.
    pub(crate) async fn report(&self, id: String, format: &str) -> Result<model::Report, Failure> {
        let mut service = self.service.clone();
        let request = v1::GetReportRequest {
            id,
            format: format.to_owned(),
        };
        self.ask(service.get_report(request), wrong::NO_INCIDENT)
            .await
            .map(convert::report)
    }

    /// Why this, why not that.
    pub(crate) async fn explain(&self, node: String) -> Result<model::Explanation, Failure> {
        let mut service = self.service.clone();
        self.ask(service.explain(v1::ExplainRequest { node }), wrong::NO_NODE)
            .await
            .map(convert::explanation)
    }

    /// Approves or denies what an incident awaits.
    pub(crate) async fn decide(
        &self,
        decision: Decision,
        incident: String,
        word: Word,
    ) -> Result<model::Answer, Failure> {
        let mut service = self.service.clone();
        let request = v1::DecisionRequest {
            incident,
            reason: word.reason,
            who: word.who,
        };
        let answer = match decision {
            Decision::Approve => self.ask(service.approve(request), wrong::NO_INCIDENT).await,
            Decision::Deny => self.ask(service.deny(request), wrong::NO_INCIDENT).await,
        };
        answer.map(|answer| model::Answer {
            message: answer.message.into(),
        })
    }

    /// Pauses or resumes a node, or all when the name is empty.
    pub(crate) async fn hold(
        &self,
        hold: Hold,
        node: String,
        word: Word,
    ) -> Result<model::Answer, Failure> {
        let mut service = self.service.clone();
        let request = v1::PauseRequest {
            node,
            reason: word.reason,
            who: word.who,
        };
        let answer = match hold {
            Hold::Pause => self.ask(service.pause(request), wrong::NO_NODE).await,
            Hold::Resume => self.ask(service.resume(request), wrong::NO_NODE).await,
        };
        answer.map(|answer| model::Answer {
            message: answer.message.into(),
        })
    }

    /// A join token for a node.
    pub(crate) async fn join_token(
        &self,
        node: String,
        ttl: Duration,
    ) -> Result<model::JoinToken, Failure> {
        let mut identities = self.identities.clone();
        let request = v1::CreateJoinTokenRequest {
            node,
            ttl_secs: ttl.as_secs(),
        };
        self.ask(identities.create_join_token(request), wrong::NO_NODE)
            .await
            .map(convert::join_token)
    }

    /// Takes what a node could speak with back.
    pub(crate) async fn revoke(
        &self,
        node: String,
        reason: String,
    ) -> Result<model::Revoked, Failure> {
        let mut identities = self.identities.clone();
        let request = v1::RevokeNodeRequest {
            node: node.clone(),
            reason,
        };
        let answer = self
            .ask(identities.revoke_node(request), wrong::NO_NODE)
            .await?;
        Ok(model::Revoked {
            node: node.into(),
            certificates: answer.certificates,
            join_tokens: answer.join_tokens,
        })
    }

    /// The journal after a sequence; stays open when `follow`.
    pub(crate) async fn watch(
        &self,
        after: u64,
        follow: bool,
        incident: &str,
    ) -> Result<Events, Failure> {
        let mut service = self.service.clone();
        let request = v1::WatchEventsRequest {
            after_sequence: after,
            follow,
            incident: incident.to_owned(),
        };
        let stream = self
            .ask(service.watch_events(request), wrong::NO_INCIDENT)
            .await?;
        Ok(Events {
            stream,
            patience: (!follow).then_some(self.context.timeout),
            context: self.context.clone(),
        })
    }

    /// The recording of an incident, or with an empty name all of them since a moment after the Unix epoch.
    pub(crate) async fn recording(
        &self,
        incident: &str,
        since: Duration,
    ) -> Result<Recording, Failure> {
        let mut service = self.service.clone();
        let request = v1::GetRecordingRequest {
            incident: incident.to_owned(),
            since_unix_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        };
        let stream = self
            .ask(service.get_recording(request), wrong::NO_INCIDENT)
            .await?;
        Ok(Recording {
            stream,
            context: self.context.clone(),
        })
    }

    async fn ask<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
        absent: &'static str,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.context.timeout, call).await {
            Ok(answer) => answer
                .map(Response::into_inner)
                .map_err(|status| wrong::answered(&self.context, &status, absent)),
            Err(_) => Err(wrong::silent(&self.context)),
        }
    }
}

/// A recording on its way.
pub(crate) struct Recording {
    stream: Streaming<v1::RecordingChunk>,
    context: Context,
}

impl Recording {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match tokio::time::timeout(self.context.timeout, self.stream.message()).await {
            Ok(Ok(chunk)) => Ok(chunk.map(|chunk| chunk.data)),
            Ok(Err(status)) => Err(wrong::broke_off(&self.context, &status)),
            Err(_) => Err(wrong::silent(&self.context)),
        }
    }
}

/// A stream of journal entries.
pub(crate) struct Events {
    stream: Streaming<v1::Event>,
    /// How long the next one may take; `None`: for ever, kept alive by pings.
    patience: Option<Duration>,
    context: Context,
}

impl Events {
    /// The next entry; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<model::Event>, Failure> {
        let next = match self.patience {
            Some(patience) => match tokio::time::timeout(patience, self.stream.message()).await {
                Ok(next) => next,
                Err(_) => return Err(wrong::silent(&self.context)),
            },
            None => self.stream.message().await,
        };
        match next {
            Ok(event) => Ok(event.map(convert::event)),
            Err(status) => Err(wrong::broke_off(&self.context, &status)),
        }
    }
}
