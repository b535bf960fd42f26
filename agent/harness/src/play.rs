//! Plays a fixture: one run on a scripted host, and what was not as it must be.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use iaso_grants::Grants;
use iaso_host::types::{Finding, FixOutcome, FixPlan};
use iaso_host::{
    Broker, CallContext, CapError, Digest, EngineError, HostConfig, LoadedPlugin, PluginFault,
    PluginHost, Request, Response, RunLimits, RunReport,
};

use crate::fault::Fault;
use crate::fixture::{Expect, Fixture, Run};
use crate::line::matches;
use crate::stage::{Called, Injected, Stage};

/// Most runs with a fault for one fixture.
const FAULT_RUNS_MAX: usize = 400;

/// Why a plugin cannot be played at all.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// The machine refuses what the engine needs.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The plugin cannot be loaded.
    #[error("an agent would refuse it: {0}")]
    Refused(PluginFault),
}

/// A plugin that is played again and again.
pub struct Subject {
    name: String,
    grants: Arc<Grants>,
    plugin: LoadedPlugin,
    switch: Arc<Switch>,
}

impl Subject {
    /// Loads a compiled plugin with what its manifest asks for.
    pub fn load(name: &str, compiled: &[u8], grants: &Grants) -> Result<Self, SubjectError> {
        let switch = Arc::new(Switch::default());
        let config = HostConfig {
            runs_max: 1,
            ..HostConfig::default()
        };
        let host = PluginHost::new(config, Arc::clone(&switch) as Arc<dyn Broker>)?;
        let grants = Arc::new(grants.clone());
        let plugin = host
            .load(name, compiled, &Digest::of(compiled), &grants)
            .map_err(SubjectError::Refused)?;
        Ok(Self {
            name: name.to_owned(),
            grants,
            plugin,
            switch,
        })
    }

    /// Under which name it runs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is run with: a broker that shall answer it lends it these.
    #[must_use]
    pub fn grants(&self) -> Arc<Grants> {
        Arc::clone(&self.grants)
    }

    /// One run on a host that answers through `broker`.
    pub async fn run(&self, broker: Arc<dyn Broker>, fixture: &Fixture) -> RunReport<Ended> {
        self.switch.to(Some(broker));
        let limits = RunLimits::with_timeout(Duration::from_millis(fixture.timeout_ms));
        let report = match &fixture.run {
            Run::Check => wrapped(
                self.plugin.check(&fixture.config, &limits).await,
                Ended::Check,
            ),
            Run::Plan(fix) => wrapped(
                self.plugin.plan(fix, &fixture.config, &limits).await,
                Ended::Plan,
            ),
            Run::Apply(fix) => wrapped(
                self.plugin.apply(fix, &fixture.config, &limits).await,
                Ended::Apply,
            ),
        };
        self.switch.to(None);
        report
    }

    async fn staged(
        &self,
        fixture: &Fixture,
        injected: Injected,
    ) -> (Arc<Stage>, RunReport<Ended>) {
        let stage = Arc::new(Stage::new(&self.name, &self.grants, fixture).await);
        stage.inject(injected);
        let report = self
            .run(Arc::clone(&stage) as Arc<dyn Broker>, fixture)
            .await;
        (stage, report)
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Of a check.
    Check(Vec<Finding>),
    /// Of a plan.
    Plan(FixPlan),
    /// Of a fix.
    Apply(FixOutcome),
}

fn wrapped<T>(report: RunReport<T>, wrap: impl FnOnce(T) -> Ended) -> RunReport<Ended> {
    RunReport {
        outcome: report.outcome.map(wrap),
        duration: report.duration,
        host_calls: report.host_calls,
        memory_peak_bytes: report.memory_peak_bytes,
        log: report.log,
        log_lines_dropped: report.log_lines_dropped,
    }
}

/// Sends each run's calls to its own broker.
#[derive(Default)]
struct Switch(Mutex<Option<Arc<dyn Broker>>>);

impl Switch {
    fn to(&self, broker: Option<Arc<dyn Broker>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = broker;
    }
}

#[async_trait]
impl Broker for Switch {
    async fn call(&self, context: &CallContext, request: Request) -> Result<Response, CapError> {
        let broker = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match broker {
            Some(broker) => broker.call(context, request).await,
            None => Err(CapError::Unavailable("nothing is played".to_owned())),
        }
    }
}

/// One fixture, played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// What was not as it must be; empty: passed.
    pub failures: Vec<String>,
    /// What is worth knowing and fails nothing.
    pub notes: Vec<String>,
    /// The calls, as lines.
    pub calls: Vec<String>,
    /// What it found, planned or did, as lines.
    pub ended: Vec<String>,
    /// What it logged.
    pub log: Vec<String>,
}

/// Plays a fixture once.
pub async fn play(subject: &Subject, fixture: &Fixture) -> Played {
    let (stage, report) = subject.staged(fixture, Injected::Nothing).await;
    let called = stage.called().clone();
    let mut failures = Vec::new();
    let ended = match &report.outcome {
        Ok(ended) => {
            expectations(fixture, ended, &mut failures);
            lines_of(ended)
        }
        Err(fault) => {
            failures.push(format!("the plugin is broken ({}): {fault}", fault.class));
            Vec::new()
        }
    };
    calls_as_wanted(fixture, &stage, &called, &mut failures);
    for (key, value) in &fixture.expect_state {
        let kept = stage.state(&subject.name, key).await;
        if kept.as_deref() != Some(value.as_bytes()) {
            let kept = kept.map_or_else(
                || "nothing".to_owned(),
                |bytes| format!("{:?}", String::from_utf8_lossy(&bytes)),
            );
            failures.push(format!("state {key:?} holds {kept}, not {value:?}"));
        }
    }
    let unused = fixture
        .answers
        .iter()
        .filter(|(pattern, _)| called.iter().all(|call| !matches(pattern, &call.line)));
    let mut notes: Vec<String> = unused
        .map(|(pattern, _)| format!("the answer to `{pattern}` was not asked for"))
        .collect();
    notes.dedup();
    Played {
        failures,
        notes,
        calls: called.into_iter().map(|call| call.line).collect(),
        ended,
        log: report.log.into_iter().map(|line| line.message).collect(),
    }
}

fn calls_as_wanted(
    fixture: &Fixture,
    stage: &Stage,
    called: &[Called],
    failures: &mut Vec<String>,
) {
    if !fixture.allow_unscripted {
        let mut unscripted = stage.script.lock().unscripted.clone();
        unscripted.dedup();
        failures.extend(unscripted.iter().map(|line| {
            format!(
                "no answer is scripted for `{line}`: add an [[answer]], or allow_unscripted = true"
            )
        }));
    }
    if !fixture.allow_denied {
        let scripted: Vec<&CapError> = fixture
            .answers
            .iter()
            .filter_map(|(_, answer)| answer.as_ref().err())
            .collect();
        for call in called {
            if let Err(error @ CapError::Denied(why)) = &call.answer
                && !scripted.contains(&error)
            {
                failures.push(format!(
                    "`{}` was denied: {why}: ask for it in plugin.toml, or allow_denied = true",
                    call.line
                ));
            }
        }
    }
    let was_called = |pattern: &String| called.iter().any(|call| matches(pattern, &call.line));
    for pattern in fixture
        .must_call
        .iter()
        .filter(|pattern| !was_called(pattern))
    {
        failures.push(format!("`{pattern}` was not called"));
    }
    for pattern in fixture
        .must_not_call
        .iter()
        .filter(|pattern| was_called(pattern))
    {
        failures.push(format!("`{pattern}` was called, and must not be"));
    }
}

fn expectations(fixture: &Fixture, ended: &Ended, failures: &mut Vec<String>) {
    let word = |what: &str, wanted: &Option<String>, got: &str, failures: &mut Vec<String>| {
        if let Some(wanted) = wanted
            && wanted != got
        {
            failures.push(format!("the {what} is {got:?}, not {wanted:?}"));
        }
    };
    let reason = |got: &str, failures: &mut Vec<String>| {
        if let Some(part) = &fixture.expect_reason_contains
            && !got.contains(part.as_str())
        {
            failures.push(format!("the reason is {got:?}, without {part:?}"));
        }
    };
    match ended {
        Ended::Check(findings) => findings_as_wanted(fixture, findings, failures),
        Ended::Plan(plan) => {
            word("verdict", &fixture.expect_verdict, &plan.verdict, failures);
            reason(&plan.reason, failures);
        }
        Ended::Apply(outcome) => {
            word(
                "outcome",
                &fixture.expect_outcome,
                &outcome.outcome,
                failures,
            );
            reason(&outcome.reason, failures);
        }
    }
}

fn findings_as_wanted(fixture: &Fixture, findings: &[Finding], failures: &mut Vec<String>) {
    let mut left: Vec<&Finding> = findings.iter().collect();
    for wanted in &fixture.expect {
        match left.iter().position(|finding| fits(wanted, finding)) {
            Some(at) => {
                left.remove(at);
            }
            None => failures.push(format!("there is no finding {}", wanted_words(wanted))),
        }
    }
    if !fixture.allow_other_findings {
        failures.extend(left.iter().map(|finding| {
            format!(
                "unexpected finding {}: add an [[expect]], or allow_other_findings = true",
                finding_line(finding)
            )
        }));
    }
}

fn fits(wanted: &Expect, finding: &Finding) -> bool {
    let same = |wanted: &Option<String>, got: &String| wanted.as_ref().is_none_or(|w| w == got);
    wanted.code == finding.code
        && same(&wanted.severity, &finding.severity)
        && same(&wanted.subject, &finding.subject)
        && wanted
            .summary_contains
            .as_ref()
            .is_none_or(|part| finding.summary.contains(part.as_str()))
        && wanted
            .remedies
            .as_ref()
            .is_none_or(|remedies| *remedies == finding.remedies)
        && wanted
            .attributes
            .iter()
            .all(|pair| finding.attributes.iter().any(|(k, v)| (k, v) == pair))
}

fn wanted_words(wanted: &Expect) -> String {
    let mut words = vec![wanted.code.clone()];
    words.extend(wanted.severity.clone());
    words.extend(wanted.subject.clone());
    words.extend(
        wanted
            .summary_contains
            .as_ref()
            .map(|part| format!("with {part:?}")),
    );
    words.extend(
        wanted
            .remedies
            .as_ref()
            .map(|all| format!("remedies {all:?}")),
    );
    if !wanted.attributes.is_empty() {
        words.push(format!("attributes {:?}", wanted.attributes));
    }
    words.join(" ")
}

fn finding_line(finding: &Finding) -> String {
    let Finding {
        code,
        severity,
        subject,
        summary,
        remedies,
        ..
    } = finding;
    let remedies = if remedies.is_empty() {
        String::new()
    } else {
        format!(" [{}]", remedies.join(", "))
    };
    format!("{code} {severity} {subject}: {summary}{remedies}")
}

fn lines_of(ended: &Ended) -> Vec<String> {
    let with_steps = |first: String, steps: &[String]| {
        let steps = steps.iter().map(|step| format!("  {step}"));
        std::iter::once(first).chain(steps).collect()
    };
    match ended {
        Ended::Check(findings) => findings.iter().map(finding_line).collect(),
        Ended::Plan(plan) => with_steps(format!("{}: {}", plan.verdict, plan.reason), &plan.steps),
        Ended::Apply(done) => with_steps(format!("{}: {}", done.outcome, done.reason), &done.steps),
    }
}

/// A fixture with its calls made to fail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultReport {
    /// Runs with a fault.
    pub runs: usize,
    /// What the plugin did wrong; empty: it bears every fault.
    pub failures: Vec<String>,
    /// Runs beyond the bound, which were not made.
    pub left_out: usize,
}

/// Makes every call of a fixture fail in every way, one at a time, and then all of them at once. The plugin must not break, and must not
/// say that all is well when it saw nothing.
pub async fn faults(subject: &Subject, fixture: &Fixture) -> FaultReport {
    let mut report = FaultReport::default();
    if !fixture.faults {
        return report;
    }
    let (stage, _) = subject.staged(fixture, Injected::Nothing).await;
    let called = stage.called().clone();
    let mut planned: Vec<(Injected, String)> = Vec::new();
    for (number, call) in called.iter().enumerate() {
        for fault in Fault::ALL {
            if fault
                .applied(&call.answer)
                .is_some_and(|answer| answer != call.answer)
            {
                let what = format!(
                    "{} in call {} (`{}`)",
                    fault.as_str(),
                    number + 1,
                    call.line
                );
                planned.push((Injected::One(number, fault), what));
            }
        }
    }
    let sees = called.iter().any(|call| !call.line.starts_with("state "));
    if sees {
        for fault in Fault::ALL.into_iter().filter(|fault| fault.is_blind()) {
            let what = format!("{} in every call", fault.as_str());
            planned.insert(0, (Injected::All(fault), what));
        }
    }
    report.left_out = planned.len().saturating_sub(FAULT_RUNS_MAX);
    for (injected, what) in planned.into_iter().take(FAULT_RUNS_MAX) {
        report.runs += 1;
        let (_, run) = subject.staged(fixture, injected).await;
        let is_blind = matches!(injected, Injected::All(_));
        match run.outcome {
            Err(fault) => {
                report.failures.push(format!(
                    "{what}: the plugin broke ({}): {fault}",
                    fault.class
                ));
            }
            Ok(ended) if is_blind => report.failures.extend(
                claims(&ended).map(|claim| format!("{what}: it saw nothing, and says {claim}")),
            ),
            Ok(_) => {}
        }
    }
    report
}

/// What a plugin that saw nothing must not say: that something is well, or that it was mended.
fn claims(ended: &Ended) -> impl Iterator<Item = String> {
    let claims: Vec<String> = match ended {
        Ended::Check(findings) => findings
            .iter()
            .filter(|finding| finding.severity == "ok")
            .map(finding_line)
            .collect(),
        Ended::Apply(done) if done.outcome == "fixed" => vec![format!("fixed: {}", done.reason)],
        Ended::Plan(plan) if plan.verdict == "nothing" => {
            vec![format!("nothing to do: {}", plan.reason)]
        }
        Ended::Apply(_) | Ended::Plan(_) => Vec::new(),
    };
    claims.into_iter()
}
