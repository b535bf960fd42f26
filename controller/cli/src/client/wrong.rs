//! What an error of the transport or of the controller means, and what to do about it.

use super::Context;
use crate::failure::Failure;
use crate::text::Text;
use iaso_identity::Trouble;
use std::error::Error;
use std::io;
use tonic::{Code, Status};

/// Advice where a node was asked for.
pub(super) const NO_NODE: &str = "`iaso nodes` lists the nodes that the controller knows.";
/// Advice where an incident was asked for.
pub(super) const NO_INCIDENT: &str =
    "`iaso incidents` lists the incidents that the controller knows.";

const NOT_RUNNING: &str = "Is the controller running there? On its machine: systemctl status iaso-controller. \
                           Another address: --controller URL or IASO_CONTROLLER.";
const NOT_RESOLVED: &str =
    "Check the host's name, or give an address: --controller URL or IASO_CONTROLLER.";
const NOT_GRPC: &str = "Something else listens there. The operators' port is `listen` in the controller's \
                        configuration (7443 unless changed), not `status_listen`.";
const OTHER_CONTROLLER: &str = "The token file names its controller: --token-file FILE or IASO_TOKEN_FILE, --controller URL or IASO_CONTROLLER.";
const CLOCK: &str = "Compare `date -u` here and on the controller's machine.";
const NOT_THIS_VERSION: &str = "It speaks gRPC, but not this call: the controller and this command should be of the same version.";
const SILENT: &str = "Is its machine up, and does a firewall drop the connection? A larger --timeout-secs waits longer.";
/// Longest chain of causes that is looked through.
const CAUSES_MAX: usize = 16;

/// No answer in time.
pub(super) fn silent(context: &Context) -> Failure {
    let why = format!("no answer within {} s", context.timeout.as_secs());
    Failure::Unreachable {
        url: context.url.clone(),
        why: why.into(),
        advice: SILENT,
    }
}

/// The connection could not be made.
pub(super) fn connecting(context: &Context, error: &(dyn Error + 'static)) -> Failure {
    let (why, advice) = transport(context, error);
    Failure::Unreachable {
        url: context.url.clone(),
        why: why.into(),
        advice,
    }
}

/// The controller, or the transport below it, answered a call with an error.
pub(super) fn answered(context: &Context, status: &Status, absent: &'static str) -> Failure {
    if let Some(source) = status.source() {
        return connecting(context, source);
    }
    let said = said(status);
    match status.code() {
        Code::Unauthenticated => Failure::Refused {
            url: context.url.clone(),
            file: context.file.clone(),
            said,
        },
        Code::PermissionDenied => Failure::Forbidden { said },
        Code::NotFound => Failure::NotFound {
            said,
            advice: absent,
        },
        Code::InvalidArgument => {
            Failure::Usage(format!("the controller refused the arguments: {said}"))
        }
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => Failure::Unreachable {
            url: context.url.clone(),
            why: said,
            advice: NOT_RUNNING,
        },
        Code::Unimplemented => Failure::Unreachable {
            url: context.url.clone(),
            why: said,
            advice: NOT_THIS_VERSION,
        },
        Code::FailedPrecondition => Failure::Declined {
            said,
            advice: ".\n  `iaso incidents` shows what awaits approval.",
        },
        Code::ResourceExhausted => Failure::Declined {
            said,
            advice: ".\n  Ask for less (--limit), or again later.",
        },
        Code::Ok
        | Code::Unknown
        | Code::AlreadyExists
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss => Failure::Declined { said, advice: "" },
    }
}

/// An open stream ended with an error: what may pass is told apart from what will not.
pub(super) fn broke_off(context: &Context, status: &Status) -> Failure {
    match status.code() {
        Code::DataLoss
        | Code::Aborted
        | Code::Internal
        | Code::Unknown
        | Code::ResourceExhausted
        | Code::Cancelled => Failure::Interrupted { said: said(status) },
        Code::Ok
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unavailable
        | Code::Unauthenticated => answered(context, status, NO_INCIDENT),
    }
}

fn said(status: &Status) -> Text {
    if status.message().is_empty() {
        status.code().description().into()
    } else {
        status.message().trim_end_matches('.').into()
    }
}

fn transport(context: &Context, error: &(dyn Error + 'static)) -> (String, &'static str) {
    if let Some(trouble) = iaso_identity::trouble(error) {
        let advice = match trouble {
            Trouble::OtherController => OTHER_CONTROLLER,
            Trouble::NotTls | Trouble::Other(_) => NOT_GRPC,
            Trouble::NotYetValid { .. } | Trouble::Expired { .. } => CLOCK,
        };
        return (trouble.to_string(), advice);
    }
    let mut deepest = error.to_string();
    let mut cause = Some(error);
    for _ in 0..CAUSES_MAX {
        let Some(error) = cause else { break };
        if let Some(io) = error.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::ConnectionRefused {
                let why = "the connection was refused, nothing listens there";
                return (why.to_owned(), NOT_RUNNING);
            }
            if io.kind() == io::ErrorKind::TimedOut {
                let why = format!("no answer within {} s", context.timeout.as_secs());
                return (why, SILENT);
            }
        }
        deepest = error.to_string();
        cause = error.source();
    }
    let speaks_of = |words: &[&str]| words.iter().any(|word| deepest.contains(word));
    let advice = if speaks_of(&["lookup", "resolve"]) {
        NOT_RESOLVED
    } else if speaks_of(&["closed", "reset", "http2", "frame", "preface"]) {
        NOT_GRPC
    } else {
        NOT_RUNNING
    };
    (deepest, advice)
}
