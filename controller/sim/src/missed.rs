//! What was missed: nodes that an allowed rung would have healed and that are down at the end, and why, from the truth.
//!
//! **Invariant**: what ends a run early, or explains a node that is left down for ever, is a state of the modelled world or its owner's word;
//! and where it is a hold of the engine's own, a person was told.

use crate::cloud::Kind;
use crate::judge::{Act, Wrong};
use crate::queue::Vantage;
use crate::reading::{expendable, mode};
use crate::scenario::{Answer, Fault, Ix, Ms, RebootManner, RecreateManner, SECOND};
use crate::sim::Sim;
use crate::verdict::UNEXPLAINED;
use iaso_engine::fact::Role;
use iaso_engine::ledger::Standing;
use iaso_engine::policy::Mode;
use iaso_engine::record::Rung;

/// What began so shortly before the end has not had its time.
const LATE: Ms = 1_800 * SECOND;

impl Sim<'_> {
    pub(crate) fn missed(&self) -> Vec<(Wrong, &'static str)> {
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
        // Without Kubernetes nobody knows what lies on it.
        let data = *rung == Rung::Recreate
            && (self.truth.hosts[ix].data || !self.scenario.has_cluster)
            && !expendable(policy, setup);
        let yes = incident.is_some_and(|i| self.judge.said_yes(&i.id, rung));
        let no = incident.is_some_and(|i| {
            let said = self.judge.decisions.get(&(i.id.clone(), rung.clone()));
            said == Some(&false)
        });
        let asks_before = |smaller: Rung| mode(policy, setup, &smaller) == Mode::Approve;
        let off = self.truth.has(ix, |f| f == Fault::PowerOff);
        let smaller = self.scenario.operator.answer != Answer::Yes
            && ((*rung == Rung::Recreate && asks_before(Rung::Reboot))
                || (off && *rung != Rung::Start && asks_before(Rung::Start)));
        if self.late && self.now.saturating_sub(strike.at) < LATE {
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
        if ((approve || data) && !yes) || smaller || no {
            return "approval";
        }
        let hung = (strike.fault == Fault::Stalled).then(|| self.explain_hung(ix));
        if *rung == Rung::Reboot && self.would_end_the_control_plane(ix) {
            return "etcd-quorum";
        }
        if self.next_is_held(ix) {
            return "approval";
        }
        if self.is_stranger(ix) {
            return "never-seen-by-this-controller";
        }
        self.explain_machine(ix, strike.at, rung)
            .or(hung.flatten())
            .or_else(|| self.explain_cluster(ix, strike.at, rung))
            .unwrap_or(UNEXPLAINED)
    }

    /// Reasons of the machine and its provider.
    fn explain_machine(&self, ix: Ix, since: Ms, rung: &Rung) -> Option<&'static str> {
        let manner = &self.scenario.provider;
        let policy = &self.scenario.policy;
        let setup = self.truth.setup(ix);
        let observes = |smaller: &Rung| mode(policy, setup, smaller) == Mode::Observe;
        let off = self.truth.has(ix, |f| f == Fault::PowerOff);
        if (off && observes(&Rung::Start)) || (*rung == Rung::Recreate && observes(&Rung::Reboot)) {
            return Some("a smaller rung is only observed");
        }
        if let Rung::Fix(_) = rung {
            return self.explain_fix(ix);
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
        let switched = reboots.saturating_add(self.taken(ix, Kind::Start));
        if cluster
            || spent(recreates, policy.recreates_per_day)
            || spent(switched, policy.reboots_per_day)
        {
            return Some("budget");
        }
        let needed = match rung {
            Rung::Start => Kind::Start,
            Rung::Reboot => Kind::Reboot,
            Rung::Recreate | Rung::Fix(_) | Rung::Rescue | Rung::Page => Kind::Recreate,
        };
        // One of this incident that came before this fault, which nobody could tell from the one before it.
        let incident = self.driver.ledger.open_incident(&setup.name);
        let told = incident.filter(|i| self.told(ix, &i.id));
        let before = |a: &Act| told.is_some_and(|i| i.id == a.incident);
        let taken = |a: &Act| a.node == ix && a.kind == needed && (a.at >= since || before(a));
        if self.judge.acts.iter().any(taken) {
            return Some("tried");
        }
        self.in_hand(ix).then_some("a person has it in hand")
    }

    /// Reasons why no fix was applied.
    fn explain_fix(&self, ix: Ix) -> Option<&'static str> {
        let tried = self.truth.hosts[ix].orders.len();
        let agent = self.truth.hosts[ix].shape.session;
        (!agent)
            .then_some("agent-away")
            .or((tried > 0).then_some("tried"))
            .or(self.in_hand(ix).then_some("a person has it in hand"))
            .or(self
                .truth
                .has(ix, |f| f == Fault::PluginBroken)
                .then_some("plugin-broken"))
    }

    /// Whatever the incident allows was done to the machine, and a person was told.
    fn in_hand(&self, ix: Ix) -> bool {
        let incident = self.driver.ledger.open_incident(&self.truth.setup(ix).name);
        incident.is_some_and(|i| {
            let acted = self.judge.acts.iter().any(|a| a.incident == i.id);
            let mut said = self.judge.decisions.iter();
            let no = said.any(|((incident, _), yes)| *incident == i.id && !yes);
            (acted || no) && i.standing == Standing::Parked && self.told(ix, &i.id)
        })
    }

    /// Some who are asked cannot see what answers: nobody can tell a hung machine from a partition.
    fn observers_disagree(&self, ix: Ix) -> bool {
        let path = self.truth.has(ix, |f| matches!(f, Fault::Path { .. }));
        let blind = |f| matches!(f, Fault::Blind { .. } | Fault::Sluggish(_));
        // Where this many answers are asked for while it must stand, one of them is lost: in thousandths.
        let policy = &self.scenario.policy;
        let rounds = policy.silence_secs / policy.probe_round_secs.max(1);
        let asked = rounds.saturating_mul(self.truth.hosts.len() as u64);
        let lossy = asked.saturating_mul(self.scenario.net.loss) >= 1_000;
        path || lossy
            || self
                .truth
                .hosts
                .all()
                .any(|other| self.truth.has(other, blind))
    }

    /// Reasons of the cluster around a machine that answers and does not live.
    fn explain_hung(&self, ix: Ix) -> Option<&'static str> {
        let incident = self
            .driver
            .ledger
            .open_incident(&self.truth.setup(ix).name)?;
        if !self.told(ix, &incident.id) {
            return None;
        }
        if self.others_away(ix).saturating_add(1) > self.truth.storm_limit() {
            return Some("others-away");
        }
        self.observers_disagree(ix).then_some("observers-disagree")
    }

    /// A server whose reboot could end the control plane waits for a person's yes.
    fn would_end_the_control_plane(&self, ix: Ix) -> bool {
        let server = |n: &Ix| self.truth.setup(*n).role == Role::Server;
        let all = self.truth.hosts.all().filter(server).count();
        let well = |n: &Ix| {
            let shape = self.truth.hosts[*n].shape;
            *n != ix && shape.session && shape.renews
        };
        let others = self.truth.hosts.all().filter(server).filter(well).count();
        let incident = self.driver.ledger.open_incident(&self.truth.setup(ix).name);
        let told = incident
            .is_some_and(|i| self.told(ix, &i.id) && !self.judge.said_yes(&i.id, &Rung::Reboot));
        server(&ix) && all > 1 && others < all / 2 + 1 && told
    }

    /// It was rebooted in vain, and the recreate that comes next waits for a person's yes.
    fn next_is_held(&self, ix: Ix) -> bool {
        let policy = &self.scenario.policy;
        let setup = self.truth.setup(ix);
        // Without Kubernetes nobody knows what lies on it.
        let lies = self.truth.hosts[ix].data || !self.scenario.has_cluster;
        let data = lies && !expendable(policy, setup);
        let asks = data || mode(policy, setup, &Rung::Recreate) == Mode::Approve;
        let incident = self.driver.ledger.open_incident(&self.truth.setup(ix).name);
        incident.is_some_and(|i| {
            let rebooted = |a: &Act| a.incident == i.id && a.kind == Kind::Reboot;
            let rebooted = self.judge.acts.iter().any(rebooted);
            let yes = self.judge.said_yes(&i.id, &Rung::Recreate);
            asks && rebooted && !yes && self.told(ix, &i.id)
        })
    }

    /// It fell ill while the controller was away, and there is no Kubernetes that would know it: it may never have joined. A person was told.
    fn is_stranger(&self, ix: Ix) -> bool {
        let name = &self.truth.setup(ix).name;
        let told = self.driver.ledger.open_incident(name);
        let told = told.is_some_and(|i| self.told(ix, &i.id));
        let spoke = self.truth.hosts[ix].spoke_to == Some(self.driver.life);
        !self.scenario.has_cluster && !spoke && told
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
        if down > limit || (self.away() > limit && self.told_of_all()) {
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
        if (down >= 2 && down.saturating_mul(2) > joined) || self.looks_cut_off() {
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
                        matches!(
                            f,
                            Fault::Blind { .. } | Fault::Sluggish(_) | Fault::ReadyLatched
                        )
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
        if !fix && self.provider_says_too_little(ix) {
            return Some("provider-says-too-little");
        }
        let lossy = self.scenario.net.loss > 100;
        let young = self.now.saturating_sub(since) < 300 * SECOND;
        lossy.then_some("lossy-network").or(young.then_some("time"))
    }

    /// Nodes that do not live, that Kubernetes does not hear, or that the controller lost and does not reach.
    fn away(&self) -> usize {
        let all = self.truth.hosts.iter();
        all.filter(|(ix, h)| !h.shape.agent || !h.shape.renews || self.is_lost(*ix))
            .count()
    }

    /// While a diagnosis must stand, the provider is asked so often and answers so seldom that none stands. A person was told.
    fn provider_says_too_little(&self, ix: Ix) -> bool {
        let manner = &self.scenario.provider;
        let policy = &self.scenario.policy;
        let lost = manner.lost_calls.saturating_add(manner.lost_answers);
        let lost = lost.saturating_add(manner.refused);
        let every_secs = (policy.machine_fresh_secs / 2).max(1);
        let asked = policy.confirm_secs / every_secs;
        let incident = self.driver.ledger.open_incident(&self.truth.setup(ix).name);
        // At three lost on the average, one in twenty such spans has none.
        asked.saturating_mul(lost) >= 3_000 && incident.is_some_and(|i| self.told(ix, &i.id))
    }

    /// The controller lost most of the nodes, and reaches none of those.
    fn looks_cut_off(&self) -> bool {
        let lost = |ix: &Ix| !self.truth.hosts[*ix].shape.session;
        let reached = |ix| self.truth.reaches(Vantage::Controller, ix);
        self.most_are_lost() && !self.truth.hosts.all().filter(lost).any(reached)
    }

    /// Most of the failure domain that it is declared to be in is down.
    fn zone_is_down(&self, ix: Ix) -> bool {
        let Some(zone) = self.truth.setup(ix).zone else {
            return false;
        };
        let inside = |n: &Ix| self.truth.setup(*n).zone == Some(zone);
        let of = self.truth.hosts.all().filter(inside).count();
        let well =
            |n: &Ix| self.truth.hosts[*n].shape.is_well() && self.truth.hosts[*n].shape.renews;
        let down = self
            .truth
            .hosts
            .all()
            .filter(inside)
            .filter(|n| !well(n))
            .count();
        down >= 2 && down.saturating_mul(2) > of
    }
}
