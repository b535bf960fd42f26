//! From the host of a URL to the Service that it names.

use std::collections::BTreeMap;

use iaso_plugin::capability::Service;
use iaso_plugin::{Error, Kube};

use crate::settings::Settings;

/// Services that are read in one look.
const SERVICES_MAX: usize = 64;

/// What a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// No name of a Service: an address, this pod, a name of the internet.
    Other,
    Service(Ports),
    /// It can only be a Service, and there is none of that name: namespace and name.
    Absent(String, String),
    /// It may be one, and was not read.
    Unseen(String),
}

/// Of a Service that its clients reach by its own ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) name: String,
    /// Empty: none, or a headless Service, whose clients reach the pods' own ports.
    pub(crate) ports: Vec<u16>,
}

/// What is known of a name that was asked for.
type Known = Result<Service, Error>;

/// Reads each Service once.
pub(crate) struct Lookup<'a, H> {
    host: &'a H,
    settings: &'a Settings,
    known: BTreeMap<(String, String), Known>,
}

impl<'a, H: Kube> Lookup<'a, H> {
    pub(crate) fn new(host: &'a H, settings: &'a Settings) -> Self {
        Self {
            host,
            settings,
            known: BTreeMap::new(),
        }
    }

    /// What `host` is to a pod of `namespace`.
    pub(crate) fn named(&mut self, host: &str, namespace: &str) -> Named {
        let host = host.trim_end_matches('.');
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        if is_address || host == "localhost" || host.ends_with(".localhost") {
            return Named::Other;
        }
        let domain = format!(".{}", self.settings.cluster_domain);
        let (short, is_whole) = match host.strip_suffix(&domain) {
            Some(short) => (short, true),
            None => (host, false),
        };
        let labels: Vec<&str> = short.split('.').collect();
        match labels.as_slice() {
            [name] if !is_whole => self.service(namespace, name, true),
            [name, of, "svc"] => self.service(of, name, true),
            // `web.apps` is a Service, `example.com` is not: only a namespace that is looked at tells.
            [name, of] if !is_whole && self.settings.namespaces.iter().any(|one| one == of) => {
                self.service(of, name, false)
            }
            _ => Named::Other,
        }
    }

    fn service(&mut self, namespace: &str, name: &str, is_certain: bool) -> Named {
        let key = (namespace.to_owned(), name.to_owned());
        if !self.known.contains_key(&key) {
            if self.known.len() >= SERVICES_MAX {
                return Named::Unseen(format!("more than {SERVICES_MAX} Services are named"));
            }
            let answer = self.host.service(namespace, name);
            self.known.insert(key.clone(), answer);
        }
        match self.known.get(&key) {
            Some(Ok(service)) => Named::Service(ports(namespace, name, service)),
            Some(Err(Error::Unavailable(why))) if is_not_found(why) => {
                if is_certain {
                    Named::Absent(key.0, key.1)
                } else {
                    Named::Other
                }
            }
            Some(Err(why)) => Named::Unseen(format!("Service {namespace}/{name}: {why}")),
            None => Named::Other,
        }
    }
}

/// The agent has one word for "no such Service" and for "no API server", and tells them apart by the server's answer.
fn is_not_found(why: &str) -> bool {
    why.contains("404")
}

fn ports(namespace: &str, name: &str, service: &Service) -> Ports {
    let is_headless = matches!(service.cluster_ip.as_str(), "" | "None");
    let ports = if is_headless {
        Vec::new()
    } else {
        service
            .ports
            .iter()
            .filter(|(_, _, protocol)| protocol == "TCP")
            .map(|(_, port, _)| *port)
            .collect()
    };
    Ports {
        name: format!("{namespace}/{name}"),
        ports,
    }
}
