//! A fixture: what a host answers, and what the plugin must find then. One TOML file each.

use std::collections::BTreeMap;
use std::net::IpAddr;

use iaso_host::{CapError, Response};
use serde::Deserialize;

use crate::answer;
use crate::line::{Kind, WORDS};

/// Most answers of one fixture.
const ANSWERS_MAX: usize = 512;
/// Most expectations of one fixture.
const EXPECT_MAX: usize = 128;

/// Why a fixture cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FixtureError {
    /// Not TOML, or a key that is not known.
    #[error("{0}")]
    Syntax(String),
    /// An answer that is none.
    #[error("[[answer]] for {call:?}: {why}")]
    Answer {
        /// Its line.
        call: String,
        /// What is wrong with it.
        why: String,
    },
    /// It asks for more than one thing, or for nothing.
    #[error("{0}")]
    Meaning(String),
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// The check.
    Check,
    /// The plan of a fix.
    Plan(String),
    /// A fix.
    Apply(String),
}

/// A finding that must be there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Its code.
    pub code: String,
    /// Its severity; absent: any.
    pub severity: Option<String>,
    /// Its subject; absent: any.
    pub subject: Option<String>,
    /// Part of its summary.
    pub summary_contains: Option<String>,
    /// Its remedies, all of them in order.
    pub remedies: Option<Vec<String>>,
    /// Some of its attributes.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAnswer {
    call: String,
    value: Option<toml::Value>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a key of the file that stands for itself"
)]
struct Raw {
    #[serde(default)]
    about: String,
    plan: Option<String>,
    apply: Option<String>,
    #[serde(default)]
    config: BTreeMap<String, String>,
    #[serde(default)]
    names: BTreeMap<String, IpAddr>,
    #[serde(default)]
    state: BTreeMap<String, String>,
    #[serde(default)]
    answer: Vec<RawAnswer>,
    #[serde(default)]
    expect: Vec<Expect>,
    #[serde(default)]
    allow_other_findings: bool,
    #[serde(default)]
    allow_unscripted: bool,
    #[serde(default)]
    allow_denied: bool,
    expect_verdict: Option<String>,
    expect_outcome: Option<String>,
    expect_reason_contains: Option<String>,
    #[serde(default)]
    expect_state: BTreeMap<String, String>,
    #[serde(default)]
    must_call: Vec<String>,
    #[serde(default)]
    must_not_call: Vec<String>,
    #[serde(default = "yes")]
    faults: bool,
    timeout_ms: Option<u64>,
}

fn yes() -> bool {
    true
}

/// One case.
#[derive(Debug, Clone)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a key of the file that stands for itself"
)]
pub struct Fixture {
    /// What it shows.
    pub about: String,
    /// What is run.
    pub run: Run,
    /// The operator's configuration.
    pub config: Vec<(String, String)>,
    /// The addresses of names; others get one of 203.0.113.0/24.
    pub names: BTreeMap<String, IpAddr>,
    /// What `state` holds before.
    pub state: BTreeMap<String, String>,
    /// Answers by line, in the order they are given.
    pub(crate) answers: Vec<(String, Result<Response, CapError>)>,
    /// Findings that must be there.
    pub expect: Vec<Expect>,
    /// Others may be there too.
    pub allow_other_findings: bool,
    /// Calls without an answer are meant so.
    pub allow_unscripted: bool,
    /// Calls that the manifest does not ask for are meant so.
    pub allow_denied: bool,
    /// Of a plan: `apply`, `refuse` or `nothing`.
    pub expect_verdict: Option<String>,
    /// Of a fix: `fixed`, `unchanged`, `refused` or `failed`.
    pub expect_outcome: Option<String>,
    /// Part of a plan's or an outcome's reason.
    pub expect_reason_contains: Option<String>,
    /// What `state` must hold afterwards.
    pub expect_state: BTreeMap<String, String>,
    /// Lines or beginnings (`…*`) that must be among the calls.
    pub must_call: Vec<String>,
    /// Lines or beginnings that must not.
    pub must_not_call: Vec<String>,
    /// Make every call fail, too.
    pub faults: bool,
    /// Longest run, milliseconds.
    pub timeout_ms: u64,
}

impl Fixture {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, FixtureError> {
        let raw: Raw =
            toml::from_str(text).map_err(|error| FixtureError::Syntax(error.to_string()))?;
        let meaning = |text: &str| Err(FixtureError::Meaning(text.to_owned()));
        let run = match (raw.plan, raw.apply) {
            (None, None) => Run::Check,
            (Some(fix), None) => Run::Plan(fix),
            (None, Some(fix)) => Run::Apply(fix),
            (Some(_), Some(_)) => {
                return meaning("`plan` and `apply` are two runs: make two fixtures of it");
            }
        };
        let is_check = run == Run::Check;
        if is_check && (raw.expect_verdict.is_some() || raw.expect_outcome.is_some()) {
            return meaning(
                "`expect_verdict` belongs to `plan = \"FIX\"`, `expect_outcome` to `apply = \"FIX\"`",
            );
        }
        if !is_check && !raw.expect.is_empty() {
            return meaning(
                "a plan or a fix has no findings: use `expect_verdict` or `expect_outcome`",
            );
        }
        if raw.answer.len() > ANSWERS_MAX || raw.expect.len() > EXPECT_MAX {
            return meaning("it has more than 512 answers or 128 expectations: split it");
        }
        let answers = raw
            .answer
            .into_iter()
            .map(answer)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            about: raw.about,
            run,
            config: raw.config.into_iter().collect(),
            names: raw.names,
            state: raw.state,
            answers,
            expect: raw.expect,
            allow_other_findings: raw.allow_other_findings,
            allow_unscripted: raw.allow_unscripted,
            allow_denied: raw.allow_denied,
            expect_verdict: raw.expect_verdict,
            expect_outcome: raw.expect_outcome,
            expect_reason_contains: raw.expect_reason_contains,
            expect_state: raw.expect_state,
            must_call: raw.must_call,
            must_not_call: raw.must_not_call,
            faults: raw.faults,
            timeout_ms: raw.timeout_ms.unwrap_or(10_000).clamp(1, 600_000),
        })
    }
}

fn answer(raw: RawAnswer) -> Result<(String, Result<Response, CapError>), FixtureError> {
    let bad = |why: String| FixtureError::Answer {
        call: raw.call.clone(),
        why,
    };
    let Some(kind) = Kind::of(&raw.call) else {
        return Err(bad(format!("no call begins so; they begin with {WORDS}")));
    };
    let given = match (&raw.value, &raw.error) {
        (Some(_), Some(_)) => {
            return Err(bad(
                "it has a `value` and an `error`: one of them".to_owned()
            ));
        }
        (_, Some(error)) => Err(answer::error(error).map_err(bad)?),
        (value, None) => {
            let value = value
                .as_ref()
                .map(serde_json::to_value)
                .transpose()
                .map_err(|error| bad(error.to_string()))?;
            Ok(answer::answer(kind, &raw.call, value.as_ref()).map_err(bad)?)
        }
    };
    Ok((raw.call, given))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> String {
        Fixture::parse(text).expect_err("refused").to_string()
    }

    #[test]
    fn a_fixture_that_cannot_be_meant_says_what_to_do() {
        assert!(why("[[answer]]\ncall = \"inof\"").contains("they begin with tcp, unix"));
        assert!(
            why("[[answer]]\ncall = \"info\"\nvalue = { cpu = 1 }").contains("no `cpu`; it has")
        );
        assert!(
            why("[[answer]]\ncall = \"info\"\nvalue = {}\nerror = \"timeout\"")
                .contains("one of them")
        );
        assert!(why("plan = \"a\"\napply = \"a\"").contains("two runs"));
        assert!(why("expect_outcome = \"fixed\"").contains("apply = \"FIX\""));
        assert!(why("wanted = 1").contains("wanted"));
    }
}
