//! Decides what to do about nodes that are not well. No I/O: what is known goes in, a plan comes out.
//!
//! **Invariants**
//! - [`plan`](plan::plan) is a pure function of the time handed in, the policy, the inventory, the [`World`](world::World) and the
//!   [`Ledger`](ledger::Ledger): the same input gives the same plan, bit for bit.
//! - All durable state is a fold of journal [`Entry`](record::Entry)s; the world is only what is known now, and decays to unknown.
//! - Silence alone never recreates: a quorum of vantage points must agree, and the provider's word must be known.
//! - At most one disruptive effect is in flight in the whole cluster, and at most one recreate belongs to one incident.
//!
//! Deliberately absent: the clock, randomness, secrets (only their keys), Kubernetes and provider types, I/O of any kind.

pub mod effect;
pub mod fact;
pub mod id;
pub mod ledger;
pub mod plan;
pub mod policy;
pub mod record;
pub mod time;
pub mod world;
