//! The exit codes, which scripts rely on.

use std::process::ExitCode;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, and nothing is wrong.
    Ok = 0,
    /// What was asked about is not well, or what was asked for could not be done.
    Wrong = 1,
    /// The command line, or a file that it names, is wrong. Clap exits with the same number.
    Usage = 2,
    /// A person must decide.
    Person = 3,
    /// No controller answered.
    Unreachable = 4,
    /// No token, or one that the controller does not accept, or whose role is not enough.
    Refused = 5,
    /// No such node or incident.
    NotFound = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The end of `iaso --help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done; what was asked about is well, or closed
  1  something is wrong: a node is not well (nodes, node), an incident is
     open (incidents, incident), a replay differs or is incomplete (replay),
     a simulated night is not as expected (simulate), a plugin would be
     refused, is not trusted or fails its tests (plugin), or the controller
     could not do it
  2  the command line is wrong, or a policy or scenario is refused
     (policy check, backtest, simulate)
  3  a person must decide: an incident is parked or awaits approval
     (incidents, incident), was parked while followed (--follow), or a
     policy is dangerous (policy check --deny-warnings)
  4  the controller cannot be reached
  5  no token could be read, the controller refused it, or its role is not
     enough
  6  no such node or incident

--follow survives a restart of the controller and misses nothing. It ends
with 0 when the incident is closed and with 3 when it is parked.
Times are UTC. JSON is one object; streams are one object for each line.";
