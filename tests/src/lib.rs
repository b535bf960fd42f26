//! The lab: hosts that can be cut, killed and recreated, the provider and the Kubernetes API they need, and scenes played on them.
//!
//! Nothing here links the controller or the agent: the lab starts their programs, as an operator would.
//!
//! **Invariants**
//! - Whatever a lab started goes with it: by drop, by signal, by the death of the lab's process, or by the next lab.
//! - Waiting is for something that was said, under a deadline: never for time alone.

#![allow(
    clippy::format_push_string,
    clippy::format_collect,
    clippy::too_many_arguments,
    clippy::unused_async,
    clippy::used_underscore_binding,
    reason = "the lab plays other people's interfaces: their signatures are not ours to choose, and its texts are small"
)]

pub mod callers;
pub mod demo;
pub mod dns;
pub mod guard;
pub mod hostinger;
pub mod hosts;
pub mod kubeapi;
pub mod kubelet;
pub mod kubereal;
pub mod play;
pub mod programs;
pub mod scene;
pub mod story;
pub mod systemd;
pub mod wires;

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// How often [`until`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks again and again until it is so. For what cannot be subscribed to; `what` names it when the time is up.
pub async fn until<Look, Answer>(within: Duration, what: &str, mut look: Look) -> Result<()>
where
    Look: FnMut() -> Answer,
    Answer: Future<Output = bool>,
{
    let started = Instant::now();
    while !look().await {
        if started.elapsed() > within {
            bail!("waited {} s in vain for {what}", within.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}
