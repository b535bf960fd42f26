//! Finds name servers of the node that lead the cluster DNS back to itself.
//!
//! CoreDNS forwards what it does not know to the servers of the `resolv.conf` that the kubelet gives it. A loopback address there is
//! CoreDNS itself; so is the address of the cluster DNS; and a forwarder on the node that asks the cluster DNS closes the circle too.
//!
//! **Invariants**
//! - The file that counts is the one that the kubelet hands to pods, chosen as k3s chooses it; the host's own resolving is not judged.
//! - A way back is a warning; a loop is only said where the cluster DNS also fails on a name of the internet.
//! - What could not be read or asked is unknown, and is never said to be free of loops.
//!
//! Deliberately absent: the Corefile (one that forwards elsewhere makes these servers matter less), and editing any file.

mod ask;
mod judge;
mod look;
mod resolv;
mod settings;

use iaso_plugin::{Check, Config, Dns, Files, Finding, Host};

use crate::settings::Settings;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct DnsLoop;

impl<H: Dns + Files + Host> Check<H> for DnsLoop {
    const KEYS: &'static [&'static str] = settings::KEYS;

    fn check(host: &H, config: &Config) -> Result<Vec<Finding>, String> {
        let settings = Settings::new(config)?;
        Ok(match look::look(host, &settings) {
            Ok(sight) => judge::judge(&settings, &sight),
            Err(why) => vec![Finding::unknown(
                "dns-loop.unknown",
                "resolv.conf of pods",
                why,
            )],
        })
    }
}

iaso_plugin::export!(DnsLoop: check);
