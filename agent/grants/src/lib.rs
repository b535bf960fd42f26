//! What a plugin may ask of its host, and the pure decisions that follow from it.
//!
//! **Invariants**
//! - What is not granted is denied; an empty [`GrantSet`] denies everything.
//! - A check never acts: a check's table that names an acting grant does not parse.
//! - `*`, and a network wider than the special one, never cover addresses that lead back into the host or to a cloud's metadata.
//! - A denial says, in the operator's own words, which line of configuration would have allowed the call.
//!
//! No I/O here: names are resolved, and links followed, by the caller, who then asks about the result.

mod address;
mod decide;
mod denial;
mod interface;
mod parse;
mod set;

pub use address::{To, ToError, canonical};
pub use decide::Target;
pub use denial::{Decision, Denial};
pub use interface::{
    Function, INTERFACE_PACKAGE, INTERFACE_VERSION, Interface, is_compatible, split_interface,
};
pub use parse::{GrantError, LIST_MAX};
pub use set::{
    DnsGrants, FileGrants, GrantSet, Grants, HttpGrant, KubeGrants, NetGrants, PortGrant,
    ServiceGrants,
};
