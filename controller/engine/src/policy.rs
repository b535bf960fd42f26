//! What the operator allows, and how long things may take. Every key has a default, and an empty policy is safe.

use crate::record::Rung;
use serde::{Deserialize, Serialize};

/// Whether a rung is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Decide and record, never act.
    Observe,
    /// Act after a person said yes.
    Approve,
    /// Act.
    Auto,
}

/// The policy. All durations in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Mode of fix plugins.
    pub fix: Mode,
    /// Mode of powering on.
    pub start: Mode,
    /// Mode of a reboot by the provider.
    pub reboot: Mode,
    /// Mode of a recreation.
    pub recreate: Mode,
    /// An agent is gone after so long without a heartbeat.
    pub agent_gone_secs: u64,
    /// A lease is stale after so long without a change. Kubernetes' own grace is 50 s since 1.32.
    pub lease_stale_secs: u64,
    /// A probe's word counts for so long.
    pub probe_fresh_secs: u64,
    /// The provider's word counts for so long.
    pub machine_fresh_secs: u64,
    /// A finding counts for so long.
    pub finding_fresh_secs: u64,
    /// Bad facts must last so long before the first rung.
    pub confirm_secs: u64,
    /// Observers that must say the same before a node is accused; one of them is the controller.
    pub quorum: u32,
    /// Probe rounds are asked for this often while a node is suspected.
    pub probe_round_secs: u64,
    /// After a fix, the node has so long to become well.
    pub fix_wait_secs: u64,
    /// Most fixes of one kind in one incident.
    pub fix_attempts: u32,
    /// After a reboot, the node has so long to come back. k3s-agent took over 10 minutes to get ready on a small VPS; the machine
    /// itself answers probes much sooner, and only one that nobody reaches climbs on before `rejoin_secs`.
    pub reboot_wait_secs: u64,
    /// A rebooted or recreated machine that answers probes has so long until Ready.
    pub rejoin_secs: u64,
    /// The provider's operations have so long to end.
    pub operation_secs: u64,
    /// The node must stay well for so long before the incident is closed.
    pub verify_secs: u64,
    /// Most nodes down at once that Iaso acts on; 0: one, or a third of the nodes if that is more.
    pub storm_limit: u32,
    /// Most recreates in the whole cluster in 24 hours.
    pub recreates_per_day: u32,
    /// Most reboots of one node in 24 hours.
    pub reboots_per_day: u32,
    /// Local data on the node may be destroyed without asking.
    pub local_data_expendable: bool,
    /// A recreate needs so long of silence from an in-doubt provider call before it is taken for never sent.
    pub doubt_secs: u64,
    /// Finding codes, or prefixes ending in `*`, that open an incident when critical. Others are only shown.
    pub act_on: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            fix: Mode::Auto,
            start: Mode::Approve,
            reboot: Mode::Approve,
            recreate: Mode::Approve,
            agent_gone_secs: 30,
            lease_stale_secs: 50,
            probe_fresh_secs: 30,
            machine_fresh_secs: 60,
            finding_fresh_secs: 180,
            confirm_secs: 30,
            quorum: 2,
            probe_round_secs: 10,
            fix_wait_secs: 120,
            fix_attempts: 2,
            reboot_wait_secs: 120,
            rejoin_secs: 1_200,
            operation_secs: 900,
            verify_secs: 60,
            storm_limit: 0,
            recreates_per_day: 1,
            reboots_per_day: 3,
            local_data_expendable: false,
            doubt_secs: 120,
            act_on: vec!["*".into()],
        }
    }
}

impl Policy {
    /// Whether a critical finding opens an incident.
    #[must_use]
    pub fn acts_on(&self, code: &str) -> bool {
        self.act_on.iter().any(|p| match p.strip_suffix('*') {
            Some(prefix) => code.starts_with(prefix),
            None => p == code,
        })
    }

    /// Whether a rung is taken. A page always is.
    #[must_use]
    pub fn mode(&self, rung: &Rung) -> Mode {
        match rung {
            Rung::Fix(_) => self.fix,
            Rung::Start => self.start,
            Rung::Reboot => self.reboot,
            Rung::Recreate => self.recreate,
            Rung::Page => Mode::Auto,
        }
    }
}
