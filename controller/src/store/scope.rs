//! Which incident and node a record speaks of, for filters and indexes.

use iaso_engine::id::{EffectId, NodeName};
use iaso_engine::record::Record;

/// What a record speaks of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// The incident, if any.
    pub incident: Option<String>,
    /// The node, if the record itself names it.
    pub node: Option<String>,
}

impl Scope {
    /// Of a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let incident = |id: &iaso_engine::id::IncidentId| Self {
            incident: Some(id.0.clone()),
            node: None,
        };
        match record {
            Record::ControllerStarted { .. } => Self::default(),
            Record::Noted { node, incident, .. } => Self {
                incident: incident.as_ref().map(|id| id.0.clone()),
                node: name(node.as_ref()),
            },
            Record::IncidentOpened { incident, node, .. } => Self {
                incident: Some(incident.0.clone()),
                node: name(Some(node)),
            },
            Record::Intended { effect } => Self {
                incident: Some(effect.incident.0.clone()),
                node: name(Some(&effect.node)),
            },
            Record::Resolved { effect, .. } => Self {
                incident: incident_of(effect),
                node: None,
            },
            Record::Paused { node, .. } | Record::Resumed { node, .. } => Self {
                incident: None,
                node: name(node.as_ref()),
            },
            Record::Diagnosed { incident: id, .. }
            | Record::WaitingChanged { incident: id, .. }
            | Record::RungStarted { incident: id, .. }
            | Record::RungEnded { incident: id, .. }
            | Record::WouldHave { incident: id, .. }
            | Record::Approved { incident: id, .. }
            | Record::Denied { incident: id, .. }
            | Record::Verifying { incident: id, .. }
            | Record::VerifyFailed { incident: id, .. }
            | Record::Parked { incident: id, .. }
            | Record::Closed { incident: id, .. } => incident(id),
        }
    }

    /// The node: named, or the incident's, whose id is `<node>-<sequence>`.
    #[must_use]
    pub fn about(&self) -> Option<&str> {
        let of_incident = || Some(self.incident.as_deref()?.rsplit_once('-')?.0);
        self.node.as_deref().or_else(of_incident)
    }
}

fn name(node: Option<&NodeName>) -> Option<String> {
    node.map(|node| node.as_str().to_owned())
}

/// An effect's id is `<incident>/<number>`.
fn incident_of(effect: &EffectId) -> Option<String> {
    effect
        .as_str()
        .rsplit_once('/')
        .map(|(incident, _)| incident.to_owned())
}
