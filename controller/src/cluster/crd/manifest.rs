//! The definitions as files: one for each kind.

use super::Incident;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its name: `incidents.yaml`.
    pub file: String,
    /// What is in it.
    pub text: String,
}

/// All of them.
///
/// # Errors
/// When a definition cannot be written as YAML.
pub fn manifests() -> Result<Vec<Manifest>, serde_saphyr::SerializeError> {
    [Incident::crd()].into_iter().map(of).collect()
}

fn of(mut definition: CustomResourceDefinition) -> Result<Manifest, serde_saphyr::SerializeError> {
    let labels = definition.metadata.labels.get_or_insert_default();
    labels.insert("app.kubernetes.io/part-of".into(), "iaso".into());
    let yaml = serde_saphyr::to_string(&definition)?;
    Ok(Manifest {
        file: format!("{}.yaml", definition.spec.names.plural),
        text: format!(
            "# Written by `cargo xtask crds`: change controller/src/cluster/crd, not this file.\n{yaml}"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_definitions_are_those_of_the_types() {
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kustomize/base/crds");
        let all = manifests().unwrap();
        for manifest in &all {
            let path = format!("{shipped}/{}", manifest.file);
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(found, manifest.text, "{path}: run `cargo xtask crds`");
        }
        // And the list of them.
        assert_eq!(std::fs::read_dir(shipped).unwrap().count(), all.len() + 1);
    }
}
