//! What the controller gets to know by itself, without asking: heartbeats, reports, and what its poller of Kubernetes sees.
//!
//! Only the latest word counts in the engine's world, so these are not events of their own: before every decision and every change of the
//! truth, what has come in since the last time is worked out, each at the moment at which it came.

use crate::rng::hash;
use crate::scenario::{Fault, Ix, Ms, SECOND};
use crate::sim::Sim;
use crate::truth::Shape;
use iaso_engine::fact::{Finding, KubeNode, Observation, PluginFault, Ready, Severity};
use iaso_engine::id::NodeName;
use iaso_engine::time::Tick;

const HEARTBEAT: Ms = 5 * SECOND;
const REPORT: Ms = 30 * SECOND;
const POLL: Ms = 5 * SECOND;
const SECRETS: Ms = 60 * SECOND;
const RENEWAL: Ms = 10 * SECOND;
/// Kubernetes' own grace before a silent kubelet's node is not Ready.
const GRACE: Ms = 50 * SECOND;
/// A heartbeat that comes so long after the one before is news.
const LATE: std::time::Duration = std::time::Duration::from_secs(12);
/// How many missed heartbeats are looked back over.
const HEARTBEATS_MAX: u64 = 12;

/// The last moment at or before `now` of what happens every `period`, begun at `phase`.
fn last(now: Ms, period: Ms, phase: Ms) -> Option<Ms> {
    let since = now.checked_sub(phase)?;
    Some(now - since.checked_rem(period)?)
}

impl Sim<'_> {
    /// Takes in what came since the last time.
    pub(crate) fn sense(&mut self) {
        let (from, now) = (self.driver.sensed, self.now);
        if !self.driver.up || from >= now {
            return;
        }
        let overload = self.truth.global(|f| f == Fault::ApiOverload).is_some();
        for ix in self.truth.hosts.all() {
            self.renew(ix, from, overload);
        }
        self.poll(from);
        self.ask_secrets(from);
        for ix in self.truth.hosts.all() {
            self.hear(ix, from);
        }
        self.driver.sensed = now;
    }

    fn poll(&mut self, from: Ms) {
        let Some(at) = last(self.now, POLL, 0).filter(|at| *at > from) else {
            return;
        };
        if !self.scenario.has_cluster {
            return;
        }
        let answers = self.truth.api_answers();
        let tick = self.driver.tick(at);
        let trouble = (!answers).then(|| "the API server does not answer".to_owned());
        self.driver
            .world
            .observe(tick, Observation::KubeApi { trouble });
        if answers {
            for ix in self.truth.hosts.all() {
                self.see_node(ix, at);
            }
        }
    }

    /// The real controller asks its secret store now and then.
    fn ask_secrets(&mut self, from: Ms) {
        let Some(at) = last(self.now, SECRETS, 0).filter(|at| *at > from) else {
            return;
        };
        let fault = self.truth.global(|f| f == Fault::SecretStore).is_some();
        let trouble = fault.then(|| "it does not answer".to_owned());
        let tick = self.driver.tick(at);
        self.driver
            .world
            .observe(tick, Observation::SecretStore { trouble });
    }

    fn renew(&mut self, ix: Ix, from: Ms, overload: bool) {
        let phase = phase(self.scenario.seed, ix, RENEWAL, 2);
        let host = &mut self.truth.hosts[ix];
        let renewed = last(self.now, RENEWAL, phase).filter(|at| *at > from);
        if host.shape.renews && !overload && renewed.is_some() {
            host.lease = renewed;
        } else if host.object && host.lease.is_none() && host.shape.renews {
            host.lease = Some(from);
        }
    }

    fn see_node(&mut self, ix: Ix, at: Ms) {
        let tick = self.driver.tick(at);
        let host = &self.truth.hosts[ix];
        let looks = &mut self.driver.looks[ix];
        // A lease that is seen for the first time counts as changed now, as in the real poller.
        if host.lease.is_some() && host.lease != looks.renewed {
            looks.renewed = host.lease;
            looks.lease = Some(tick);
        }
        let lease = looks.lease;
        let recent = host.lease.is_some_and(|r| at.saturating_sub(r) < GRACE);
        let latched = self.truth.has(ix, |f| f == Fault::ReadyLatched);
        let ready = match (recent, latched) {
            (true, false) => Ready::True,
            (true, true) => Ready::False,
            (false, _) => Ready::Unknown,
        };
        let setup = self.truth.setup(ix);
        let known = self
            .driver
            .world
            .nodes
            .get_mut(&setup.name)
            .and_then(|facts| facts.kube.as_mut());
        if let Some(seen) =
            known.filter(|seen| seen.value.exists == host.object && seen.value.ready == ready)
        {
            // What `observe` would put there, without the same words again.
            seen.at = tick;
            seen.value.lease_changed = lease;
            let cordoned = std::mem::replace(&mut seen.value.unschedulable, host.cordoned);
            let data = !seen.value.local_data.is_empty();
            if data != host.data {
                seen.value.local_data = local_data(host.data);
            }
            if cordoned != host.cordoned || data != host.data {
                self.driver.touched.insert(setup.name.clone());
            }
            return;
        }
        let seen = KubeNode {
            exists: host.object,
            ready,
            lease_changed: lease,
            unschedulable: host.cordoned,
            uid: format!("uid-{}", setup.name),
            kubelet_version: "v1.33.4+k3s1".into(),
            stuck_pods: 0,
            local_data: local_data(host.data),
            opt_out: None,
        };
        let node = setup.name.clone();
        self.driver.hear(tick, Observation::Kube { node, seen });
    }

    /// Heartbeats and reports of one agent.
    fn hear(&mut self, ix: Ix, from: Ms) {
        let Some(mut session) = self.truth.hosts[ix].session else {
            return;
        };
        let shape = self.truth.hosts[ix].shape;
        if !shape.session {
            return;
        }
        let node = &self.truth.setup(ix).name;
        let sluggish = self.sluggish(ix);
        if let Some(at) = self.heartbeat(ix, from.max(session.since), sluggish) {
            session.heartbeat = at;
            let tick = self.driver.tick(at);
            let unfit = sluggish > 50 || self.truth.has(ix, |f| f == Fault::Blind { fit: false });
            let self_health = if unfit { 6 } else { 0 };
            match self.driver.world.nodes.get_mut(node) {
                Some(facts) => {
                    let skew_ms = self.truth.setup(ix).skew_ms;
                    // The first heartbeat of a session, or one after a silence, is news.
                    let spoke = facts.heartbeat.is_some_and(|h| tick.since(h) < LATE);
                    if !spoke || (facts.self_health, facts.skew_ms) != (self_health, skew_ms) {
                        self.driver.touched.insert(node.clone());
                    }
                    facts.heartbeat = Some(tick);
                    facts.self_health = self_health;
                    facts.skew_ms = skew_ms;
                }
                None => self.driver.hear(
                    tick,
                    Observation::AgentHeartbeat {
                        node: node.clone(),
                        self_health,
                        skew_ms: self.truth.setup(ix).skew_ms,
                    },
                ),
            }
        }
        let due = last(self.now, REPORT, phase(self.scenario.seed, ix, REPORT, 3));
        let due = match session.reported {
            // A new session brings the latest word of every plugin.
            None => Some(session.since.saturating_add(SECOND)).filter(|at| *at <= self.now),
            Some(before) => due.filter(|at| *at > before),
        };
        if let Some(at) = due {
            session.reported = Some(at);
            let broken = self.truth.has(ix, |f| f == Fault::PluginBroken);
            self.report(node, shape, broken, at);
        }
        self.truth.hosts[ix].session = Some(session);
    }

    /// The latest heartbeat that came after `from`: some are lost, some are late.
    fn heartbeat(&self, ix: Ix, from: Ms, sluggish: u64) -> Option<Ms> {
        let phase = phase(self.scenario.seed, ix, HEARTBEAT, 4);
        let newest = last(self.now, HEARTBEAT, phase)?;
        let lost = self.scenario.net.loss.saturating_add(sluggish * 10);
        (0..HEARTBEATS_MAX).find_map(|back| {
            let sent = newest.checked_sub(back * HEARTBEAT)?;
            let drawn = hash(self.scenario.seed, [sent, ix.0 as u64, 5]);
            let delay = if sluggish > 0 { drawn % 4_000 } else { 0 };
            let came = sent.saturating_add(delay);
            let arrives = came > from && came <= self.now;
            (arrives && (drawn >> 20) % 1_000 >= lost).then_some(came)
        })
    }

    fn report(&mut self, node: &NodeName, shape: Shape, broken: bool, at: Ms) {
        let tick = self.driver.tick(at);
        let found = shape.finding.map(|index| self.truth.strike(index));
        for plugin in ["coredns", "k3s-agent"] {
            let own = found.filter(|s| (s.fault == Fault::K3sDown) == (plugin == "k3s-agent"));
            let code = if plugin == "coredns" {
                "coredns.upstream-timeout"
            } else {
                "k3s-agent.dead"
            };
            let finding = own.filter(|_| !broken).map(|strike| Finding {
                code: code.into(),
                severity: Severity::Critical,
                subject: plugin.into(),
                summary: "seen by the plugin".into(),
                remedies: strike.remedies.clone(),
                attributes: Vec::new(),
            });
            let fault = broken.then(|| PluginFault {
                class: "trap".into(),
                message: "unreachable".into(),
            });
            self.tell_report(node, plugin, (finding, fault), tick);
        }
    }

    fn tell_report(
        &mut self,
        node: &NodeName,
        plugin: &str,
        said: (Option<Finding>, Option<PluginFault>),
        tick: Tick,
    ) {
        let (finding, fault) = said;
        let known = self
            .driver
            .world
            .nodes
            .get_mut(node)
            .and_then(|facts| facts.plugins.get_mut(plugin));
        if let Some(run) = known.filter(|run| {
            finding.is_none()
                && fault.is_none()
                && run.value.critical_since.is_none()
                && run.value.fault.is_none()
        }) {
            run.at = tick;
            return;
        }
        self.driver.hear(
            tick,
            Observation::Report {
                node: node.clone(),
                plugin: plugin.into(),
                findings: finding.into_iter().collect(),
                fault,
            },
        );
    }

    /// In a hundred, how much of what it says is late or lost.
    pub(crate) fn sluggish(&self, ix: Ix) -> u64 {
        self.truth
            .on(ix)
            .find_map(|(_, strike)| {
                if let Fault::Sluggish(percent) = strike.fault {
                    Some(u64::from(percent))
                } else {
                    None
                }
            })
            .unwrap_or(0)
    }
}

fn phase(seed: u64, ix: Ix, period: Ms, purpose: u64) -> Ms {
    // A quarter of a second is as fine as this model is.
    let drawn = hash(seed, [ix.0 as u64, period, purpose]).checked_rem(period);
    drawn.unwrap_or(0) / 250 * 250
}

fn local_data(lies: bool) -> Vec<String> {
    if lies {
        vec!["the local volume pvc-1".into()]
    } else {
        Vec::new()
    }
}
