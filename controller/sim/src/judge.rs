//! The independent reference: says, from the truth and never from the engine's words, whether an act was justified.
//!
//! **Invariants**
//! - It looks at what reached the provider or the agent, not at what was intended.
//! - It asks no function of the engine or of the checker.
//! - A machine that is dark by a fault of its own, for longer than a moment, with its smaller rung taken, may be recreated, even if the fault
//!   would have ended by itself later: nobody could know. Such ones are counted apart as unforeseeable.

use crate::cloud::Kind;
use crate::queue::Vantage;
use crate::reading::{expendable, mode};
use crate::scenario::{Fault, Ix, Ms, SECOND, Strike};
use crate::sim::Sim;
use iaso_engine::effect::Effect;
use iaso_engine::fact::Role;
use iaso_engine::id::IncidentId;
use iaso_engine::policy::Mode;
use iaso_engine::record::Rung;
use std::collections::{BTreeMap, BTreeSet};

/// The facts of the policy are up to half a minute old, and a call may stand in a queue: what was true so long ago still justifies.
const RACE: Ms = 45 * SECOND;
/// A queue at the provider may hold a call for longer than any fact is old; the judge then looks at when it was sent.
const QUEUED_MAX: Ms = 60 * SECOND;
/// A machine that answers, and on which neither agent nor kubelet has lived for so long, hangs.
const MUTE: Ms = 120 * SECOND;
/// A machine that was dark for less is not even suspected by a careful person.
const HASTY: Ms = 30 * SECOND;

/// One wrong act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// When.
    pub at: Ms,
    /// On which node.
    pub node: String,
    /// What, and why it is wrong.
    pub what: String,
}

/// One order that a provider took, or an agent.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) at: Ms,
    pub(crate) node: Ix,
    pub(crate) kind: Kind,
    pub(crate) incident: IncidentId,
}

/// What a person was told.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) at: Ms,
    pub(crate) node: Ix,
    pub(crate) incident: IncidentId,
    pub(crate) text: String,
}

/// What the judge has written down.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    pub(crate) false_recreates: Vec<Wrong>,
    pub(crate) false_reboots: Vec<Wrong>,
    pub(crate) double_actions: Vec<Wrong>,
    /// Disruptive acts on two nodes at once.
    pub(crate) overlaps: Vec<Wrong>,
    /// Workloads released while the old machine might run.
    pub(crate) unfenced: Vec<Wrong>,
    pub(crate) vetoes: Vec<Wrong>,
    pub(crate) unforeseeable: u64,
    pub(crate) acts: Vec<Act>,
    pub(crate) pages: Vec<Page>,
    pub(crate) decisions: BTreeMap<(IncidentId, Rung), bool>,
    pub(crate) cordons: BTreeMap<Ix, IncidentId>,
    pub(crate) recovered: Vec<(&'static str, Ms)>,
    /// More nodes were down at once than may be.
    pub(crate) stormed: bool,
    called: BTreeSet<String>,
}

impl Judge {
    pub(crate) fn recovered(&mut self, class: &'static str, span: Ms) {
        self.recovered.push((class, span));
    }

    pub(crate) fn vetoed(&mut self, at: Ms, incident: &IncidentId, why: &str) {
        self.vetoes.push(Wrong {
            at,
            node: incident.to_string(),
            what: why.to_owned(),
        });
    }

    pub(crate) fn decided(&mut self, incident: &IncidentId, rung: &Rung, yes: bool) {
        self.decisions.insert((incident.clone(), rung.clone()), yes);
    }

    pub(crate) fn said_yes(&self, incident: &IncidentId, rung: &Rung) -> bool {
        self.decisions.get(&(incident.clone(), rung.clone())) == Some(&true)
    }

    pub(crate) fn paged(&mut self, page: Page) {
        self.pages.push(page);
    }

    pub(crate) fn cordoned(&mut self, node: Ix, incident: &IncidentId, new: bool) {
        if new {
            self.cordons.insert(node, incident.clone());
        }
    }

    pub(crate) fn uncordoned(&mut self, node: Ix) {
        self.cordons.remove(&node);
    }

    pub(crate) fn is_cordoned_by_us(&self, node: Ix) -> bool {
        self.cordons.contains_key(&node)
    }
}

impl Sim<'_> {
    fn wrong(&self, node: Ix, what: impl Into<String>) -> Wrong {
        Wrong {
            at: self.now,
            node: self.truth.setup(node).name.to_string(),
            what: what.into(),
        }
    }

    /// A call to the provider arrives, whether or not it takes it.
    pub(crate) fn judge_call(&mut self, node: Ix, kind: Kind, effect: &Effect) {
        if !self.judge.called.insert(effect.id.to_string()) {
            let wrong = self.wrong(node, format!("{} was sent twice", effect.id));
            self.judge.double_actions.push(wrong);
        }
        self.judge_alone(node, effect);
        let again = self
            .judge
            .acts
            .iter()
            .any(|a| a.kind == Kind::Recreate && a.incident == effect.incident);
        if kind == Kind::Recreate && again {
            let wrong = self.wrong(node, format!("a second recreate for {}", effect.incident));
            self.judge.double_actions.push(wrong);
        }
    }

    /// Two disruptive acts at once: on one node, or in the cluster.
    fn judge_alone(&mut self, node: Ix, effect: &Effect) {
        let busy = self.truth.hosts.all().find_map(|other| {
            let operation = self.cloud.pending(other).map(|o| o.effect.clone());
            let host = &self.truth.hosts[other];
            let running = |o: &&crate::truth::Order| {
                o.result.is_none()
                    && o.until > self.now
                    && host.shape.agent
                    && host.agents == o.agent
            };
            let fix = host.orders.iter().find(running).map(|o| o.effect.clone());
            let which = operation.or(fix).filter(|id| *id != effect.id)?;
            Some((other, which))
        });
        if let Some((other, which)) = busy {
            let wrong = self.wrong(node, format!("{} while {which} is under way", effect.id));
            if other == node {
                self.judge.double_actions.push(wrong);
            } else {
                self.judge.overlaps.push(wrong);
            }
        }
    }

    /// The provider takes an order: from here on it happens.
    pub(crate) fn judge_taken(&mut self, node: Ix, kind: Kind, effect: &Effect) {
        let why = match kind {
            Kind::Start => self.why_not_start(node, effect),
            Kind::Reboot => self.why_not_reboot(node, effect),
            Kind::Recreate => self.why_not_recreate(node, effect),
        };
        if let Some(why) = why {
            let wrong = self.wrong(node, format!("{} {}: {why}", kind.name(), effect.id));
            if kind == Kind::Recreate {
                self.judge.false_recreates.push(wrong);
            } else {
                self.judge.false_reboots.push(wrong);
            }
        }
        self.judge.acts.push(Act {
            at: self.now,
            node,
            kind,
            incident: effect.incident.clone(),
        });
        self.truth.hosts[node].touched = true;
    }

    pub(crate) fn judge_fix(&mut self, node: Ix, effect: &Effect) {
        self.judge_alone(node, effect);
    }

    /// The old machine's workloads are let go: it must be known not to run.
    pub(crate) fn judge_release(&mut self, node: Ix, effect: &Effect) {
        let wiped = self
            .judge
            .acts
            .iter()
            .any(|a| a.kind == Kind::Recreate && a.incident == effect.incident);
        if !wiped && self.truth.hosts[node].power {
            let wrong = self.wrong(node, "workloads released while the machine may run");
            self.judge.unfenced.push(wrong);
        }
    }

    /// What the policy and the people of this run forbid.
    fn not_allowed(&self, effect: &Effect, rung: &Rung) -> Option<&'static str> {
        let Some(node) = self.ix(effect) else {
            return Some("it is of no node");
        };
        let yes = self.judge.said_yes(&effect.incident, rung);
        let said = self
            .judge
            .decisions
            .get(&(effect.incident.clone(), rung.clone()));
        let sent = self.sent(effect);
        if said == Some(&false) {
            return Some("a person said no");
        }
        match mode(&self.scenario.policy, self.truth.setup(node), rung) {
            Mode::Observe => Some("the policy only observes"),
            Mode::Approve if !yes => Some("nobody said yes"),
            Mode::Approve | Mode::Auto => {
                let held = self.scenario.strikes.iter().any(|s| {
                    s.fault == Fault::Paused
                        && s.at + SECOND <= sent
                        && s.until.is_none_or(|u| u > sent + SECOND)
                });
                // While the controller is away nobody can tell it to hold.
                let told = self.driver.ledger.paused.contains_key(&None);
                (held && told).then_some("a person holds everything")
            }
        }
    }

    /// When the controller decided on an act.
    fn sent(&self, effect: &Effect) -> Ms {
        self.driver
            .ledger
            .effect(&effect.id)
            .map_or(self.now, |state| self.driver.moment(state.intended))
            .max(self.now.saturating_sub(QUEUED_MAX))
            .min(self.now)
    }

    /// Since when a machine was dark at the moment of the decision, or so shortly before that nobody could know better.
    fn dark_since(&self, node: Ix, sent: Ms) -> Option<Ms> {
        let host = &self.truth.hosts[node];
        let recently = host
            .dark_until
            .is_some_and(|until| until.saturating_add(RACE) >= sent);
        match host.dark_since {
            Some(since) if since <= sent => Some(since),
            // It went dark, or came back, between decision and arrival.
            Some(_) | None if recently => host.dark_from,
            Some(_) | None => None,
        }
    }

    /// A machine that is on takes no harm from being powered on; but one that never joined is its operator's business, and one that
    /// answers was looked at badly.
    fn why_not_start(&self, node: Ix, effect: &Effect) -> Option<String> {
        if let Some(why) = self.not_allowed(effect, &Rung::Start) {
            return Some(why.into());
        }
        if !self.truth.setup(node).joined {
            return Some("it never joined".into());
        }
        let dark = self.dark_since(node, self.sent(effect)).is_some();
        (!dark).then(|| self.who_reaches(node))
    }

    fn why_not_reboot(&mut self, node: Ix, effect: &Effect) -> Option<String> {
        if let Some(why) = self.not_allowed(effect, &Rung::Reboot) {
            return Some(why.into());
        }
        let sent = self.sent(effect);
        // What answers and does not live may be rebooted: nothing that a reboot takes away works.
        if self.was_mute(node, sent) {
            return self.shared_outage(node);
        }
        let Some(since) = self.dark_since(node, sent) else {
            return Some(self.who_reaches(node));
        };
        if sent.saturating_sub(since) < HASTY {
            return Some(format!(
                "dark for {} s only",
                sent.saturating_sub(since) / SECOND
            ));
        }
        self.shared_outage(node)
    }

    /// Mute for long at the moment of the decision, or so shortly before that nobody could know better.
    fn was_mute(&self, node: Ix, sent: Ms) -> bool {
        let host = &self.truth.hosts[node];
        let now = host.mute_since.map(|since| (since, sent));
        let before = host
            .mute_before
            .filter(|(_, until)| sent.saturating_sub(*until) <= RACE);
        now.into_iter().chain(before).any(|(since, until)| {
            until.min(sent).saturating_sub(since) >= MUTE.saturating_sub(RACE)
        })
    }

    fn who_reaches(&self, node: Ix) -> String {
        let reached = |from| self.truth.reaches(from, node);
        if reached(Vantage::Controller) {
            return "it answers the controller".into();
        }
        let peers = self.truth.hosts.all().filter(|peer| *peer != node);
        let peer = peers.into_iter().find(|p| reached(Vantage::Node(*p)));
        match peer.map(|p| self.truth.setup(p).name.clone()) {
            Some(name) => format!("it was not dark to everybody: {name} reaches it"),
            None => "it was not dark to everybody".into(),
        }
    }

    fn why_not_recreate(&mut self, node: Ix, effect: &Effect) -> Option<String> {
        if self.truth.setup(node).role == Role::Server {
            return Some("it is a server".into());
        }
        if let Some(why) = self.not_allowed(effect, &Rung::Recreate) {
            return Some(why.into());
        }
        let yes = self.judge.said_yes(&effect.incident, &Rung::Recreate);
        let expendable = expendable(&self.scenario.policy, self.truth.setup(node)) || yes;
        if self.truth.hosts[node].data && self.scenario.has_cluster && !expendable {
            return Some("local data lies on it".into());
        }
        let sent = self.sent(effect);
        let Some(since) = self.dark_since(node, sent) else {
            return Some(self.who_reaches(node));
        };
        if sent.saturating_sub(since) < HASTY.saturating_mul(2) {
            return Some(format!(
                "dark for {} s only",
                sent.saturating_sub(since) / SECOND
            ));
        }
        if let Some(why) = self.shared_outage(node) {
            return Some(why);
        }
        self.smaller_rung(node, since)
    }

    /// Faults that make a machine dark, now or a moment ago.
    fn darkening(&self, node: Ix) -> impl Iterator<Item = &Strike> {
        let from = self.now.saturating_sub(RACE);
        self.scenario.strikes.iter().filter(move |strike| {
            let darkens = matches!(
                strike.fault,
                Fault::Cut | Fault::Hang | Fault::PowerOff | Fault::ZoneSplit | Fault::Path { .. }
            );
            let index = self
                .scenario
                .strikes
                .iter()
                .position(|other| std::ptr::eq(other, *strike));
            let on = index.is_some_and(|i| self.truth.hosts[node].active.contains(&i));
            let lately = strike.until.is_some_and(|u| u >= from && u <= self.now);
            darkens && strike.nodes.contains(&node) && strike.at <= self.now && (on || lately)
        })
    }

    /// An outage that so many share that anybody would look for the common cause first, and that passes or that no reinstallation mends. Of
    /// fewer nobody can tell that they have one cause.
    fn shared_outage(&self, node: Ix) -> Option<String> {
        let notable = self.truth.storm_limit();
        self.darkening(node).find_map(|strike| {
            let shared = self
                .truth
                .sharers(strike.cause, self.now, |ix| self.is_known(ix));
            let passes = strike.until.is_some() || !strike.heal.recreate;
            (passes && (shared > notable || self.fells_a_zone(node, strike))).then(|| {
                format!(
                    "{shared} nodes share its outage, which is not its own ({:?})",
                    strike.fault
                )
            })
        })
    }

    /// Kubernetes knows it, it spoke to this controller since it started, or the journal tells of it. Of another, nobody can say that it
    /// ever joined.
    fn is_known(&self, ix: Ix) -> bool {
        let spoke = self.truth.hosts[ix].spoke_to == Some(self.driver.life);
        let open = self.driver.ledger.open_incident(&self.truth.setup(ix).name);
        self.scenario.has_cluster || spoke || open.is_some_and(|i| i.joined != Some(false))
    }

    /// Most of a declared failure domain, and not the whole cluster.
    fn fells_a_zone(&self, node: Ix, strike: &Strike) -> bool {
        let Some(zone) = self.truth.setup(node).zone else {
            return false;
        };
        let all = self.truth.hosts.all();
        let members = all
            .filter(|n| self.truth.setup(*n).zone == Some(zone))
            .count();
        // One that never joined is down to nobody.
        let inside = |n: &&Ix| {
            let setup = self.truth.setup(**n);
            setup.zone == Some(zone) && setup.joined && self.is_known(**n)
        };
        let felled = strike.nodes.iter().filter(inside).count();
        felled >= 2 && felled.saturating_mul(2) > members && members < self.truth.hosts.len()
    }

    /// `dark`: since when it has been dark; a rung that was taken in that darkness was taken for whatever keeps it dark.
    fn smaller_rung(&mut self, node: Ix, dark: Ms) -> Option<String> {
        let acted_since = |at: Ms| {
            let at = at.min(dark);
            self.judge
                .acts
                .iter()
                .any(|a| a.node == node && a.at >= at && a.kind != Kind::Recreate)
        };
        let mut passes = false;
        let mut needed = false;
        let mut own = None;
        for strike in self.darkening(node) {
            let smaller =
                strike.heal.reboot || (strike.fault == Fault::PowerOff && strike.heal.start);
            if smaller && !acted_since(strike.at) {
                own = Some(format!(
                    "a smaller rung heals it ({:?}) and was not taken since it began",
                    strike.fault
                ));
            } else if !smaller {
                needed = true;
            }
            passes |= strike.until.is_some();
        }
        // A machine that boots after a reboot that worked is dark without any fault on it.
        let booting = self.truth.hosts[node].power
            && !self.truth.hosts[node].booted
            && self.darkening(node).next().is_none();
        if booting {
            return Some("it boots: a smaller rung has healed it".into());
        }
        // Something keeps it dark that no smaller rung heals.
        if needed {
            own = None;
        }
        if own.is_none() && passes {
            self.judge.unforeseeable = self.judge.unforeseeable.saturating_add(1);
        }
        own
    }

    /// Acts that the provider took, of one kind on one node.
    pub(crate) fn taken(&self, node: Ix, kind: Kind) -> usize {
        self.judge
            .acts
            .iter()
            .filter(|a| a.node == node && a.kind == kind)
            .count()
    }
}
