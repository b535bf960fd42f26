//! What a policy must be beyond its types, and what in it is allowed and dangerous. Each sentence says what to do.

use crate::fact::{Inventory, Role};
use crate::policy::outlook::said;
use crate::policy::step::{Step, StepKind, Terms, Verify, allowed};
use crate::policy::{Mode, Override, Policy};
use crate::record::Diagnosis;
use std::collections::BTreeMap;

/// A day: the longest that anything may be waited for.
const DAY: u64 = 86_400;
/// Longest cooldown.
const QUARTER: u64 = 90 * DAY;
/// Most rungs of one ladder, windows, finding patterns, overrides.
const RUNGS_MAX: usize = 16;
const WINDOWS_MAX: usize = 64;
const PATTERNS_MAX: usize = 256;
/// Longest runbook link or finding pattern, in bytes.
const TEXT_MAX: usize = 500;
/// What k3s-agent was seen to need on a small machine.
const SLOW_JOIN: u64 = 600;

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy: {key}{what}")]
pub struct PolicyError {
    /// Where.
    pub key: String,
    /// What is wrong with it, and what to do.
    pub what: String,
}

type Checked = Result<(), PolicyError>;

fn refuse(key: impl Into<String>, what: impl Into<String>) -> Checked {
    Err(PolicyError {
        key: key.into(),
        what: what.into(),
    })
}

fn within(key: &str, value: u64, least: u64, most: u64) -> Checked {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    refuse(
        key,
        format!(" = {value} is out of range: use {least} to {most}"),
    )
}

fn maybe(key: &str, value: Option<u64>, least: u64, most: u64) -> Checked {
    value.map_or(Ok(()), |value| within(key, value, least, most))
}

impl Policy {
    /// Whether every number, list and link can be meant.
    ///
    /// # Errors
    /// With the key, what is wrong with it, and what to do.
    pub fn check(&self) -> Checked {
        self.numbers()?;
        if self.probe_fresh_secs <= self.probe_round_secs {
            return refuse(
                "probe_fresh_secs",
                format!(
                    " = {} is not longer than probe_round_secs = {}: every word would be old before the next; raise the one or lower the other",
                    self.probe_fresh_secs, self.probe_round_secs
                ),
            );
        }
        patterns("act_on", &self.act_on)?;
        windows("windows", self.windows.len(), self.windows.iter())?;
        link("runbook_base", &self.runbook_base)?;
        runbooks("", &self.runbooks)?;
        ladders("", &self.ladder)?;
        for (role, word) in &self.roles {
            let name = match role {
                Role::Server => "server",
                Role::Worker => "worker",
            };
            word.check(&format!("roles.{name}."))?;
        }
        for (node, word) in &self.nodes {
            word.check(&format!("nodes.{node}."))?;
        }
        Ok(())
    }

    fn numbers(&self) -> Checked {
        within("agent_gone_secs", self.agent_gone_secs, 1, 3_600)?;
        within("lease_stale_secs", self.lease_stale_secs, 1, 3_600)?;
        within("probe_fresh_secs", self.probe_fresh_secs, 1, 3_600)?;
        within("machine_fresh_secs", self.machine_fresh_secs, 1, 3_600)?;
        within("finding_fresh_secs", self.finding_fresh_secs, 1, DAY)?;
        within("confirm_secs", self.confirm_secs, 0, DAY)?;
        within("quorum", u64::from(self.quorum), 1, 64)?;
        within("probe_round_secs", self.probe_round_secs, 1, 600)?;
        within("fix_wait_secs", self.fix_wait_secs, 1, DAY)?;
        within("fix_attempts", u64::from(self.fix_attempts), 0, 20)?;
        within("reboot_wait_secs", self.reboot_wait_secs, 1, DAY)?;
        within("rescue_wait_secs", self.rescue_wait_secs, 1, DAY)?;
        within("rejoin_secs", self.rejoin_secs, 1, DAY)?;
        within("operation_secs", self.operation_secs, 1, DAY)?;
        within("verify_secs", self.verify_secs, 0, DAY)?;
        within("storm_limit", u64::from(self.storm_limit), 0, 10_000)?;
        within(
            "recreates_per_day",
            u64::from(self.recreates_per_day),
            0,
            100,
        )?;
        within("reboots_per_day", u64::from(self.reboots_per_day), 0, 100)?;
        let all = u64::from(self.cluster_reboots_per_day);
        within("cluster_reboots_per_day", all, 0, 10_000)?;
        within("fixes_per_day", u64::from(self.fixes_per_day), 0, 1_000)?;
        within(
            "recreate_cooldown_secs",
            self.recreate_cooldown_secs,
            0,
            QUARTER,
        )?;
        within(
            "reboot_cooldown_secs",
            self.reboot_cooldown_secs,
            0,
            QUARTER,
        )?;
        within("flapping_times", u64::from(self.flapping_times), 1, 100)?;
        within("flapping_secs", self.flapping_secs, 1, DAY)?;
        within("clock_skew_secs", self.clock_skew_secs, 1, DAY)?;
        within("settle_secs", self.settle_secs, 1, DAY)?;
        within("silence_secs", self.silence_secs, 1, DAY)?;
        within("canary_secs", self.canary_secs, 0, DAY)?;
        within("doubt_secs", self.doubt_secs, 1, DAY)
    }

    /// Whether what is said of single nodes is said of declared ones.
    ///
    /// # Errors
    /// With the node that nobody declared.
    pub fn check_nodes(&self, inventory: &Inventory) -> Checked {
        match self.nodes.keys().find(|n| !inventory.nodes.contains_key(n)) {
            Some(node) => refuse(
                format!("nodes.{node}"),
                " speaks of a node that no [[nodes]] declares: correct the name, or remove the table",
            ),
            None => Ok(()),
        }
    }
}

impl Override {
    fn check(&self, at: &str) -> Checked {
        let key = |name: &str| format!("{at}{name}");
        maybe(&key("confirm_secs"), self.confirm_secs, 0, DAY)?;
        maybe(
            &key("fix_attempts"),
            self.fix_attempts.map(u64::from),
            0,
            20,
        )?;
        maybe(&key("reboot_wait_secs"), self.reboot_wait_secs, 1, DAY)?;
        maybe(&key("rejoin_secs"), self.rejoin_secs, 1, DAY)?;
        maybe(&key("verify_secs"), self.verify_secs, 0, DAY)?;
        maybe(
            &key("reboots_per_day"),
            self.reboots_per_day.map(u64::from),
            0,
            100,
        )?;
        maybe(
            &key("fixes_per_day"),
            self.fixes_per_day.map(u64::from),
            0,
            1_000,
        )?;
        maybe(
            &key("recreate_cooldown_secs"),
            self.recreate_cooldown_secs,
            0,
            QUARTER,
        )?;
        maybe(
            &key("reboot_cooldown_secs"),
            self.reboot_cooldown_secs,
            0,
            QUARTER,
        )?;
        maybe(&key("settle_secs"), self.settle_secs, 1, DAY)?;
        if let Some(all) = &self.act_on {
            patterns(&key("act_on"), all)?;
        }
        if let Some(all) = &self.windows {
            windows(&key("windows"), all.len(), all.iter())?;
        }
        runbooks(at, &self.runbooks)?;
        ladders(at, &self.ladder)
    }
}

fn patterns(key: &str, all: &[String]) -> Checked {
    if all.len() > PATTERNS_MAX {
        return refuse(
            key,
            format!(" has {} patterns: at most {PATTERNS_MAX}", all.len()),
        );
    }
    match all.iter().find(|p| p.is_empty() || p.len() > TEXT_MAX) {
        Some(_) => refuse(
            key,
            format!(
                " has an empty pattern or one over {TEXT_MAX} bytes: write a finding's code, a prefix ending in *, or only *"
            ),
        ),
        None => Ok(()),
    }
}

fn windows<'a>(
    key: &str,
    count: usize,
    all: impl Iterator<Item = &'a crate::policy::window::Window>,
) -> Checked {
    if count > WINDOWS_MAX {
        return refuse(key, format!(" has {count} windows: at most {WINDOWS_MAX}"));
    }
    for (n, window) in all.enumerate() {
        let key = format!("{key}[{n}]");
        if window.from == window.to {
            return refuse(
                key,
                format!(
                    " opens and closes at {}: it would never or always be open; for the whole day write from = \"00:00\", to = \"24:00\"",
                    window.from
                ),
            );
        }
        if window.from.minutes == 1_440 {
            return refuse(key, " opens at 24:00: write 00:00 of the next day");
        }
        if window.rungs.is_empty() || window.rungs.contains(&StepKind::Page) {
            return refuse(
                key,
                " must name the rungs that wait for it, and a page never waits: use rungs = [\"reboot\", \"recreate\"]",
            );
        }
    }
    Ok(())
}

fn link(key: &str, text: &str) -> Checked {
    let bad = text.is_empty()
        || text.len() > TEXT_MAX
        || text.chars().any(|c| c.is_control() || c == ' ');
    if bad {
        return refuse(
            key,
            format!(" is no link: 1 to {TEXT_MAX} bytes without spaces"),
        );
    }
    Ok(())
}

fn runbooks(at: &str, all: &BTreeMap<Diagnosis, String>) -> Checked {
    all.iter()
        .try_for_each(|(d, text)| link(&format!("{at}runbooks.{d}"), text))
}

fn ladders(at: &str, all: &BTreeMap<Diagnosis, Vec<Step>>) -> Checked {
    all.iter().try_for_each(|(diagnosis, steps)| {
        let key = format!("{at}ladder.{diagnosis}");
        ladder(&key, *diagnosis, steps)
    })
}

fn ladder(key: &str, diagnosis: Diagnosis, steps: &[Step]) -> Checked {
    if steps.is_empty() {
        return refuse(
            key,
            " is empty: to only tell a person, write [{ rung = \"page\" }]",
        );
    }
    if steps.len() > RUNGS_MAX {
        return refuse(
            key,
            format!(" has {} rungs: at most {RUNGS_MAX}", steps.len()),
        );
    }
    let may = allowed(diagnosis);
    for (n, step) in steps.iter().enumerate() {
        let here = format!("{key}[{n}]");
        let (kind, last) = (step.rung, n.saturating_add(1) == steps.len());
        if kind == StepKind::Page && !last {
            return refuse(here, " is a page, which ends a ladder: put it last");
        }
        if kind != StepKind::Page && !may.contains(&kind) {
            return refuse(here, forbidden(diagnosis, kind, may));
        }
        if steps.iter().take(n).any(|before| before.rung == kind) {
            return refuse(
                here,
                format!(" is a second {kind}: set attempts on the first instead"),
            );
        }
        terms(&here, step)?;
    }
    Ok(())
}

fn forbidden(diagnosis: Diagnosis, kind: StepKind, may: &[StepKind]) -> String {
    let why = match (diagnosis, kind) {
        (Diagnosis::Hung | Diagnosis::K3sAgentDown, StepKind::Recreate) => {
            "the machine answers, so its disk may still be read: wipe it by hand if you must"
        }
        _ => "it cannot mend that",
    };
    let list: Vec<String> = may.iter().map(ToString::to_string).collect();
    let list = if list.is_empty() {
        "page".into()
    } else {
        list.join(", ")
    };
    format!(" is {kind}, which is never the answer to {diagnosis}: {why}. Use {list}")
}

fn terms(key: &str, step: &Step) -> Checked {
    let key = |name: &str| format!("{key}.{name}");
    maybe(&key("attempts"), step.attempts.map(u64::from), 1, 20)?;
    maybe(&key("after_secs"), step.after_secs, 0, DAY)?;
    maybe(&key("cooldown_secs"), step.cooldown_secs, 0, QUARTER)?;
    maybe(&key("wait_secs"), step.wait_secs, 1, DAY)?;
    maybe(&key("timeout_secs"), step.timeout_secs, 1, DAY)?;
    maybe(&key("verify_secs"), step.verify_secs, 0, DAY)?;
    match step.rung {
        StepKind::Recreate if step.attempts.is_some_and(|n| n != 1) => refuse(
            key("attempts"),
            " must be 1: a machine is recreated once in an incident, whatever happens",
        ),
        StepKind::Recreate if step.verify == Some(Verify::Ready) => refuse(
            key("verify"),
            " must be \"healthy\" for a recreate: a new machine without its agent is not finished",
        ),
        StepKind::Page if *step != Step::new(StepKind::Page) => refuse(
            key("rung"),
            " is a page, which takes no other key: remove the others",
        ),
        StepKind::Fix
        | StepKind::Start
        | StepKind::Reboot
        | StepKind::Rescue
        | StepKind::Recreate
        | StepKind::Page => Ok(()),
    }
}

/// Combinations that are allowed and dangerous, each with what to do. Without an inventory, what depends on the nodes is not said.
#[must_use]
pub fn dangers(policy: &Policy, inventory: Option<&Inventory>) -> Vec<String> {
    let mut all = Vec::new();
    match inventory {
        None => {
            of_policy(policy, "", &mut all);
            for said in said(policy, None) {
                let mut own = Vec::new();
                of_policy(&said.after, "", &mut own);
                own.retain(|danger| !all.contains(danger));
                all.extend(own.iter().map(|danger| format!("{}: {danger}", said.of)));
            }
        }
        Some(inventory) => {
            for (name, spec) in &inventory.nodes {
                if spec.machine.is_some() {
                    let own = policy.for_node(name, spec.role);
                    of_policy(&own, &format!("{name}: "), &mut all);
                }
            }
            of_cluster(policy, inventory, &mut all);
        }
    }
    if policy.act_on.is_empty() {
        all.push("act_on is empty: no check opens an incident, however critical it is".into());
    }
    all.sort();
    all.dedup();
    all
}

fn auto(steps: &[Terms], kind: StepKind) -> Option<usize> {
    steps
        .iter()
        .position(|t| t.kind == kind && t.mode == Mode::Auto)
}

fn of_policy(p: &Policy, whose: &str, all: &mut Vec<String>) {
    let mut say = |text: String| all.push(format!("{whose}{text}"));
    let isolated = p.steps(Diagnosis::Isolated);
    let wipes = auto(&isolated, StepKind::Recreate);
    let cycles = auto(&isolated, StepKind::Reboot);
    if wipes.is_some() && p.local_data_expendable {
        say("recreate is auto and local data is expendable: a silent machine is wiped with its volumes and nobody is asked; say approve, or keep local_data_expendable for nodes that hold none".into());
    }
    if wipes.is_some_and(|at| !isolated.iter().take(at).any(|t| t.kind == StepKind::Reboot)) {
        say("an isolated machine is recreated without a reboot before it: most of them come back by a reboot; put one first".into());
    }
    if p.quorum == 1 && (wipes.is_some() || cycles.is_some()) {
        say("quorum is 1 and the rungs are auto: the controller alone decides that a machine is silent, and its own uplink may be the fault; use 2".into());
    }
    if wipes.is_some() && p.rejoin_secs < SLOW_JOIN {
        say(format!(
            "rejoin_secs is {}: k3s-agent was seen to need more than {SLOW_JOIN} s on a small machine, and a person is paged too early",
            p.rejoin_secs
        ));
    }
    if (wipes.is_some() || cycles.is_some()) && p.confirm_secs.max(p.agent_gone_secs) < 15 {
        say("bad facts need to last less than 15 s: an agent that restarts looks like a dead machine; raise confirm_secs or agent_gone_secs".into());
    }
    if wipes.is_some() && p.reboot_wait_secs < 60 {
        say(format!(
            "reboot_wait_secs is {}: many machines need a minute to answer after a reboot, and the next rung is a recreate",
            p.reboot_wait_secs
        ));
    }
    if auto(&p.steps(Diagnosis::Hung), StepKind::Reboot).is_some() {
        say("a hung machine is rebooted without asking: it still answers, so its pods may still run and write; approve is the careful word".into());
    }
    if auto(&p.steps(Diagnosis::K3sAgentDown), StepKind::Reboot).is_some() {
        say("a machine whose kubelet is down is rebooted without asking: its pods still run; approve is the careful word".into());
    }
    for diagnosis in [Diagnosis::Isolated, Diagnosis::PoweredOff] {
        let recreate = p
            .steps(diagnosis)
            .into_iter()
            .find(|t| t.kind == StepKind::Recreate);
        if recreate.is_some_and(|t| t.cooldown_secs < DAY && t.mode == Mode::Auto) {
            say(format!(
                "a recreate for {diagnosis} may follow another within a day: what a fresh disk did not mend, a second one will not"
            ));
        }
    }
}

fn of_cluster(p: &Policy, inventory: &Inventory, all: &mut Vec<String>) {
    let nodes = inventory.nodes.len();
    let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    if count(p.quorum) > nodes.max(1) {
        all.push(format!(
            "quorum is {} and a silent node has {nodes} observers at most, the controller among them: nothing at the provider will ever be done; lower it or add nodes",
            p.quorum
        ));
    }
    if nodes > 1 && count(p.storm_limit).saturating_mul(2) > nodes {
        all.push(format!(
            "storm_limit is {} of {nodes} nodes: Iaso would act while most of the cluster is down; use 0",
            p.storm_limit
        ));
    }
    if nodes > 1 && count(p.recreates_per_day).saturating_mul(3) > nodes.max(3) {
        all.push(format!(
            "recreates_per_day is {} of {nodes} nodes: a fault that looks like dead machines could wipe a third of the cluster in a day",
            p.recreates_per_day
        ));
    }
    if !inventory.has_cluster && inventory.nodes.values().any(|n| n.machine.is_some()) {
        all.push("there is no [cluster]: what lies on a node's disk is never known, so each recreate asks a person, and the lease is no channel".into());
    }
    let servers: Vec<_> = inventory
        .nodes
        .values()
        .filter(|n| n.role == Role::Server)
        .collect();
    if let [only] = servers.as_slice()
        && only.machine.is_some()
        && p.for_node(&only.name, only.role).mode_of(StepKind::Reboot) == Mode::Auto
    {
        all.push(format!(
            "{} is the only server and is rebooted without asking when nobody reaches it: there is no API until it is back",
            only.name
        ));
    }
}
