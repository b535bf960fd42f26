//! How a run ended: what was missed and why, what was left behind, and whether what the engine waits for is true.

use crate::cloud::Kind;
use crate::judge::Wrong;
use crate::queue::Vantage;
use crate::reading::strictest;
use crate::scenario::{Fault, Ix, Ms, SECOND};
use crate::sim::Sim;
use iaso_engine::effect::Action;
use iaso_engine::fact::Role;
use iaso_engine::id::IncidentId;
use iaso_engine::ledger::{Incident, Standing};
use iaso_engine::policy::Mode;
use iaso_engine::record::Waiting;

/// What the judge says of one run.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Recreates that were not justified.
    pub false_recreates: Vec<Wrong>,
    /// Reboots and starts that were not.
    pub false_reboots: Vec<Wrong>,
    /// Two disruptive acts at once on one node, or two recreates for one incident.
    pub double_actions: Vec<Wrong>,
    /// Disruptive acts on two nodes at once.
    pub overlaps: Vec<Wrong>,
    /// Releases without a fence.
    pub unfenced: Vec<Wrong>,
    /// Engine and checker disagreed.
    pub vetoes: Vec<Wrong>,
    /// Recoverable by the allowed rungs and down at the end; each with its explanation.
    pub missed: Vec<(Wrong, &'static str)>,
    /// Cordoned by Iaso, and nobody will ever know.
    pub left_cordoned: Vec<Wrong>,
    /// Open at the end, without a reason that is true.
    pub stuck: Vec<Wrong>,
    /// The journal could not be folded, or the planner did not settle.
    pub broken: u64,
    /// Recreated, and the fault would have passed by itself.
    pub unforeseeable: u64,
    /// Recreates that the provider took.
    pub recreates: u64,
    /// Reboots that it took.
    pub reboots: u64,
    /// Fixes that agents ran.
    pub fixes: u64,
    /// Fault classes that Iaso healed, and how long each took.
    pub recovered: Vec<(&'static str, Ms)>,
}

/// A page about a node is in its operator's mind for so long.
const TOLD: Ms = 3_600 * SECOND;

/// An explanation that is none.
pub const UNEXPLAINED: &str = "unexplained";

impl Verdict {
    /// Nothing that must never happen did.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.wrongs().next().is_none() && self.broken == 0
    }

    /// Everything that must never happen, and did; each with its kind.
    pub fn wrongs(&self) -> impl Iterator<Item = (&'static str, &Wrong)> {
        let unexplained = self
            .missed
            .iter()
            .filter(|(_, why)| *why == UNEXPLAINED)
            .map(|(wrong, _)| ("missed", wrong));
        let kinds = [
            ("false-recreate", &self.false_recreates),
            ("false-reboot", &self.false_reboots),
            ("double-action", &self.double_actions),
            ("overlap", &self.overlaps),
            ("unfenced", &self.unfenced),
            ("veto", &self.vetoes),
            ("left-cordoned", &self.left_cordoned),
            ("stuck", &self.stuck),
        ];
        kinds
            .into_iter()
            .flat_map(|(kind, all)| all.iter().map(move |wrong| (kind, wrong)))
            .chain(unexplained)
    }
}

impl Sim<'_> {
    pub(crate) fn sum_up(&mut self) -> Verdict {
        let missed = self.missed();
        let left_cordoned = self.left_cordoned();
        let stuck = self.stuck();
        let count = |kind| self.judge.acts.iter().filter(|a| a.kind == kind).count() as u64;
        let (recreates, reboots) = (count(Kind::Recreate), count(Kind::Reboot));
        let fixes = self
            .truth
            .hosts
            .iter()
            .map(|(_, h)| h.orders.len() as u64)
            .sum();
        let judge = std::mem::take(&mut self.judge);
        Verdict {
            false_recreates: judge.false_recreates,
            false_reboots: judge.false_reboots,
            double_actions: judge.double_actions,
            overlaps: judge.overlaps,
            unfenced: judge.unfenced,
            vetoes: judge.vetoes,
            missed,
            left_cordoned,
            stuck,
            broken: self.driver.unfoldable.saturating_add(self.driver.unsettled),
            unforeseeable: judge.unforeseeable,
            recreates,
            reboots,
            fixes,
            recovered: judge.recovered,
        }
    }

    pub(crate) fn at_end(&self, node: Ix, what: String) -> Wrong {
        Wrong {
            at: self.now,
            node: self.truth.setup(node).name.to_string(),
            what,
        }
    }

    fn left_cordoned(&self) -> Vec<Wrong> {
        let mut all = Vec::new();
        for (ix, id) in &self.judge.cordons {
            let open = self
                .driver
                .ledger
                .incidents
                .get(id)
                .filter(|i| !matches!(i.standing, Standing::Closed(..)));
            let told = self
                .judge
                .pages
                .iter()
                .any(|page| page.incident == *id && page.text.contains("cordon"));
            let known = match open {
                None => false,
                Some(incident) => incident.standing != Standing::Parked || told,
            };
            if !known {
                all.push(self.at_end(*ix, format!("cordoned by {id} and forgotten")));
            }
        }
        all
    }

    pub(crate) fn stuck(&self) -> Vec<Wrong> {
        if !self.driver.up {
            return Vec::new();
        }
        let open = self
            .driver
            .ledger
            .incidents
            .values()
            .filter(|i| !matches!(i.standing, Standing::Closed(..)));
        let mut all = Vec::new();
        for incident in open {
            let Some(ix) = crate::driver::index(self.scenario, &incident.node) else {
                continue;
            };
            let effects = incident.effects.iter().filter(|e| !e.is_settled());
            let in_flight = effects
                .clone()
                .any(|e| !matches!(e.effect.action, Action::Page { .. }));
            let truly = incident
                .waiting
                .iter()
                .any(|w| self.is_true(ix, incident, w));
            if !truly && !in_flight {
                let waiting: Vec<String> =
                    incident.waiting.iter().map(ToString::to_string).collect();
                let what = format!("{} waits for [{}]", incident.id, waiting.join("; "));
                all.push(self.at_end(ix, what));
            }
        }
        all
    }

    /// A person was told in this incident, or of this node not long ago.
    pub(crate) fn told(&self, ix: Ix, incident: &IncidentId) -> bool {
        self.judge.pages.iter().any(|page| {
            let lately = self.now.saturating_sub(page.at) < TOLD;
            page.incident == *incident || (page.node == ix && lately)
        })
    }

    /// Whether what an incident waits for is so.
    fn is_true(&self, ix: Ix, incident: &Incident, waiting: &Waiting) -> bool {
        let soon = |until| self.driver.moment(until) >= self.now;
        let on = |wanted: fn(Fault) -> bool| self.truth.global(wanted).is_some();
        match waiting {
            Waiting::Patience { until, .. }
            | Waiting::Verifying { until }
            | Waiting::Cooldown { until, .. }
            | Waiting::Window { until, .. } => soon(*until),
            Waiting::Person { .. } => self.told(ix, &incident.id) || self.told_of_all(),
            Waiting::Approval { rung } => {
                !self.judge.said_yes(&incident.id, rung) && self.told(ix, &incident.id)
            }
            Waiting::Denied { rung } => {
                self.judge
                    .decisions
                    .get(&(incident.id.clone(), rung.clone()))
                    == Some(&false)
            }
            Waiting::LocalData { .. } => self.truth.hosts[ix].data,
            Waiting::ObserveOnly { rung } => {
                strictest(&self.scenario.policy, self.truth.setup(ix), rung) == Mode::Observe
            }
            Waiting::ControlPlane | Waiting::EtcdQuorum { .. } => {
                self.truth.setup(ix).role == Role::Server
            }
            Waiting::Budget { .. } => self.told(ix, &incident.id),
            Waiting::Paused { .. } => on(|f| f == Fault::Paused),
            Waiting::Journal { .. } => on(|f| f == Fault::Journal),
            Waiting::SecretStore { .. } => on(|f| f == Fault::SecretStore),
            Waiting::AmICutOff { .. } => self.most_are_lost(),
            Waiting::Storm { .. } | Waiting::Domain { .. } => self.many_down(),
            Waiting::Disruption { .. } => {
                self.others_away(ix).saturating_add(1) > self.truth.storm_limit()
                    && self.told(ix, &incident.id)
            }
            Waiting::ProviderUnknown { .. } => {
                // It calls a machine stopped that answers, and a person was told.
                let lies = self.truth.has(ix, |f| f == Fault::SaysStopped)
                    && !self.truth.hosts[ix].shape.dark;
                !self.truth.setup(ix).machine
                    || self.truth.provider_trouble().is_some()
                    || (lies && self.told(ix, &incident.id))
            }
            Waiting::ProviderBusy { .. } => {
                self.cloud.pending(ix).is_some()
                    || self
                        .truth
                        .has(ix, |f| matches!(f, Fault::Suspended | Fault::Locked))
            }
            Waiting::KubeUnknown { .. } => {
                !self.truth.api_answers() || on(|f| f == Fault::ApiOverload)
            }
            Waiting::Quorum { .. } => {
                !self.truth.hosts[ix].shape.dark || self.observers(ix) < self.scenario.policy.quorum
            }
            // A word that is truly not to be had.
            Waiting::FreshFacts { channel } => {
                let latched = self.truth.has(ix, |f| f == Fault::ReadyLatched);
                self.is_silent(ix, channel) || (latched && self.told(ix, &incident.id))
            }
            Waiting::InFlight { effect } => self
                .driver
                .ledger
                .effect(effect)
                .is_some_and(|e| !e.is_settled()),
            Waiting::Canary { .. } => self.judge.stormed,
            Waiting::ProviderOutage { .. } => self.truth.provider_trouble().is_some(),
            Waiting::OptOut { .. } | Waiting::Vetoed { .. } => false,
        }
    }

    /// Whether a channel, in truth, says nothing that counts of this node.
    fn is_silent(&self, ix: Ix, channel: &str) -> bool {
        if channel == "provider" {
            return self.truth.provider_trouble().is_some();
        }
        let api = self.scenario.has_cluster
            && (!self.truth.api_answers()
                || self.truth.global(|f| f == Fault::ApiOverload).is_some());
        let host = &self.truth.hosts[ix];
        let checks = self.truth.has(ix, |f| f == Fault::PluginBroken);
        api || checks || !host.shape.renews || !host.shape.is_well() || !host.shape.session
    }

    /// A hold of the whole cluster is told once, for one of the nodes.
    pub(crate) fn told_of_all(&self) -> bool {
        self.many_down() && !self.judge.pages.is_empty()
    }

    /// The controller has no session with most of the nodes that joined, or with none of them.
    pub(crate) fn most_are_lost(&self) -> bool {
        let joined = |ix: &Ix| self.truth.setup(*ix).joined;
        let of = self.truth.hosts.all().filter(joined).count();
        let has_none = |ix: &Ix| !self.truth.hosts[*ix].shape.session;
        let lost = self.truth.hosts.all().filter(joined).filter(has_none);
        let lost = lost.count();
        lost >= 1 && (lost == of || (lost >= 2 && lost.saturating_mul(2) > of))
    }

    /// Other nodes that do no share of the work: not well, not heard by Kubernetes, cordoned, or never joined.
    pub(crate) fn others_away(&self, ix: Ix) -> usize {
        let away = |host: &crate::truth::Host| {
            host.cordoned || !host.shape.is_well() || !host.shape.session || !host.shape.renews
        };
        let latched = |ix| self.truth.has(ix, |f| f == Fault::ReadyLatched);
        let others = self.truth.hosts.iter().filter(|(other, _)| *other != ix);
        others
            .filter(|(other, host)| away(host) || latched(*other))
            .count()
    }

    fn many_down(&self) -> bool {
        self.truth
            .hosts
            .iter()
            .filter(|(ix, h)| !h.shape.is_well() || !h.shape.renews || self.is_lost(*ix))
            .count()
            > 1
    }

    /// The controller has no session with it, and does not reach it.
    pub(crate) fn is_lost(&self, ix: Ix) -> bool {
        !self.truth.hosts[ix].shape.session && !self.truth.reaches(Vantage::Controller, ix)
    }

    fn observers(&self, ix: Ix) -> u32 {
        let peers = self
            .truth
            .hosts
            .iter()
            .filter(|(other, h)| *other != ix && h.shape.session)
            .count();
        u32::try_from(peers).unwrap_or(u32::MAX).saturating_add(1)
    }
}
