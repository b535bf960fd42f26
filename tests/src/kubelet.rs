//! Plays `k3s-agent.service` on a lab's host: joins with a token and a node password, registers its Node, renews lease and Ready, confirms
//! its pods, and answers where kubelet and containerd would.
//!
//! What it deliberately leaves out: containers. Its log lines are k3s's own, because plugins read them.

use anyhow::{Context, Result, bail};
use clap::Args;
use jiff::Timestamp;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

/// Pause between two attempts to join.
const RETRY: Duration = Duration::from_secs(1);
/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Arguments of `iaso-lab kubelet`.
#[derive(Debug, Clone, Args)]
pub struct KubeletArguments {
    /// The node's name.
    #[arg(long)]
    node: String,
    /// The server.
    #[arg(long, env = "K3S_URL")]
    server: String,
    /// The join token.
    #[arg(long, env = "K3S_TOKEN", hide_env_values = true)]
    token: String,
    /// The host's root directory.
    #[arg(long, default_value = "/")]
    root: PathBuf,
    /// The address of the kubelet's port 10250.
    #[arg(long, default_value = "0.0.0.0")]
    listen: IpAddr,
    /// The address of the health port 10248.
    #[arg(long, default_value = "127.0.0.1")]
    health: IpAddr,
    /// The address that the Node object says.
    #[arg(long)]
    address: IpAddr,
    /// The version that the Node object says.
    #[arg(long, default_value = "v1.33.4+k3s1")]
    version: String,
    /// `key=value`, only used when the node is registered anew.
    #[arg(long = "node-label")]
    labels: Vec<String>,
    /// How often lease and Ready are renewed.
    #[arg(long, default_value = "1000")]
    renew_ms: u64,
}

/// Runs until it is stopped.
pub async fn run(mut arguments: KubeletArguments) -> Result<()> {
    // k3s takes https only, so that is what it is configured with; the lab's server has no certificate.
    arguments.server = arguments.server.replacen("https://", "http://", 1);
    let client = Client::builder()
        .timeout(ANSWER)
        .build()
        .context("cannot make an HTTP client")?;
    say("info", &format!("Starting k3s agent {}", arguments.version));
    let token = join(&client, &arguments).await?;
    let kubelet = Kubelet {
        client,
        token,
        arguments,
    };
    kubelet.serve().await?;
    kubelet.write_kubeconfig()?;
    kubelet.register().await?;
    crate::systemd::notify("READY=1")?;
    say("info", "Running kubelet");
    let mut beats = tokio::time::interval(Duration::from_millis(kubelet.arguments.renew_ms));
    loop {
        beats.tick().await;
        if let Err(error) = kubelet.beat().await {
            say(
                "error",
                &format!("Error updating node status, will retry: {error:#}"),
            );
        }
    }
}

/// As k3s logs: on standard error, which the journal keeps.
fn say(level: &str, message: &str) {
    let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    eprintln!("time=\"{at}\" level={level} msg={message:?}");
}

async fn join(client: &Client, arguments: &KubeletArguments) -> Result<String> {
    let password = node_password(&arguments.root)?;
    let url = format!("{}/v1-k3s/serving-kubelet.crt", arguments.server);
    loop {
        let request = client
            .get(&url)
            .bearer_auth(&arguments.token)
            .header("k3s-Node-Name", &arguments.node)
            .header("k3s-Node-Password", &password);
        match request.send().await {
            Ok(answer) if answer.status() == StatusCode::OK => {
                let body: Value = answer
                    .json()
                    .await
                    .context("the server's answer is not JSON")?;
                let token = body.get("token").and_then(Value::as_str);
                return Ok(token
                    .context("the server's answer has no token")?
                    .to_owned());
            }
            Ok(answer) => {
                let body: Value = answer.json().await.unwrap_or_default();
                let why = body
                    .get("message")
                    .and_then(Value::as_str)
                    .unwrap_or("no words");
                say(
                    "error",
                    &format!("Waiting to retrieve agent configuration; server is not ready: {why}"),
                );
            }
            Err(error) => say(
                "error",
                &format!(
                    "failed to get CA certs: Get \"https://127.0.0.1:6444/cacerts\": {}",
                    root_cause(&error)
                ),
            ),
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// The password is drawn once for each installation, so a recreated host has another.
fn node_password(root: &Path) -> Result<String> {
    let path = root.join("etc/rancher/node/password");
    if let Ok(password) = std::fs::read_to_string(&path) {
        return Ok(password.trim().to_owned());
    }
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).context("no randomness")?;
    let password: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(&path, &password).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(password)
}

struct Kubelet {
    client: Client,
    token: String,
    arguments: KubeletArguments,
}

impl Kubelet {
    async fn serve(&self) -> Result<()> {
        let health = listen(SocketAddr::new(self.arguments.health, 10248)).await?;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = health.accept().await {
                tokio::spawn(async move {
                    let mut request = [0_u8; 1024];
                    let _ = stream.read(&mut request).await;
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                    let _ = stream.write_all(answer).await;
                });
            }
        });
        let kubelet = listen(SocketAddr::new(self.arguments.listen, 10250)).await?;
        tokio::spawn(async move { while kubelet.accept().await.is_ok() {} });
        let socket = self
            .arguments
            .root
            .join("run/k3s/containerd/containerd.sock");
        if let Some(directory) = socket.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let _ = std::fs::remove_file(&socket);
        let containerd = UnixListener::bind(&socket)
            .with_context(|| format!("cannot listen on {}", socket.display()))?;
        tokio::spawn(async move { while containerd.accept().await.is_ok() {} });
        Ok(())
    }

    fn write_kubeconfig(&self) -> Result<()> {
        let directory = self.arguments.root.join("var/lib/rancher/k3s/agent");
        std::fs::create_dir_all(&directory)?;
        crate::kubeapi::KubeApi::write_kubeconfig(
            &directory.join("kubelet.kubeconfig"),
            &self.arguments.server,
            &self.token,
        )
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value)> {
        let url = format!("{}{path}", self.arguments.server);
        let mut request = self
            .client
            .request(method.clone(), &url)
            .bearer_auth(&self.token);
        if let Some(body) = body {
            let kind = if method == Method::PATCH {
                "application/merge-patch+json"
            } else {
                "application/json"
            };
            request = request.header("content-type", kind).body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status();
        Ok((status, answer.json().await.unwrap_or_default()))
    }

    fn node_path(&self) -> String {
        format!("/api/v1/nodes/{}", self.arguments.node)
    }

    fn lease_path(&self) -> String {
        let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        format!("{leases}/{}", self.arguments.node)
    }

    async fn register(&self) -> Result<()> {
        let node = &self.arguments.node;
        let (status, _) = self.call(Method::GET, &self.node_path(), None).await?;
        if status == StatusCode::NOT_FOUND {
            let mut labels = json!({"kubernetes.io/hostname": node, "kubernetes.io/os": "linux"});
            for (key, value) in self
                .arguments
                .labels
                .iter()
                .filter_map(|label| label.split_once('='))
            {
                crate::kubeapi::seed::set(&mut labels, key, value);
            }
            let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}});
            let (status, body) = self
                .call(Method::POST, "/api/v1/nodes", Some(object))
                .await?;
            if !status.is_success() && status != StatusCode::CONFLICT {
                bail!("Unable to register node with API server: {status} {body}");
            }
        }
        let (status, _) = self.call(Method::GET, &self.lease_path(), None).await?;
        if status == StatusCode::NOT_FOUND {
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": node},
                "spec": {"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": micro_now()},
            });
            let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
            self.call(Method::POST, leases, Some(lease)).await?;
        }
        Ok(())
    }

    async fn beat(&self) -> Result<()> {
        let renewed =
            json!({"spec": {"holderIdentity": self.arguments.node, "renewTime": micro_now()}});
        let (status, _) = self
            .call(Method::PATCH, &self.lease_path(), Some(renewed))
            .await?;
        if status == StatusCode::NOT_FOUND {
            self.register().await?;
        }
        let path = format!("{}/status", self.node_path());
        self.call(Method::PATCH, &path, Some(self.status())).await?;
        self.confirm_pods().await
    }

    fn status(&self) -> Value {
        let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        json!({"status": {
            "conditions": [
                {"type": "MemoryPressure", "status": "False", "reason": "KubeletHasSufficientMemory", "lastHeartbeatTime": at, "lastTransitionTime": at},
                {"type": "DiskPressure", "status": "False", "reason": "KubeletHasNoDiskPressure", "lastHeartbeatTime": at, "lastTransitionTime": at},
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status", "lastHeartbeatTime": at, "lastTransitionTime": at},
            ],
            "addresses": [
                {"type": "InternalIP", "address": self.arguments.address.to_string()},
                {"type": "Hostname", "address": self.arguments.node},
            ],
            "nodeInfo": {
                "architecture": "amd64", "bootID": "lab", "containerRuntimeVersion": "containerd://lab", "kernelVersion": "lab",
                "kubeProxyVersion": self.arguments.version, "kubeletVersion": self.arguments.version, "machineID": "lab",
                "operatingSystem": "linux", "osImage": "lab", "systemUUID": "lab",
            },
        }})
    }

    /// Pods on their way out are let go; new ones run.
    async fn confirm_pods(&self) -> Result<()> {
        let path = format!(
            "/api/v1/pods?fieldSelector=spec.nodeName%3D{}",
            self.arguments.node
        );
        let (_, pods) = self.call(Method::GET, &path, None).await?;
        for pod in pods
            .get("items")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let text = |field: &str| {
                pod.pointer(field)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let path = format!(
                "/api/v1/namespaces/{}/pods/{}",
                text("/metadata/namespace"),
                text("/metadata/name")
            );
            if !text("/metadata/deletionTimestamp").is_empty() {
                let now = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": text("/metadata/uid")}});
                self.call(Method::DELETE, &path, Some(now)).await?;
            } else if text("/status/phase") != "Running" {
                let running = json!({"status": {
                    "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [{"name": "main", "image": "lab", "imageID": "lab", "ready": true, "restartCount": 0}],
                }});
                self.call(Method::PATCH, &format!("{path}/status"), Some(running))
                    .await?;
            }
        }
        Ok(())
    }
}

async fn listen(at: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(at)
        .await
        .with_context(|| format!("cannot listen on {at}"))
}

fn micro_now() -> String {
    format!("{:.6}", Timestamp::now())
}
