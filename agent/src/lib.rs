//! The agent: looks at its own host with plugins, tells the controller, acts when it is told to, and a little when it is cut off.
//!
//! **Invariants**
//! - One plugin's trouble, a hung system call or a lost controller never stops the agent.
//! - A fix runs at most once for each order, over restarts of the agent too; its outcome is kept until the controller has it.
//! - The agent speaks only for its own node, and never reboots or recreates it.
//!
//! Left out: the process round the plugins is `iaso-runner`, and what TLS and certificates are is `iaso-identity`.

pub mod agent;
mod alone;
pub mod autonomy;
pub mod cap;
pub mod carrier;
pub mod compile;
pub mod config;
pub mod disk;
pub mod identity;
pub mod metrics;
pub mod notify;
pub mod once;
pub mod orders;
pub mod outbox;
pub mod plugins;
pub mod probe;
pub mod reports;
pub mod runnable;
pub mod schedule;
pub mod service;
pub mod session;
pub mod status;
pub mod wire;
