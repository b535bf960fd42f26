//! What the operator allows, and how long things may take. Every key has a default, and an empty policy is safe: it mends by fixes, and
//! asks before anything is switched, rebooted or wiped.
//!
//! **Invariants**
//! - What holds for a node is the cluster's word, then its role's, then its own: the nearest word wins, and nothing else decides.
//! - No policy can allow what the [`gate`](crate::gate)s and the checker forbid: it only narrows.
//!
//! Deliberately absent: reading files. TOML is the edge's; here are the values, their bounds ([`check`]) and what follows from them.

pub mod check;
pub mod outlook;
pub mod step;
pub mod window;

use crate::fact::Role;
use crate::id::NodeName;
use crate::record::{Diagnosis, Rung};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use step::{Step, StepKind};
use window::Window;

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
    /// Mode of booting the provider's rescue image, where a ladder has that rung.
    pub rescue: Mode,
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
    /// A machine that answered a probe less than this ago is not taken for dead, however many are silent now: where answers are lost, a
    /// few in a row say little. The default is 30 rounds.
    pub silence_secs: u64,
    /// Probe rounds are asked for this often while a node is suspected.
    pub probe_round_secs: u64,
    /// A fix has so long to run, and so long to help.
    pub fix_wait_secs: u64,
    /// Most fixes of one kind in one incident.
    pub fix_attempts: u32,
    /// After a reboot, the node has so long to come back. k3s-agent took over 10 minutes to get ready on a small VPS; the machine
    /// itself answers probes much sooner, and only one that nobody reaches climbs on before `rejoin_secs`.
    pub reboot_wait_secs: u64,
    /// The provider's rescue image has so long to answer; if nobody reaches it either, the fault is outside the machine.
    pub rescue_wait_secs: u64,
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
    /// Most reboots and power-ons of one node in 24 hours.
    pub reboots_per_day: u32,
    /// Most reboots and power-ons in the whole cluster in 24 hours.
    pub cluster_reboots_per_day: u32,
    /// Most fixes on one node in 24 hours, over all incidents: a service that dies again and again is not restarted for ever.
    pub fixes_per_day: u32,
    /// A node that was recreated is not recreated again for so long unless a person says so: what a fresh disk did not mend, another
    /// one will not.
    pub recreate_cooldown_secs: u64,
    /// A node that was rebooted or powered on is not again for so long.
    pub reboot_cooldown_secs: u64,
    /// A node that looked well and was not so often within `flapping_secs` is flapping, and left to a person.
    pub flapping_times: u32,
    /// The span in which `flapping_times` are counted.
    pub flapping_secs: u64,
    /// An agent whose clock is off by more than this is no observer, and is told about.
    pub clock_skew_secs: u64,
    /// A node that is Ready=False although its lease is renewed, or that never joined, has so long before a person is told.
    pub settle_secs: u64,
    /// After a storm, one node is repaired and watched; the others wait for its outcome for so long at most after the storm.
    pub canary_secs: u64,
    /// Local data on the node may be destroyed without asking.
    pub local_data_expendable: bool,
    /// A recreate needs so long of silence from an in-doubt provider call before it is taken for never sent.
    pub doubt_secs: u64,
    /// Finding codes, or prefixes ending in `*`, that open an incident when critical. Others are only shown.
    pub act_on: Vec<String>,
    /// The ladder of a diagnosis, instead of the default one: its rungs in order. After the last one, a person is told.
    pub ladder: BTreeMap<Diagnosis, Vec<Step>>,
    /// When disruptive rungs may be taken; none: always.
    pub windows: Vec<Window>,
    /// Where runbooks are: `<runbook_base>/<diagnosis>.md`.
    pub runbook_base: String,
    /// Runbook links of single diagnoses, instead.
    pub runbooks: BTreeMap<Diagnosis, String>,
    /// What is different for a role.
    pub roles: BTreeMap<Role, Override>,
    /// What is different for a node. Stronger than its role's.
    pub nodes: BTreeMap<NodeName, Override>,
}

/// What may be different for a role or a node. What is not said is as before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    /// See [`Policy::fix`].
    pub fix: Option<Mode>,
    /// See [`Policy::start`].
    pub start: Option<Mode>,
    /// See [`Policy::reboot`].
    pub reboot: Option<Mode>,
    /// See [`Policy::rescue`].
    pub rescue: Option<Mode>,
    /// See [`Policy::recreate`].
    pub recreate: Option<Mode>,
    /// See [`Policy::confirm_secs`].
    pub confirm_secs: Option<u64>,
    /// See [`Policy::fix_attempts`].
    pub fix_attempts: Option<u32>,
    /// See [`Policy::reboot_wait_secs`].
    pub reboot_wait_secs: Option<u64>,
    /// See [`Policy::rejoin_secs`].
    pub rejoin_secs: Option<u64>,
    /// See [`Policy::verify_secs`].
    pub verify_secs: Option<u64>,
    /// See [`Policy::reboots_per_day`].
    pub reboots_per_day: Option<u32>,
    /// See [`Policy::fixes_per_day`].
    pub fixes_per_day: Option<u32>,
    /// See [`Policy::recreate_cooldown_secs`].
    pub recreate_cooldown_secs: Option<u64>,
    /// See [`Policy::reboot_cooldown_secs`].
    pub reboot_cooldown_secs: Option<u64>,
    /// See [`Policy::settle_secs`].
    pub settle_secs: Option<u64>,
    /// See [`Policy::local_data_expendable`].
    pub local_data_expendable: Option<bool>,
    /// See [`Policy::act_on`].
    pub act_on: Option<Vec<String>>,
    /// See [`Policy::windows`]: instead of the cluster's.
    pub windows: Option<Vec<Window>>,
    /// See [`Policy::ladder`]: diagnosis by diagnosis.
    pub ladder: BTreeMap<Diagnosis, Vec<Step>>,
    /// See [`Policy::runbooks`].
    pub runbooks: BTreeMap<Diagnosis, String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            fix: Mode::Auto,
            start: Mode::Approve,
            reboot: Mode::Approve,
            rescue: Mode::Approve,
            recreate: Mode::Approve,
            agent_gone_secs: 30,
            lease_stale_secs: 50,
            probe_fresh_secs: 30,
            machine_fresh_secs: 60,
            finding_fresh_secs: 180,
            confirm_secs: 30,
            quorum: 2,
            silence_secs: 300,
            probe_round_secs: 10,
            fix_wait_secs: 120,
            fix_attempts: 2,
            reboot_wait_secs: 120,
            rescue_wait_secs: 180,
            rejoin_secs: 1_200,
            operation_secs: 900,
            verify_secs: 60,
            storm_limit: 0,
            recreates_per_day: 1,
            reboots_per_day: 3,
            cluster_reboots_per_day: 10,
            fixes_per_day: 12,
            recreate_cooldown_secs: 7 * 86_400,
            reboot_cooldown_secs: 300,
            flapping_times: 3,
            flapping_secs: 3_600,
            clock_skew_secs: 30,
            settle_secs: 1_200,
            canary_secs: 3_600,
            local_data_expendable: false,
            doubt_secs: 120,
            act_on: vec!["*".into()],
            ladder: BTreeMap::new(),
            windows: Vec::new(),
            runbook_base: "docs/runbooks".into(),
            runbooks: BTreeMap::new(),
            roles: BTreeMap::new(),
            nodes: BTreeMap::new(),
        }
    }
}

impl Policy {
    /// What holds for one node: this policy, with its role's and then its own word on top. Borrowed where nothing is different.
    #[must_use]
    pub fn for_node(&self, node: &NodeName, role: Role) -> Cow<'_, Self> {
        let words = [self.roles.get(&role), self.nodes.get(node)];
        let mut merged = Cow::Borrowed(self);
        for word in words.into_iter().flatten() {
            word.apply(merged.to_mut());
        }
        merged
    }

    /// Whether a critical finding opens an incident.
    #[must_use]
    pub fn acts_on(&self, code: &str) -> bool {
        self.act_on.iter().any(|p| match p.strip_suffix('*') {
            Some(prefix) => code.starts_with(prefix),
            None => p == code,
        })
    }

    /// Whether a rung is taken for a diagnosis. A page always is.
    #[must_use]
    pub fn mode(&self, diagnosis: Diagnosis, rung: &Rung) -> Mode {
        self.terms(diagnosis, StepKind::of(rung)).mode
    }

    /// The default mode of a kind of rung, where its step does not say another.
    #[must_use]
    pub fn mode_of(&self, kind: StepKind) -> Mode {
        match kind {
            StepKind::Fix => self.fix,
            StepKind::Start => self.start,
            StepKind::Reboot => self.reboot,
            StepKind::Rescue => self.rescue,
            StepKind::Recreate => self.recreate,
            StepKind::Page => Mode::Auto,
        }
    }

    /// Where the runbook of a diagnosis is.
    #[must_use]
    pub fn runbook(&self, diagnosis: Diagnosis) -> String {
        match self.runbooks.get(&diagnosis) {
            Some(link) => link.clone(),
            None => format!("{}/{diagnosis}.md", self.runbook_base.trim_end_matches('/')),
        }
    }
}

impl Override {
    pub(crate) fn apply(&self, to: &mut Policy) {
        macro_rules! set {
            ($($key:ident),*) => { $( if let Some(value) = &self.$key { to.$key = value.clone(); } )* };
        }
        set!(
            fix,
            start,
            reboot,
            rescue,
            recreate,
            confirm_secs,
            fix_attempts,
            reboot_wait_secs,
            rejoin_secs,
            verify_secs,
            reboots_per_day,
            fixes_per_day,
            recreate_cooldown_secs,
            reboot_cooldown_secs,
            settle_secs,
            local_data_expendable,
            act_on,
            windows
        );
        let ladder = self.ladder.iter().map(|(d, steps)| (*d, steps.clone()));
        to.ladder.extend(ladder);
        let runbooks = self.runbooks.iter().map(|(d, link)| (*d, link.clone()));
        to.runbooks.extend(runbooks);
    }
}
