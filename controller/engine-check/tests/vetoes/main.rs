//! Each invariant of the checker, broken on purpose in a night that is otherwise right, and vetoed by name.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::wildcard_enum_match_arm,
    reason = "a test that indexes wrongly fails, as it should"
)]

mod before;
mod disruption;
mod law;
mod power;
mod records;
mod rescue;
mod saga;
mod table;
