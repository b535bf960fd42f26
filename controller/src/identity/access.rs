//! Who may make which call: one table, and what is not in it nobody may.

use std::fmt;
use std::str::FromStr;

/// What an operator may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Look.
    Viewer,
    /// Approve, deny, pause, resume.
    Operator,
    /// Let nodes in, and take them out.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "viewer" => Ok(Self::Viewer),
            "operator" => Ok(Self::Operator),
            "admin" => Ok(Self::Admin),
            _ => Err(()),
        }
    }
}

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: it says nothing about nodes, or brings its own proof.
    Open,
    /// A node's certificate.
    Node,
    /// An operator's token of this role.
    Person(Role),
    /// The same, and the call changes something: it is in the audit log.
    Decision(Role),
}

/// Every call of `iaso.v1`.
const TABLE: [(&str, Access); 20] = [
    ("AgentService/Session", Access::Node),
    ("AgentService/FetchPlugin", Access::Node),
    ("IdentityService/Enrol", Access::Open),
    ("IdentityService/Renew", Access::Node),
    (
        "IdentityService/CreateJoinToken",
        Access::Decision(Role::Admin),
    ),
    ("IdentityService/RevokeNode", Access::Decision(Role::Admin)),
    ("OperatorService/ListNodes", Access::Person(Role::Viewer)),
    ("OperatorService/GetNode", Access::Person(Role::Viewer)),
    (
        "OperatorService/ListIncidents",
        Access::Person(Role::Viewer),
    ),
    ("OperatorService/GetIncident", Access::Person(Role::Viewer)),
    ("OperatorService/GetReport", Access::Person(Role::Viewer)),
    ("OperatorService/Explain", Access::Person(Role::Viewer)),
    ("OperatorService/WatchEvents", Access::Person(Role::Viewer)),
    ("OperatorService/GetRecording", Access::Person(Role::Viewer)),
    ("OperatorService/Approve", Access::Decision(Role::Operator)),
    ("OperatorService/Deny", Access::Decision(Role::Operator)),
    ("OperatorService/Pause", Access::Decision(Role::Operator)),
    ("OperatorService/Resume", Access::Decision(Role::Operator)),
    // gRPC's own: they say which services there are, and that they live.
    ("grpc.health", Access::Open),
    ("grpc.reflection", Access::Open),
];

/// What the call with this path (`/package.Service/Method`) needs; `None`: nobody may make it.
#[must_use]
pub fn of(path: &str) -> Option<Access> {
    let call = path.strip_prefix('/')?;
    if let Some(call) = call.strip_prefix("iaso.v1.") {
        return find(call);
    }
    let package = call.split('/').next()?.rsplitn(3, '.').last()?;
    find(package).filter(|access| *access == Access::Open)
}

fn find(call: &str) -> Option<Access> {
    TABLE
        .iter()
        .find(|(name, _)| *name == call)
        .map(|(_, access)| *access)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every call that the protocol's descriptors name.
    fn calls() -> BTreeSet<String> {
        let set: prost_types::FileDescriptorSet =
            prost::Message::decode(iaso_proto::v1::DESCRIPTORS).unwrap();
        let of_service =
            |package: &str, service: &prost_types::ServiceDescriptorProto| -> Vec<String> {
                let service_name = service.name().to_owned();
                let methods = service.method.iter();
                methods
                    .map(|method| format!("/{package}.{service_name}/{}", method.name()))
                    .collect()
            };
        set.file
            .iter()
            .flat_map(|file| {
                file.service
                    .iter()
                    .flat_map(|service| of_service(file.package(), service))
            })
            .collect()
    }

    #[test]
    fn every_call_has_a_role_and_no_role_is_for_a_call_that_is_gone() {
        let calls = calls();
        assert!(calls.len() >= 18, "{calls:?}");
        for call in &calls {
            assert!(
                of(call).is_some(),
                "{call} has no role: add it to the table"
            );
        }
        for (name, access) in TABLE {
            let known = calls.contains(&format!("/iaso.v1.{name}"));
            assert!(
                known || (access == Access::Open && name.starts_with("grpc.")),
                "{name} is no call"
            );
        }
    }

    #[test]
    fn only_enrolment_is_open_and_what_changes_something_is_no_viewers() {
        let open: Vec<String> = calls()
            .into_iter()
            .filter(|call| of(call) == Some(Access::Open))
            .collect();
        assert_eq!(open, ["/iaso.v1.IdentityService/Enrol"]);
        let reads = ["/List", "/Get", "/Explain", "/Watch"];
        for call in calls() {
            if let Some(Access::Person(role)) = of(&call) {
                assert_eq!(role, Role::Viewer);
                assert!(
                    reads.iter().any(|read| call.contains(read)),
                    "{call} changes something"
                );
            }
        }
    }

    #[test]
    fn what_is_not_in_the_table_nobody_may() {
        for path in [
            "/iaso.v1.OperatorService/Destroy",
            "/iaso.v1.OperatorService",
            "iaso.v1.OperatorService/ListNodes",
            "/",
            "",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
        assert_eq!(of("/grpc.health.v1.Health/Check"), Some(Access::Open));
        assert_eq!(
            of("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
            Some(Access::Open)
        );
        assert_eq!(of("/evil.grpc.health.v1.Health/Check"), None);
    }
}
