//! The operator's configuration of this plugin.

use std::time::Duration;

use iaso_plugin::Config;
use iaso_plugin::capability::CustomResource;

pub(crate) const KEYS: &[&str] = &["namespaces", "kinds", "failing_max", "working_max"];

/// A kind of Flux object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// As Flux writes it: `Kustomization`.
    pub(crate) name: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
}

const fn kind(
    name: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
) -> Kind {
    Kind {
        name,
        group,
        version,
        resource,
    }
}

const KINDS: [Kind; 6] = [
    kind(
        "Kustomization",
        "kustomize.toolkit.fluxcd.io",
        "v1",
        "kustomizations",
    ),
    kind(
        "HelmRelease",
        "helm.toolkit.fluxcd.io",
        "v2",
        "helmreleases",
    ),
    kind(
        "GitRepository",
        "source.toolkit.fluxcd.io",
        "v1",
        "gitrepositories",
    ),
    kind(
        "OCIRepository",
        "source.toolkit.fluxcd.io",
        "v1",
        "ocirepositories",
    ),
    kind(
        "HelmRepository",
        "source.toolkit.fluxcd.io",
        "v1",
        "helmrepositories",
    ),
    kind("HelmChart", "source.toolkit.fluxcd.io", "v1", "helmcharts"),
];

impl Kind {
    pub(crate) fn custom_resource(&self) -> CustomResource<'static> {
        CustomResource {
            group: self.group,
            version: self.version,
            resource: self.resource,
        }
    }
}

/// Where is looked, and what takes too long.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) namespaces: Vec<String>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) failing_max: Duration,
    pub(crate) working_max: Duration,
}

impl Settings {
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let namespaces = config.list("namespaces", &["flux-system"])?;
        let names = config.list("kinds", &["Kustomization", "HelmRelease", "GitRepository"])?;
        if namespaces.is_empty() || names.is_empty() {
            return Err(
                "configuration keys `namespaces` and `kinds` must name one at least".into(),
            );
        }
        let kinds = names
            .iter()
            .map(|name| {
                KINDS
                    .into_iter()
                    .find(|kind| kind.name == name)
                    .ok_or_else(|| {
                        let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
                        format!(
                            "configuration key `kinds` must be of {}, not `{name}`",
                            known.join(", ")
                        )
                    })
            })
            .collect::<Result<Vec<_>, String>>()?;
        Ok(Self {
            namespaces,
            kinds,
            failing_max: config.duration("failing_max", Duration::from_mins(5))?,
            working_max: config.duration("working_max", Duration::from_mins(30))?,
        })
    }
}
