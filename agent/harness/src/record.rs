//! Records what a real host answers, as a fixture that plays anywhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use iaso_host::{Broker, CallContext, CapError, Request, Resolver, Response};

use crate::answer::written;
use crate::line::line_of;
use crate::play::Ended;
use crate::stage::Called;

/// What was heard, shared by the broker and the resolver that listen.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    called: Arc<Mutex<Vec<Called>>>,
    names: Arc<Mutex<BTreeMap<String, IpAddr>>>,
}

/// Listens between a plugin and a real broker, or between a broker and a real resolver.
pub struct Recorder<T> {
    inner: T,
    recording: Recording,
}

impl<T> Recorder<T> {
    /// Listens to `inner`.
    pub fn new(inner: T, recording: &Recording) -> Self {
        Self {
            inner,
            recording: recording.clone(),
        }
    }
}

#[async_trait]
impl Broker for Recorder<Arc<dyn Broker>> {
    async fn call(&self, context: &CallContext, request: Request) -> Result<Response, CapError> {
        let line = line_of(&request);
        let answer = self.inner.call(context, request).await;
        let mut called = self
            .recording
            .called
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        called.push(Called {
            line,
            answer: answer.clone(),
        });
        answer
    }
}

#[async_trait]
impl<R: Resolver> Resolver for Recorder<R> {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, CapError> {
        let found = self.inner.addresses(name).await?;
        if let Some(first) = found.first() {
            let plain = name.trim_end_matches('.').to_ascii_lowercase();
            let mut names = self
                .recording
                .names
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            names.insert(plain, *first);
        }
        Ok(found)
    }

    async fn real_path(&self, path: &Path) -> Result<PathBuf, CapError> {
        self.inner.real_path(path).await
    }
}

impl Recording {
    /// Calls that were heard.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.called
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// The fixture: what was answered, and what was found as what must be found.
    #[must_use]
    pub fn to_fixture(&self, about: &str, config: &[(String, String)], ended: &Ended) -> String {
        let mut out = format!("about = {}\n", quoted(about));
        let mut table = |name: &str, pairs: &mut dyn Iterator<Item = (String, String)>| {
            let mut pairs = pairs.peekable();
            if pairs.peek().is_some() {
                let _ = writeln!(out, "\n[{name}]");
            }
            for (key, value) in pairs {
                let _ = writeln!(out, "{} = {}", quoted(&key), quoted(&value));
            }
        };
        table("config", &mut config.iter().cloned());
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        table(
            "names",
            &mut names.iter().map(|(k, v)| (k.clone(), v.to_string())),
        );
        let called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        for call in called
            .iter()
            .filter(|call| !call.line.starts_with("state "))
        {
            let _ = write!(
                out,
                "\n[[answer]]\ncall = {}\n{}",
                quoted(&call.line),
                answer_text(&call.answer)
            );
        }
        if let Ended::Check(findings) = ended {
            for finding in findings {
                let _ = writeln!(
                    out,
                    "\n[[expect]]\ncode = {}\nseverity = {}\nsubject = {}",
                    quoted(&finding.code),
                    quoted(&finding.severity),
                    quoted(&finding.subject)
                );
            }
        }
        out
    }
}

fn answer_text(answer: &Result<Response, CapError>) -> String {
    match answer {
        Ok(response) => written(response)
            .and_then(|value| toml::Value::try_from(value).ok())
            .map_or_else(String::new, |value| format!("value = {value}\n")),
        Err(error) => {
            let word = match error {
                CapError::Denied(why) => format!("denied: {why}"),
                CapError::Timeout => "timeout".to_owned(),
                CapError::TooLarge(why) => format!("too-large: {why}"),
                CapError::Unavailable(why) => format!("unavailable: {why}"),
                CapError::Other(why) => format!("other: {why}"),
            };
            format!("error = {}\n", quoted(&word))
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
