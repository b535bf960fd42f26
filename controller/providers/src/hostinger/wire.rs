//! The API's JSON, read leniently where that is safe, and turned into this crate's types once.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::{Timestamp, Unit};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::classify::bounded;
use crate::{
    Answer, Machine, MachineId, MachineState, Metrics, Operation, OperationId, OperationState,
    ProviderError, Sample, Script, ScriptId,
};

/// Addresses of one machine that are kept.
const ADDRESSES_MAX: usize = 64;

/// A list: bare, or in pages. The API has both.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum ListBody<T> {
    Bare(Vec<T>),
    Page(PageBody<T>),
}

#[derive(Deserialize)]
pub(super) struct PageBody<T> {
    pub(super) data: Vec<T>,
    pub(super) meta: PageMeta,
}

#[derive(Deserialize)]
pub(super) struct PageMeta {
    per_page: u64,
    total: u64,
}

impl PageMeta {
    pub(super) fn is_last(&self, page: u32) -> bool {
        u64::from(page).saturating_mul(self.per_page) >= self.total
    }
}

#[derive(Deserialize)]
pub(super) struct MachineBody {
    id: u64,
    hostname: Option<String>,
    state: String,
    actions_lock: Option<String>,
    #[serde(default)]
    ipv4: Option<Vec<AddressBody>>,
    #[serde(default)]
    ipv6: Option<Vec<AddressBody>>,
    template: Option<TemplateBody>,
    created_at: Option<String>,
}

#[derive(Deserialize)]
struct AddressBody {
    address: String,
}

#[derive(Deserialize)]
struct TemplateBody {
    name: Option<String>,
}

impl MachineBody {
    pub(super) fn into_machine(self) -> Machine {
        let addresses = self
            .ipv4
            .into_iter()
            .chain(self.ipv6)
            .flatten()
            .take(ADDRESSES_MAX);
        Machine {
            id: MachineId::from(self.id),
            hostname: bounded(&self.hostname.unwrap_or_default()),
            state: machine_state(&self.state),
            // A lock word that is newer than this program is a lock; without one, nothing is known to be locked.
            locked: self.actions_lock.is_some_and(|lock| lock != "unlocked"),
            addresses: addresses
                .filter_map(|body| address(&body.address))
                .collect(),
            template: self
                .template
                .and_then(|template| template.name)
                .map(|name| bounded(&name)),
            created_at: self.created_at.and_then(|at| at.parse().ok()),
        }
    }
}

/// Takes `1.2.3.4` and `1.2.3.4/24`.
fn address(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.trim().parse().ok()
}

fn machine_state(word: &str) -> MachineState {
    match word {
        "running" => MachineState::Running,
        "starting" => MachineState::Starting,
        "stopping" => MachineState::Stopping,
        "stopped" => MachineState::Stopped,
        "creating" => MachineState::Creating,
        "initial" => MachineState::Initial,
        "error" => MachineState::Error,
        "suspending" => MachineState::Suspending,
        "unsuspending" => MachineState::Unsuspending,
        "suspended" => MachineState::Suspended,
        "destroying" => MachineState::Destroying,
        "destroyed" => MachineState::Destroyed,
        "recreating" => MachineState::Recreating,
        "restoring" => MachineState::Restoring,
        "recovery" => MachineState::Recovery,
        "stopping_recovery" => MachineState::StoppingRecovery,
        other => MachineState::Other(bounded(other)),
    }
}

#[derive(Deserialize)]
pub(super) struct ActionBody {
    id: u64,
    #[serde(default)]
    name: String,
    state: String,
    created_at: String,
    updated_at: Option<String>,
}

impl ActionBody {
    pub(super) fn into_operation(self, call: &'static str) -> Result<Operation, ProviderError> {
        let unreadable = |what: String| ProviderError::Unexpected {
            call,
            status: 200,
            what,
            answer: Answer::default(),
        };
        let time = |text: &str| {
            let error = |_| unreadable(format!("{:?} is not a time", bounded(text)));
            text.parse::<Timestamp>().map_err(error)
        };
        let created_at = time(&self.created_at)?;
        Ok(Operation {
            id: OperationId::from(self.id),
            name: bounded(&self.name),
            state: match self.state.as_str() {
                "success" => OperationState::Done,
                "error" => OperationState::Failed,
                "created" | "sent" | "delayed" => OperationState::Pending,
                // Neither done nor failed may be guessed from a word that is not known.
                other => {
                    return Err(unreadable(format!(
                        "the action state {:?} is unknown",
                        bounded(other)
                    )));
                }
            },
            created_at,
            updated_at: self.updated_at.as_deref().map_or(Ok(created_at), time)?,
        })
    }

    fn created(&self) -> Option<Timestamp> {
        self.created_at.parse().ok()
    }
}

/// Whether a list that is sorted newest first has passed `since`. The API documents no order, so it is looked at. An
/// action that was created long before and changed lately may be behind; what was *ordered* since is not.
pub(super) fn newest_first_past(seen: &[ActionBody], since: Timestamp) -> bool {
    let times: Option<Vec<_>> = seen.iter().map(ActionBody::created).collect();
    let Some(times) = times else { return false };
    times.is_sorted_by(|a, b| a >= b)
        && times.first() != times.last()
        && times.last().is_some_and(|oldest| *oldest < since)
}

#[derive(Deserialize)]
pub(super) struct ScriptBody {
    id: u64,
    name: String,
}

impl ScriptBody {
    pub(super) fn into_script(self) -> Script {
        Script {
            id: ScriptId::from(self.id),
            name: bounded(&self.name),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct MetricsBody {
    cpu_usage: Option<SeriesBody>,
    ram_usage: Option<SeriesBody>,
    disk_space: Option<SeriesBody>,
    incoming_traffic: Option<SeriesBody>,
    outgoing_traffic: Option<SeriesBody>,
    uptime: Option<SeriesBody>,
}

#[derive(Deserialize)]
struct SeriesBody {
    unit: Option<String>,
    /// An object, or an empty array when there is nothing: some servers cannot write an empty object.
    #[serde(default)]
    usage: UsageBody,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum UsageBody {
    Samples(BTreeMap<String, Value>),
    Other(IgnoredAny),
}

impl Default for UsageBody {
    fn default() -> Self {
        Self::Other(IgnoredAny)
    }
}

impl MetricsBody {
    pub(super) fn into_metrics(self) -> Metrics {
        Metrics {
            uptime_ms: uptime(self.uptime),
            incoming_bytes: samples(self.incoming_traffic, 1.0),
            outgoing_bytes: samples(self.outgoing_traffic, 1.0),
            cpu_percent: samples(self.cpu_usage, 1.0),
            ram_bytes: samples(self.ram_usage, 1.0),
            disk_bytes: samples(self.disk_space, 1.0),
        }
    }
}

/// Uptime decides whether a reboot is proven, so a unit that is not known brings no samples rather than wrong ones.
fn uptime(series: Option<SeriesBody>) -> Vec<Sample> {
    let unit = series
        .as_ref()
        .and_then(|series| series.unit.as_deref())
        .map(str::to_ascii_lowercase);
    let factor = match unit.as_deref() {
        None | Some("ms" | "millisecond" | "milliseconds") => 1.0,
        Some("s" | "second" | "seconds") => 1000.0,
        Some(other) => {
            tracing::warn!(unit = %bounded(other), "the provider gives the uptime in an unknown unit: not used");
            return Vec::new();
        }
    };
    samples(series, factor)
}

fn samples(series: Option<SeriesBody>, factor: f64) -> Vec<Sample> {
    let Some(SeriesBody {
        usage: UsageBody::Samples(usage),
        ..
    }) = series
    else {
        return Vec::new();
    };
    let read = |(second, value): (&String, &Value)| {
        let at = Timestamp::from_second(second.parse().ok()?).ok()?;
        Some(Sample {
            at,
            value: value.as_f64()? * factor,
        })
    };
    let mut samples: Vec<_> = usage.iter().filter_map(read).collect();
    samples.sort_by_key(|sample| sample.at);
    samples
}

/// A time as the API wants it: ISO 8601, whole seconds.
pub(super) fn to_second(at: Timestamp) -> Timestamp {
    at.round(Unit::Second).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: serde::de::DeserializeOwned>(json: &str) -> T {
        serde_json::from_str(json).expect("the JSON fits")
    }

    #[test]
    fn an_unknown_action_state_is_neither_done_nor_failed() {
        let body: ActionBody =
            read(r#"{"id":1,"name":"x","state":"vanished","created_at":"2026-11-23T23:45:00Z"}"#);
        assert_eq!(
            body.into_operation("get action")
                .expect_err("unknown")
                .class(),
            "unexpected"
        );
    }

    #[test]
    fn an_unknown_machine_state_is_kept_as_a_word_and_an_unknown_lock_locks() {
        let body: MachineBody =
            read(r#"{"id":7,"state":"defragmenting","actions_lock":"partly","ipv4":null}"#);
        let machine = body.into_machine();
        assert_eq!(machine.state, MachineState::Other("defragmenting".into()));
        assert!(machine.locked && machine.addresses.is_empty());
    }

    #[test]
    fn uptime_in_seconds_is_scaled_and_in_fortnights_dropped() {
        let at = |unit: &str| {
            let body: MetricsBody = read(&format!(
                r#"{{"uptime":{{"unit":"{unit}","usage":{{"20":7,"3":5,"x":1}}}}}}"#
            ));
            body.into_metrics()
                .uptime_ms
                .iter()
                .map(|sample| sample.value)
                .collect::<Vec<_>>()
        };
        assert_eq!(at("milliseconds"), [5.0, 7.0]);
        assert_eq!(at("seconds"), [5000.0, 7000.0]);
        assert!(at("fortnights").is_empty());
        let empty: MetricsBody = read(r#"{"uptime":{"unit":"ms","usage":[]},"cpu_usage":null}"#);
        assert!(empty.into_metrics().uptime_ms.is_empty());
    }

    #[test]
    fn a_list_is_left_early_only_when_its_order_is_seen() {
        let action = |second: u32| -> ActionBody {
            read(&format!(
                r#"{{"id":{second},"state":"success","created_at":"2026-11-23T23:45:{second:02}Z"}}"#
            ))
        };
        let since = "2026-11-23T23:45:10Z".parse().expect("a time");
        assert!(newest_first_past(&[action(20), action(5)], since));
        assert!(
            !newest_first_past(&[action(5), action(20)], since),
            "oldest first: the new ones are on later pages"
        );
        assert!(!newest_first_past(&[action(20), action(15)], since));
        assert!(
            !newest_first_past(&[action(5)], since),
            "one entry has no order"
        );
    }
}
