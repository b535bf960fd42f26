//! Which exit code an answer deserves. Pure.

use crate::exit::Exit;
use crate::model::{Incident, Node};

/// Not well: the agent or the lease is not seen, a check found something, a diagnosis or an incident is open. "Unknown" is not well.
pub(crate) fn node_is_unwell(node: &Node) -> bool {
    node.agent.raw() != "up"
        || matches!(node.lease.raw(), "stale" | "unknown")
        || matches!(node.worst.raw(), "warning" | "critical" | "unknown")
        || !matches!(node.diagnosis.raw(), "" | "healthy")
        || !node.incident.is_empty()
}

/// `Wrong` when any of them is not well.
pub(crate) fn nodes<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Exit {
    if nodes.into_iter().any(node_is_unwell) {
        Exit::Wrong
    } else {
        Exit::Ok
    }
}

/// Parked or awaiting approval: a person; closed: well; else wrong.
pub(crate) fn incident(incident: &Incident) -> Exit {
    match incident.state.raw() {
        "closed" => Exit::Ok,
        "parked" => Exit::Person,
        _ if !incident.awaits_approval.is_empty() => Exit::Person,
        _ => Exit::Wrong,
    }
}

/// The most pressing of them: a person first, then wrong.
pub(crate) fn incidents(list: &[Incident]) -> Exit {
    let exits: Vec<Exit> = list.iter().map(incident).collect();
    [Exit::Person, Exit::Wrong]
        .into_iter()
        .find(|exit| exits.contains(exit))
        .unwrap_or(Exit::Ok)
}

/// How following it ends; `None` while it goes on. Awaiting approval goes on: another person may be about to approve.
pub(crate) fn followed(incident: &Incident) -> Option<Exit> {
    match incident.state.raw() {
        "closed" => Some(Exit::Ok),
        "parked" => Some(Exit::Person),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Node {
        Node {
            agent: "up".into(),
            lease: "fresh".into(),
            worst: "ok".into(),
            diagnosis: "healthy".into(),
            ..Node::default()
        }
    }

    #[test]
    fn a_node_is_well_only_when_every_channel_says_so() {
        assert!(!node_is_unwell(&well()));
        assert!(!node_is_unwell(&Node {
            lease: "none".into(),
            worst: "info".into(),
            ..well()
        }));
        assert!(node_is_unwell(&Node {
            agent: "unknown".into(),
            ..well()
        }));
        assert!(node_is_unwell(&Node {
            lease: "stale".into(),
            ..well()
        }));
        assert!(node_is_unwell(&Node {
            worst: "unknown".into(),
            ..well()
        }));
        assert!(node_is_unwell(&Node {
            diagnosis: "storm".into(),
            ..well()
        }));
        assert!(node_is_unwell(&Node {
            incident: "i-1".into(),
            ..well()
        }));
    }

    #[test]
    fn one_incident_that_needs_a_person_outweighs_the_open_ones() {
        let with = |state: &str| Incident {
            state: state.into(),
            ..Incident::default()
        };
        assert_eq!(incidents(&[]), Exit::Ok);
        assert_eq!(incidents(&[with("closed"), with("open")]), Exit::Wrong);
        assert_eq!(incidents(&[with("open"), with("parked")]), Exit::Person);
        let waiting = Incident {
            awaits_approval: "recreate".into(),
            ..with("open")
        };
        assert_eq!(incident(&waiting), Exit::Person);
        assert_eq!(followed(&waiting), None);
        assert_eq!(
            incident(&Incident {
                state: "closed".into(),
                ..waiting
            }),
            Exit::Ok
        );
    }
}
