//! Decides what to do about nodes that are not well. No I/O: what is known goes in, a plan comes out.
//!
//! **Invariants**
//! - [`plan`](plan::plan) is a pure function of the time handed in, the policy, the inventory, the [`World`](world::World) and the
//!   [`Ledger`](ledger::Ledger): the same input gives the same plan, bit for bit.
//! - All durable state is a fold of journal [`Entry`](record::Entry)s; the world is only what is known now, and decays to unknown.
//! - Silence alone never recreates: a quorum of vantage points must agree, and the provider's word must be known.
//! - At most one disruptive effect is in flight in the whole cluster, and at most one recreate belongs to one incident.
//! - A node is never left cordoned and forgotten: the saga is finished, undone, or parked with a page that says so.
//!
//! Deliberately absent: the clock, randomness, secrets (only their keys), Kubernetes and provider types, I/O of any kind.

pub mod diagnose;
pub mod effect;
pub mod explain;
pub mod fact;
mod fold;
pub mod gate;
pub mod id;
pub mod ladder;
pub mod ledger;
mod pairs;
pub mod plan;
pub mod policy;
pub mod query;
pub mod record;
pub mod report;
pub mod saga;
pub mod score;
pub mod time;
pub mod timeline;
pub mod version;
mod words;
pub mod world;
