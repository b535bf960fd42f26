//! Answers as an author writes them: what is left out has a sensible value, and a key that is not known is an error.

mod kube;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use iaso_host::types::{
    Chunk, ConnectOutcome, Disk, DnsAnswer, Endpoint, Facts, HttpResponse, JournalLine, Link,
    PingOutcome, Pod, Route, ScriptOutcome, Service, Stat, Unit,
};
use iaso_host::{CapError, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::line::Kind;

/// The wall clock of a scripted host, in milliseconds since the Unix epoch: the SDK's scripted host begins there too.
pub(crate) const START_UNIX_MS: u64 = 1_800_000_000_000;
/// Fields that are bytes: written as text, or under their name with this ending in base64.
const BYTES: [&str; 2] = ["body", "data"];
const BASE64: &str = "_base64";

/// The answer that `given` stands for, to a call of this kind.
pub(crate) fn answer(kind: Kind, line: &str, given: Option<&Value>) -> Result<Response, String> {
    let all_default = json!({});
    let given = given.unwrap_or(&all_default);
    let subject = line.split(' ').nth(1).unwrap_or_default();
    Ok(match kind {
        Kind::Connect => Response::Connect(record(&connect(), given)?),
        Kind::Ping => Response::Ping(record(&ping(), given)?),
        Kind::Dns => Response::Dns(record(&dns(), given)?),
        Kind::Http => Response::Http(record(&http(), given)?),
        Kind::Unit => Response::Unit(record(&unit(subject), given)?),
        Kind::Journal => Response::Journal(list(&journal_line(), given)?),
        Kind::Job => Response::JobResult(text(given, "done")?),
        Kind::Script => Response::Script(record(&script(), given)?),
        Kind::Facts => Response::Facts(record(&facts(), given)?),
        Kind::Disks => Response::Disks(list(&disk(), given)?),
        Kind::Routes => Response::Routes(list(&route(), given)?),
        Kind::Links => Response::Links(list(&link(), given)?),
        Kind::Resolvers => Response::Resolvers(plain(given)?),
        Kind::Peers => Response::Peers(plain(given)?),
        Kind::Stat => Response::Stat(record(&stat(), given)?),
        Kind::Chunk => Response::Chunk(record(&chunk(), given)?),
        Kind::Pods => Response::Pods(list(&pod(), given)?),
        Kind::Done => Response::Done,
        Kind::Service => Response::Service(record(&service(), given)?),
        Kind::Endpoints => Response::Endpoints(list(&endpoint(), given)?),
        Kind::PodStates => Response::PodStates(list(&kube::pod_state(), given)?),
        Kind::Workloads => Response::Workloads(list(&kube::workload(), given)?),
        Kind::EnvUrls => Response::EnvUrls(list(&kube::env_url(), given)?),
        Kind::Conditions => Response::StatusObjects(list(&kube::status_object(), given)?),
    })
}

/// The error that a word stands for: `timeout`, `denied: why`, `unavailable`, `too-large`, `other: why`.
pub(crate) fn error(text: &str) -> Result<CapError, String> {
    let (word, why) = text.split_once(':').unwrap_or((text, "scripted"));
    let why = why.trim().to_owned();
    Ok(match word.trim() {
        "timeout" => CapError::Timeout,
        "denied" => CapError::Denied(why),
        "unavailable" => CapError::Unavailable(why),
        "too-large" => CapError::TooLarge(why),
        "other" => CapError::Other(why),
        _ => {
            return Err(format!(
                "error {text:?} is none: use timeout, denied, unavailable, too-large or other, and `: why` if you like"
            ));
        }
    })
}

/// As [`answer`] would read it again: for recordings.
pub(crate) fn written(response: &Response) -> Option<Value> {
    let value = match response {
        Response::Connect(it) => serde_json::to_value(it),
        Response::Ping(it) => serde_json::to_value(it),
        Response::Dns(it) => serde_json::to_value(it),
        Response::Http(it) => serde_json::to_value(it),
        Response::Unit(it) => serde_json::to_value(it),
        Response::Journal(it) => serde_json::to_value(it),
        Response::JobResult(it) => serde_json::to_value(it),
        Response::Script(it) => serde_json::to_value(it),
        Response::Facts(it) => serde_json::to_value(it),
        Response::Disks(it) => serde_json::to_value(it),
        Response::Routes(it) => serde_json::to_value(it),
        Response::Links(it) => serde_json::to_value(it),
        Response::Resolvers(it) => serde_json::to_value(it),
        Response::Peers(it) => serde_json::to_value(it),
        Response::Stat(it) => serde_json::to_value(it),
        Response::Chunk(it) => serde_json::to_value(it),
        Response::Pods(it) => serde_json::to_value(it),
        Response::Service(it) => serde_json::to_value(it),
        Response::Endpoints(it) => serde_json::to_value(it),
        Response::PodStates(it) => serde_json::to_value(it),
        Response::Workloads(it) => serde_json::to_value(it),
        Response::EnvUrls(it) => serde_json::to_value(it),
        Response::StatusObjects(it) => serde_json::to_value(it),
        Response::Value(_) | Response::Done => return None,
    };
    let mut value = value.ok()?;
    tidy(&mut value);
    Some(value)
}

/// Bytes become text where they are text; what is absent is left out, since TOML has no word for it.
fn tidy(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            for name in BYTES {
                let Some(bytes) = fields
                    .remove(name)
                    .and_then(|value| serde_json::from_value::<Vec<u8>>(value).ok())
                else {
                    continue;
                };
                match String::from_utf8(bytes) {
                    Ok(text) => fields.insert(name.to_owned(), text.into()),
                    Err(error) => {
                        let encoded = BASE64_STANDARD.encode(error.into_bytes());
                        fields.insert(format!("{name}{BASE64}"), encoded.into())
                    }
                };
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn record<T: Serialize + DeserializeOwned>(template: &T, given: &Value) -> Result<T, String> {
    let Value::Object(given) = given else {
        return Err("the value must be a table: { key = value, … }".to_owned());
    };
    let mut whole = match serde_json::to_value(template) {
        Ok(Value::Object(whole)) => whole,
        Ok(_) | Err(_) => Map::new(),
    };
    for (key, value) in given {
        let (name, value) = field(key, value)?;
        if !whole.contains_key(name) {
            let known: Vec<&str> = whole.keys().map(String::as_str).collect();
            return Err(format!(
                "the value has no `{key}`; it has {}",
                known.join(", ")
            ));
        }
        whole.insert(name.to_owned(), value);
    }
    serde_json::from_value(Value::Object(whole)).map_err(|error| format!("the value: {error}"))
}

/// Bytes from text, pairs from a table.
fn field<'a>(key: &'a str, value: &Value) -> Result<(&'a str, Value), String> {
    if let (Some(name), Value::String(text)) = (key.strip_suffix(BASE64), value)
        && BYTES.contains(&name)
    {
        let bytes = BASE64_STANDARD
            .decode(text)
            .map_err(|error| format!("`{key}` is no base64: {error}"))?;
        return Ok((name, json!(bytes)));
    }
    Ok((
        key,
        match value {
            Value::String(text) if BYTES.contains(&key) => json!(text.as_bytes()),
            Value::Object(pairs) => {
                Value::Array(pairs.iter().map(|(k, v)| json!([k, v])).collect())
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => value.clone(),
        },
    ))
}

fn list<T: Serialize + DeserializeOwned>(template: &T, given: &Value) -> Result<Vec<T>, String> {
    match given {
        Value::Array(items) => items.iter().map(|item| record(template, item)).collect(),
        // Nothing given: an empty list.
        Value::Object(fields) if fields.is_empty() => Ok(Vec::new()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Err("the value must be a list of tables: [{ key = value, … }]".to_owned())
        }
    }
}

fn plain<T: DeserializeOwned + Default>(given: &Value) -> Result<T, String> {
    if given.as_object().is_some_and(Map::is_empty) {
        return Ok(T::default());
    }
    serde_json::from_value(given.clone()).map_err(|error| format!("the value: {error}"))
}

fn text(given: &Value, default: &str) -> Result<String, String> {
    match given {
        Value::String(text) => Ok(text.clone()),
        Value::Object(fields) if fields.is_empty() => Ok(default.to_owned()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err("the value must be text".to_owned())
        }
    }
}

fn connect() -> ConnectOutcome {
    ConnectOutcome {
        outcome: "connected".to_owned(),
        address: "192.0.2.1".to_owned(),
        elapsed_us: 900,
        detail: String::new(),
    }
}

fn ping() -> PingOutcome {
    PingOutcome {
        sent: 1,
        received: 1,
        rtt_min_us: 900,
        rtt_avg_us: 900,
        rtt_max_us: 900,
        method: "icmp-raw".to_owned(),
        outcome: "ok".to_owned(),
        address: "192.0.2.1".to_owned(),
    }
}

fn dns() -> DnsAnswer {
    DnsAnswer {
        rcode: "NOERROR".to_owned(),
        records: Vec::new(),
        truncated: false,
        authoritative: false,
        elapsed_us: 800,
    }
}

fn http() -> HttpResponse {
    HttpResponse {
        status: 200,
        headers: Vec::new(),
        body: Vec::new(),
        truncated: false,
        elapsed_us: 900,
    }
}

fn unit(name: &str) -> Unit {
    Unit {
        name: name.to_owned(),
        load_state: "loaded".to_owned(),
        active_state: "active".to_owned(),
        sub_state: "running".to_owned(),
        last_result: "success".to_owned(),
        restarts: 0,
        in_state_ms: None,
        main_pid: 4711,
        exit_status: 0,
        attributes: Vec::new(),
    }
}

fn journal_line() -> JournalLine {
    JournalLine {
        at_unix_ms: START_UNIX_MS,
        priority: 6,
        message: String::new(),
    }
}

fn script() -> ScriptOutcome {
    ScriptOutcome {
        exit_code: 0,
        output: String::new(),
        elapsed_us: 10_000,
    }
}

/// What `info` answers when nothing else is scripted.
pub(crate) fn facts() -> Facts {
    Facts {
        hostname: "styx".to_owned(),
        node: "styx".to_owned(),
        kernel: "6.8.0".to_owned(),
        os: "Ubuntu 24.04".to_owned(),
        uptime_ms: 3_600_000,
        now_unix_ms: START_UNIX_MS,
        cpus: 2,
        load1_milli: 100,
        memory_total_bytes: 8 << 30,
        memory_available_bytes: 4 << 30,
        attributes: Vec::new(),
    }
}

fn disk() -> Disk {
    Disk {
        mount: "/".to_owned(),
        total_bytes: 100 << 30,
        available_bytes: 50 << 30,
        inodes_total: 1_000_000,
        inodes_available: 500_000,
        read_only: false,
    }
}

fn route() -> Route {
    Route {
        destination: "0.0.0.0/0".to_owned(),
        gateway: "192.0.2.254".to_owned(),
        interface: "eth0".to_owned(),
        metric: 0,
    }
}

fn link() -> Link {
    Link {
        name: "eth0".to_owned(),
        up: true,
        mtu: 1500,
        addresses: Vec::new(),
    }
}

fn stat() -> Stat {
    Stat {
        kind: "file".to_owned(),
        size: 0,
        modified_unix_ms: START_UNIX_MS,
        mode: 0o644,
    }
}

fn chunk() -> Chunk {
    Chunk {
        data: Vec::new(),
        truncated: false,
    }
}

fn pod() -> Pod {
    Pod {
        namespace: "default".to_owned(),
        name: "pod".to_owned(),
        uid: "uid".to_owned(),
        phase: "Running".to_owned(),
        ready: true,
        terminating: false,
        restarts: 0,
        ip: "10.42.0.2".to_owned(),
    }
}

fn service() -> Service {
    Service {
        cluster_ip: "10.43.0.10".to_owned(),
        ports: Vec::new(),
    }
}

fn endpoint() -> Endpoint {
    Endpoint {
        address: "10.42.0.2".to_owned(),
        port: 53,
        protocol: "UDP".to_owned(),
        node: String::new(),
        ready: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_a_sensible_value() {
        let given = json!({"status": 503, "body": "{}", "headers": {"retry-after": "5"}});
        let Ok(Response::Http(response)) = answer(Kind::Http, "GET http://x/", Some(&given)) else {
            unreachable!("an HTTP answer");
        };
        assert_eq!((response.status, response.body), (503, b"{}".to_vec()));
        assert_eq!(
            response.headers,
            [("retry-after".to_owned(), "5".to_owned())]
        );
        let Ok(Response::Unit(unit)) = answer(Kind::Unit, "status k3s.service", None) else {
            unreachable!("a unit");
        };
        assert_eq!(
            (unit.name.as_str(), unit.active_state.as_str()),
            ("k3s.service", "active")
        );
    }

    #[test]
    fn a_misspelt_key_is_named_with_the_known_ones() {
        let why =
            answer(Kind::Disks, "disks", Some(&json!([{"mout": "/"}]))).expect_err("misspelt");
        assert!(why.contains("no `mout`") && why.contains("mount"), "{why}");
        assert!(answer(Kind::Http, "GET x", Some(&json!("x"))).is_err());
        assert!(error("late").is_err());
        assert_eq!(error("denied: no"), Ok(CapError::Denied("no".to_owned())));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut response = http();
        response.body = vec![0xff, 0xfe];
        let unit_line = "status a.service";
        for (kind, line, response) in [
            (Kind::Http, "GET http://x/", Response::Http(response)),
            (Kind::Unit, unit_line, Response::Unit(unit("a.service"))),
            (Kind::Disks, "disks", Response::Disks(vec![disk()])),
            (
                Kind::Chunk,
                "read /x",
                Response::Chunk(Chunk {
                    data: b"x\n".to_vec(),
                    truncated: true,
                }),
            ),
            (
                Kind::Peers,
                "peers",
                Response::Peers(vec![("a".to_owned(), "10.0.0.1".to_owned())]),
            ),
            (
                Kind::Job,
                "restart a.service",
                Response::JobResult("failed".to_owned()),
            ),
        ] {
            let again = answer(kind, line, written(&response).as_ref());
            assert_eq!(again, Ok(response));
        }
    }
}
