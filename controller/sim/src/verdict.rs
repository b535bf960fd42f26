//! How a run ended: what was missed and why, what was left behind, and whether what the engine waits for is true.

use crate::cloud::Kind;
use crate::judge::Wrong;
use crate::reading::{expendable, mode, strictest};
use crate::scenario::{Answer, Fault, Ix, Ms, RebootManner, RecreateManner, SECOND};
use crate::sim::Sim;
use iaso_engine::effect::Action;
use iaso_engine::fact::Role;
use iaso_engine::id::IncidentId;
use iaso_engine::ledger::{Incident, Standing};
use iaso_engine::policy::Mode;
use iaso_engine::record::{Rung, Waiting};

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

    fn at_end(&self, node: Ix, what: String) -> Wrong {
        Wrong {
            at: self.now,
            node: self.truth.setup(node).name.to_string(),
            what,
        }
    }

    fn missed(&self) -> Vec<(Wrong, &'static str)> {
        let mut all = Vec::new();
        for ix in self.truth.hosts.all() {
            let Some((index, rung)) = self.recoverable(ix) else {
                continue;
            };
            let strike = self.truth.strike(index);
            let what = format!(
                "{:?} since {} s, which {rung} heals",
                strike.fault,
                strike.at / SECOND
            );
            all.push((self.at_end(ix, what), self.explain(ix, index, &rung)));
        }
        all
    }

    /// The fault on a node that an allowed rung heals, and which.
    fn recoverable(&self, ix: Ix) -> Option<(usize, Rung)> {
        if self.truth.hosts[ix].shape.is_well() || !self.truth.setup(ix).joined {
            return None;
        }
        let setup = self.truth.setup(ix);
        let allowed = |rung: &Rung| {
            let observed = mode(&self.scenario.policy, setup, rung) == Mode::Observe;
            let server = *rung == Rung::Recreate && setup.role == Role::Server;
            let machine = setup.machine || matches!(rung, Rung::Fix(_));
            !observed && !server && machine
        };
        let mut found = None;
        for (index, strike) in self.truth.on(ix) {
            let heal = &strike.heal;
            let fix = heal
                .fix
                .as_ref()
                .filter(|fix| strike.remedies.contains(fix))
                .map(|fix| Rung::Fix(fix.clone()));
            let dark = matches!(strike.fault, Fault::Cut | Fault::Hang | Fault::PowerOff);
            // Only Kubernetes can say that what answers does not live.
            let stalled = strike.fault == Fault::Stalled && self.scenario.has_cluster;
            let power = dark || stalled;
            let rungs = [
                fix,
                (power && heal.start).then_some(Rung::Start),
                (power && heal.reboot).then_some(Rung::Reboot),
                (dark && heal.recreate).then_some(Rung::Recreate),
            ];
            let rung = rungs.into_iter().flatten().find(allowed);
            let harmless = matches!(
                strike.fault,
                Fault::PluginBroken | Fault::Sluggish(_) | Fault::Blind { .. } | Fault::SaysRunning
            );
            match rung {
                Some(rung) => found = found.or(Some((index, rung))),
                // Another fault keeps it down, whatever is done about this one.
                None if !harmless => return None,
                None => {}
            }
        }
        found
    }

    /// Why a fault that could have been healed was not, from the truth alone.
    fn explain(&self, ix: Ix, index: usize, rung: &Rung) -> &'static str {
        let strike = self.truth.strike(index);
        let policy = &self.scenario.policy;
        let setup = self.truth.setup(ix);
        let on = |wanted: fn(Fault) -> bool| self.truth.global(wanted).is_some();
        let incident = self.driver.ledger.open_incident(&self.truth.setup(ix).name);
        let approve = mode(policy, setup, rung) == Mode::Approve;
        let data =
            *rung == Rung::Recreate && self.truth.hosts[ix].data && !expendable(policy, setup);
        let yes = incident.is_some_and(|i| self.judge.said_yes(&i.id, rung));
        let smaller = matches!(rung, Rung::Recreate)
            && mode(policy, setup, &Rung::Reboot) == Mode::Approve
            && self.scenario.operator.answer != Answer::Yes;
        if self.cut_short {
            return "time";
        }
        if !self.driver.up || on(|f| matches!(f, Fault::ControllerCut { .. })) {
            return "controller-away";
        }
        if on(|f| f == Fault::Paused) {
            return "paused";
        }
        if on(|f| f == Fault::Journal)
            || (*rung == Rung::Recreate && on(|f| f == Fault::SecretStore))
        {
            return "store";
        }
        if ((approve || data) && !yes) || smaller {
            return "approval";
        }
        self.explain_machine(ix, rung)
            .or_else(|| self.explain_cluster(ix, strike.at, rung))
            .unwrap_or(UNEXPLAINED)
    }

    /// Reasons of the machine and its provider.
    fn explain_machine(&self, ix: Ix, rung: &Rung) -> Option<&'static str> {
        let manner = &self.scenario.provider;
        let policy = &self.scenario.policy;
        let setup = self.truth.setup(ix);
        let observes = |smaller: &Rung| mode(policy, setup, smaller) == Mode::Observe;
        let off = self.truth.has(ix, |f| f == Fault::PowerOff);
        if (off && observes(&Rung::Start)) || (*rung == Rung::Recreate && observes(&Rung::Reboot)) {
            return Some("a smaller rung is only observed");
        }
        if let Rung::Fix(_) = rung {
            let tried = self.truth.hosts[ix].orders.len();
            let agent = self.truth.hosts[ix].shape.session;
            return (!agent)
                .then_some("agent-away")
                .or((tried > 0).then_some("tried"))
                .or(self
                    .truth
                    .has(ix, |f| f == Fault::PluginBroken)
                    .then_some("plugin-broken"));
        }
        if self.truth.provider_trouble().is_some() {
            return Some("provider-unknown");
        }
        if self.truth.has(ix, |f| {
            matches!(
                f,
                Fault::Suspended | Fault::Locked | Fault::SaysRunning | Fault::SaysStopped
            )
        }) {
            return Some("provider-blocked-or-lies");
        }
        if *rung == Rung::Recreate && self.taken(ix, Kind::Recreate) > 0 {
            return Some(if manner.recreate == RecreateManner::Works {
                "recreated-once"
            } else {
                "provider-failed"
            });
        }
        let reboot_broken =
            manner.reboot != RebootManner::Works && self.taken(ix, Kind::Reboot) > 0;
        let server = self.truth.setup(ix).role == Role::Server;
        if reboot_broken && (server || mode(policy, setup, &Rung::Recreate) != Mode::Auto) {
            return Some("provider-failed");
        }
        let recreates = self
            .judge
            .acts
            .iter()
            .filter(|a| a.kind == Kind::Recreate)
            .count();
        let reboots = self.taken(ix, Kind::Reboot);
        let spent = |used: usize, limit: u32| used >= usize::try_from(limit).unwrap_or(usize::MAX);
        let all = self.judge.acts.iter().filter(|a| a.kind != Kind::Recreate);
        let cluster = spent(all.count(), policy.cluster_reboots_per_day);
        if cluster
            || spent(recreates, policy.recreates_per_day)
            || spent(reboots, policy.reboots_per_day)
        {
            return Some("budget");
        }
        (reboots > 0 || self.taken(ix, Kind::Start) > 0).then_some("tried")
    }

    /// Reasons of the cluster around it.
    fn explain_cluster(&self, ix: Ix, since: Ms, rung: &Rung) -> Option<&'static str> {
        let down = self
            .truth
            .hosts
            .iter()
            .filter(|(_, h)| !h.shape.linked || !h.shape.agent || !h.shape.renews)
            .count();
        let limit = self.truth.storm_limit();
        let fix = matches!(rung, Rung::Fix(_));
        if down > limit {
            return Some("storm");
        }
        if self.zone_is_down(ix) {
            return Some("failure-domain");
        }
        let joined = self
            .truth
            .hosts
            .all()
            .filter(|n| self.truth.setup(*n).joined)
            .count();
        if down >= 2 && down.saturating_mul(2) > joined {
            return Some("controller-may-be-cut-off");
        }
        let unsettled = self
            .driver
            .ledger
            .unsettled()
            .any(|e| e.effect.action.is_disruptive());
        if unsettled && self.truth.provider_trouble().is_some() {
            return Some("provider-unknown");
        }
        if self.taken(ix, Kind::Recreate) > 0 {
            return Some("while-it-rejoins");
        }
        let skew_max = self.scenario.policy.clock_skew_secs.saturating_mul(1_000);
        let peers = self
            .truth
            .hosts
            .iter()
            .filter(|(other, h)| {
                *other != ix && h.shape.session && h.shape.kubelet && h.shape.finding.is_none()
            })
            .filter(|(other, _)| {
                let clock = self.truth.setup(*other).skew_ms.unsigned_abs();
                clock <= skew_max
                    && !self.truth.has(*other, |f| {
                        matches!(f, Fault::Blind { .. } | Fault::Sluggish(_))
                    })
            })
            .count();
        let need = usize::try_from(self.scenario.policy.quorum).unwrap_or(usize::MAX);
        if !fix && peers.saturating_add(1) < need {
            return Some("quorum");
        }
        if !fix && self.scenario.has_cluster && !self.truth.api_answers() {
            return Some("kubernetes");
        }
        let lossy = self.scenario.net.loss > 100;
        let young = self.now.saturating_sub(since) < 300 * SECOND;
        lossy.then_some("lossy-network").or(young.then_some("time"))
    }

    /// Most of the failure domain that it is declared to be in is down.
    fn zone_is_down(&self, ix: Ix) -> bool {
        let Some(zone) = self.truth.setup(ix).zone else {
            return false;
        };
        let inside = |n: &Ix| self.truth.setup(*n).zone == Some(zone);
        let of = self.truth.hosts.all().filter(inside).count();
        let well = |n: &Ix| self.truth.hosts[*n].shape.is_well();
        let down = self
            .truth
            .hosts
            .all()
            .filter(inside)
            .filter(|n| !well(n))
            .count();
        down >= 2 && down.saturating_mul(2) > of
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
                .any(|(incident, text)| incident == id && text.contains("cordon"));
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

    fn stuck(&self) -> Vec<Wrong> {
        if !self.driver.up || self.cut_short {
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

    fn told(&self, incident: &IncidentId) -> bool {
        self.judge.pages.iter().any(|(id, _)| id == incident)
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
            Waiting::Person { .. } => self.told(&incident.id) || self.told_of_all(),
            Waiting::Approval { rung } => {
                !self.judge.said_yes(&incident.id, rung) && self.told(&incident.id)
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
            Waiting::Budget { .. } => self.told(&incident.id),
            Waiting::Paused { .. } => on(|f| f == Fault::Paused),
            Waiting::Journal { .. } => on(|f| f == Fault::Journal),
            Waiting::SecretStore { .. } => on(|f| f == Fault::SecretStore),
            Waiting::AmICutOff { .. } => {
                on(|f| matches!(f, Fault::ControllerCut { .. })) || self.many_down()
            }
            Waiting::Storm { .. } | Waiting::Domain { .. } | Waiting::Disruption { .. } => {
                self.many_down()
            }
            Waiting::ProviderUnknown { .. } => {
                !self.truth.setup(ix).machine || self.truth.provider_trouble().is_some()
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
            Waiting::FreshFacts { channel } => self.is_silent(ix, channel),
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
    fn told_of_all(&self) -> bool {
        self.many_down() && !self.judge.pages.is_empty()
    }

    fn many_down(&self) -> bool {
        self.truth
            .hosts
            .iter()
            .filter(|(_, h)| !h.shape.is_well() || !h.shape.renews)
            .count()
            > 1
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
