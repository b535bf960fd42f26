//! Paths of the Kubernetes API, taken apart.

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) resource: String,
    pub(crate) namespace: String,
    /// Empty: the collection.
    pub(crate) name: String,
    /// `status` and the like; else empty.
    pub(crate) subresource: String,
    /// `v1` or `group/version`.
    pub(crate) api_version: String,
}

/// What the server knows: (plural, kind, `apiVersion`, namespaced).
const RESOURCES: [(&str, &str, &str, bool); 15] = [
    ("nodes", "Node", "v1", false),
    ("namespaces", "Namespace", "v1", false),
    ("pods", "Pod", "v1", true),
    ("secrets", "Secret", "v1", true),
    ("services", "Service", "v1", true),
    ("endpoints", "Endpoints", "v1", true),
    ("configmaps", "ConfigMap", "v1", true),
    ("events", "Event", "v1", true),
    ("persistentvolumes", "PersistentVolume", "v1", false),
    (
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        "v1",
        true,
    ),
    ("leases", "Lease", "coordination.k8s.io/v1", true),
    (
        "endpointslices",
        "EndpointSlice",
        "discovery.k8s.io/v1",
        true,
    ),
    (
        "volumeattachments",
        "VolumeAttachment",
        "storage.k8s.io/v1",
        false,
    ),
    ("replicasets", "ReplicaSet", "apps/v1", true),
    ("incidents", "Incident", "iaso.dev/v1alpha1", false),
];

/// The kind of a resource.
pub(crate) fn kind(resource: &str) -> Option<(&'static str, &'static str)> {
    RESOURCES
        .iter()
        .find(|(plural, ..)| *plural == resource)
        .map(|(_, kind, version, _)| (*kind, *version))
}

/// Takes a path apart; `None` when it names nothing that this server has.
pub(crate) fn parse(path: &str) -> Option<Target> {
    let segments: Vec<&str> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    let (api_version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ((*version).to_owned(), rest),
        ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest != ["status"] => {
            (*namespace, rest)
        }
        rest => ("", rest),
    };
    let (resource, name, subresource) = match rest {
        [resource] => (*resource, "", ""),
        [resource, name] => (*resource, *name, ""),
        [resource, name, subresource] => (*resource, *name, *subresource),
        _ => return None,
    };
    let (_, _, version, namespaced) = RESOURCES.iter().find(|(plural, ..)| *plural == resource)?;
    let known = *version == api_version && (*namespaced || namespace.is_empty());
    known.then(|| Target {
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
        api_version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        for (path, expected) in [
            ("/api/v1/nodes", Some(("nodes", "", "", ""))),
            (
                "/api/v1/nodes/styx/status",
                Some(("nodes", "", "styx", "status")),
            ),
            (
                "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/styx",
                Some(("leases", "kube-node-lease", "styx", "")),
            ),
            ("/api/v1/pods", Some(("pods", "", "", ""))),
            (
                "/api/v1/namespaces/kube-system/pods/dns/eviction",
                Some(("pods", "kube-system", "dns", "eviction")),
            ),
            (
                "/api/v1/namespaces/default",
                Some(("namespaces", "", "default", "")),
            ),
            ("/apis/apps/v1/deployments", None),
            ("/api/v1/namespaces/default/nodes", None),
        ] {
            let target = parse(path);
            let seen = target.as_ref().map(|target| {
                (
                    target.resource.as_str(),
                    target.namespace.as_str(),
                    target.name.as_str(),
                    target.subresource.as_str(),
                )
            });
            assert_eq!(seen, expected, "{path}");
        }
    }
}
