//! Where the URLs in the environment of this node's pods lead: scheme, host and port, and never the URL.

use std::{collections::BTreeMap, time::Duration};

use iaso_host::{CapError, types::EnvUrl};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod as KubePod};
use kube::Api;

use super::{Kube, cut, within};

/// Entries of one answer.
const URLS_MAX: usize = 500;
/// URLs of one variable: some hold a list.
const PARTS_MAX: usize = 8;
/// `ConfigMap`s that are read for one answer.
const MAPS_MAX: usize = 32;
const TEXT_BYTES_MAX: usize = 256;

/// Keys of a `ConfigMap`, or why it could not be read.
type Map = Result<BTreeMap<String, String>, String>;

impl Kube {
    /// Where the URLs in the environment of pods bound to this node lead.
    pub async fn env_urls_here(
        &self,
        namespace: &str,
        timeout: Duration,
    ) -> Result<Vec<EnvUrl>, CapError> {
        within(timeout, self.env_urls(namespace)).await
    }

    async fn env_urls(&self, namespace: &str) -> Result<Vec<EnvUrl>, CapError> {
        let pods = self.ours(namespace, "").await?;
        let mut maps: BTreeMap<String, Map> = BTreeMap::new();
        for name in pods
            .iter()
            .flat_map(containers)
            .flat_map(|(_, container)| map_names(container))
        {
            if maps.len() < MAPS_MAX && !maps.contains_key(&name) {
                let map = self.map(namespace, &name).await?;
                maps.insert(name, map);
            }
        }
        Ok(pods
            .iter()
            .flat_map(containers)
            .flat_map(|(pod, container)| of_container(namespace, pod, container, &maps))
            .take(URLS_MAX)
            .collect())
    }

    /// A map that is not there, or is not ours to read, is told of and hides no other.
    async fn map(&self, namespace: &str, name: &str) -> Result<Map, CapError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client().await?, namespace);
        match self
            .settle(api.get(name).await, &format!("ConfigMap {name}"))
            .await
        {
            Ok(map) => Ok(Ok(map.data.unwrap_or_default())),
            Err(why @ (CapError::Timeout | CapError::Denied(_))) => Err(why),
            Err(CapError::Unavailable(why) | CapError::Other(why) | CapError::TooLarge(why)) => {
                Ok(Err(cut(Some(&why), TEXT_BYTES_MAX)))
            }
        }
    }
}

fn containers(pod: &KubePod) -> impl Iterator<Item = (&KubePod, &Container)> {
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|spec| spec.init_containers.as_ref());
    let main = spec.map(|spec| &spec.containers);
    init.into_iter()
        .chain(main)
        .flatten()
        .map(move |container| (pod, container))
}

fn map_names(container: &Container) -> Vec<String> {
    let whole = container
        .env_from
        .iter()
        .flatten()
        .filter_map(|from| Some(from.config_map_ref.as_ref()?.name.clone()));
    let single = container.env.iter().flatten().filter_map(|variable| {
        let from = variable.value_from.as_ref()?;
        Some(from.config_map_key_ref.as_ref()?.name.clone())
    });
    whole.chain(single).collect()
}

fn of_container(
    namespace: &str,
    pod: &KubePod,
    container: &Container,
    maps: &BTreeMap<String, Map>,
) -> Vec<EnvUrl> {
    let entry = |variable: &str, leads: Leads, attribute: (&str, String)| EnvUrl {
        namespace: namespace.to_owned(),
        pod: cut(pod.metadata.name.as_ref(), TEXT_BYTES_MAX),
        container: cut(Some(&container.name), TEXT_BYTES_MAX),
        variable: cut(Some(&variable.to_owned()), TEXT_BYTES_MAX),
        scheme: leads.scheme,
        host: leads.host,
        port: leads.port,
        attributes: vec![(attribute.0.to_owned(), attribute.1)],
    };
    let mut found = Vec::new();
    let mut add = |variable: &str, value: &str, source: String| {
        let leads = urls(value);
        found.extend(leads.map(|leads| entry(variable, leads, ("source", source.clone()))));
    };
    let mut unread = Vec::new();
    for variable in container.env.iter().flatten() {
        if let Some(value) = &variable.value {
            add(&variable.name, value, "value".to_owned());
        }
        let from = variable.value_from.as_ref();
        let Some(key) = from.and_then(|from| from.config_map_key_ref.as_ref()) else {
            continue;
        };
        match maps.get(&key.name) {
            Some(Ok(map)) => {
                if let Some(value) = map.get(&key.key) {
                    add(&variable.name, value, format!("ConfigMap/{}", key.name));
                }
            }
            Some(Err(why)) => unread.push((variable.name.clone(), why.clone())),
            None => unread.push((variable.name.clone(), too_many())),
        }
    }
    for from in container.env_from.iter().flatten() {
        let Some(map) = &from.config_map_ref else {
            continue;
        };
        match maps.get(&map.name) {
            Some(Ok(data)) => {
                let prefix = from.prefix.as_deref().unwrap_or_default();
                for (key, value) in data {
                    add(
                        &format!("{prefix}{key}"),
                        value,
                        format!("ConfigMap/{}", map.name),
                    );
                }
            }
            // What the pod may do without, nobody misses.
            Some(Err(_)) if map.optional == Some(true) => {}
            Some(Err(why)) => unread.push(("*".to_owned(), why.clone())),
            None => unread.push(("*".to_owned(), too_many())),
        }
    }
    let nowhere = unread
        .into_iter()
        .map(|(variable, why)| entry(&variable, Leads::default(), ("unread", why)));
    found.extend(nowhere);
    found
}

fn too_many() -> String {
    format!("more than {MAPS_MAX} ConfigMaps are named")
}

/// What a URL says of where it leads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Leads {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// Every URL of a value, which may be a list of them.
fn urls(value: &str) -> impl Iterator<Item = Leads> {
    value
        .split([',', ';', ' ', '\n'])
        .filter_map(leads)
        .take(PARTS_MAX)
}

/// None: it is no URL, or one whose parts are filled in later (`$(HOST)`).
fn leads(text: &str) -> Option<Leads> {
    let (scheme, rest) = text.trim().split_once("://")?;
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if scheme.is_empty() || scheme.len() > 32 || !scheme.chars().all(is_scheme) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    // A password may hold an `@` that should have been written otherwise: the last one counts.
    let authority = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        (host, port.strip_prefix(':'))
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let port = match port {
        None | Some("") => None,
        Some(port) => Some(port.parse().ok()?),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let is_host = !host.is_empty() && host.len() <= 253 && host.chars().all(is_plain);
    is_host.then(|| Leads {
        scheme: scheme.to_ascii_lowercase(),
        host: host.to_ascii_lowercase(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::urls;

    #[test]
    fn only_where_a_url_leads_is_kept() {
        let seen = |value: &str| {
            urls(value)
                .map(|leads| format!("{} {} {:?}", leads.scheme, leads.host, leads.port))
                .collect::<Vec<_>>()
        };
        for (value, expected) in [
            ("http://api", &["http api None"][..]),
            (
                "HTTP://Api.Apps.svc:8080/x?y=http://z",
                &["http api.apps.svc Some(8080)"],
            ),
            (
                "postgres://user:p@ss:w@db:5432/app",
                &["postgres db Some(5432)"],
            ),
            ("redis://[fd00::1]:6379/0", &["redis fd00::1 Some(6379)"]),
            (
                "http://a:1,http://b:2 https://c",
                &["http a Some(1)", "http b Some(2)", "https c None"],
            ),
            ("mongodb://a:1,b:2/db", &["mongodb a Some(1)"]),
            ("http://$(HOST):80", &[]),
            ("http://a:port", &[]),
            ("http://a:70000", &[]),
            ("http://", &[]),
            ("://a", &[]),
            ("plain", &[]),
        ] {
            assert_eq!(seen(value), expected, "{value}");
        }
    }
}
