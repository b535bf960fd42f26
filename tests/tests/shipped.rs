//! The shipped plugins through everything that is real: their components, compiled by `iaso-compile`, run by `iaso-agent run --once` with
//! its grants and its rights, on files, ports and a Kubernetes that the test made.
//!
//! What each plugin says of which state is told by its own tests; here it is told that a component gets what it is granted, and no more.

#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use anyhow::{Context, Result};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use iaso_tests::programs;
use serde_json::Value;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

/// The certificates of `k3s-certs`' own tests: one ended with 2023, one ends with 2099.
const EXPIRED: &str = include_str!("../../plugins/k3s-certs/tests/fixtures/expired.crt");
const FAR: &str = include_str!("../../plugins/k3s-certs/tests/fixtures/far.crt");

/// What one look gets.
struct Look<'a> {
    plugin: &'a str,
    config: &'a [(&'a str, &'a str)],
    /// Lines of TOML under `[plugins.grants.check]`.
    grants: &'a str,
    /// Lines of TOML for the agent itself.
    agent: &'a str,
    /// What it remembers; none: nothing.
    state: Option<&'a Path>,
}

impl Look<'_> {
    /// `CODE SEVERITY SUBJECT` of each finding; a broken plugin is an error.
    async fn lines(&self) -> Result<Vec<String>> {
        let directory = tempfile::tempdir()?;
        let mut text = format!(
            "state_dir = {}\n{}\n[[plugins]]\nname = {:?}\npath = {}\ntimeout_ms = 20000\n",
            quoted(&self.state.unwrap_or(directory.path()).join("state")),
            self.agent,
            self.plugin,
            quoted(&programs::plugin(self.plugin)?)
        );
        if let Some(compiler) = std::env::var_os("IASO_COMPILE") {
            text.insert_str(0, &format!("compiler = {}\n", quoted(Path::new(&compiler))));
        }
        text.push_str("[plugins.config]\n");
        for (key, value) in self.config {
            writeln!(text, "{key} = {value:?}")?;
        }
        writeln!(text, "[plugins.grants.check]\n{}", self.grants)?;
        let config = directory.path().join("agent.toml");
        std::fs::write(&config, text)?;
        let output = tokio::process::Command::new(programs::program("iaso-agent")?)
            .args(["run", "--once", "--format", "json", "--node", "styx"])
            .arg("--config")
            .arg(&config)
            .output()
            .await?;
        let printed: Value = serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "the agent said: {}",
                String::from_utf8_lossy(&output.stderr)
            )
        })?;
        let run = &printed["plugins"][0];
        let findings = run["findings"]
            .as_array()
            .with_context(|| format!("{} is broken: {}", self.plugin, run["fault"]))?;
        let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or("?").to_owned();
        Ok(findings
            .iter()
            .map(|finding| {
                format!(
                    "{} {} {}",
                    word(finding, "code"),
                    word(finding, "severity"),
                    word(finding, "subject")
                )
            })
            .collect())
    }
}

/// Serves `routes` on a port of the loopback until the test ends.
async fn serve(routes: Router) -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}

/// As TOML has it.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn k3s_certs_reads_the_certificates_on_disk_and_only_those_granted() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let agent = std::fs::canonicalize(directory.path())?;
    std::fs::write(agent.join("client-kubelet.crt"), FAR)?;
    let (agent_dir, grants) = (
        shown(&agent),
        format!("host = true\nfiles.read = [{}]", quoted(&agent)),
    );
    let config = [("agent_dir", agent_dir.as_str()), ("server_dir", "")];
    let look = Look {
        plugin: "k3s-certs",
        config: &config,
        grants: &grants,
        agent: "",
        state: None,
    };
    assert_eq!(look.lines().await?, ["k3s-certs.ok ok this host"]);
    std::fs::write(agent.join("serving-kubelet.crt"), EXPIRED)?;
    std::fs::write(agent.join("client-ca.crt"), "")?;
    assert_eq!(
        look.lines().await?,
        [
            format!("k3s-certs.damaged critical {agent_dir}/client-ca.crt"),
            format!("k3s-certs.expired critical {agent_dir}/serving-kubelet.crt"),
        ]
    );
    let elsewhere = Look {
        grants: "host = true\nfiles.read = [\"/nowhere\"]",
        ..look
    };
    assert_eq!(
        elsewhere.lines().await?,
        ["k3s-certs.unknown unknown this host"]
    );
    Ok(())
}

#[tokio::test]
async fn token_expiry_asks_the_server_that_it_may_ask() -> Result<()> {
    let routes = Router::new()
        .route("/gone", get(|| async { StatusCode::UNAUTHORIZED }))
        .route(
            "/me",
            get(|headers: axum::http::HeaderMap| async move {
                match headers
                    .get("authorization")
                    .map(axum::http::HeaderValue::as_bytes)
                {
                    Some(b"Bearer a-token-of-the-lab") => StatusCode::OK,
                    Some(_) | None => StatusCode::NOT_FOUND,
                }
            }),
        );
    let address = serve(routes).await?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), "a-token-of-the-lab\n")?;
    let path = shown(&std::fs::canonicalize(file.path())?);
    let reads = format!("host = true\nfiles.read = [{path:?}]\n");
    let grants = format!(
        "{reads}http = [{{ to = \"127.0.0.1\", ports = [{}] }}]",
        address.port()
    );
    for (route, grants, expected) in [
        ("me", &grants, "token-expiry.ok ok"),
        ("gone", &grants, "token-expiry.rejected critical"),
        ("nothing", &grants, "token-expiry.unknown unknown"),
        (
            "gone",
            &format!("{reads}http = [{{ to = \"127.0.0.1\", ports = [1] }}]"),
            "token-expiry.unknown unknown",
        ),
    ] {
        let url = format!("http://{address}/{route}");
        let look = Look {
            plugin: "token-expiry",
            config: &[("files", &path), ("url", &url)],
            grants,
            agent: "",
            state: None,
        };
        assert_eq!(
            look.lines().await?,
            [format!("{expected} {path}")],
            "{route}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn dns_loop_reads_the_file_that_pods_would_get() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let path = shown(&std::fs::canonicalize(file.path())?);
    let grants = format!(
        "host = true\nfiles.read = [{path:?}]\ndns.servers = [{{ to = \"192.0.2.1\", ports = [53] }}]"
    );
    let look = Look {
        plugin: "dns-loop",
        config: &[("resolv_conf", &path), ("external_name", "")],
        grants: &grants,
        agent: "",
        state: None,
    };
    for (text, expected) in [
        (
            "nameserver 127.0.0.53\n",
            "dns-loop.loopback-server warning 127.0.0.53".to_owned(),
        ),
        (
            "nameserver 10.43.0.10\n",
            "dns-loop.cluster-dns-server warning 10.43.0.10".to_owned(),
        ),
        ("search a\n", format!("dns-loop.no-server critical {path}")),
        ("nameserver 192.0.2.1\n", format!("dns-loop.ok ok {path}")),
    ] {
        std::fs::write(file.path(), text)?;
        assert_eq!(look.lines().await?, [expected]);
    }
    Ok(())
}

#[tokio::test]
async fn egress_tries_the_ways_that_it_is_granted() -> Result<()> {
    let routes = Router::new().route("/trace", get(|| async { "ip=192.0.2.7\nwarp=off\n" }));
    let address = serve(routes).await?;
    let (url, tunnel) = (
        format!("http://{address}/trace"),
        format!("lo={address},nosuch0"),
    );
    let anchors = address.to_string();
    let config = [
        ("anchors", anchors.as_str()),
        ("identity_url", &url),
        ("expect_addresses", "198.51.100.0/24"),
        ("tunnels", &tunnel),
    ];
    let port = address.port();
    let grants = format!(
        "host = true\nnet.tcp = [{{ to = \"127.0.0.1\", ports = [{port}] }}]\nhttp = [{{ to = \"127.0.0.1\", ports = [{port}] }}]"
    );
    let look = Look {
        plugin: "egress",
        config: &config,
        grants: &grants,
        agent: "",
        state: None,
    };
    assert_eq!(
        look.lines().await?,
        [
            "egress.address-moved warning the address that others see",
            "egress.tunnel-missing critical nosuch0",
        ]
    );
    let elsewhere = Look {
        grants: "host = true\nnet.tcp = [{ to = \"192.0.2.1\" }]\nhttp = [{ to = \"192.0.2.1\" }]",
        config: &config[..1],
        ..look
    };
    assert_eq!(
        elsewhere.lines().await?[0],
        "egress.unknown unknown the internet"
    );
    Ok(())
}

/// A Kubernetes that has what `objects` says under each path, and answers 404 to all else. The kubeconfig for it, which must be kept.
async fn kubernetes(
    objects: &'static [(&'static str, &'static str)],
) -> Result<tempfile::NamedTempFile> {
    let answer = move |uri: axum::http::Uri| async move {
        let found = objects.iter().find(|(path, _)| *path == uri.path());
        let headers = [("content-type", "application/json")];
        match found {
            Some((_, body)) => (StatusCode::OK, headers, (*body).to_owned()),
            None => (
                StatusCode::NOT_FOUND,
                headers,
                r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"not found","reason":"NotFound","code":404}"#.to_owned(),
            ),
        }
    };
    let address = serve(Router::new().fallback(answer)).await?;
    let kubeconfig = tempfile::NamedTempFile::new()?;
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: c\n  cluster: {{server: \"http://{address}\"}}\nusers:\n- name: u\n  user: {{token: t}}\ncontexts:\n- name: c\n  context: {{cluster: c, user: u}}\n"
    );
    std::fs::write(kubeconfig.path(), text)?;
    Ok(kubeconfig)
}

/// Four pods: three on styx, of which one is well, and one elsewhere that is not ours to tell of.
const PODS: (&str, &str) = (
    "/api/v1/namespaces/apps/pods",
    r#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[
    {"metadata":{"name":"web-1","namespace":"apps","uid":"u1","creationTimestamp":"2026-01-01T00:00:00Z",
      "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-7d9","uid":"r1","controller":true}]},
     "spec":{"nodeName":"styx","containers":[{"name":"web","image":"ghcr.io/x/web:a031772","envFrom":[{"configMapRef":{"name":"web"}}],
       "env":[{"name":"LS_URL","value":"http://user:secret@label-studio"},{"name":"TOKEN","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}]}]},
     "status":{"phase":"Running","containerStatuses":[{"name":"web","image":"ghcr.io/x/web:a031772","imageID":"ghcr.io/x/web@sha256:aa","ready":true,"restartCount":0,
       "state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}}}]}},
    {"metadata":{"name":"job-1","namespace":"apps","uid":"u2","creationTimestamp":"2026-01-01T00:00:00Z","deletionTimestamp":"2026-01-01T00:01:00Z"},
     "spec":{"nodeName":"styx","containers":[{"name":"job","image":"ghcr.io/x/job:1"}]},
     "status":{"phase":"Running","containerStatuses":[{"name":"job","image":"ghcr.io/x/job:1","imageID":"","ready":false,"restartCount":0,"state":{"running":{}}}]}},
    {"metadata":{"name":"api-1","namespace":"apps","uid":"u3","creationTimestamp":"2026-01-01T00:00:00Z"},
     "spec":{"nodeName":"styx","containers":[{"name":"api","image":"ghcr.io/x/api:1"}]},
     "status":{"phase":"Running","containerStatuses":[{"name":"api","image":"ghcr.io/x/api:1","imageID":"","ready":false,"restartCount":9,
       "state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}}]}},
    {"metadata":{"name":"far-1","namespace":"apps","uid":"u4","creationTimestamp":"2026-01-01T00:00:00Z"},
     "spec":{"nodeName":"tethys","containers":[{"name":"far","image":"ghcr.io/x/far:1","env":[{"name":"FAR_URL","value":"http://label-studio:1"}]}]},
     "status":{"phase":"Pending","containerStatuses":[{"name":"far","image":"ghcr.io/x/far:1","imageID":"","ready":false,"restartCount":0,
       "state":{"waiting":{"reason":"ImagePullBackOff"}}}]}}]}"#,
);

fn with_kubeconfig(kubeconfig: &tempfile::NamedTempFile) -> String {
    format!("kubeconfig = {}", quoted(kubeconfig.path()))
}

#[tokio::test]
async fn stuck_pods_sees_this_nodes_pods_of_the_namespaces_granted() -> Result<()> {
    let kubeconfig = kubernetes(&[PODS]).await?;
    let agent = with_kubeconfig(&kubeconfig);
    let look = Look {
        plugin: "stuck-pods",
        config: &[("namespaces", "apps")],
        grants: "host = true\nkube.pod_states = [\"apps\"]",
        agent: &agent,
        state: None,
    };
    assert_eq!(
        look.lines().await?,
        [
            "stuck-pods.terminating warning apps/job-1",
            "stuck-pods.crash-loop warning apps/api-1",
        ]
    );
    let elsewhere = Look {
        grants: "host = true\nkube.pod_states = [\"other\"]",
        ..look
    };
    assert_eq!(
        elsewhere.lines().await?,
        ["stuck-pods.unknown unknown apps"]
    );
    Ok(())
}

#[tokio::test]
async fn url_lint_is_told_where_urls_lead_and_finds_the_service() -> Result<()> {
    let kubeconfig = kubernetes(&[
        PODS,
        (
            "/api/v1/namespaces/apps/configmaps/web",
            r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"web","namespace":"apps"},"data":{"API_URL":"http://label-studio.apps.svc:9090/x","MODE":"prod"}}"#,
        ),
        (
            "/api/v1/namespaces/apps/services/label-studio",
            r#"{"kind":"Service","apiVersion":"v1","metadata":{"name":"label-studio","namespace":"apps"},"spec":{"clusterIP":"10.43.0.7","ports":[{"port":8080,"protocol":"TCP"}]}}"#,
        ),
    ])
    .await?;
    let agent = with_kubeconfig(&kubeconfig);
    let look = Look {
        plugin: "url-lint",
        config: &[("namespaces", "apps")],
        grants: "kube.env_urls = [\"apps\"]\nkube.services = [\"apps\"]",
        agent: &agent,
        state: None,
    };
    assert_eq!(
        look.lines().await?,
        [
            "url-lint.port-missing warning apps/web-1 LS_URL",
            "url-lint.wrong-port warning apps/web-1 API_URL",
        ]
    );
    let blind = Look {
        grants: "kube.env_urls = [\"apps\"]\nkube.services = [\"other\"]",
        ..look
    };
    assert_eq!(
        blind.lines().await?,
        ["url-lint.unknown unknown apps/web-1 API_URL"]
    );
    Ok(())
}

#[tokio::test]
async fn image_drift_follows_a_pod_to_its_deployment_and_remembers() -> Result<()> {
    let kubeconfig = kubernetes(&[
        PODS,
        (
            "/apis/apps/v1/namespaces/apps/replicasets/web-7d9",
            r#"{"kind":"ReplicaSet","apiVersion":"apps/v1","metadata":{"name":"web-7d9","namespace":"apps","ownerReferences":[
              {"apiVersion":"apps/v1","kind":"Deployment","name":"web","uid":"d1","controller":true}]},"spec":{"selector":{}}}"#,
        ),
        (
            "/apis/apps/v1/namespaces/apps/deployments/web",
            r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web","namespace":"apps","generation":4},
              "spec":{"selector":{},"template":{"spec":{"containers":[{"name":"web","image":"ghcr.io/x/web:f44c2a2"}]}}},"status":{"observedGeneration":4}}"#,
        ),
    ])
    .await?;
    let (agent, state) = (with_kubeconfig(&kubeconfig), tempfile::tempdir()?);
    let look = Look {
        plugin: "image-drift",
        config: &[("namespaces", "apps"), ("grace", "1ms")],
        grants: "host = true\nkube.pod_states = [\"apps\"]\nkube.workloads = [\"apps\"]",
        agent: &agent,
        state: Some(state.path()),
    };
    assert_eq!(look.lines().await?, ["image-drift.ok ok this node"]);
    assert_eq!(look.lines().await?, ["image-drift.stale warning apps/web"]);
    Ok(())
}

#[tokio::test]
async fn flux_reads_conditions_of_what_is_granted() -> Result<()> {
    let kubeconfig = kubernetes(&[(
        "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations",
        r#"{"kind":"KustomizationList","apiVersion":"kustomize.toolkit.fluxcd.io/v1","metadata":{},"items":[
          {"metadata":{"name":"apps","namespace":"flux-system","generation":2,"creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"suspend":false},
           "status":{"observedGeneration":2,"conditions":[{"type":"Ready","status":"False","reason":"ReconciliationFailed","lastTransitionTime":"2026-01-01T00:00:00Z",
             "message":"Apply failed with 1 conflict: conflict with \"pulumi\" using apps/v1: .spec.replicas"}]}},
          {"metadata":{"name":"infra","namespace":"flux-system","generation":1,"creationTimestamp":"2026-01-01T00:00:00Z"},"spec":{"suspend":true},"status":{}}]}"#,
    )])
    .await?;
    let agent = with_kubeconfig(&kubeconfig);
    let look = Look {
        plugin: "flux",
        config: &[("kinds", "Kustomization")],
        grants: "host = true\nkube.conditions = [\"flux-system/kustomizations.kustomize.toolkit.fluxcd.io\"]",
        agent: &agent,
        state: None,
    };
    assert_eq!(
        look.lines().await?,
        [
            "flux.field-conflict warning Kustomization/flux-system/apps",
            "flux.suspended info flux",
        ]
    );
    let elsewhere = Look {
        grants: "host = true\nkube.conditions = [\"other/kustomizations.kustomize.toolkit.fluxcd.io\"]",
        ..look
    };
    assert_eq!(
        elsewhere.lines().await?,
        ["flux.unknown unknown kustomizations in flux-system"]
    );
    Ok(())
}
