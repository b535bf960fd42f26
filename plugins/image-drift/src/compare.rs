//! What differs now, whether it lasts or not.

use std::collections::BTreeMap;

use iaso_plugin::capability::{ContainerState, PodState, Workload};

use crate::settings::{Expected, Settings};

/// How it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A pod runs another image than its controller asks for.
    Stale,
    /// The controller asks for another image than the operator expects.
    NotExpected,
    /// Pods of the same tag run different images.
    TagMoved,
    /// The image that runs is not the one of the digest asked for.
    DigestDiffers,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::NotExpected => "not-expected",
            Self::TagMoved => "tag-moved",
            Self::DigestDiffers => "digest-differs",
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drift {
    pub(crate) kind: Kind,
    /// `NAMESPACE/WORKLOAD`, or `NAMESPACE/POD`.
    pub(crate) subject: String,
    pub(crate) runs: String,
    pub(crate) asked: String,
    pub(crate) pods: Vec<String>,
}

impl Drift {
    /// The same as long as nothing about it changes but the pods.
    pub(crate) fn key(&self) -> String {
        format!(
            "{} {} {} {}",
            self.kind.as_str(),
            self.subject,
            self.runs,
            self.asked
        )
    }
}

pub(crate) fn compare(
    settings: &Settings,
    pods: &[PodState],
    workloads: &[Workload],
) -> Vec<Drift> {
    let alive: Vec<&PodState> = pods
        .iter()
        .filter(|pod| {
            pod.delete_by_unix_ms.is_none() && !matches!(pod.phase.as_str(), "Succeeded" | "Failed")
        })
        .collect();
    let mut drifts = Vec::new();
    for workload in workloads {
        drifts.extend(stale(workload, &alive));
        let expected = settings.expected.iter().find(|expected| {
            expected.namespace == workload.namespace && expected.workload == workload.name
        });
        drifts.extend(expected.and_then(|expected| not_expected(workload, expected)));
    }
    drifts.extend(moved(&alive));
    drifts.extend(alive.iter().flat_map(|pod| differs(pod)));
    drifts
}

fn stale(workload: &Workload, pods: &[&PodState]) -> Vec<Drift> {
    if !workload.settled {
        return Vec::new();
    }
    let mut found: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    let own = pods
        .iter()
        .filter(|pod| workload.pods.contains(&pod.name) && pod.namespace == workload.namespace);
    for pod in own {
        for container in &pod.containers {
            let asked = workload
                .images
                .iter()
                .find(|(name, _)| *name == container.name);
            if let Some((_, asked)) = asked
                && *asked != container.image
            {
                let key = (container.image.as_str(), asked.as_str());
                found.entry(key).or_default().push(pod.name.clone());
            }
        }
    }
    found
        .into_iter()
        .map(|((runs, asked), pods)| Drift {
            kind: Kind::Stale,
            subject: format!("{}/{}", workload.namespace, workload.name),
            runs: runs.to_owned(),
            asked: asked.to_owned(),
            pods,
        })
        .collect()
}

fn not_expected(workload: &Workload, expected: &Expected) -> Option<Drift> {
    let is_it = |image: &str| {
        let wanted = &expected.image;
        image == wanted
            || image.ends_with(&format!(":{wanted}"))
            || image.ends_with(&format!("@{wanted}"))
    };
    if workload.images.iter().any(|(_, image)| is_it(image)) {
        return None;
    }
    let images: Vec<&str> = workload
        .images
        .iter()
        .map(|(_, image)| image.as_str())
        .collect();
    Some(Drift {
        kind: Kind::NotExpected,
        subject: format!("{}/{}", workload.namespace, workload.name),
        runs: images.join(", "),
        asked: expected.image.clone(),
        pods: workload.pods.clone(),
    })
}

/// The digest at the end of `repository@sha256:…`; an image's own id without a repository is of another kind.
fn digest(image: &str) -> Option<&str> {
    image
        .split_once('@')
        .map(|(_, digest)| digest)
        .filter(|digest| digest.starts_with("sha256:"))
}

/// Of one tag, more than one digest on this node.
fn moved(pods: &[&PodState]) -> Vec<Drift> {
    let mut by_image: BTreeMap<(&str, &str), BTreeMap<&str, Vec<String>>> = BTreeMap::new();
    for pod in pods {
        for container in running(pod) {
            let Some(digest) = digest(&container.image_id) else {
                continue;
            };
            if self::digest(&container.image).is_none() {
                by_image
                    .entry((&pod.namespace, &container.image))
                    .or_default()
                    .entry(digest)
                    .or_default()
                    .push(pod.name.clone());
            }
        }
    }
    by_image
        .into_iter()
        .filter(|(_, digests)| digests.len() > 1)
        .map(|((namespace, image), digests)| Drift {
            kind: Kind::TagMoved,
            subject: format!(
                "{namespace}/{}",
                digests.values().flatten().next().map_or("", String::as_str)
            ),
            runs: digests.keys().copied().collect::<Vec<_>>().join(" and "),
            asked: image.to_owned(),
            pods: digests.into_values().flatten().collect(),
        })
        .collect()
}

fn differs(pod: &PodState) -> Vec<Drift> {
    running(pod)
        .filter_map(|container| {
            let (asked, runs) = (digest(&container.image)?, digest(&container.image_id)?);
            (asked != runs).then(|| Drift {
                kind: Kind::DigestDiffers,
                subject: format!("{}/{}", pod.namespace, pod.name),
                runs: runs.to_owned(),
                asked: asked.to_owned(),
                pods: vec![pod.name.clone()],
            })
        })
        .collect()
}

fn running(pod: &PodState) -> impl Iterator<Item = &ContainerState> {
    pod.containers
        .iter()
        .filter(|container| container.state == "running")
}
