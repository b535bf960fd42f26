//! A scenario from a TOML file: what an operator writes to see what would happen.
//!
//! **Invariants**
//! - An unknown key is an error that names the line; every number and list has a bound; each refusal says what to do.
//! - The policy is read as the controller reads it, inline or from a file of its own.
//!
//! Deliberately absent: generating. Random nights are [`generate`](crate::generate)'s.

mod expect;
mod faults;
mod text;

pub use expect::Expect;

use crate::scenario::{
    Answer, CrashOn, NetManner, NodeSetup, Operator, ProviderManner, RebootManner, RecreateManner,
    SECOND, Scenario,
};
use iaso_engine::policy::Policy;
use iaso_policy_file::PolicyFileError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use text::{
    AnswerText, CrashText, NetworkText, NodeText, ProviderText, RebootText, RecreateText,
    ScenarioText,
};

/// Largest file, in bytes.
const BYTES_MAX: u64 = 1 << 20;
/// Longest run: two days.
const RUN_SECS_MAX: u64 = 2 * 86_400;
/// Most nodes of one scenario, and crashes of its controller.
const NODES_MAX: usize = 200;
const CRASHES_MAX: usize = 100;
/// Longest name and description of a scenario, in characters.
const NAME_MAX: usize = 80;
const ABOUT_MAX: usize = 400;

/// Why a scenario is refused.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("cannot read the scenario {}: check the path and its permissions", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is no TOML, or has a key or value that is not known.
    #[error("the scenario {} is not valid: {detail}", path.display())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Line, column, and what was expected.
        detail: String,
    },
    /// Its policy is refused.
    #[error(transparent)]
    Policy(PolicyFileError),
    /// It can be read and cannot be meant.
    #[error("the scenario {}: {what}", path.display())]
    Refused {
        /// Which.
        path: PathBuf,
        /// The key, what is wrong with it, and what to do.
        what: String,
    },
}

/// A scenario that was read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its name.
    pub name: String,
    /// What it is about, in a sentence; may be empty.
    pub about: String,
    /// What is run.
    pub scenario: Scenario,
    /// The names of the failure domains, in the order of their numbers.
    pub zones: Vec<String>,
    /// What its author expects; `None`: nothing is asked.
    pub expect: Option<Expect>,
}

/// Reads and checks a scenario.
///
/// # Errors
/// With the file, the line or the key, and what to do.
pub fn load(path: &Path) -> Result<Loaded, FileError> {
    let unreadable = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if bytes > BYTES_MAX {
        return Err(FileError::Refused {
            path: path.to_owned(),
            what: format!("it has {bytes} bytes, more than 1 MiB: is this the right file?"),
        });
    }
    let content = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&content, path)
}

fn parse(content: &str, path: &Path) -> Result<Loaded, FileError> {
    let mut text: ScenarioText = toml::from_str(content).map_err(|error| FileError::Parse {
        path: path.to_owned(),
        detail: iaso_policy_file::detail(&error),
    })?;
    if let Some(file) = &text.policy_file {
        let beside = path.parent().map(|dir| dir.join(file));
        let file = beside.as_deref().unwrap_or(file);
        text.policy = iaso_policy_file::join(content, file).map_err(FileError::Policy)?;
    }
    build(text).map_err(|what| FileError::Refused {
        path: path.to_owned(),
        what,
    })
}

fn build(text: ScenarioText) -> Result<Loaded, String> {
    words(&text)?;
    within("ends_after_secs", text.ends_after_secs, 60, RUN_SECS_MAX)?;
    let (nodes, zones) = nodes(&text.nodes)?;
    policy(&text.policy, &nodes)?;
    let strikes = faults::strikes(&text.faults, &nodes)?;
    within(
        "operator.delay_secs",
        text.operator.delay_secs,
        0,
        RUN_SECS_MAX,
    )?;
    let scenario = Scenario {
        seed: text.seed,
        has_cluster: text.cluster,
        policy: text.policy,
        strikes,
        provider: provider(&text.provider)?,
        net: network(&text.network)?,
        operator: Operator {
            answer: match text.operator.answer {
                AnswerText::Yes => Answer::Yes,
                AnswerText::No => Answer::No,
                AnswerText::Never => Answer::Never,
            },
            delay: text.operator.delay_secs.saturating_mul(SECOND),
        },
        crash_on: crashes(&text.crashes)?,
        horizon: text.ends_after_secs.saturating_mul(SECOND),
        nodes,
    };
    Ok(Loaded {
        name: text.name,
        about: text.about,
        scenario,
        zones,
        expect: text.expect,
    })
}

fn words(text: &ScenarioText) -> Result<(), String> {
    let line = |words: &str, most: usize| {
        words.chars().count() <= most && !words.chars().any(char::is_control)
    };
    if text.name.is_empty() || !line(&text.name, NAME_MAX) {
        return Err(format!(
            "name must be one line of 1 to {NAME_MAX} characters"
        ));
    }
    if !line(&text.about, ABOUT_MAX) {
        return Err(format!(
            "about must be one line of at most {ABOUT_MAX} characters"
        ));
    }
    Ok(())
}

fn nodes(all: &[NodeText]) -> Result<(Vec<NodeSetup>, Vec<String>), String> {
    if all.is_empty() || all.len() > NODES_MAX {
        return Err(format!(
            "{} nodes: declare 1 to {NODES_MAX} [[nodes]]",
            all.len()
        ));
    }
    let mut zones: BTreeMap<&str, u8> = BTreeMap::new();
    for zone in all.iter().filter_map(|node| node.zone.as_deref()) {
        if zone.is_empty() || zone.len() > 63 {
            return Err("zone must have 1 to 63 bytes".into());
        }
        zones.insert(zone, 0);
    }
    for (number, place) in (0_u8..).zip(zones.values_mut()) {
        *place = number;
    }
    let mut setups: Vec<NodeSetup> = Vec::new();
    for node in all {
        let key = |name: &str| format!("node {}: {name}", node.name);
        within(&key("boot_secs"), node.boot_secs, 1, 86_400)?;
        within(&key("ready_secs"), node.ready_secs, 1, 86_400)?;
        within(
            &key("clock_skew_secs"),
            node.clock_skew_secs.unsigned_abs(),
            0,
            86_400,
        )?;
        setups.push(NodeSetup {
            name: node.name.clone(),
            role: node.role,
            machine: node.provider,
            zone: node
                .zone
                .as_deref()
                .and_then(|zone| zones.get(zone).copied()),
            local_data: node.local_data,
            cordoned: node.cordoned,
            joined: node.joined,
            boot: node.boot_secs.saturating_mul(SECOND),
            ready: node.ready_secs.saturating_mul(SECOND),
            skew_ms: node.clock_skew_secs.saturating_mul(1_000),
        });
    }
    setups.sort_by(|a, b| a.name.cmp(&b.name));
    let twice = setups
        .iter()
        .zip(setups.iter().skip(1))
        .find(|(a, b)| a.name == b.name);
    if let Some((node, _)) = twice {
        return Err(format!("node {} is declared twice: remove one", node.name));
    }
    Ok((setups, zones.into_keys().map(str::to_owned).collect()))
}

/// Whether a policy can be meant for these nodes.
///
/// # Errors
/// With the key and what to do.
pub fn policy(policy: &Policy, nodes: &[NodeSetup]) -> Result<(), String> {
    policy.check().map_err(|error| error.to_string())?;
    let known = |node: &&iaso_engine::id::NodeName| nodes.iter().any(|setup| setup.name == **node);
    match policy.nodes.keys().find(|node| !known(node)) {
        Some(node) => Err(format!(
            "policy.nodes.{node} speaks of a node that no [[nodes]] declares: correct the name, or remove the table"
        )),
        None => Ok(()),
    }
}

fn provider(text: &ProviderText) -> Result<ProviderManner, String> {
    let pair = |key: &str, pair: [u64; 2], most: u64| {
        let [from, to] = pair;
        within(key, to, from, most).map(|()| (from, to))
    };
    for (key, value) in [
        ("provider.lost_calls_permille", text.lost_calls_permille),
        ("provider.lost_answers_permille", text.lost_answers_permille),
        ("provider.refused_permille", text.refused_permille),
    ] {
        within(key, value, 0, 1_000)?;
    }
    let secs = |(from, to): (u64, u64)| (from.saturating_mul(SECOND), to.saturating_mul(SECOND));
    Ok(ProviderManner {
        latency: pair("provider.latency_ms", text.latency_ms, 60_000)?,
        lost_calls: text.lost_calls_permille,
        lost_answers: text.lost_answers_permille,
        refused: text.refused_permille,
        reboot: match text.reboot {
            RebootText::Works => RebootManner::Works,
            RebootText::DoesNothing => RebootManner::DoesNothing,
            RebootText::Fails => RebootManner::Fails,
        },
        recreate: match text.recreate {
            RecreateText::Works => RecreateManner::Works,
            RecreateText::FailsBefore => RecreateManner::FailsBefore,
            RecreateText::HalfDone => RecreateManner::HalfDone,
            RecreateText::ComesUpBare => RecreateManner::ComesUpBare,
            RecreateText::RefusesPassword => RecreateManner::RefusesPassword,
        },
        power: secs(pair("provider.power_secs", text.power_secs, 86_400)?),
        reinstall: secs(pair(
            "provider.reinstall_secs",
            text.reinstall_secs,
            86_400,
        )?),
        meters: text.meters,
    })
}

fn network(text: &NetworkText) -> Result<NetManner, String> {
    for (key, value) in [
        ("network.loss_permille", text.loss_permille),
        ("network.duplicates_permille", text.duplicates_permille),
        ("network.breaks_permille", text.breaks_permille),
    ] {
        within(key, value, 0, 1_000)?;
    }
    within("network.delay_ms", text.delay_ms, 0, 60_000)?;
    Ok(NetManner {
        loss: text.loss_permille,
        duplicates: text.duplicates_permille,
        delay: text.delay_ms,
        breaks: text.breaks_permille,
    })
}

fn crashes(all: &[CrashText]) -> Result<Vec<CrashOn>, String> {
    if all.len() > CRASHES_MAX {
        return Err(format!("{} [[crashes]]: at most {CRASHES_MAX}", all.len()));
    }
    all.iter()
        .map(|crash| {
            within("crashes.down_secs", crash.down_secs, 1, 86_400)?;
            let known = STEPS.iter().find(|step| **step == crash.action);
            let action = known.ok_or_else(|| {
                format!(
                    "crashes.action {:?} is no step: use one of {}",
                    crash.action,
                    STEPS.join(", ")
                )
            })?;
            Ok(CrashOn {
                action,
                sent: crash.sent,
                down: crash.down_secs.saturating_mul(SECOND),
            })
        })
        .collect()
}

/// The names of actions.
const STEPS: [&str; 17] = [
    "apply-fix",
    "reboot",
    "start",
    "rescue",
    "leave-rescue",
    "remember",
    "cordon",
    "store-password",
    "prepare-script",
    "recreate",
    "release",
    "restore",
    "uncordon",
    "promote-password",
    "discard-password",
    "cleanup",
    "page",
];

fn within(key: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!(
        "{key} = {value} is out of range: use {least} to {most}"
    ))
}
