//! The controller's own certificate: made at each start, never on the disk, and renewed while it runs.

use super::Identities;
use crate::text::chain;
use iaso_identity::{Acceptor, unix_now};
use std::sync::Arc;
use std::time::Duration;

/// How long one is valid.
pub(super) const OWN_LIFETIME: Duration = Duration::from_hours(24 * 90);
/// How old one gets.
const RENEWED_AFTER_SECS: u64 = 86_400;
/// How often its age is looked at, by the wall clock, which may jump.
const LOOK: Duration = Duration::from_mins(30);

/// Renews the certificate that is served, for ever.
pub async fn renew_own(identities: Arc<Identities>, acceptor: Arc<Acceptor>) {
    let mut made = unix_now();
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        let now = unix_now();
        // A clock that went back makes it not valid yet.
        if now >= made && now - made < RENEWED_AFTER_SECS {
            continue;
        }
        match identities.own_certificate() {
            Ok(certificate) => {
                acceptor.replace(certificate);
                made = now;
                tracing::info!("the controller's certificate is renewed");
            }
            Err(error) => tracing::error!(
                error = chain(&error),
                "the controller's certificate is not renewed: trying again"
            ),
        }
    }
}
