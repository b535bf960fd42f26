//! Grants are checked before a right is used, and what was checked is what is used.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use iaso_grants::Grants;
use iaso_host::types::{Chunk, ConnectOutcome, HttpResponse};
use iaso_host::{
    Broker, CallContext, CapError, Capabilities, GrantedBroker, HttpCall, HttpRequest, Job, Phase,
    QUOTA_BYTES, Request, Resolver, Response,
};

/// Remembers what it was asked to do, and does nothing.
#[derive(Default)]
struct Recorder {
    done: Mutex<Vec<String>>,
    state: Mutex<Option<Vec<u8>>>,
}

impl Recorder {
    fn note(&self, what: String) {
        self.done.lock().expect("one thread").push(what);
    }
}

#[async_trait]
impl Capabilities for Recorder {
    async fn tcp_connect(
        &self,
        _: &CallContext,
        to: SocketAddr,
        timeout: Duration,
    ) -> Result<ConnectOutcome, CapError> {
        self.note(format!("connect {to} {}", timeout.as_millis()));
        Ok(ConnectOutcome {
            outcome: "connected".into(),
            address: to.ip().to_string(),
            elapsed_us: 1,
            detail: String::new(),
        })
    }

    async fn http_send(&self, _: &CallContext, call: HttpCall) -> Result<HttpResponse, CapError> {
        self.note(format!(
            "{} {} at {}",
            call.method, call.url, call.connect_to
        ));
        Ok(HttpResponse {
            status: 200,
            headers: Vec::new(),
            body: Vec::new(),
            truncated: false,
            elapsed_us: 1,
        })
    }

    async fn service_job(
        &self,
        _: &CallContext,
        unit: &str,
        job: Job,
        _: Duration,
    ) -> Result<String, CapError> {
        self.note(format!("{job:?} {unit}"));
        Ok("done".to_owned())
    }

    async fn file_read(
        &self,
        _: &CallContext,
        path: &Path,
        _: u64,
        max: u32,
    ) -> Result<Chunk, CapError> {
        self.note(format!("read {} {max}", path.display()));
        Ok(Chunk {
            data: Vec::new(),
            truncated: false,
        })
    }

    async fn host_disks(&self, _: &CallContext) -> Result<Vec<iaso_host::types::Disk>, CapError> {
        std::future::pending().await
    }

    async fn state_load(&self, _: &CallContext) -> Result<Option<Vec<u8>>, CapError> {
        Ok(self.state.lock().expect("one thread").clone())
    }

    async fn state_save(&self, _: &CallContext, state: &[u8]) -> Result<(), CapError> {
        *self.state.lock().expect("one thread") = Some(state.to_vec());
        Ok(())
    }
}

/// A small world of names and links.
struct World;

#[async_trait]
impl Resolver for World {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, CapError> {
        let texts: &[&str] = match name {
            "api.example" => &["::ffff:10.0.0.1"],
            "metadata.example" => &["169.254.169.254"],
            "two.example" => &["192.0.2.1", "10.0.0.2"],
            "unknown.example" => &[],
            other => panic!("{other} must not be looked up"),
        };
        Ok(texts
            .iter()
            .map(|text| text.parse().expect("an address"))
            .collect())
    }

    async fn real_path(&self, path: &Path) -> Result<PathBuf, CapError> {
        Ok(match path.to_str() {
            Some("/etc/resolv.conf") => "/run/systemd/resolve/stub-resolv.conf".into(),
            Some("/var/lib/data/escape") => "/etc/shadow".into(),
            _ => path.to_owned(),
        })
    }
}

/// A broker, and what it lent to the one version of the plugin `p`.
struct Lending {
    broker: GrantedBroker<Recorder, World>,
    lent: Arc<Grants>,
}

impl Deref for Lending {
    type Target = GrantedBroker<Recorder, World>;

    fn deref(&self) -> &Self::Target {
        &self.broker
    }
}

impl Lending {
    fn new(grants: Grants) -> Self {
        let broker = GrantedBroker::new(Recorder::default(), World);
        let lent = broker.grant("p", grants);
        Self { broker, lent }
    }

    fn cx(&self, phase: Phase) -> CallContext {
        run(phase, &self.lent)
    }
}

fn broker(grants: &str) -> Lending {
    Lending::new(serde_json::from_str(grants).expect("good grants"))
}

fn run(phase: Phase, grants: &Arc<Grants>) -> CallContext {
    CallContext {
        plugin: "p".to_owned(),
        phase,
        deadline: Instant::now() + Duration::from_secs(30),
        grants: Arc::clone(grants),
    }
}

fn connect(host: &str) -> Request {
    Request::TcpConnect {
        host: host.to_owned(),
        port: 22,
        timeout_ms: 100,
    }
}

fn done(broker: &GrantedBroker<Recorder, World>) -> Vec<String> {
    broker
        .capabilities()
        .done
        .lock()
        .expect("one thread")
        .clone()
}

const TEN: &str = r#"{"check": {"net": {"tcp": [{"to": "10.0.0.0/8", "ports": [22]}]}}}"#;

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_connected_to() {
    let broker = broker(TEN);
    for host in ["api.example", "10.0.0.1", "::ffff:10.0.0.1", "two.example"] {
        broker
            .call(&broker.cx(Phase::Check), connect(host))
            .await
            .expect("granted");
    }
    let to = ["10.0.0.1:22", "10.0.0.1:22", "10.0.0.1:22", "10.0.0.2:22"];
    assert_eq!(done(&broker), to.map(|to| format!("connect {to} 100")));
}

#[tokio::test]
async fn a_name_that_leads_to_what_is_not_granted_is_denied() {
    let broker =
        broker(r#"{"check": {"net": {"tcp": [{"to": "*"}, {"to": "metadata.example"}]}}}"#);
    let denied = broker
        .call(&broker.cx(Phase::Check), connect("metadata.example"))
        .await
        .expect_err("denied");
    let words =
        r#"needs grant `net.tcp = [{ to = "169.254.169.254", ports = [22] }]` in `grants.check`"#;
    assert_eq!(denied, CapError::Denied(words.to_owned()));
    assert!(done(&broker).is_empty());
}

#[tokio::test]
async fn a_name_that_no_grant_could_cover_is_not_looked_up() {
    let broker = broker(r#"{"check": {"net": {"tcp": [{"to": "api.example"}]}}}"#);
    let denied = broker
        .call(&broker.cx(Phase::Check), connect("secret.attacker.example"))
        .await;
    assert!(matches!(denied, Err(CapError::Denied(_))), "{denied:?}");
}

#[tokio::test]
async fn a_name_without_an_address_is_an_outcome() {
    let broker = broker(TEN);
    let Ok(Response::Connect(outcome)) = broker
        .call(&broker.cx(Phase::Check), connect("unknown.example"))
        .await
    else {
        panic!("an outcome");
    };
    assert_eq!(
        (outcome.outcome.as_str(), outcome.address.as_str()),
        ("unresolved", "")
    );
}

#[tokio::test]
async fn a_fix_has_only_its_own_grants_and_a_revoked_plugin_none() {
    let broker = broker(TEN);
    assert!(matches!(
        broker
            .call(&broker.cx(Phase::Fix), connect("10.0.0.1"))
            .await,
        Err(CapError::Denied(_))
    ));
    broker.revoke("p");
    assert!(matches!(
        broker
            .call(&broker.cx(Phase::Check), connect("10.0.0.1"))
            .await,
        Err(CapError::Denied(_))
    ));
    assert!(done(&broker).is_empty());
}

#[tokio::test]
async fn a_check_never_acts_even_where_its_table_says_so() {
    let mut grants = Grants::default();
    grants
        .check
        .services
        .control
        .push("k3s-agent.service".to_owned());
    grants
        .fix
        .services
        .control
        .push("k3s-agent.service".to_owned());
    let broker = Lending::new(grants); // Built in code, so not validated.
    let job = || Request::ServiceJob {
        unit: "k3s-agent.service".to_owned(),
        job: Job::Restart,
        timeout_ms: 1,
    };
    assert!(matches!(
        broker.call(&broker.cx(Phase::Check), job()).await,
        Err(CapError::Denied(_))
    ));
    assert_eq!(
        broker.call(&broker.cx(Phase::Fix), job()).await,
        Ok(Response::JobResult("done".to_owned()))
    );
    assert_eq!(done(&broker), ["Restart k3s-agent.service"]);
}

#[tokio::test]
async fn a_run_keeps_the_grants_it_began_with_whatever_a_newer_version_is_lent() {
    let wide = broker(TEN);
    let narrow = wide.grant("p", Grants::default());
    let old = wide.cx(Phase::Check);
    let new = run(Phase::Check, &narrow);
    wide.call(&old, connect("10.0.0.1"))
        .await
        .expect("narrowed for the next version, not under the one that runs");
    assert!(
        matches!(
            wide.call(&new, connect("10.0.0.1")).await,
            Err(CapError::Denied(_))
        ),
        "the new version is not lent what the old one was"
    );
    let narrow = broker("{}");
    let old = narrow.cx(Phase::Check);
    let wide = narrow.grant(
        "p",
        serde_json::from_str::<Grants>(TEN).expect("good grants"),
    );
    assert!(
        matches!(
            narrow.call(&old, connect("10.0.0.1")).await,
            Err(CapError::Denied(_))
        ),
        "what a new version is granted is not the old one's"
    );
    narrow
        .call(&run(Phase::Check, &wide), connect("10.0.0.1"))
        .await
        .expect("its own");
}

#[tokio::test]
async fn what_was_taken_back_does_not_come_back_with_a_new_version() {
    let broker = broker(TEN);
    let old = broker.cx(Phase::Check);
    broker.revoke("p");
    let denied = broker.call(&old, connect("10.0.0.1")).await;
    assert!(matches!(denied, Err(CapError::Denied(_))), "{denied:?}");
    let fresh = broker.grant("p", Grants::clone(&broker.lent));
    let denied = broker.call(&old, connect("10.0.0.1")).await;
    assert!(matches!(denied, Err(CapError::Denied(_))), "{denied:?}");
    broker
        .call(&run(Phase::Check, &fresh), connect("10.0.0.1"))
        .await
        .expect("lent anew");
}

#[tokio::test]
async fn links_are_followed_before_the_check() {
    let broker = broker(r#"{"check": {"files": {"read": ["/etc/resolv.conf", "/var/lib/data"]}}}"#);
    let read = |path: &str| Request::FileRead {
        path: path.to_owned(),
        offset: 0,
        max_bytes: u32::MAX,
    };
    broker
        .call(&broker.cx(Phase::Check), read("/etc/resolv.conf"))
        .await
        .expect("the operator's own link");
    broker
        .call(&broker.cx(Phase::Check), read("/var/lib/data/x"))
        .await
        .expect("granted");
    for path in [
        "/var/lib/data/escape",
        "/etc/shadow",
        "/var/lib/data/../x",
        "etc/shadow",
    ] {
        broker
            .call(&broker.cx(Phase::Check), read(path))
            .await
            .expect_err(path);
    }
    let max = 1 << 20;
    assert_eq!(
        done(&broker),
        [
            format!("read /run/systemd/resolve/stub-resolv.conf {max}"),
            format!("read /var/lib/data/x {max}")
        ]
    );
}

#[tokio::test]
async fn http_goes_to_the_checked_address_under_its_name() {
    let broker = broker(r#"{"check": {"http": [{"to": "10.0.0.1", "ports": [80]}]}}"#);
    let send = |method: &str, url: &str, headers: &[(&str, &str)]| {
        let headers = headers
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let (method, url) = (method.to_owned(), url.to_owned());
        Request::HttpSend(HttpRequest {
            method,
            url,
            headers,
            body: Vec::new(),
            timeout_ms: 100,
            max_bytes: 1,
        })
    };
    broker
        .call(
            &broker.cx(Phase::Check),
            send("get", "http://api.example/healthz", &[]),
        )
        .await
        .expect("granted");
    assert_eq!(
        done(&broker),
        ["GET http://api.example/healthz at 10.0.0.1:80"]
    );
    for (method, url, headers) in [
        ("POST", "http://10.0.0.1/", &[][..]),
        ("GET", "http://10.0.0.1:8080/", &[]),
        ("GET", "http://2852039166/latest/meta-data", &[]),
        ("GET", "http://[::ffff:169.254.169.254]/", &[]),
        ("GET", "http://user:secret@10.0.0.1/", &[]),
        ("GET", "file:///etc/shadow", &[]),
        ("GET", "http://10.0.0.1/", &[("Host", "other.example")]),
        ("GET", "http://10.0.0.1/", &[("x", "a\r\nhost: b")]),
    ] {
        broker
            .call(&broker.cx(Phase::Check), send(method, url, headers))
            .await
            .expect_err(url);
    }
    assert_eq!(done(&broker).len(), 1);
}

#[tokio::test]
async fn state_is_always_granted_and_never_beyond_its_quota() {
    let broker = broker("{}");
    let set = |len: usize| Request::StateSet {
        key: "k".to_owned(),
        value: vec![7; len],
    };
    assert_eq!(
        broker.call(&broker.cx(Phase::Check), set(100)).await,
        Ok(Response::Done)
    );
    assert!(matches!(
        broker
            .call(&broker.cx(Phase::Check), set(QUOTA_BYTES))
            .await,
        Err(CapError::TooLarge(_))
    ));
    let get = Request::StateGet {
        key: "k".to_owned(),
    };
    assert_eq!(
        broker.call(&broker.cx(Phase::Fix), get).await,
        Ok(Response::Value(Some(vec![7; 100])))
    );
}

#[tokio::test(start_paused = true)]
async fn a_right_that_never_answers_times_out() {
    let broker = broker(r#"{"check": {"host": true}}"#);
    assert_eq!(
        broker
            .call(&broker.cx(Phase::Check), Request::HostDisks)
            .await,
        Err(CapError::Timeout)
    );
}

#[tokio::test]
async fn what_a_host_does_not_have_is_unavailable() {
    let broker = broker(r#"{"check": {"kube": {"pods": ["kube-system"]}}}"#);
    let request = Request::KubePodsHere {
        namespace: "kube-system".to_owned(),
        selector: String::new(),
    };
    assert!(matches!(
        broker.call(&broker.cx(Phase::Check), request).await,
        Err(CapError::Unavailable(_))
    ));
}
