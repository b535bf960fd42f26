//! Alone in its process, since it lowers a limit that nothing can raise again.

#![allow(clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{OK_EMPTY, checker, compile, host};
use std::sync::Arc;

use iaso_grants::Grants;
use iaso_host::{Allocator, Digest, RunLimits};
use nix::sys::resource::{Resource, setrlimit};

#[tokio::test]
async fn under_a_tight_address_space_the_same_plugin_runs_without_a_pool() {
    let compiled = compile(&checker("", OK_EMPTY));
    let digest = Digest::of(&compiled);
    setrlimit(Resource::RLIMIT_AS, 1 << 30, 1 << 30).expect("a limit can be lowered");
    let tight = host();
    assert_eq!(tight.allocator(), Allocator::OnDemand);
    let plugin = tight
        .load("p", &compiled, &digest, &Arc::new(Grants::default()))
        .expect("the same bytes load");
    assert_eq!(
        plugin
            .check(&Vec::new(), &RunLimits::default())
            .await
            .outcome,
        Ok(Vec::new())
    );
}
