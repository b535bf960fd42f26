//! One run: the modelled world, event by event, with the real planner and the real checker in the middle.
//!
//! **Invariants**
//! - The same scenario gives the same run, bit for bit: no clock, no randomness but the seed's, no order of threads.
//! - The planner is asked as the real driver asks it: when something came in, and when its own `next_wake` is due.
//! - A crash takes everything but the journal; calls that are on their way to the provider arrive all the same.

use crate::chronicle::Chronicle;
use crate::cloud::Cloud;
use crate::driver::Driver;
use crate::judge::Judge;
use crate::plant::Plant;
use crate::queue::{Event, Queue};
use crate::rng::{Stream, hash};
use crate::scenario::{Fault, Ix, Ms, SECOND, Scenario};
use crate::truth::{Session, Truth};
use crate::verdict::{UNEXPLAINED, Verdict};
use iaso_engine::effect::{Action, Effect};
use iaso_engine::fact::Observation;
use iaso_engine::ledger::{Incident, Standing};
use iaso_engine::record::{Entry, Record, Waiting};

/// For so long after a change of the truth.
/// How long a supervisor takes to start a controller again.
const RESTART: Ms = 5 * SECOND;
const RESTLESS: Ms = 40 * SECOND;
/// Nothing follows by itself after so long without a record, beyond what an incident says that it waits for.
const QUIET: Ms = 330 * SECOND;
/// The same while an effect is in flight: longer than an operation may take.
const QUIET_IN_FLIGHT: Ms = 1_000 * SECOND;
/// The same, where everything that is open waits for a person.
const QUIET_PERSON: Ms = 65 * SECOND;
/// A run that has come to no good end by its horizon has so much longer, and ends at the first moment at which everything is in order.
const GRACE: Ms = 3_600 * SECOND;
/// Every channel has said what changed after so long.
const NOTICED: Ms = 200 * SECOND;
/// A machine that answers for less than this between two silences has been dark all the time, for all that anybody can know.
const BLINK: Ms = 20 * SECOND;
/// After so many events a run is cut off: it would go on for ever.
const EVENTS_MAX: u64 = 2_000_000;

/// One stream for each purpose.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) probes: Stream,
    pub(crate) provider: Stream,
    pub(crate) agents: Stream,
    pub(crate) kube: Stream,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Run {
    /// What the judge says.
    pub verdict: Verdict,
    /// The journal.
    pub entries: Vec<Entry>,
    /// When each entry was written, by the run's own clock: the controller's may jump.
    pub moments: Vec<Ms>,
    /// What was really so, if it was asked for.
    pub chronicle: Chronicle,
    /// What really happened, if it was asked for.
    pub happenings: Vec<(Ms, String)>,
    /// When it ended.
    pub ended: Ms,
    /// Plans that were made.
    pub steps: u64,
}

pub(crate) struct Sim<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) plant: Plant,
    pub(crate) now: Ms,
    pub(crate) queue: Queue,
    pub(crate) truth: Truth<'a>,
    pub(crate) cloud: Cloud,
    pub(crate) driver: Driver,
    pub(crate) judge: Judge,
    pub(crate) streams: Streams,
    /// Something came in since the last decision.
    pub(crate) dirty: bool,
    /// When the last record was written, or the truth last changed.
    pub(crate) stirred: Ms,
    /// When the truth last changed.
    changed: Ms,
    pub(crate) happenings: Option<Vec<(Ms, String)>>,
    pub(crate) chronicle: Chronicle,
    /// The horizon has passed.
    pub(crate) late: bool,
}

/// Runs a scenario to its end.
#[must_use]
pub fn run(scenario: &Scenario, plant: Plant) -> Run {
    Sim::new(scenario, plant, false).run()
}

/// Runs a scenario to its end, and keeps what really happened.
#[must_use]
pub fn run_told(scenario: &Scenario, plant: Plant) -> Run {
    Sim::new(scenario, plant, true).run()
}

impl<'a> Sim<'a> {
    fn new(scenario: &'a Scenario, plant: Plant, told: bool) -> Self {
        let stream = |purpose| Stream::new(scenario.seed, purpose);
        Self {
            scenario,
            plant,
            now: 0,
            queue: Queue::default(),
            truth: Truth::new(scenario),
            cloud: Cloud::default(),
            driver: Driver::new(scenario),
            judge: Judge::default(),
            streams: Streams {
                probes: stream("probes"),
                provider: stream("provider"),
                agents: stream("agents"),
                kube: stream("kube"),
            },
            dirty: false,
            stirred: 0,
            changed: 0,
            happenings: told.then(Vec::new),
            chronicle: Chronicle::default(),
            late: false,
        }
    }

    fn run(mut self) -> Run {
        for (index, strike) in self.scenario.strikes.iter().enumerate() {
            self.queue.push(strike.at, Event::StrikeBegins(index));
        }
        self.begin(0);
        let mut events = 0_u64;
        while let Some((at, event)) = self.queue.pop() {
            events = events.saturating_add(1);
            if events > EVENTS_MAX {
                self.driver.unsettled = self.driver.unsettled.saturating_add(1);
                break;
            }
            self.late = at > self.scenario.horizon;
            if at > self.scenario.horizon.saturating_add(GRACE) {
                break;
            }
            self.now = at;
            self.handle(event);
            let more = self.queue.next_at() == Some(at);
            if self.dirty && !more {
                self.dirty = false;
                self.decide();
                if (self.late || self.is_over()) && self.is_in_order() {
                    break;
                }
            }
        }
        let verdict = self.sum_up();
        Run {
            verdict,
            entries: self.driver.entries,
            moments: self.driver.moments,
            chronicle: self.chronicle,
            happenings: self.happenings.unwrap_or_default(),
            ended: self.now,
            steps: self.driver.steps,
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::StrikeBegins(index) => self.strike_begins(index),
            Event::StrikeEnds(index) => self.strike_ends(index),
            Event::Boots(ix, boot) => self.boots(ix, boot),
            Event::Settles(ix) => self.change(&[ix], |_| {}),
            Event::Dials(ix) => self.dials(ix),
            Event::SessionDies(ix, number) => self.session_dies(ix, number),
            Event::Wake(at) => self.dirty |= self.driver.wake == Some(at),
            Event::Restart(clock_ms) => self.restart(clock_ms),
            Event::Probed {
                life,
                target,
                observer,
                reached,
            } => self.probed(life, target, observer, reached),
            Event::MachineSaid { life, node, seen } => self.machine_said(life, node, seen),
            Event::CallArrives {
                life,
                effect,
                answer_lost,
                timeout,
            } => self.call_arrives(life, &effect, answer_lost, timeout),
            Event::CallAnswered {
                life,
                effect,
                reply,
            } => self.call_answered(life, &effect, &reply),
            Event::OperationEnds(number) => self.operation_ends(number),
            Event::Pursue { life, effect } => self.pursue(life, &effect),
            Event::Short { life, effect } => self.short(life, &effect),
            Event::FixArrives { node, effect } => self.fix_arrives(node, &effect),
            Event::FixEnds {
                node,
                effect,
                agent,
            } => self.fix_ends(node, &effect, agent),
            Event::Told {
                life,
                effect,
                outcome,
            } => self.resolve(life, &effect, *outcome),
            Event::Operator {
                incident,
                rung,
                yes,
            } => self.operator_says(&incident, rung, yes),
        }
    }

    /// A controller that cannot journal its first entry must not lead: it ends, and is started again.
    fn restart(&mut self, clock_ms: i64) {
        if self.truth.global(|f| f == Fault::Journal).is_some() {
            let again = self.now.saturating_add(RESTART);
            return self.queue.push(again, Event::Restart(clock_ms));
        }
        self.begin(clock_ms);
    }

    /// A controller starts.
    fn begin(&mut self, clock_ms: i64) {
        self.tell(|| "the controller starts".into());
        self.chronicle_controller(true);
        let now = self.now;
        self.driver.begin(now, clock_ms);
        let overload = self.truth.global(|f| f == Fault::ApiOverload).is_some();
        for host in self.truth.hosts.iter_mut() {
            if host.shape.renews && !overload {
                host.lease = Some(now);
            }
        }
        let record = Record::ControllerStarted {
            version: "sim".into(),
            term: self.driver.ledger.term.saturating_add(1),
        };
        self.journal(vec![record]);
        self.note_pause();
        for ix in self.truth.hosts.all() {
            self.arrange_dial(ix);
        }
        self.resume();
        self.dirty = true;
    }

    /// The controller dies.
    pub(crate) fn crash(&mut self, down: Ms, clock_ms: i64) {
        if !self.driver.up {
            return;
        }
        self.tell(|| "the controller dies".into());
        self.chronicle_controller(false);
        self.sense();
        self.driver.end();
        for host in self.truth.hosts.iter_mut() {
            host.session = None;
        }
        let back = self.now.saturating_add(down.max(SECOND));
        self.queue.push(back, Event::Restart(clock_ms));
    }

    fn strike_begins(&mut self, index: usize) {
        let strike = self.truth.strike(index);
        self.tell(|| {
            format!(
                "{:?} begins on {}",
                strike.fault,
                names(self.scenario, &strike.nodes)
            )
        });
        if let Some(until) = strike.until {
            self.queue
                .push(until.max(self.now), Event::StrikeEnds(index));
        }
        if let Fault::Crash { clock_ms } = strike.fault {
            let down = strike.until.map_or(SECOND, |u| u.saturating_sub(self.now));
            return self.crash(down, clock_ms);
        }
        if strike.fault.is_global() {
            let all: Vec<Ix> = self.truth.hosts.all().collect();
            return self.change(&all, |truth| truth.globals.push(index));
        }
        self.change(&strike.nodes, |truth| {
            for ix in &strike.nodes {
                let host = &mut truth.hosts[*ix];
                host.active.push(index);
                if strike.fault == Fault::PowerOff {
                    host.power = false;
                    host.booted = false;
                }
            }
        });
        if let Fault::PowerOff | Fault::Paused = strike.fault {
            self.note_pause();
        }
    }

    fn strike_ends(&mut self, index: usize) {
        let strike = self.truth.strike(index);
        self.tell(|| {
            format!(
                "{:?} ends on {}",
                strike.fault,
                names(self.scenario, &strike.nodes)
            )
        });
        if strike.fault.is_global() {
            let all: Vec<Ix> = self.truth.hosts.all().collect();
            return self.change(&all, |truth| truth.globals.retain(|i| *i != index));
        }
        let mut powered = Vec::new();
        self.change(&strike.nodes, |truth| {
            for ix in &strike.nodes {
                let host = &mut truth.hosts[*ix];
                let before = host.active.len();
                host.active.retain(|i| *i != index);
                if host.active.len() < before && strike.fault == Fault::PowerOff && !host.power {
                    powered.push(*ix);
                }
            }
        });
        for ix in powered {
            self.power_on(ix);
        }
    }

    /// Changes the truth, with everything that follows for these nodes.
    pub(crate) fn change(&mut self, nodes: &[Ix], act: impl FnOnce(&mut Truth<'a>)) {
        self.sense();
        act(&mut self.truth);
        for ix in nodes {
            self.refresh(*ix);
        }
        // Who else could tell decides whether one behind a path fault is dark.
        for ix in self.truth.hosts.all() {
            if self.truth.has(ix, |f| matches!(f, Fault::Path { .. })) {
                self.refresh(ix);
            }
        }
        let down = |h: &crate::truth::Host| !h.shape.linked || !h.shape.agent || !h.shape.renews;
        let down = self.truth.hosts.iter().filter(|(_, h)| down(h)).count();
        self.judge.stormed |= down > self.truth.storm_limit();
        self.note_pause();
        self.stirred = self.now;
        self.changed = self.now;
        self.driver.restless = self.driver.restless.max(self.now.saturating_add(RESTLESS));
        self.dirty = true;
    }

    fn refresh(&mut self, ix: Ix) {
        let now = self.now;
        let (old, new) = (self.truth.hosts[ix].shape, self.truth.shape(ix, now));
        let host = &mut self.truth.hosts[ix];
        host.shape = new;
        if old.dark && !new.dark {
            host.dark_until = Some(now);
            host.dark_from = host.dark_since;
            host.dark_since = None;
        } else if new.dark && host.dark_since.is_none() {
            let blinked = host
                .dark_until
                .is_some_and(|until| now.saturating_sub(until) < BLINK);
            host.dark_since = host.dark_from.filter(|_| blinked).or(Some(now));
        }
        if old.agent && !new.agent {
            host.agents = host.agents.saturating_add(1);
        }
        if new.agent || new.renews {
            if let Some(since) = host.mute_since.take() {
                host.mute_before = Some((since, now));
            }
        } else {
            host.mute_since = host.mute_since.or(Some(now));
        }
        self.follow_health(ix);
        self.chronicle(ix);
        if new.session && self.truth.hosts[ix].session.is_none() {
            self.arrange_dial(ix);
        } else if !new.session
            && let Some(session) = self.truth.hosts[ix].session
        {
            // A process that dies closes its connection; a cut one falls silent.
            if new.linked && !new.agent {
                return self.session_dies(ix, session.number);
            }
            let at = session
                .heartbeat
                .max(session.since)
                .saturating_add(15 * SECOND);
            self.queue
                .push(at.max(now), Event::SessionDies(ix, session.number));
        }
    }

    fn follow_health(&mut self, ix: Ix) {
        let class = self.truth.on(ix).map(|(_, strike)| strike.class()).next();
        let now = self.now;
        let host = &mut self.truth.hosts[ix];
        if host.shape.is_well() {
            if let Some((since, class)) = host.ill.take()
                && host.touched
            {
                self.judge.recovered(class, now.saturating_sub(since));
            }
            host.touched = false;
        } else if host.ill.is_none()
            && let Some(class) = class
        {
            host.ill = Some((now, class));
            host.falls = host.falls.saturating_add(1);
        }
    }

    fn arrange_dial(&mut self, ix: Ix) {
        let host = &self.truth.hosts[ix];
        if self.driver.up && host.shape.session {
            let drawn = hash(self.scenario.seed, [self.now, ix.0 as u64, 6]) % 40;
            let at = self.now.saturating_add(SECOND).saturating_add(drawn * 250);
            self.queue.push(at, Event::Dials(ix));
        }
    }

    fn dials(&mut self, ix: Ix) {
        let host = &self.truth.hosts[ix];
        if !self.driver.up || !host.shape.session || host.session.is_some() {
            return;
        }
        self.sense();
        let now = self.now;
        let host = &mut self.truth.hosts[ix];
        host.sessions = host.sessions.saturating_add(1);
        host.spoke_to = Some(self.driver.life);
        host.session = Some(Session {
            number: host.sessions,
            since: now,
            heartbeat: now,
            reported: None,
        });
        let boot = format!("agent-{}", host.agents);
        let node = self.truth.setup(ix).name.clone();
        let host_boot_unix_ms = u64::from(self.truth.hosts[ix].boots);
        self.observe(Observation::AgentConnected {
            node,
            boot,
            host_boot_unix_ms,
        });
        self.driver.restless = self.driver.restless.max(now.saturating_add(RESTLESS));
        self.hand_over(ix);
        if self.scenario.net.breaks > 0 {
            let drawn = hash(self.scenario.seed, [now, ix.0 as u64, 7]);
            if drawn % 1_000 < self.scenario.net.breaks * 10 {
                let at = now.saturating_add((drawn >> 12) % (600 * SECOND) / 250 * 250);
                let number = self.truth.hosts[ix].sessions;
                self.queue.push(at, Event::SessionDies(ix, number));
            }
        }
    }

    fn session_dies(&mut self, ix: Ix, number: u32) {
        let host = &self.truth.hosts[ix];
        let broken = !host.shape.session || self.scenario.net.breaks > 0;
        if !broken || host.session.is_none_or(|s| s.number != number) {
            return;
        }
        self.sense();
        self.truth.hosts[ix].session = None;
        let node = self.truth.setup(ix).name.clone();
        let reason = "the session ended".to_owned();
        self.observe(Observation::AgentLost { node, reason });
        self.arrange_dial(ix);
    }

    pub(crate) fn observe(&mut self, observation: Observation) {
        if self.driver.up {
            let tick = self.driver.tick(self.now);
            self.driver.hear(tick, observation);
            self.dirty = true;
        }
    }

    /// Everything that is not well has a reason that is true.
    fn is_in_order(&self) -> bool {
        self.missed().iter().all(|(_, why)| *why != UNEXPLAINED) && self.stuck().is_empty()
    }

    /// The run may be over when nothing more follows by itself.
    fn is_over(&self) -> bool {
        if !self.queue.is_idle() || !self.driver.up || !self.cloud.is_idle() {
            return false;
        }
        let mut open = self
            .driver
            .ledger
            .incidents
            .values()
            .filter(|i| !matches!(i.standing, Standing::Closed(..)))
            .peekable();
        let quiet = self.now.saturating_sub(self.stirred);
        if open.peek().is_none() {
            let well = self.truth.hosts.iter().all(|(_, h)| h.shape.is_well());
            // A node that is unwell without an incident is given the time to be noticed.
            return quiet >= RESTLESS && (well || quiet >= 300 * SECOND);
        }
        open.all(|incident| self.is_settled(incident, quiet))
    }

    /// Nothing more follows for an incident by itself, after so long without a record.
    fn is_settled(&self, incident: &Incident, quiet: Ms) -> bool {
        let in_flight = incident
            .effects
            .iter()
            .any(|e| !e.is_settled() && !matches!(e.effect.action, Action::Page { .. }));
        if in_flight {
            return quiet >= QUIET_IN_FLIGHT;
        }
        let ends = incident.waiting.iter().filter_map(Waiting::until);
        let until = ends.max().map_or(0, |tick| self.driver.moment(tick));
        let since = quiet.min(self.now.saturating_sub(until));
        let person = incident.waiting.iter().any(waits_for_person);
        let noticed = self.now.saturating_sub(self.changed) >= NOTICED;
        noticed && since >= if person { QUIET_PERSON } else { QUIET }
    }

    pub(crate) fn tell(&mut self, text: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(all) = &mut self.happenings {
            all.push((now, text()));
        }
    }

    /// What a person's hold, as a fault of the scenario, does to the journal.
    fn note_pause(&mut self) {
        let wanted = self.truth.global(|f| f == Fault::Paused).is_some();
        let is = self.driver.ledger.paused.contains_key(&None);
        if !self.driver.up || wanted == is {
            return;
        }
        let (who, reason) = ("operator".to_owned(), "a change of the cluster".to_owned());
        let record = if wanted {
            Record::Paused {
                node: None,
                who,
                reason,
            }
        } else {
            Record::Resumed {
                node: None,
                who,
                reason,
            }
        };
        self.journal(vec![record]);
    }

    /// Sends an order to the controller's stand-in for the provider or an agent; see [`crate::pursue`].
    pub(crate) fn later(&mut self, after: Ms, event: Event) {
        self.queue.push(self.now.saturating_add(after), event);
    }

    pub(crate) fn ix(&self, effect: &Effect) -> Option<Ix> {
        crate::driver::index(self.scenario, &effect.node)
    }
}

fn waits_for_person(waiting: &Waiting) -> bool {
    matches!(
        waiting,
        Waiting::Person { .. }
            | Waiting::Approval { .. }
            | Waiting::Denied { .. }
            | Waiting::ObserveOnly { .. }
            | Waiting::ControlPlane
            | Waiting::Budget { .. }
            | Waiting::Canary { .. }
            | Waiting::OptOut { .. }
            | Waiting::EtcdQuorum { .. }
    )
}

fn names(scenario: &Scenario, nodes: &[Ix]) -> String {
    let all: Vec<&str> = nodes
        .iter()
        .filter_map(|ix| crate::driver::name(scenario, *ix))
        .map(iaso_engine::id::NodeName::as_str)
        .collect();
    if all.is_empty() {
        "everything".into()
    } else {
        all.join(", ")
    }
}
