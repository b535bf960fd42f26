//! Sends one call: limiter, token, bounds, classes; and decides what may be sent again.

use std::{sync::Once, time::Duration};

use jiff::Timestamp;
use reqwest::{
    Client, Method, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
    redirect,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    HostingerConfig, HostingerError,
    classify::{self, Refusal},
    endpoint::Endpoint,
    pace::Limiter,
    token::{TokenFile, bearer},
};
use crate::{Answer, ProviderError, Secret, TransportReason};

/// Largest answer that is read.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How often a GET is sent at most.
const TRIES_MAX: u32 = 3;
/// Wait before the second try; doubled for the third.
const BACKOFF: Duration = Duration::from_millis(500);

/// One call of the API.
pub(super) struct Call {
    pub(super) name: &'static str,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Call {
    pub(super) fn new(name: &'static str, method: Method, path: String) -> Self {
        Self {
            name,
            method,
            path,
            query: Vec::new(),
            body: None,
        }
    }

    pub(super) fn get(name: &'static str, path: String) -> Self {
        Self::new(name, Method::GET, path)
    }

    pub(super) fn query(mut self, key: &'static str, value: &impl ToString) -> Self {
        self.query.push((key, value.to_string()));
        self
    }

    pub(super) fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

/// What went wrong, and whether it is certain that the provider did not take the call.
struct Failure {
    error: ProviderError,
    surely_not_taken: bool,
}

impl Failure {
    fn before_sending(error: ProviderError) -> Self {
        Self {
            error,
            surely_not_taken: true,
        }
    }
}

#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    endpoint: Endpoint,
    token: TokenFile,
    limiter: Limiter,
}

impl Http {
    pub(super) fn new(config: HostingerConfig) -> Result<Self, HostingerError> {
        install_crypto();
        let endpoint =
            Endpoint::new(&config.base_url, config.allow_http).map_err(HostingerError::BaseUrl)?;
        let mut builder = Client::builder()
            .user_agent(concat!("iaso/", env!("CARGO_PKG_VERSION")))
            .timeout(config.timeout)
            // Shorter than the whole: an order that found no connection is known not to have left.
            .connect_timeout(config.timeout / 2)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never());
        if endpoint.is_loopback() {
            builder = builder.no_proxy();
        }
        Ok(Self {
            client: builder.build().map_err(HostingerError::Client)?,
            endpoint,
            token: TokenFile::new(config.token_file),
            limiter: Limiter::new(config.min_interval, config.wait_max),
        })
    }

    /// Asks a question. Repeated a little, because asking changes nothing.
    pub(super) async fn fetch<T: DeserializeOwned>(&self, call: Call) -> Result<T, ProviderError> {
        let mut backoff = BACKOFF;
        for _ in 1..TRIES_MAX {
            match self.send(&call).await {
                Ok(body) => return parse(call.name, &body),
                Err(failure) if self.is_passing(&failure.error) => {
                    tracing::debug!(call = call.name, error = %failure.error, "asking again");
                    tokio::time::sleep(backoff).await;
                    backoff *= 2;
                }
                Err(failure) => return Err(failure.error),
            }
        }
        let body = self.send(&call).await.map_err(|failure| failure.error)?;
        parse(call.name, &body)
    }

    /// Whether the same question may have an answer in a moment.
    fn is_passing(&self, error: &ProviderError) -> bool {
        match error {
            ProviderError::Transport { reason, .. } => *reason != TransportReason::Tls,
            ProviderError::Server { .. } => true,
            // Longer than that, and the limiter would not let the next try out.
            ProviderError::RateLimited { retry_after, .. } => {
                *retry_after <= self.limiter.wait_max()
            }
            ProviderError::Unauthorized { .. }
            | ProviderError::Forbidden { .. }
            | ProviderError::NotFound { .. }
            | ProviderError::Conflict { .. }
            | ProviderError::Invalid { .. }
            | ProviderError::Unexpected { .. }
            | ProviderError::Ambiguous { .. }
            | ProviderError::Token { .. }
            | ProviderError::Unsupported { .. } => false,
        }
    }

    /// Gives an order. Never repeated: a lost answer becomes `Ambiguous`.
    pub(super) async fn act<T: DeserializeOwned>(&self, call: Call) -> Result<T, ProviderError> {
        let body = self.order(&call).await?;
        parse(call.name, &body).map_err(|error| error.in_doubt(call.name))
    }

    /// Gives an order whose answer says nothing but that it was taken.
    pub(super) async fn act_unread(&self, call: Call) -> Result<(), ProviderError> {
        self.order(&call).await.map(drop)
    }

    async fn order(&self, call: &Call) -> Result<Vec<u8>, ProviderError> {
        let sent = self.send(call).await;
        sent.map_err(|failure| {
            if failure.surely_not_taken {
                failure.error
            } else {
                failure.error.in_doubt(call.name)
            }
        })
    }

    /// Sends a call, and once more when the token was refused and there is a new one in its file.
    async fn send(&self, call: &Call) -> Result<Vec<u8>, Failure> {
        let token = self
            .token
            .current(call.name)
            .await
            .map_err(Failure::before_sending)?;
        let first = self.send_with(call, &token).await;
        let Err(failure) = first else { return first };
        if !matches!(failure.error, ProviderError::Unauthorized { .. }) {
            return Err(failure);
        }
        match self.token.rotated(call.name, &token).await {
            Some(rotated) => self.send_with(call, &rotated).await,
            None => Err(failure),
        }
    }

    async fn send_with(&self, call: &Call, token: &Secret) -> Result<Vec<u8>, Failure> {
        let too_late = |retry_after| {
            let answer = Answer::default();
            Failure::before_sending(ProviderError::RateLimited {
                call: call.name,
                retry_after,
                answer,
            })
        };
        self.limiter.turn().await.map_err(too_late)?;
        let Some(authorization) = bearer(token) else {
            let error = ProviderError::Token {
                call: call.name,
                path: self.token.path(),
                what: "it must hold the token alone, on one line",
                source: None,
            };
            return Err(Failure::before_sending(error));
        };
        let mut request = self
            .client
            .request(
                call.method.clone(),
                self.endpoint.url(&call.path, &call.query),
            )
            .header(AUTHORIZATION, authorization)
            .header(ACCEPT, "application/json");
        if let Some(body) = &call.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let response = request.send().await.map_err(|error| Failure {
            surely_not_taken: error.is_connect(),
            error: classify::transport(call.name, error),
        })?;
        self.read(call.name, response).await
    }

    async fn read(&self, call: &'static str, response: Response) -> Result<Vec<u8>, Failure> {
        let status = response.status();
        let retry_after = classify::retry_after(response.headers(), Timestamp::now());
        if status.is_success() {
            self.limiter.taken();
            return read_whole(call, response).await.map_err(|error| Failure {
                error,
                surely_not_taken: false,
            });
        }
        let paused =
            (status == StatusCode::TOO_MANY_REQUESTS).then(|| self.limiter.refused(retry_after));
        // An error page that is too long or cut short still has its status.
        let body = read_whole(call, response).await.unwrap_or_default();
        let refusal = Refusal {
            call,
            status: status.as_u16(),
            body: &body,
            base_url: self.endpoint.to_string(),
            token_file: &self.token.path(),
            retry_after: paused,
        };
        Err(Failure {
            error: refusal.into_error(),
            surely_not_taken: classify::surely_refused(status.as_u16()),
        })
    }
}

/// Reads a body up to the limit, as it comes: a length that is announced may be a lie.
async fn read_whole(call: &'static str, mut response: Response) -> Result<Vec<u8>, ProviderError> {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    loop {
        let chunk = response
            .chunk()
            .await
            .map_err(|error| classify::transport(call, error))?;
        let Some(chunk) = chunk else { return Ok(body) };
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            let what = format!("more than {BODY_BYTES_MAX} bytes");
            return Err(ProviderError::Unexpected {
                call,
                status,
                what,
                answer: Answer::default(),
            });
        }
        body.extend_from_slice(&chunk);
    }
}

fn parse<T: DeserializeOwned>(call: &'static str, body: &[u8]) -> Result<T, ProviderError> {
    serde_json::from_slice(body).map_err(|error| {
        let what = classify::bounded(&format!(
            "its body does not read as the API describes it ({error})"
        ));
        ProviderError::Unexpected {
            call,
            status: 200,
            what,
            answer: Answer::default(),
        }
    })
}

/// TLS needs one provider of cryptography for the process. One that is there already is as good.
fn install_crypto() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
