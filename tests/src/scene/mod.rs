//! A whole cluster in the lab: three hosts with agents, the controller, the provider and the Kubernetes API.
//!
//! `tethys` is the server, `styx` a worker, both rented; `calypso` is a worker at home with no provider. The controller, the provider and
//! the API server stand outside.

mod controller;
mod identities;
mod network;
mod operator;
mod real;
mod settings;

pub use controller::{Controller, Crash};
pub use network::Network;
pub use operator::Operator;
pub use settings::{LabOptions, Paths};

use crate::dns::{DnsFault, DnsServer};
use crate::guard::Guard;
use crate::hostinger::{self, Emulator};
use crate::hosts::{self, Host, HostKind, HostMachines, Script, nspawn};
use crate::kubeapi::{self, KubeApi};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The hosts: name, last byte of the address, the provider's id, role.
pub const HOSTS: [(&str, u8, Option<u64>, &str); 3] = [
    ("tethys", 11, Some(712_429), "server"),
    ("styx", 12, Some(712_695), "worker"),
    ("calypso", 13, None, "worker"),
];
/// How long a lab may take to become green, plugins' compilation included.
const GREEN_WITHIN: Duration = Duration::from_secs(90);
/// How long the hosts may take to boot and to join.
const JOINED_WITHIN: Duration = Duration::from_mins(1);

/// A running lab. Everything ends when it is dropped.
pub struct Lab {
    /// The operator's connection.
    pub operator: Operator,
    /// The controller's process.
    pub controller: Controller,
    /// The hosts by name.
    pub hosts: BTreeMap<String, Arc<dyn Host>>,
    /// The provider.
    pub provider: Emulator,
    /// The cluster's API.
    pub kube: KubeApi,
    /// The cluster's DNS: service first, then the endpoints.
    pub dns: Vec<DnsServer>,
    /// Where everything is.
    pub paths: Paths,
    _network: Network,
    /// Last, because the rest must be let go of first.
    guard: Guard,
}

impl Lab {
    /// Starts everything and waits until every node is well.
    pub async fn start(options: LabOptions) -> Result<Self> {
        let lab = Self::start_dark(options).await?;
        lab.green().await?;
        Ok(lab)
    }

    /// Starts everything, and does not wait for anything to be well.
    pub async fn start_dark(options: LabOptions) -> Result<Self> {
        let guard = Guard::take(options.keep).await?;
        if options.kind == HostKind::Nspawn && nspawn::missing().is_none() {
            nspawn::ensure().await?;
        }
        let network = Network::create(options.kind, guard.directory())?;
        let bind = network.kube_bind();
        let kube = if options.real {
            real::start(bind, guard.directory(), &options).await?
        } else {
            KubeApi::start(bind, options.lifecycle).await?
        };
        let hosts = network.hosts(guard.directory())?;
        let rented = HOSTS
            .iter()
            .filter_map(|(name, _, id, _)| Some(((*id)?, hosts.get(*name)?.clone())));
        let machines = HostMachines::new(rented.collect());
        let provider = Emulator::start_with(
            ([127, 0, 0, 1], 0).into(),
            Box::new(machines),
            hostinger::Options {
                created_for: Duration::from_millis(200),
                sent_for: Duration::from_millis(500),
                ..hostinger::Options::default()
            },
        )
        .await?;
        let mut paths = Paths::new(guard.directory());
        let dns = network.dns().await?;
        if options.real {
            real::fill(&kube).await?;
        } else {
            seed(&kube, &network);
        }
        settings::write(&mut paths, &options, &network, &provider)?;
        let network = network.connect(kube.address()).await?;
        let admin = identities::admin(&paths).await?;
        install(options.kind, &hosts, &kube, &paths).await?;
        // After the hosts: a controller that finds no agents takes them for lost, as it should.
        let controller = Controller::start(&paths, guard.directory()).await?;
        let operator = Operator::connect(&paths, &admin).await?;
        Ok(Self {
            operator,
            controller,
            hosts,
            provider,
            kube,
            dns,
            paths,
            _network: network,
            guard,
        })
    }

    /// Waits until every agent is up and every node Ready and healthy.
    pub async fn green(&self) -> Result<()> {
        let waited = crate::until(GREEN_WITHIN, "every node to be well", || async {
            let Ok(nodes) = self.operator.nodes().await else {
                return false;
            };
            nodes.len() == HOSTS.len()
                && nodes.iter().all(|node| {
                    node.agent == "up" && node.lease == "fresh" && node.diagnosis == "healthy"
                })
                && self.checks_ran().await
        })
        .await;
        match waited {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(self.account().await)),
        }
    }

    /// Whether each node's plugins have spoken.
    async fn checks_ran(&self) -> bool {
        for (name, _, _, role) in HOSTS {
            let Ok(detail) = self.operator.node(name).await else {
                return false;
            };
            let spoke = |plugin: &str| {
                detail
                    .findings
                    .iter()
                    .any(|finding| finding.plugin == plugin)
            };
            if !spoke("network-probe")
                || !spoke("coredns")
                || (role == "worker" && !spoke("k3s-agent"))
            {
                return false;
            }
        }
        true
    }

    /// One host.
    pub fn host(&self, name: &str) -> Result<&Arc<dyn Host>> {
        self.hosts
            .get(name)
            .with_context(|| format!("the lab has no host {name}"))
    }

    /// Breaks or mends every DNS server.
    pub fn set_dns(&self, fault: DnsFault) {
        for server in &self.dns {
            server.set(fault);
        }
    }

    /// Kills the controller with -9, and starts it again on the same journal.
    pub async fn controller_again(&mut self) -> Result<()> {
        self.controller
            .start_again(&self.paths, self.guard.directory())
            .await?;
        self.operator.answers().await
    }

    /// The lab's directory, where logs are while it lives.
    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        self.guard.directory()
    }

    /// What can be said when something did not come: nodes, incidents, the controller's and the hosts' last words.
    pub async fn account(&self) -> String {
        let mut out = String::from("what the lab knows:\n");
        for node in self.operator.nodes().await.unwrap_or_default() {
            out.push_str(&format!("{node:?}\n"));
        }
        for incident in self.operator.incidents().await.unwrap_or_default() {
            out.push_str(&format!("{incident:?}\n"));
            if let Ok(detail) = self.operator.incident(&incident.id).await {
                let lines = detail
                    .timeline
                    .iter()
                    .map(|entry| format!("  {} {} {}\n", entry.sequence, entry.kind, entry.text));
                out.extend(lines);
            }
        }
        if let Some(real) = self.kube.real() {
            out.push_str(&real.lock().await.last_words());
        }
        out.push_str(&self.controller.last_words());
        for host in self.hosts.values() {
            out.push_str(&format!("=== {}\n{}\n", host.name(), host.logs().await));
        }
        out
    }
}

/// Every host's first installation, by the script that a recreate runs as well; ends when every node is Ready.
async fn install(
    kind: HostKind,
    hosts: &BTreeMap<String, Arc<dyn Host>>,
    kube: &KubeApi,
    paths: &Paths,
) -> Result<()> {
    let mut join_tokens = BTreeMap::new();
    for name in hosts.keys() {
        join_tokens.insert(name.as_str(), identities::join_token(paths, name).await?);
    }
    let token = real::join_token(kube, "labjoin", "0123456789abcdef").await?;
    let network = network::addresses(kind);
    let installs = hosts.values().map(|host| {
        let script = hosts::render(&Script {
            node: host.name(),
            k3s_url: &network.k3s_url,
            k3s_token: &token,
            k3s_version: "v1.33.4+k3s1",
            controller: &network.agent_url,
            token: join_tokens.get(host.name()).map_or("", String::as_str),
            flags: "",
        });
        async move {
            host.recreate(&script)
                .await
                .with_context(|| format!("cannot install {}", host.name()))
        }
    });
    futures::future::try_join_all(installs).await?;
    let ready = crate::until(JOINED_WITHIN, "every node to join the cluster", || async {
        let nodes = HOSTS.iter().map(|(name, ..)| kube.is_ready(name));
        let nodes = futures::future::join_all(nodes).await;
        nodes.into_iter().all(|ready| ready)
    });
    let Err(error) = ready.await else {
        return Ok(());
    };
    let mut words = String::new();
    for host in hosts.values() {
        words.push_str(&host.logs().await);
    }
    Err(error.context(words))
}

fn seed(kube: &KubeApi, network: &Network) {
    for (name, _, _, role) in HOSTS {
        let server = role == "server";
        let mut labels = serde_json::json!({
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "iaso.lab/disk": "ssd",
        });
        if server {
            kubeapi::seed::set(&mut labels, "node-role.kubernetes.io/control-plane", "true");
        }
        let taints = if name == "calypso" {
            serde_json::json!([{"key": "gpu", "value": "true", "effect": "NoSchedule"}])
        } else {
            serde_json::json!([])
        };
        kube.put(
            "nodes",
            serde_json::json!({
                "metadata": {"name": name, "labels": labels, "annotations": {"iaso.lab/owner": "ops"}},
                "spec": {"taints": taints},
                "status": {"nodeInfo": {"kubeletVersion": "v1.33.4+k3s1"}},
            }),
        );
        kubeapi::seed::workload(kube, name);
    }
    kubeapi::seed::dns(kube, &network.dns_seed());
}
