//! What goes wrong, in words that say what to do.

use crate::exit::Exit;
use crate::text::Text;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a call ended without an answer.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The command line asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// There is no token to show.
    #[error("{0}")]
    NoToken(String),
    /// Nobody answers, or not in this language.
    #[error("cannot reach the controller at {url}: {why}.\n  {advice}")]
    Unreachable {
        url: String,
        why: Text,
        advice: &'static str,
    },
    /// The token is wrong.
    #[error(
        "the controller at {url} refused the token from {file}: {said}.\n  \
         (--token-file or IASO_TOKEN_FILE names another file.)"
    )]
    Refused {
        url: String,
        file: PathBuf,
        said: Text,
    },
    /// The token is right, and its role is not enough.
    #[error("{said}.")]
    Forbidden { said: Text },
    /// No such thing.
    #[error("{said}.\n  {advice}")]
    NotFound { said: Text, advice: &'static str },
    /// The controller understood, and cannot.
    #[error("the controller could not do this: {said}{advice}")]
    Declined { said: Text, advice: &'static str },
    /// A stream broke off; it may be resumed.
    #[error(
        "the stream broke off: {said}.\n  Go on with --since and the last sequence shown, or use --follow."
    )]
    Interrupted { said: Text },
    /// A file cannot be written.
    #[error("cannot write {}: {source}.\n  Name another with {option}.", file.display())]
    Write {
        file: PathBuf,
        option: &'static str,
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}.\n  Check the path and its permissions.", file.display())]
    Read { file: PathBuf, source: io::Error },
    /// A recording is none, damaged or of another version.
    #[error("{name} cannot be used: {why}")]
    Recording { name: Text, why: Text },
    /// A plugin, a key or a signature is not what it must be.
    #[error("{0}")]
    Plugin(String),
    /// Standard output is gone or full.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    /// The machine gives no runtime.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

impl Failure {
    /// The exit code that it deserves. A reader that went away is no failure.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::NoToken(_) | Self::Refused { .. } | Self::Forbidden { .. } => Exit::Refused,
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::NotFound { .. } => Exit::NotFound,
            Self::Output(_) if self.reader_is_gone() => Exit::Ok,
            Self::Declined { .. }
            | Self::Interrupted { .. }
            | Self::Write { .. }
            | Self::Read { .. }
            | Self::Recording { .. }
            | Self::Plugin(_)
            | Self::Output(_)
            | Self::Runtime(_) => Exit::Wrong,
        }
    }

    /// `iaso events | head -1`: the reader has what it wants.
    pub(crate) fn reader_is_gone(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Asking again may help: a follower does.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Interrupted { .. })
    }
}
