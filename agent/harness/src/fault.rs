//! What can go wrong with a host call.

use iaso_host::types::ConnectOutcome;
use iaso_host::{CapError, Response};

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No answer in time.
    Timeout,
    /// The other side says no: a connection refused, a thing that is not there.
    Refused,
    /// Half of the answer.
    Truncated,
    /// Not granted, or granted no more.
    Denied,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Timeout, Self::Refused, Self::Truncated, Self::Denied];

    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Truncated => "truncated",
            Self::Denied => "denied",
        }
    }

    /// Whether nothing at all is learned from a call that fails so.
    pub(crate) const fn is_blind(self) -> bool {
        match self {
            Self::Timeout | Self::Refused | Self::Denied => true,
            Self::Truncated => false,
        }
    }

    /// The answer that a call gets in place of `good`; none where there is nothing to cut.
    pub(crate) fn applied(
        self,
        good: &Result<Response, CapError>,
    ) -> Option<Result<Response, CapError>> {
        Some(match self {
            Self::Timeout => Err(CapError::Timeout),
            Self::Denied => Err(CapError::Denied("this call was made to fail".to_owned())),
            Self::Refused => match good {
                Ok(Response::Connect(outcome)) => Ok(Response::Connect(ConnectOutcome {
                    outcome: "refused".to_owned(),
                    ..outcome.clone()
                })),
                Ok(_) | Err(_) => Err(CapError::Unavailable("connection refused".to_owned())),
            },
            Self::Truncated => Ok(halved(good.as_ref().ok()?)?),
        })
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "other answers are not cut by a host"
)]
fn halved(good: &Response) -> Option<Response> {
    let mut cut = good.clone();
    match &mut cut {
        Response::Http(response) => {
            response.body.truncate(response.body.len() / 2);
            response.truncated = true;
        }
        Response::Chunk(chunk) => {
            chunk.data.truncate(chunk.data.len() / 2);
            chunk.truncated = true;
        }
        Response::Dns(answer) => {
            answer.records.truncate(answer.records.len() / 2);
            answer.truncated = true;
        }
        Response::Journal(lines) => {
            lines.drain(..lines.len().div_ceil(2));
        }
        _ => return None,
    }
    Some(cut)
}
