//! The operator's configuration of this plugin.

use std::time::Duration;

use iaso_plugin::Config;

pub(crate) const KEYS: &[&str] = &["namespaces", "grace", "expect"];

/// What a workload should ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) namespace: String,
    pub(crate) workload: String,
    /// An image, a tag or a digest.
    pub(crate) image: String,
}

/// Where is looked, and how long a difference may last.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) namespaces: Vec<String>,
    pub(crate) grace: Duration,
    pub(crate) expected: Vec<Expected>,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let namespaces = config.list("namespaces", &["default"])?;
        if namespaces.is_empty() {
            return Err("configuration key `namespaces` must name one at least".into());
        }
        let expected = config
            .list("expect", &[])?
            .iter()
            .map(|entry| {
                expected(entry).ok_or_else(|| {
                    format!("configuration key `expect` must be workloads with their image or tag, such as `apps/web=f44c2a2`, not `{entry}`")
                })
            })
            .collect::<Result<Vec<_>, String>>()?;
        if let Some(one) = expected
            .iter()
            .find(|one| !namespaces.contains(&one.namespace))
        {
            return Err(format!(
                "`expect` names namespace `{}`, which is not among `namespaces`",
                one.namespace
            ));
        }
        Ok(Self {
            namespaces,
            grace: config.duration("grace", Duration::from_mins(15))?,
            expected,
        })
    }
}

fn expected(entry: &str) -> Option<Expected> {
    let (place, image) = entry.split_once('=')?;
    let (namespace, workload) = place.split_once('/')?;
    let is_some = |text: &str| !text.trim().is_empty();
    (is_some(namespace) && is_some(workload) && is_some(image)).then(|| Expected {
        namespace: namespace.trim().to_owned(),
        workload: workload.trim().to_owned(),
        image: image.trim().to_owned(),
    })
}
