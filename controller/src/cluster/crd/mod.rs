//! The kinds of object that Iaso brings: what is shown of incidents.
//!
//! **Invariants**
//! - `deploy/kustomize/base/crds/` is what these types say, written by `iaso-controller crds`; a test compares them.
//! - Whatever Iaso writes into a status it writes whole, every field of it: so somebody else's edit is seen and written over.
//!
//! Left out: rules in CEL, which servers before 1.25 do not have; policies and plugins as objects.

#![allow(
    clippy::duplicated_attributes,
    reason = "each printed column has a type of its own"
)]

pub(super) mod manifest;

pub use manifest::{Manifest, manifests};

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The group of all of them.
pub(super) const GROUP: &str = "iaso.dev";
/// A Kubernetes name.
const NAME: &str = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";

/// One incident of the journal.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "iaso.dev",
    version = "v1alpha1",
    kind = "Incident",
    plural = "incidents",
    status = "IncidentStatus",
    derive = "PartialEq",
    doc = "An incident, as the controller's journal has it. The journal is the truth: what is edited or deleted here comes back.",
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.node"),
    printcolumn(name = "Diagnosis", type_ = "string", json_path = ".status.diagnosis"),
    printcolumn(name = "Rung", type_ = "string", json_path = ".status.rung"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Age", type_ = "date", json_path = ".status.openedAt"),
    printcolumn(
        name = "Waiting",
        type_ = "string",
        json_path = ".status.waiting",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub(super) struct IncidentSpec {
    /// The incident's id, as `iaso incident` takes it.
    #[schemars(length(min = 1, max = 300))]
    pub(super) incident: String,
    /// The node's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = NAME))]
    pub(super) node: String,
}

/// What the journal says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct IncidentStatus {
    /// Where it stands.
    pub(super) phase: Phase,
    /// What the signals, together, say of the node.
    #[schemars(length(max = 100))]
    pub(super) diagnosis: String,
    /// The rung that is being taken, else the last one; empty: none yet.
    #[schemars(length(max = 300))]
    pub(super) rung: String,
    /// When it was opened.
    #[schemars(extend("format" = "date-time"))]
    pub(super) opened_at: String,
    /// When it was closed; empty: it was not.
    #[schemars(length(max = 64))]
    pub(super) closed_at: String,
    /// How it ended; empty: it did not.
    #[schemars(length(max = 64))]
    pub(super) outcome: String,
    /// Why nothing, or nothing more, happens now.
    #[schemars(length(max = 20))]
    pub(super) waiting: Vec<String>,
    /// The rungs that were begun, the latest last.
    #[schemars(length(max = 50))]
    pub(super) rungs: Vec<RungLine>,
}

/// One rung that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RungLine {
    /// Which.
    #[schemars(length(max = 300))]
    pub(super) rung: String,
    /// 1, 2, …
    #[schemars(range(min = 1))]
    pub(super) attempt: i64,
    /// When.
    #[schemars(extend("format" = "date-time"))]
    pub(super) started_at: String,
    /// How it ended; empty: it did not.
    #[schemars(length(max = 64))]
    pub(super) result: String,
}

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) enum Phase {
    /// Being worked on.
    Open,
    /// It looks well, and is watched.
    Verifying,
    /// A person must decide.
    Parked,
    /// Ended.
    Closed,
}
