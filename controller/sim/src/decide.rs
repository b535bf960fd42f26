//! One decision of the controller's stand-in: plan, vet, journal, fold, execute; again until the planner has nothing more to say. The real
//! one is `controller/src/driver/decide.rs`.

use crate::driver::index;
use crate::queue::{Event, Vantage};
use crate::scenario::{Answer, Fault, Ix, Ms, SECOND};
use crate::sim::Sim;
use iaso_engine::effect::Effect;
use iaso_engine::fact::{MachineSeen, Observation, ProbeOutcome, ProbeResult};
use iaso_engine::id::IncidentId;
use iaso_engine::ledger::Standing;
use iaso_engine::plan::{Look, Plan};
use iaso_engine::record::{Entry, Record, Rung, Waiting};
use std::collections::BTreeMap;

/// Most plans in one decision.
const PLANS_MAX: usize = 16;
/// How long to wait after the journal refused.
const STORE_RETRY: Ms = 2 * SECOND;
/// As often as the real driver looks again.
const WAKE_MAX: Ms = 5 * SECOND;
/// Shortest time between two looks at a machine, and between two rounds of probes.
const MACHINE_GAP: Ms = SECOND;
const PROBE_GAP: Ms = 5 * SECOND;
/// Other agents that are asked about a node.
const OBSERVERS: usize = 32;
/// A probe's patience.
const PROBE_TIMEOUT: Ms = SECOND;
/// A round is closed after so long: what comes later does not count.
const ROUND_OPEN: Ms = 9 * SECOND;

impl Sim<'_> {
    pub(crate) fn decide(&mut self) {
        if !self.driver.up {
            return;
        }
        self.sense();
        if self.driver.world.store.is_some() && !self.store_is_well_again() {
            return;
        }
        let mut looks = Vec::new();
        let mut next_wake = None;
        for round in 1.. {
            let mut plan = self.plan_vetted();
            let records = std::mem::take(&mut plan.records);
            looks = plan.looks;
            next_wake = plan.next_wake;
            if records.is_empty() {
                break;
            }
            if round >= PLANS_MAX {
                self.driver.unsettled = self.driver.unsettled.saturating_add(1);
                break;
            }
            self.stirred = self.now;
            if !self.journal(records) {
                if self.driver.up {
                    self.store_trouble();
                }
                return;
            }
            if !self.driver.up {
                return;
            }
        }
        self.look(&looks);
        self.arrange_wake(next_wake.map(|tick| self.driver.moment(tick)));
    }

    fn arrange_wake(&mut self, wanted: Option<Ms>) {
        let often = self.now < self.driver.restless;
        let latest = self
            .now
            .saturating_add(if often { WAKE_MAX } else { 60 * SECOND });
        let at = wanted
            .map_or(latest, |at| at.min(latest))
            .max(self.now.saturating_add(250));
        if self.driver.wake != Some(at) {
            self.driver.wake = Some(at);
            self.queue.push(at, Event::Wake(at));
        }
    }

    fn plan_vetted(&mut self) -> Plan {
        let (now, plant) = (self.now, self.plant);
        self.driver.steps = self.driver.steps.saturating_add(1);
        let touched = std::mem::take(&mut self.driver.touched);
        let mut planner = std::mem::take(&mut self.driver.planner);
        let situation = self.driver.situation(now);
        let mut next = plant.plan(&situation, &mut planner, touched);
        if !next
            .records
            .iter()
            .any(|record| matches!(record, Record::Intended { .. }))
        {
            self.driver.vetoed.clear();
            self.driver.planner = planner;
            return next;
        }
        let vetoes: BTreeMap<usize, String> = plant
            .vet(&situation, &next)
            .into_iter()
            .map(|veto| {
                (
                    veto.record_index,
                    format!("{}: {}", veto.invariant, veto.why),
                )
            })
            .collect();
        let mut stopped: BTreeMap<IncidentId, String> = BTreeMap::new();
        for (index, record) in next.records.iter().enumerate() {
            if let (Some(why), Record::Intended { effect }) = (vetoes.get(&index), record) {
                stopped.insert(effect.incident.clone(), why.clone());
            }
        }
        let of_stopped =
            |record: &Record| record.incident().is_some_and(|id| stopped.contains_key(id));
        next.records.retain(|record| !of_stopped(record));
        if !stopped.is_empty() {
            // What was decided has not happened.
            planner.look_again();
        }
        self.driver.planner = planner;
        for (incident, why) in &stopped {
            let known = self.driver.ledger.incidents.contains_key(incident);
            if self.driver.vetoed.get(incident) != Some(why) && known {
                self.driver.vetoes = self.driver.vetoes.saturating_add(1);
                self.judge.vetoed(now, incident, why);
                next.records.push(Record::WaitingChanged {
                    incident: incident.clone(),
                    waiting: vec![Waiting::Vetoed { why: why.clone() }],
                });
            }
        }
        self.driver.vetoed = stopped;
        next
    }

    /// Appends, folds, and executes what is intended. False: nothing was written, or the controller died.
    pub(crate) fn journal(&mut self, records: Vec<Record>) -> bool {
        if !self.driver.up || self.truth.global(|f| f == Fault::Journal).is_some() {
            return false;
        }
        let at = self.driver.tick(self.now);
        let mut fresh = Vec::with_capacity(records.len());
        for record in records {
            let entry = Entry {
                sequence: self.driver.ledger.sequence.saturating_add(1),
                at,
                record,
            };
            if self.driver.ledger.fold(&entry).is_err() {
                self.driver.unfoldable = self.driver.unfoldable.saturating_add(1);
                continue;
            }
            fresh.push(entry.record.clone());
            self.driver.entries.push(entry);
            self.driver.moments.push(self.now);
        }
        for record in fresh {
            self.react(record);
            if !self.driver.up {
                return false;
            }
        }
        true
    }

    fn react(&mut self, record: Record) {
        match record {
            Record::Intended { effect } => self.execute_or_crash(effect),
            Record::Closed { incident, .. } => {
                let prefix = format!("{incident}/");
                self.driver
                    .pursuits
                    .retain(|id, _| !id.as_str().starts_with(&prefix));
            }
            Record::WaitingChanged { incident, waiting } => self.ask_operator(&incident, &waiting),
            Record::ControllerStarted { .. }
            | Record::Noted { .. }
            | Record::IncidentOpened { .. }
            | Record::Diagnosed { .. }
            | Record::RungStarted { .. }
            | Record::RungEnded { .. }
            | Record::Resolved { .. }
            | Record::WouldHave { .. }
            | Record::Approved { .. }
            | Record::Denied { .. }
            | Record::Paused { .. }
            | Record::Resumed { .. }
            | Record::Verifying { .. }
            | Record::VerifyFailed { .. }
            | Record::Parked { .. } => {}
        }
    }

    fn execute_or_crash(&mut self, effect: Effect) {
        let planned = self.scenario.crash_on.iter().enumerate().find(|(i, c)| {
            c.action == effect.action.name()
                && self.driver.crashes_done.get(*i).is_some_and(|done| !done)
        });
        let Some((index, crash)) = planned else {
            return self.execute(effect);
        };
        if let Some(done) = self.driver.crashes_done.get_mut(index) {
            *done = true;
        }
        if crash.sent {
            self.execute(effect);
        }
        self.crash(crash.down, 0);
    }

    fn ask_operator(&mut self, incident: &IncidentId, waiting: &[Waiting]) {
        for why in waiting {
            let Waiting::Approval { rung } = why else {
                continue;
            };
            let question = (incident.clone(), rung.to_string());
            if !self.driver.asked_operator.insert(question) {
                continue;
            }
            let yes = match self.scenario.operator.answer {
                Answer::Yes => true,
                Answer::No => false,
                Answer::Never => continue,
            };
            let event = Event::Operator {
                incident: incident.clone(),
                rung: rung.clone(),
                yes,
            };
            self.later(self.scenario.operator.delay, event);
        }
    }

    pub(crate) fn operator_says(&mut self, incident: &IncidentId, rung: Rung, yes: bool) {
        let open = self
            .driver
            .ledger
            .incidents
            .get(incident)
            .is_some_and(|i| !matches!(i.standing, Standing::Closed(..)));
        if !self.driver.up {
            // The operator's command says that nobody answers, and is tried again.
            let again = Event::Operator {
                incident: incident.clone(),
                rung,
                yes,
            };
            return self.later(10 * SECOND, again);
        }
        if !open {
            return;
        }
        if self.truth.global(|f| f == Fault::Journal).is_some() {
            let again = Event::Operator {
                incident: incident.clone(),
                rung,
                yes,
            };
            return self.later(10 * SECOND, again);
        }
        self.judge.decided(incident, &rung, yes);
        let (incident, who) = (incident.clone(), "operator".to_owned());
        let reason = "looked at it".to_owned();
        let record = Record::decision(incident, rung, yes, who, reason);
        self.stirred = self.now;
        self.journal(vec![record]);
        self.dirty = true;
    }

    fn store_trouble(&mut self) {
        self.driver.planner.look_again();
        let trouble = Some("the disk is full".to_owned());
        self.observe(Observation::Store { trouble });
        self.dirty = false;
        let at = self.now.saturating_add(STORE_RETRY);
        self.driver.wake = Some(at);
        self.queue.push(at, Event::Wake(at));
    }

    fn store_is_well_again(&mut self) -> bool {
        let note = Record::Noted {
            node: None,
            incident: None,
            text: "the journal can be written again".into(),
            unwritten_secs: self.driver.world.unwritten_secs(self.driver.tick(self.now)),
        };
        let well = self.journal(vec![note]);
        if well {
            self.observe(Observation::Store { trouble: None });
            self.dirty = false;
        } else {
            self.store_trouble();
        }
        well
    }

    fn look(&mut self, looks: &[Look]) {
        for look in looks {
            match look {
                // The pursuit asks by itself, more often than the planner does.
                Look::Effect(_) => {}
                Look::Probe(node) => {
                    if let Some(ix) = index(self.scenario, node) {
                        self.probe(ix);
                    }
                }
                Look::Machine(node) => {
                    if let Some(ix) = index(self.scenario, node) {
                        self.ask_machine(ix);
                    }
                }
            }
        }
    }

    fn probe(&mut self, target: Ix) {
        let now = self.now;
        let looks = &mut self.driver.looks[target];
        if looks
            .probed
            .is_some_and(|at| now.saturating_sub(at) < PROBE_GAP)
        {
            return;
        }
        looks.probed = Some(now);
        self.probe_from(Vantage::Controller, target);
        let mut fit: Vec<Ix> = self
            .truth
            .hosts
            .iter()
            .filter(|(ix, host)| *ix != target && host.session.is_some())
            .map(|(ix, _)| ix)
            .collect();
        for _ in 0..OBSERVERS.min(fit.len()) {
            let drawn = self.streams.probes.below(fit.len() as u64);
            let peer = fit.swap_remove(usize::try_from(drawn).unwrap_or(0));
            let hears = self.truth.hosts[peer].shape.session;
            if hears && !self.streams.probes.permille(self.scenario.net.loss) {
                self.probe_from(Vantage::Node(peer), target);
            }
        }
    }

    fn probe_from(&mut self, observer: Vantage, target: Ix) {
        let sluggish = self.sluggish(target);
        let stream = &mut self.streams.probes;
        let lost = stream.percent(sluggish) || stream.permille(self.scenario.net.loss / 4);
        let reached = self.truth.reaches(observer, target) && !lost;
        let travel = if observer == Vantage::Controller {
            500
        } else {
            500 + stream.below(self.scenario.net.delay / 250 + 1) * 250
        };
        let after = travel + if reached { 0 } else { PROBE_TIMEOUT };
        // The real rounds count an answer once, and only while they are open.
        if after > ROUND_OPEN {
            return;
        }
        let event = Event::Probed {
            life: self.driver.life,
            target,
            observer,
            reached,
        };
        self.later(after, event);
    }

    pub(crate) fn probed(&mut self, life: u32, target: Ix, observer: Vantage, reached: bool) {
        let told = crate::driver::observer(self.scenario, observer);
        let node = crate::driver::name(self.scenario, target);
        let (Some(observer), Some(node), true) = (told, node, life == self.driver.life) else {
            return;
        };
        let results = vec![ProbeResult {
            kind: "tcp/22".into(),
            outcome: if reached {
                ProbeOutcome::Reached
            } else {
                ProbeOutcome::Timeout
            },
            rtt_us: None,
        }];
        self.observe(Observation::Probed {
            target: node.clone(),
            observer,
            round: 1,
            results,
        });
    }

    fn ask_machine(&mut self, node: Ix) {
        let now = self.now;
        let looks = &mut self.driver.looks[node];
        let too_soon = looks
            .asked
            .is_some_and(|at| now.saturating_sub(at) < MACHINE_GAP);
        if looks.answer_due || too_soon {
            return;
        }
        looks.asked = Some(now);
        looks.answer_due = true;
        let manner = &self.scenario.provider;
        let stream = &mut self.streams.provider;
        let mut after = stream.between(manner.latency.0, manner.latency.1) / 250 * 250;
        let mut seen = self.cloud.word(&self.truth, node);
        if stream.permille(manner.lost_answers.saturating_add(manner.lost_calls)) {
            after = 20 * SECOND;
            seen = unknown("transport");
        } else if stream.permille(manner.refused) {
            seen = unknown("rate-limited");
        }
        let life = self.driver.life;
        self.later(after.max(250), Event::MachineSaid { life, node, seen });
    }

    pub(crate) fn machine_said(&mut self, life: u32, node: Ix, seen: MachineSeen) {
        if life != self.driver.life {
            return;
        }
        self.driver.looks[node].answer_due = false;
        if let Some(node) = crate::driver::name(self.scenario, node).cloned() {
            self.observe(Observation::Machine { node, seen });
        }
    }
}

fn unknown(class: &str) -> MachineSeen {
    MachineSeen::Unknown {
        class: class.into(),
        message: "the provider does not say".into(),
    }
}
