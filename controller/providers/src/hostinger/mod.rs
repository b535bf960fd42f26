//! Hostinger's VPS API, after its published description (`/api/vps/v1`).
//!
//! **Invariants**
//! - One limiter for all calls of a client: repeated excess can get the address of the controller blocked.
//! - Only GETs are repeated. Everything else is sent once, and once more only when a 401 says that it was not taken
//!   and the token file has a new token by now.
//! - A list that would have to be shortened is an error: a missing action would read as "it never happened".
//!
//! Deliberately absent: snapshots (a recreate destroys them), host names, public keys, backups.

mod classify;
mod endpoint;
mod http;
mod pace;
#[cfg(test)]
mod tests;
mod token;
mod wire;

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::json;

use crate::{
    Capabilities, FirstBoot, Machine, MachineId, Metrics, Operation, OperationId, PasswordFlow,
    Provider, ProviderError, RecreateCapabilities, RecreateSpec, Recreation, Script, ScriptId,
    Secret,
};

use self::{
    http::{Call, Http},
    wire::{ActionBody, ListBody, MachineBody, MetricsBody, PageBody, ScriptBody},
};

pub use endpoint::BaseUrlError;

/// Where the real API is.
pub const BASE_URL: &str = "https://developers.hostinger.com";

/// Longest script: the published limit is "48 KB", and this is the smaller reading of it.
pub const SCRIPT_BYTES_MAX: usize = 48_000;

/// Shortest password the API takes.
const PASSWORD_CHARS_MIN: usize = 12;
const SCRIPT_NAME_BYTES_MAX: usize = 100;
/// Pages of a list that are read: 50 entries each.
const PAGES_MAX: u32 = 40;

/// How to reach the API.
#[derive(Debug, Clone)]
pub struct HostingerConfig {
    /// [`BASE_URL`], or a proxy or emulator with or without a path prefix.
    pub base_url: String,
    /// Where the API token is. Read again when it is refused, so it can be rotated under a running controller.
    pub token_file: PathBuf,
    /// How long one call may take.
    pub timeout: Duration,
    /// Time between two calls, whatever they ask.
    pub min_interval: Duration,
    /// How long a call may wait for its turn before it is given up as rate limited.
    pub wait_max: Duration,
    /// Plain HTTP to an address other than loopback. The token and the password then travel readable.
    pub allow_http: bool,
}

impl HostingerConfig {
    /// The real API with default times.
    #[must_use]
    pub fn new(token_file: impl Into<PathBuf>) -> Self {
        Self {
            base_url: BASE_URL.to_owned(),
            token_file: token_file.into(),
            timeout: Duration::from_secs(20),
            min_interval: Duration::from_secs(1),
            wait_max: Duration::from_secs(30),
            allow_http: false,
        }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum HostingerError {
    /// The base URL cannot be the API's.
    #[error("provider.hostinger.base_url is wrong")]
    BaseUrl(#[source] BaseUrlError),
    /// The HTTP client cannot be built: most often, the system has no CA certificates.
    #[error(
        "cannot build the HTTPS client; check that CA certificates are installed (package ca-certificates)"
    )]
    Client(#[source] reqwest::Error),
}

/// A client of the API. Share one: its limiter is per client.
#[derive(Debug)]
pub struct Hostinger {
    http: Http,
}

impl Hostinger {
    /// Builds the client. Sends nothing and reads no token yet.
    pub fn new(config: HostingerConfig) -> Result<Self, HostingerError> {
        Ok(Self {
            http: Http::new(config)?,
        })
    }

    async fn act(&self, call: Call) -> Result<Operation, ProviderError> {
        let name = call.name;
        let body: ActionBody = self.http.act(call).await?;
        // What cannot be read was an answer to an order all the same.
        body.into_operation(name)
            .map_err(|error| error.in_doubt(name))
    }

    /// Reads all pages of a list, or fails. `enough` may stop early when the rest cannot matter.
    async fn pages<T: serde::de::DeserializeOwned>(
        &self,
        name: &'static str,
        path: &str,
        enough: impl Fn(&[T]) -> bool,
    ) -> Result<Vec<T>, ProviderError> {
        let mut all = Vec::new();
        for page in 1..=PAGES_MAX {
            let call = Call::get(name, path.to_owned()).query("page", &page);
            let body = match self.http.fetch(call).await? {
                ListBody::Bare(items) => return Ok(items),
                ListBody::Page(body) => body,
            };
            let PageBody { data, meta } = body;
            let ended = data.is_empty() || meta.is_last(page);
            all.extend(data);
            if ended || enough(&all) {
                return Ok(all);
            }
        }
        let what =
            format!("the list has more than {PAGES_MAX} pages, and part of a list could mislead");
        Err(ProviderError::Unexpected {
            call: name,
            status: 200,
            what,
            answer: crate::Answer::default(),
        })
    }
}

fn machine_path(
    call: &'static str,
    machine: &MachineId,
    rest: &str,
) -> Result<String, ProviderError> {
    Ok(format!(
        "virtual-machines/{}{rest}",
        number(call, "machine", machine.as_str())?
    ))
}

/// Hostinger's ids are whole numbers; anything else is a mistake in the configuration and would only answer 404.
fn number(call: &'static str, field: &str, id: &str) -> Result<u64, ProviderError> {
    let wrong = |_| {
        ProviderError::invalid(
            call,
            field,
            format!("{id:?} is not a Hostinger id: those are whole numbers"),
        )
    };
    id.parse().map_err(wrong)
}

/// Refuses what the API would refuse, before a recreate is spent on it.
fn check_password(call: &'static str, field: &str, password: &Secret) -> Result<(), ProviderError> {
    let text = password.expose();
    let has = |class: fn(&u8) -> bool| text.bytes().any(|byte| class(&byte));
    let strong = text.chars().count() >= PASSWORD_CHARS_MIN
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit);
    if strong {
        return Ok(());
    }
    let reason = format!(
        "needs {PASSWORD_CHARS_MIN} characters with upper case, lower case and a digit: draw another"
    );
    Err(ProviderError::invalid(call, field, reason))
}

fn check_script(call: &'static str, name: &str, content: &Secret) -> Result<(), ProviderError> {
    if name.is_empty() || name.len() > SCRIPT_NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let reason = format!("needs 1 to {SCRIPT_NAME_BYTES_MAX} bytes without control characters");
        return Err(ProviderError::invalid(call, "name", reason));
    }
    let bytes = content.expose().len();
    if bytes == 0 || bytes > SCRIPT_BYTES_MAX {
        let reason = format!(
            "has {bytes} bytes, and 1 to {SCRIPT_BYTES_MAX} are taken: shorten script_template"
        );
        return Err(ProviderError::invalid(call, "content", reason));
    }
    Ok(())
}

#[async_trait]
impl Provider for Hostinger {
    fn name(&self) -> &'static str {
        "hostinger"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            power: true,
            recreate: Some(RecreateCapabilities {
                password: PasswordFlow::Taken,
                first_boot: FirstBoot::Script {
                    bytes_max: SCRIPT_BYTES_MAX,
                },
                picks_image: true,
                destroys_snapshots: true,
            }),
            recovery: true,
            metrics: true,
            operations: true,
            root_password: true,
        }
    }

    async fn get(&self, machine: &MachineId) -> Result<Machine, ProviderError> {
        let name = "get machine";
        let body: MachineBody = self
            .http
            .fetch(Call::get(name, machine_path(name, machine, "")?))
            .await?;
        let found = body.into_machine();
        if found.id == *machine {
            return Ok(found);
        }
        let what = format!("asked for machine {machine} and got {}", found.id);
        Err(ProviderError::Unexpected {
            call: name,
            status: 200,
            what,
            answer: crate::Answer::default(),
        })
    }

    async fn start(&self, machine: &MachineId) -> Result<Operation, ProviderError> {
        let name = "start";
        self.act(Call::new(
            name,
            Method::POST,
            machine_path(name, machine, "/start")?,
        ))
        .await
    }

    async fn power_cycle(&self, machine: &MachineId) -> Result<Operation, ProviderError> {
        let name = "restart";
        self.act(Call::new(
            name,
            Method::POST,
            machine_path(name, machine, "/restart")?,
        ))
        .await
    }

    async fn recreate(
        &self,
        machine: &MachineId,
        spec: &RecreateSpec,
    ) -> Result<Recreation, ProviderError> {
        let name = "recreate";
        check_password(name, "password", &spec.password)?;
        let mut body =
            json!({ "template_id": spec.template_id, "password": spec.password.expose() });
        if let (Some(script), Some(fields)) = (&spec.script_id, body.as_object_mut()) {
            let id = number(name, "post_install_script_id", script.as_str())?;
            fields.insert("post_install_script_id".to_owned(), id.into());
        }
        let call = Call::new(
            name,
            Method::POST,
            machine_path(name, machine, "/recreate")?,
        )
        .json(body);
        Ok(Recreation {
            operation: self.act(call).await?,
            password: None,
        })
    }

    async fn recovery_start(
        &self,
        machine: &MachineId,
        root_password: &Secret,
    ) -> Result<Operation, ProviderError> {
        let name = "start recovery";
        check_password(name, "root_password", root_password)?;
        let body = json!({ "root_password": root_password.expose() });
        self.act(
            Call::new(
                name,
                Method::POST,
                machine_path(name, machine, "/recovery")?,
            )
            .json(body),
        )
        .await
    }

    async fn recovery_stop(&self, machine: &MachineId) -> Result<Operation, ProviderError> {
        let name = "stop recovery";
        self.act(Call::new(
            name,
            Method::DELETE,
            machine_path(name, machine, "/recovery")?,
        ))
        .await
    }

    async fn set_root_password(
        &self,
        machine: &MachineId,
        password: &Secret,
    ) -> Result<Operation, ProviderError> {
        let name = "set root password";
        check_password(name, "password", password)?;
        let body = json!({ "password": password.expose() });
        self.act(
            Call::new(
                name,
                Method::PUT,
                machine_path(name, machine, "/root-password")?,
            )
            .json(body),
        )
        .await
    }

    async fn actions(
        &self,
        machine: &MachineId,
        since: Timestamp,
    ) -> Result<Vec<Operation>, ProviderError> {
        let name = "list actions";
        let path = machine_path(name, machine, "/actions")?;
        let found: Vec<ActionBody> = self
            .pages(name, &path, |seen| wire::newest_first_past(seen, since))
            .await?;
        let read: Result<Vec<_>, _> = found
            .into_iter()
            .map(|body| body.into_operation(name))
            .collect();
        let mut operations = read?;
        operations
            .retain(|operation| operation.created_at >= since || operation.updated_at >= since);
        operations.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        // A list that grows while its pages are read shows an entry twice.
        operations.dedup_by(|a, b| a.id == b.id);
        Ok(operations)
    }

    async fn poll(
        &self,
        machine: &MachineId,
        operation: &OperationId,
    ) -> Result<Operation, ProviderError> {
        let name = "get action";
        let id = number(name, "action", operation.as_str())?;
        let call = Call::get(
            name,
            machine_path(name, machine, &format!("/actions/{id}"))?,
        );
        let body: ActionBody = self.http.fetch(call).await?;
        body.into_operation(name)
    }

    async fn metrics(
        &self,
        machine: &MachineId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Metrics, ProviderError> {
        let name = "get metrics";
        let call = Call::get(name, machine_path(name, machine, "/metrics")?)
            .query("date_from", &wire::to_second(from))
            .query("date_to", &wire::to_second(to));
        let body: MetricsBody = self.http.fetch(call).await?;
        Ok(body.into_metrics())
    }

    async fn put_script(&self, name: &str, content: &Secret) -> Result<ScriptId, ProviderError> {
        let call_name = "store script";
        check_script(call_name, name, content)?;
        let known = self
            .list_scripts()
            .await?
            .into_iter()
            .find(|script| script.name == name);
        let body = json!({ "name": name, "content": content.expose() });
        let call = match &known {
            Some(script) => {
                let id = number(call_name, "script", script.id.as_str())?;
                Call::new(call_name, Method::PUT, format!("post-install-scripts/{id}"))
            }
            None => Call::new(call_name, Method::POST, "post-install-scripts".to_owned()),
        };
        let stored: ScriptBody = self.http.act(call.json(body)).await?;
        Ok(stored.into_script().id)
    }

    async fn list_scripts(&self) -> Result<Vec<Script>, ProviderError> {
        let found: Vec<ScriptBody> = self
            .pages("list scripts", "post-install-scripts", |_| false)
            .await?;
        Ok(found.into_iter().map(ScriptBody::into_script).collect())
    }

    async fn delete_script(&self, script: &ScriptId) -> Result<(), ProviderError> {
        let name = "delete script";
        let id = number(name, "script", script.as_str())?;
        let call = Call::new(name, Method::DELETE, format!("post-install-scripts/{id}"));
        self.http.act_unread(call).await
    }
}
