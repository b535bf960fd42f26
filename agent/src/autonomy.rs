//! Decides what a cut-off agent may do by itself: the engine, over this host alone. No I/O: times and findings in, at most one act out.
//!
//! **Invariants**
//! - Nothing happens while the controller is there, nor before it has been away for longer than the delegation says.
//! - The engine is shown a worker without a provider, and no remedy but delegated fixes: a reboot or a recreation has no place in that
//!   world. Every plan passes the independent checker, and an act that is not delegated is dropped even then.
//! - At most `attempts` acts in one absence, over restarts of the agent too, the wait doubling after each; only a session gives new ones.
//! - An act is in the [`Absence`] that is to be saved before it is begun; one that a gone process left open has failed, and counts.
//!
//! Left out: pages. While the controller is away nobody can be told; what would be a page is a line in the log.

use std::time::Duration;

use iaso_engine::{
    effect::{Action, Outcome as Ended, Yield},
    fact::{Finding as Fact, Inventory, NodeSpec, Observation, Role, Severity},
    id::{EffectId, NodeName},
    ledger::{Ledger, Standing},
    plan::{Plan, Situation, plan},
    policy::{Mode, Policy},
    record::{Entry, Record},
    time::Tick,
    world::World,
};
use iaso_host::types::Finding;
use serde::{Deserialize, Serialize};

/// Longest wait between two attempts.
pub const BACKOFF_MAX: Duration = Duration::from_mins(30);

/// What the controller allows while it is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// Away for longer than this; `None`: never.
    pub after: Option<Duration>,
    /// What may be done.
    pub rungs: Vec<Rung>,
    /// How often in all, until the controller is back.
    pub attempts: u32,
    /// Bad facts must last so long before the first act.
    pub confirm_secs: u64,
    /// An act has so long to help before the next, and twice as long after each.
    pub fix_wait_secs: u64,
    /// The host must stay well for so long before it is believed.
    pub verify_secs: u64,
    /// Finding codes, or prefixes ending in `*`, that may be acted on.
    pub act_on: Vec<String>,
}

impl Default for Delegation {
    fn default() -> Self {
        let policy = Policy::default();
        Self {
            after: None,
            rungs: Vec::new(),
            attempts: 0,
            confirm_secs: policy.confirm_secs,
            fix_wait_secs: policy.fix_wait_secs,
            verify_secs: policy.verify_secs,
            act_on: policy.act_on,
        }
    }
}

/// One fix of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// The plugin.
    pub plugin: String,
    /// Its fix.
    pub fix: String,
}

impl Rung {
    /// Reads `plugin/fix`; `None` if it is not of that form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (plugin, fix) = text.split_once('/')?;
        let named = !plugin.is_empty() && !fix.is_empty() && !fix.contains('/');
        named.then(|| Self {
            plugin: plugin.into(),
            fix: fix.into(),
        })
    }
}

/// Why the engine is not asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The controller is there: it decides.
    Connected,
    /// Nothing was delegated.
    NotDelegated,
    /// Not away for long enough.
    Away {
        /// How much longer.
        left: Duration,
    },
    /// An act of our own is running.
    Busy,
}

/// What has happened in one absence: kept on disk, forgotten when the controller is back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// When the first record was made: part of the ids of its acts.
    began: Tick,
    /// Acts begun.
    used: u32,
    /// When the latest act began or ended.
    last: Tick,
    ledger: Ledger,
}

/// One thing to do now, already counted in the absence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Unique over absences and restarts.
    pub id: String,
    /// Its id in the ledger.
    pub effect: EffectId,
    /// What to do.
    pub rung: Rung,
    /// What it rests on.
    pub why: String,
}

/// What the engine wants: the absence is to be saved, then committed, then the act is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// As it is after this step.
    pub absence: Absence,
    /// What to do, if anything.
    pub act: Option<Act>,
    /// What a person would be told, could they be.
    pub unsaid: Vec<String>,
}

/// What is known of the absence and of our own acts in it.
#[derive(Debug, Clone)]
pub struct Autonomy {
    node: Option<NodeName>,
    inventory: Inventory,
    delegation: Delegation,
    away_since: Option<Tick>,
    absence: Absence,
    busy: bool,
}

impl Autonomy {
    /// An agent that starts at `now` without a session. A node whose name the engine does not take never acts alone.
    #[must_use]
    pub fn new(node: &str, now: Tick, delegation: Delegation, absence: Absence) -> Self {
        let node = NodeName::new(node).ok();
        let spec = |name: NodeName| NodeSpec {
            name,
            role: Role::Worker,
            machine: None,
            domains: std::collections::BTreeMap::new(),
        };
        let nodes = node.clone().map(|name| (name.clone(), spec(name)));
        Self {
            node,
            inventory: Inventory {
                nodes: nodes.into_iter().collect(),
                has_cluster: false,
            },
            delegation,
            away_since: Some(now),
            absence,
            busy: false,
        }
    }

    /// The same absence under the delegation of the last session, as it was found on disk.
    pub fn delegated(&mut self, delegation: Delegation) {
        self.delegation = delegation;
    }

    /// The controller is there and has said what it delegates.
    pub fn connected(&mut self, delegation: Delegation) {
        self.delegation = delegation;
        self.away_since = None;
        self.absence = Absence::default();
    }

    /// The session ended.
    pub fn disconnected(&mut self, now: Tick) {
        self.away_since.get_or_insert(now);
    }

    /// Attempts used in this absence.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.absence.used
    }

    /// Asks the engine. `None`: nothing new. `reports` are the findings that are believed now, by plugin.
    pub fn step(
        &self,
        now: Tick,
        reports: &[(String, Vec<Finding>)],
    ) -> Result<Option<Step>, Waiting> {
        let since = self.away_since.ok_or(Waiting::Connected)?;
        let after = self.delegation.after.ok_or(Waiting::NotDelegated)?;
        let node = self.node.as_ref().ok_or(Waiting::NotDelegated)?;
        if self.delegation.rungs.is_empty() || self.delegation.attempts == 0 {
            return Err(Waiting::NotDelegated);
        }
        if self.busy {
            return Err(Waiting::Busy);
        }
        let away = now.since(since);
        if away <= after {
            return Err(Waiting::Away {
                left: after.saturating_sub(away),
            });
        }
        let world = self.world(node, now, reports);
        let policy = self.policy();
        let mut held = self.absence.ledger.clone();
        if let Some(why) = self.hold(now) {
            held.paused.insert(None, why);
        }
        let situation = Situation {
            now,
            policy: &policy,
            inventory: &self.inventory,
            world: &world,
            ledger: &held,
        };
        let wanted = plan(&situation);
        if wanted.records.is_empty() || !iaso_engine_check::vet(&situation, &wanted).is_empty() {
            return Ok(None);
        }
        Ok(self.folded(now, wanted))
    }

    /// The step is on disk: its act may begin.
    pub fn commit(&mut self, step: &Step) {
        self.absence = step.absence.clone();
        self.busy = step.act.is_some();
    }

    /// An act ended: `result` and `reason` are the agent's own words. Gives what is to be saved.
    pub fn ended(&mut self, now: Tick, effect: &EffectId, result: &str, reason: &str) -> &Absence {
        self.busy = false;
        let outcome = if result == "failed" || result == "expired" {
            Ended::Failed {
                detail: reason.to_owned(),
            }
        } else {
            Ended::Done {
                detail: reason.to_owned(),
                yielded: Yield::Fix {
                    result: result.to_owned(),
                },
            }
        };
        // Refused when a session came meanwhile: then the absence it belongs to is over.
        if self.absence.resolve(now, effect, outcome) {
            self.absence.last = now;
        }
        &self.absence
    }

    /// Acts that a process which is gone began and never ended.
    #[must_use]
    pub fn in_doubt(&self) -> Vec<Act> {
        let effects = self
            .absence
            .ledger
            .incidents
            .values()
            .flat_map(|incident| &incident.effects)
            .filter(|state| !state.is_settled());
        effects
            .filter_map(|state| self.absence.act(&state.effect))
            .collect()
    }

    /// What the engine may see of this host: itself alive, and of the remedies only what was delegated.
    fn world(&self, node: &NodeName, now: Tick, reports: &[(String, Vec<Finding>)]) -> World {
        let mut world = World::new(Tick(0));
        world.observe(
            now,
            Observation::AgentConnected {
                node: node.clone(),
                boot: String::new(),
                host_boot_unix_ms: 0,
            },
        );
        for (plugin, findings) in reports {
            let findings = findings.iter().map(|finding| self.fact(plugin, finding));
            world.observe(
                now,
                Observation::Report {
                    node: node.clone(),
                    plugin: plugin.clone(),
                    findings: findings.collect(),
                    fault: None,
                },
            );
        }
        world
    }

    fn fact(&self, plugin: &str, finding: &Finding) -> Fact {
        let remedies = finding.remedies.iter();
        Fact {
            code: finding.code.clone(),
            severity: severity(&finding.severity),
            subject: finding.subject.clone(),
            summary: finding.summary.clone(),
            remedies: remedies
                .filter(|fix| self.is_delegated(plugin, fix))
                .cloned()
                .collect(),
            attributes: Vec::new(),
        }
    }

    fn is_delegated(&self, plugin: &str, fix: &str) -> bool {
        let rungs = &self.delegation.rungs;
        rungs
            .iter()
            .any(|rung| rung.plugin == plugin && rung.fix == fix)
    }

    /// The operator's policy as far as it was delegated; what was not is never done.
    fn policy(&self) -> Policy {
        Policy {
            fix: Mode::Auto,
            start: Mode::Observe,
            reboot: Mode::Observe,
            recreate: Mode::Observe,
            confirm_secs: self.delegation.confirm_secs,
            fix_wait_secs: self.wait().as_secs(),
            fix_attempts: self.delegation.attempts,
            verify_secs: self.delegation.verify_secs,
            storm_limit: 1,
            act_on: self.delegation.act_on.clone(),
            ..Policy::default()
        }
    }

    /// The wait after the latest attempt.
    fn wait(&self) -> Duration {
        let doublings = self.absence.used.saturating_sub(1).min(16);
        Duration::from_secs(self.delegation.fix_wait_secs)
            .saturating_mul(1 << doublings)
            .min(BACKOFF_MAX)
    }

    /// Why no act may begin now, whatever the engine wants.
    fn hold(&self, now: Tick) -> Option<String> {
        let (used, most) = (self.absence.used, self.delegation.attempts);
        if used >= most {
            return Some(format!("all {most} attempts of this absence are used"));
        }
        let waited = used == 0 || now.since(self.absence.last) >= self.wait();
        (!waited).then(|| format!("the wait after attempt {used} of {most}"))
    }

    fn folded(&self, now: Tick, wanted: Plan) -> Option<Step> {
        let mut absence = self.absence.clone();
        if absence.began == Tick(0) {
            absence.began = now;
        }
        let (mut act, mut unsaid) = (None, Vec::new());
        for record in wanted.records {
            absence.fold(now, record.clone())?;
            let Record::Intended { effect } = record else {
                continue;
            };
            if let Action::Page { message } = &effect.action {
                let detail = "the controller is away: nobody could be told".to_owned();
                absence.resolve(now, &effect.id, Ended::Failed { detail });
                unsaid.push(message.clone());
                continue;
            }
            let meant = absence.act(&effect)?;
            if act.is_some() || !self.is_delegated(&meant.rung.plugin, &meant.rung.fix) {
                return None;
            }
            absence.used = absence.used.saturating_add(1);
            absence.last = now;
            act = Some(meant);
        }
        // What is over is not needed any more, and what is kept stays small however long the absence.
        let is_open = |incident: &iaso_engine::ledger::Incident| {
            !matches!(incident.standing, Standing::Closed(..))
        };
        absence
            .ledger
            .incidents
            .retain(|_, incident| is_open(incident));
        Some(Step {
            absence,
            act,
            unsaid,
        })
    }
}

impl Absence {
    fn fold(&mut self, now: Tick, record: Record) -> Option<()> {
        let entry = Entry {
            sequence: self.ledger.sequence.saturating_add(1),
            at: now,
            record,
        };
        self.ledger.fold(&entry).ok()
    }

    fn resolve(&mut self, now: Tick, effect: &EffectId, outcome: Ended) -> bool {
        let record = Record::Resolved {
            effect: effect.clone(),
            outcome,
        };
        self.fold(now, record).is_some()
    }

    /// One of which nothing is known but that there was one: no attempt is left.
    #[must_use]
    pub fn spent() -> Self {
        Self {
            used: u32::MAX,
            ..Self::default()
        }
    }

    /// The latest moment it speaks of.
    #[must_use]
    pub fn latest(&self) -> Tick {
        self.last.max(self.began)
    }

    fn act(&self, effect: &iaso_engine::effect::Effect) -> Option<Act> {
        let Action::ApplyFix { plugin, fix } = &effect.action else {
            return None;
        };
        Some(Act {
            id: format!("alone-{}-{}", self.began.0, effect.id),
            effect: effect.id.clone(),
            rung: Rung {
                plugin: plugin.clone(),
                fix: fix.clone(),
            },
            why: effect.evidence.join("; "),
        })
    }
}

fn severity(word: &str) -> Severity {
    match word {
        "ok" => Severity::Ok,
        "info" => Severity::Info,
        "warning" => Severity::Warning,
        "critical" => Severity::Critical,
        _ => Severity::Unknown,
    }
}

#[cfg(test)]
mod tests;
