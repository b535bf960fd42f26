//! What of a controller's configuration a policy is judged by: its nodes and whether there is a cluster. Everything else in it is
//! `iaso-controller check`'s.

use crate::{Loaded, PolicyFileError, bad, join};
use iaso_engine::fact::{Inventory, NodeSpec, Role};
use iaso_engine::id::{MachineId, NodeName};
use iaso_engine::policy::Policy;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    policy: Policy,
    policy_file: Option<PathBuf>,
    cluster: Option<IgnoredAny>,
    #[serde(default)]
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    name: NodeName,
    role: Role,
    provider: Option<String>,
    machine: Option<String>,
    #[serde(default)]
    domains: BTreeMap<String, String>,
}

/// A policy has none of these keys.
pub(crate) fn is_one(table: &Table) -> bool {
    ["policy", "policy_file", "data_dir"]
        .iter()
        .any(|key| table.contains_key(*key))
        || matches!(table.get("nodes"), Some(Value::Array(_)))
}

pub(crate) fn read(text: &str, path: &Path) -> Result<Loaded, PolicyFileError> {
    let said: Configuration = toml::from_str(text).map_err(|error| bad(path, &error))?;
    let policy = match &said.policy_file {
        None => said.policy,
        Some(file) => {
            let beside = path.parent().map(|dir| dir.join(file));
            join(text, beside.as_deref().unwrap_or(file))?
        }
    };
    let nodes = said.nodes.into_iter().map(|node| {
        let provider = node.provider.filter(|name| name != "none");
        let spec = NodeSpec {
            name: node.name.clone(),
            role: node.role,
            machine: provider.zip(node.machine.map(MachineId)),
            domains: node.domains,
        };
        (node.name, spec)
    });
    let inventory = Inventory {
        nodes: nodes.collect(),
        has_cluster: said.cluster.is_some(),
    };
    Ok(Loaded {
        policy,
        inventory: (!inventory.nodes.is_empty()).then_some(inventory),
    })
}
