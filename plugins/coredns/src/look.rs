//! Who is asked, and what all of them answer.

use std::collections::BTreeMap;
use std::time::Duration;

use iaso_plugin::capability::Pod;
use iaso_plugin::{Dns, Host, Kube};

use crate::ask::{Probe, Reply, ask};
use crate::settings::Settings;

pub(crate) const TRANSPORTS: [&str; 2] = ["udp", "tcp"];
/// More endpoints than this are not asked in one look.
const ENDPOINTS_MAX: usize = 8;

/// One server and everything that it answered.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) address: (String, u16),
    /// True for the service's address, false for an endpoint's.
    pub(crate) is_service: bool,
    pub(crate) replies: BTreeMap<(&'static str, Probe), Reply>,
}

impl Server {
    pub(crate) fn name(&self) -> String {
        let (address, port) = &self.address;
        if address.contains(':') {
            format!("[{address}]:{port}")
        } else {
            format!("{address}:{port}")
        }
    }

    pub(crate) fn reply(&self, transport: &'static str, probe: Probe) -> Option<&Reply> {
        self.replies.get(&(transport, probe))
    }

    /// True when it was asked by this transport and nothing came back.
    pub(crate) fn is_silent(&self, transport: &'static str) -> bool {
        let mut replies = self
            .replies
            .iter()
            .filter(|((by, _), _)| *by == transport)
            .map(|(_, reply)| reply)
            .peekable();
        replies.peek().is_some() && replies.all(Reply::is_silence)
    }

    pub(crate) fn answers(&self, transport: &'static str) -> bool {
        self.replies
            .iter()
            .any(|((by, _), reply)| *by == transport && reply.is_answer())
    }

    /// True when neither transport brings an answer.
    pub(crate) fn is_dead(&self) -> bool {
        TRANSPORTS.iter().all(|transport| self.is_silent(transport))
    }
}

/// Everything that one look saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sight {
    /// The service first.
    pub(crate) servers: Vec<Server>,
    /// True when it is known that there is no ready endpoint.
    pub(crate) no_endpoints: bool,
    pub(crate) pods_here: Vec<Pod>,
    /// What could not be looked at.
    pub(crate) unseen: Vec<String>,
}

impl Sight {
    /// The pod of this node behind a dead endpoint, if there is one.
    pub(crate) fn dead_pod(&self) -> Option<(&Server, &Pod)> {
        let mut dead = self
            .servers
            .iter()
            .filter(|server| !server.is_service && server.is_dead());
        dead.find_map(|server| {
            Some((
                server,
                self.pods_here
                    .iter()
                    .find(|pod| pod.ip == server.address.0)?,
            ))
        })
    }
}

pub(crate) fn look<H: Dns + Kube + Host>(host: &H, settings: &Settings) -> Sight {
    let begun = host.monotonic();
    let mut sight = Sight::default();
    let service = service(host, settings, &mut sight);
    let endpoints = endpoints(host, settings, &mut sight);
    let servers = service
        .into_iter()
        .map(|address| (address, true))
        .chain(endpoints.into_iter().map(|address| (address, false)));
    let names = names(host, settings);
    for (address, is_service) in servers {
        let left = || {
            settings
                .budget
                .saturating_sub(host.monotonic().saturating_sub(begun))
        };
        let replies = ask_all(host, settings, &address, &names, &left);
        sight.servers.push(Server {
            address,
            is_service,
            replies,
        });
    }
    if sight
        .servers
        .iter()
        .any(|server| !server.is_service && server.is_dead())
    {
        match host.pods_here(&settings.namespace, &settings.selector) {
            Ok(pods) => sight.pods_here = pods,
            Err(why) => sight.unseen.push(format!("pods of this node: {why}")),
        }
    }
    sight
}

fn names<H: Host>(host: &H, settings: &Settings) -> Vec<(Probe, String)> {
    let domain = &settings.cluster_domain;
    let mut names = vec![
        (Probe::Cluster, format!("kubernetes.default.svc.{domain}")),
        // Random, so that no cache can know it.
        (
            Probe::Absent,
            format!("iaso-{:016x}.default.svc.{domain}", host.random()),
        ),
    ];
    if !settings.external_name.is_empty() {
        names.push((Probe::External, settings.external_name.clone()));
    }
    names
}

fn ask_all<H: Dns>(
    host: &H,
    settings: &Settings,
    address: &(String, u16),
    names: &[(Probe, String)],
    left: &dyn Fn() -> Duration,
) -> BTreeMap<(&'static str, Probe), Reply> {
    let mut replies = BTreeMap::new();
    for transport in TRANSPORTS {
        for (probe, name) in names {
            let time = left();
            let reply = if time < Duration::from_millis(10) {
                Reply::Unseen("no time left within `budget`".to_owned())
            } else {
                ask(host, address, transport, name, settings.timeout.min(time))
            };
            // One lost packet must not silence a server: the question is put once more, if it was the first.
            let reply = if *probe == Probe::Cluster
                && reply == Reply::Timeout
                && left() >= settings.timeout
            {
                ask(host, address, transport, name, settings.timeout)
            } else {
                reply
            };
            let silent = *probe == Probe::Cluster && reply.is_silence();
            replies.insert((transport, *probe), reply);
            // Who is silent twice about a name of its own will not be asked about others: each would cost its timeout.
            if silent {
                break;
            }
        }
    }
    replies
}

fn service<H: Kube>(host: &H, settings: &Settings, sight: &mut Sight) -> Option<(String, u16)> {
    if let Some(address) = &settings.service_ip {
        return Some(address.clone());
    }
    match host.service(&settings.namespace, &settings.service) {
        Ok(service) if service.cluster_ip.is_empty() || service.cluster_ip == "None" => {
            sight
                .unseen
                .push("the service has no address of its own (headless)".to_owned());
            None
        }
        Ok(service) => {
            let port = service
                .ports
                .iter()
                .find(|(_, _, protocol)| protocol == "UDP")
                .map_or(53, |(_, port, _)| *port);
            Some((service.cluster_ip, port))
        }
        Err(why) => {
            sight.unseen.push(format!(
                "service {}/{}: {why}",
                settings.namespace, settings.service
            ));
            None
        }
    }
}

fn endpoints<H: Kube>(host: &H, settings: &Settings, sight: &mut Sight) -> Vec<(String, u16)> {
    if let Some(endpoints) = &settings.endpoints {
        return endpoints.iter().take(ENDPOINTS_MAX).cloned().collect();
    }
    let all = match host.endpoints(&settings.namespace, &settings.service) {
        Ok(all) => all,
        Err(why) => {
            sight.unseen.push(format!(
                "endpoints of {}/{}: {why}",
                settings.namespace, settings.service
            ));
            return Vec::new();
        }
    };
    sight.no_endpoints = !all.iter().any(|endpoint| endpoint.ready);
    let mut addresses: Vec<(String, u16)> = Vec::new();
    // The same address is listed for each protocol, and one that is not ready is not in service.
    for endpoint in all
        .into_iter()
        .filter(|endpoint| endpoint.ready && endpoint.protocol == "UDP")
    {
        let address = (endpoint.address, endpoint.port);
        if addresses.len() < ENDPOINTS_MAX && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}
