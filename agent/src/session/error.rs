//! Why there is no session, and what to do.

use std::time::Duration;

use tonic::{Code, Status};

use crate::identity::IdentityError;

/// Why a session did not open, or ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Nobody there.
    #[error("cannot reach the controller at {url}{}", trouble.as_ref().map(|words| format!(": {words}")).unwrap_or_default())]
    Connect {
        /// As configured.
        url: String,
        /// What is wrong with TLS, if that is why.
        trouble: Option<iaso_identity::Trouble>,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// It is there and says nothing.
    #[error("the controller did not answer within {0:?}")]
    Silent(Duration),
    /// It said no, or the connection broke.
    #[error("{}", words(.0))]
    Refused(Status),
    /// It did not begin as the protocol says.
    #[error("the controller did not begin with an assignment: is it of this version?")]
    NoAssignment,
    /// Nothing to show.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The next certificate is there.
    #[error("the certificate is renewed: the session is opened anew")]
    Renewed,
    /// It takes nothing any more.
    #[error("the connection takes no more messages")]
    Stuck,
    /// It closed the stream.
    #[error("the controller closed the session")]
    Ended,
}

impl SessionError {
    pub(crate) fn connect(url: &str, source: tonic::transport::Error) -> Self {
        let trouble = iaso_identity::trouble(&source);
        Self::Connect {
            url: url.to_owned(),
            trouble,
            source,
        }
    }

    /// The controller did not take what this node showed.
    #[must_use]
    pub fn refuses_identity(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == Code::Unauthenticated)
    }

    /// Trying again soon will not help.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        match self {
            Self::Refused(status) => matches!(
                status.code(),
                Code::Unauthenticated
                    | Code::PermissionDenied
                    | Code::AlreadyExists
                    | Code::NotFound
                    | Code::Unimplemented
            ),
            Self::Connect { trouble, .. } => trouble.is_some(),
            Self::Identity(_) | Self::NoAssignment => true,
            Self::Silent(_) | Self::Stuck | Self::Ended | Self::Renewed => false,
        }
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "every other code is said in the controller's own words"
)]
fn words(status: &Status) -> String {
    let said = status.message();
    match status.code() {
        Code::Unauthenticated => {
            format!("the controller does not accept this node's identity ({said})")
        }
        Code::AlreadyExists => format!(
            "another live agent has this node's name; stop it, or give this one another name (`node`, --node) ({said})"
        ),
        Code::NotFound => format!(
            "the controller's configuration has no such node; add it under [[nodes]], or correct `node` here ({said})"
        ),
        Code::ResourceExhausted => {
            format!("the controller refused a message as too large ({said})")
        }
        Code::Unavailable => format!("the connection to the controller broke ({said})"),
        code => format!("the controller ended the session: {code:?} ({said})"),
    }
}
