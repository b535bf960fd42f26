//! The rungs other than recreate: a fix by the agent, power by the provider. Each is: gates, effect, then time for it to help.

use crate::diagnose::channel::{Agent, Lease};
use crate::diagnose::reach::reach;
use crate::effect::{Action, Outcome, Yield};
use crate::ladder::{Need, need};
use crate::ledger::{EffectState, Incident, RungState};
use crate::plan::work::{Work, trouble};
use crate::policy::step::{StepKind, Verify};
use crate::record::{Diagnosis, Rung, RungResult, Waiting};
use crate::saga;
use crate::time::Tick;
use std::time::Duration;

impl Work<'_> {
    pub(crate) fn step_rung(&mut self, incident: &Incident, rung: &RungState) {
        if incident.decision(&rung.rung) == Some(false)
            && !incident.effects_of(rung).any(has_disrupted)
        {
            return self.step_denied(incident, rung);
        }
        match &rung.rung {
            Rung::Fix(name) => self.step_fix(incident, rung, name),
            Rung::Start => self.step_power(incident, rung, &Action::Start),
            Rung::Reboot => self.step_power(incident, rung, &Action::Reboot),
            Rung::Rescue => saga::rescue::step(self, incident, rung),
            Rung::Recreate => saga::step(self, incident, rung),
            Rung::Page => self.end(incident, rung, RungResult::NoHelp, "a person was told"),
        }
    }

    fn step_denied(&mut self, incident: &Incident, rung: &RungState) {
        if saga::undo(self, incident) {
            self.end(incident, rung, RungResult::Moot, "a person said no");
            let Some(now) = self.incident.clone() else {
                return;
            };
            self.park(
                &now,
                format!(
                    "a person said no to {}. Mend it by hand, or say yes later with `iaso approve {}`",
                    rung.rung, incident.id
                ),
            );
        }
    }

    fn step_fix(&mut self, incident: &Incident, rung: &RungState, name: &str) {
        let Some(last) = incident.effects_of(rung).rfind(|e| is_act(e)) else {
            return self.begin_fix(incident, rung, name);
        };
        let (at, outcome) = match &last.latest {
            Some((at, outcome)) => (*at, outcome),
            None => (last.intended, &Outcome::Started { operation: None }),
        };
        if let Outcome::NotStarted { class, detail } = outcome {
            return self.not_ordered(incident, rung, at, &format!("({class}): {detail}"));
        }
        let Outcome::Done { yielded, .. } = outcome else {
            let (class, detail) = trouble(outcome);
            return self.end(
                incident,
                rung,
                RungResult::Failed,
                format!("{class}: {detail}"),
            );
        };
        if matches!(yielded, Yield::Fix { result } if result == "refused") {
            let (_, detail) = trouble(outcome);
            return self.end(
                incident,
                rung,
                RungResult::Failed,
                format!("the agent refused: {detail}"),
            );
        }
        let terms = self.terms(incident, &rung.rung);
        let until = at.after(Duration::from_secs(terms.wait_secs));
        if let Some(why) = self.helped(terms.verify, at) {
            self.end(incident, rung, RungResult::Recovered, why);
        } else if matches!(self.node.agent, Agent::Gone { .. }) {
            self.end(
                incident,
                rung,
                RungResult::NoHelp,
                "the agent is gone since",
            );
        } else if self.s.now >= until {
            self.end(
                incident,
                rung,
                RungResult::NoHelp,
                self.node.evidence.join("; "),
            );
        } else {
            let of = format!("{} has until then to help", rung.rung);
            self.waiting.insert(Waiting::Patience { until, of });
        }
    }

    /// An order that did not reach the agent is no attempt at the fix: the rung is begun again, later each time.
    fn not_ordered(&mut self, incident: &Incident, rung: &RungState, at: Tick, why: &str) {
        let begun = usize::try_from(incident.attempts(&rung.rung)).unwrap_or(usize::MAX);
        let until = self.retry_at(at, begun);
        if self.s.now >= until {
            let why = format!("the order did not begin {why}");
            return self.end(incident, rung, RungResult::Moot, why);
        }
        let of = format!("order {begun} did not begin {why}");
        self.waiting.insert(Waiting::Patience { until, of });
    }

    fn begin_fix(&mut self, incident: &Incident, rung: &RungState, name: &str) {
        let still = match self.node.diagnosis {
            Diagnosis::K3sAgentDown
            | Diagnosis::CheckFailing
            | Diagnosis::NotReady
            | Diagnosis::Storm => true,
            Diagnosis::Unknown => self.node.bad_since.is_none(),
            Diagnosis::Healthy
            | Diagnosis::AgentLost
            | Diagnosis::Hung
            | Diagnosis::PartialPartition
            | Diagnosis::Flapping
            | Diagnosis::Isolated
            | Diagnosis::PoweredOff
            | Diagnosis::ProviderTrouble
            | Diagnosis::ProviderUnknown
            | Diagnosis::GoneNoProvider
            | Diagnosis::ControllerCutOff
            | Diagnosis::NeverJoined => false,
        };
        let agent_up = matches!(self.node.agent, Agent::Up { .. } | Agent::Lapsed);
        let Some((plugin, fix)) = name.split_once('/').filter(|_| still && agent_up) else {
            let why = format!("the node is {} now", self.node.diagnosis);
            return self.end(incident, rung, RungResult::Moot, why);
        };
        if !matches!(self.node.agent, Agent::Up { .. }) {
            return self.wait_fresh("agent");
        }
        if !self.is_named(plugin, fix) {
            return self.unnamed(incident, rung, plugin);
        }
        if self.gates_open(incident, &rung.rung, rung.started) {
            self.intend(Action::ApplyFix {
                plugin: plugin.to_owned(),
                fix: fix.to_owned(),
            });
        }
    }

    /// A check says now that this fix may help.
    fn is_named(&self, plugin: &str, fix: &str) -> bool {
        let of_plugin = self.node.faults.iter().filter(|f| f.plugin == plugin);
        of_plugin.flat_map(|f| &f.remedies).any(|r| r == fix)
    }

    /// The cause went away, or no check has looked yet since this controller began to listen.
    fn unnamed(&mut self, incident: &Incident, rung: &RungState, plugin: &str) {
        let listened = rung.started.max(self.s.world.since);
        let window = Duration::from_secs(self.s.policy.finding_fresh_secs);
        let facts = self.s.world.nodes.get(self.name);
        let looked = facts.and_then(|f| f.plugins.get(plugin)).is_some();
        if !looked && self.s.now < listened.after(window) {
            return self.wait_fresh(plugin);
        }
        let why = format!("no check names {} any more", rung.rung);
        self.end(incident, rung, RungResult::Moot, why);
    }

    fn step_power(&mut self, incident: &Incident, rung: &RungState, action: &Action) {
        let acts = || incident.effects_of(rung).filter(|e| is_act(e));
        match acts().next_back().map(|e| (e, &e.latest)) {
            None => self.begin_power(incident, rung, action),
            Some((_, Some((at, Outcome::NotStarted { class, detail })))) => {
                self.again(class, detail, *at, acts().count());
                if self.waiting.is_empty() {
                    self.begin_power(incident, rung, action);
                }
            }
            Some((_, Some((_, Outcome::Failed { detail })))) => {
                self.end(incident, rung, RungResult::Failed, detail.clone());
            }
            Some((effect, Some((at, Outcome::Done { .. })))) => {
                self.after_power(incident, rung, effect, *at);
            }
            // Not settled: `busy` waits for it.
            Some((_, None | Some((_, Outcome::InDoubt { .. } | Outcome::Started { .. })))) => {}
        }
    }

    /// The provider did not take the call: that says nothing about the machine. Tried again, later each time; never climbed on.
    pub(crate) fn again(&mut self, class: &str, detail: &str, last: Tick, tries: usize) {
        let until = self.retry_at(last, tries);
        if self.s.now >= until {
            return;
        }
        self.waiting.insert(Waiting::Patience {
            until,
            of: format!("try {tries} did not begin ({class}): {detail}"),
        });
        if tries >= saga::TRIES_BEFORE_PAGE {
            self.page(
                &format!("provider does not take calls: {class}"),
                format!(
                    "calls for {} do not begin ({class}): {detail}. Nothing is escalated on that",
                    self.name
                ),
            );
        }
    }

    fn begin_power(&mut self, incident: &Incident, rung: &RungState, action: &Action) {
        if *action == Action::Start && self.node.diagnosis == Diagnosis::Isolated {
            let why = "the provider says that it runs now";
            return self.end(incident, rung, RungResult::Moot, why);
        }
        let kind = StepKind::of(&rung.rung);
        match need(self.policy, self.node.diagnosis, kind, incident) {
            Need::Gone => {
                let why = format!("the node is {} now", self.node.diagnosis);
                self.end(incident, rung, RungResult::Moot, why);
            }
            Need::Unsure => {
                self.gates_open(incident, &rung.rung, rung.started);
                self.explain_unknown(incident);
            }
            Need::Stands => {
                if self.gates_open(incident, &rung.rung, rung.started) {
                    self.intend(action.clone());
                }
            }
        }
    }

    /// The machine is given time: a short one while nobody reaches it, a long one once it answers.
    fn after_power(
        &mut self,
        incident: &Incident,
        rung: &RungState,
        effect: &EffectState,
        at: Tick,
    ) {
        let policy = self.policy;
        let terms = self.terms(incident, &rung.rung);
        let quiet = at.after(Duration::from_secs(terms.wait_secs));
        let join = at.after(Duration::from_secs(policy.rejoin_secs));
        let words = reach(self.s, self.name, &self.all.healthy_observers, at);
        let still_dark = match self.node.diagnosis {
            Diagnosis::Isolated => words.is_silence(policy.quorum),
            Diagnosis::PoweredOff => true,
            Diagnosis::Healthy
            | Diagnosis::Unknown
            | Diagnosis::K3sAgentDown
            | Diagnosis::CheckFailing
            | Diagnosis::NotReady
            | Diagnosis::AgentLost
            // A machine that boots answers long before k3s does: that is not "hung still".
            | Diagnosis::Hung
            | Diagnosis::PartialPartition
            | Diagnosis::Flapping
            | Diagnosis::ProviderTrouble
            | Diagnosis::ProviderUnknown
            | Diagnosis::GoneNoProvider
            | Diagnosis::ControllerCutOff
            | Diagnosis::Storm
            | Diagnosis::NeverJoined => false,
        };
        // Whatever holds the cluster as a whole, such as a storm: what this one did after the order is known.
        let is_dark_again = still_dark
            || (self.node.alone == Diagnosis::Isolated && words.is_silence(policy.quorum))
            || (self.s.now >= join
                && words.reached == 0
                && !matches!(self.node.agent, Agent::Up { .. }));
        let facts = self.s.world.nodes.get(self.name);
        let answered = facts.and_then(|f| f.answered).is_some_and(|then| then > at);
        if let Some(why) = self.helped(terms.verify, at) {
            self.end(incident, rung, RungResult::Recovered, why);
        } else if is_dark_again && (incident.lived_since(effect) || answered) {
            let why = "the machine answered afterwards, and went silent again";
            self.end(incident, rung, RungResult::Recovered, why);
        } else if self.s.now >= quiet && still_dark {
            let proof = proof(effect);
            let why = format!("{proof}, and nobody reaches it {} s later", terms.wait_secs);
            self.no_help(incident, rung, effect, why);
        } else if self.s.now >= join {
            let why = format!(
                "{} s later: {}",
                policy.rejoin_secs,
                self.node.evidence.join("; ")
            );
            self.no_help(incident, rung, effect, why);
        } else if self.s.now < quiet {
            let of = format!("{} has until then to bring it back", rung.rung);
            self.waiting.insert(Waiting::Patience { until: quiet, of });
        } else {
            let of = "it is not silent to everybody: it has until then to become Ready".into();
            self.waiting.insert(Waiting::Patience { until: join, of });
        }
    }
}

impl Work<'_> {
    /// The call did not bring the machine back; or did, and nobody was there to see it.
    fn no_help(
        &mut self,
        incident: &Incident,
        rung: &RungState,
        effect: &EffectState,
        why: String,
    ) {
        if incident.unwatched_since(effect.intended) {
            let why = format!(
                "{why}; but no controller watched for a while, so it may have come back and gone away again"
            );
            return self.end(incident, rung, RungResult::Moot, why);
        }
        self.end(incident, rung, RungResult::NoHelp, why);
    }

    /// Why a rung has helped, by the policy's condition; `None`: not yet. Only what was seen after it was done counts.
    pub(crate) fn helped(&self, verify: Verify, done: Tick) -> Option<&'static str> {
        let facts = self.s.world.nodes.get(self.name);
        let renewed = facts
            .and_then(|f| f.kube.as_ref())
            .and_then(|k| k.value.lease_changed)
            .is_some_and(|at| at > done);
        if self.node.diagnosis == Diagnosis::Healthy {
            Some("every channel says that it is well")
        } else if verify == Verify::Ready && self.node.lease == Lease::Fresh && renewed {
            Some("Kubernetes says Ready, which the policy takes for enough")
        } else {
            None
        }
    }
}

fn proof(effect: &EffectState) -> &'static str {
    match &effect.latest {
        Some((
            _,
            Outcome::Done {
                yielded: Yield::Reboot { proven: Some(true) },
                ..
            },
        )) => "the reboot is proven by uptime",
        Some((
            _,
            Outcome::Done {
                yielded: Yield::Reboot {
                    proven: Some(false),
                },
                ..
            },
        )) => "the provider says rebooted, but uptime did not fall",
        _ => "the provider says that it is done",
    }
}

/// It interrupted the node, or may have: too late for a no.
fn has_disrupted(effect: &EffectState) -> bool {
    effect.effect.action.is_disruptive() && !effect.never_began()
}

/// An effect of the rung itself, not a page beside it.
pub(crate) fn is_act(effect: &EffectState) -> bool {
    !matches!(effect.effect.action, Action::Page { .. })
}
