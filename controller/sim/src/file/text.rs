//! A scenario as it stands in a file: keys, defaults and bounds of single values. What depends on several keys is the parent's.

use crate::file::expect::Expect;
use iaso_engine::fact::Role;
use iaso_engine::id::NodeName;
use iaso_engine::policy::Policy;
use serde::Deserialize;
use std::path::PathBuf;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScenarioText {
    pub(super) name: String,
    #[serde(default)]
    pub(super) about: String,
    #[serde(default = "first_seed")]
    pub(super) seed: u64,
    #[serde(default = "three_hours")]
    pub(super) ends_after_secs: u64,
    /// A Kubernetes API is configured.
    #[serde(default = "yes")]
    pub(super) cluster: bool,
    #[serde(default)]
    pub(super) policy: Policy,
    /// Relative to the scenario's directory.
    pub(super) policy_file: Option<PathBuf>,
    pub(super) nodes: Vec<NodeText>,
    #[serde(default)]
    pub(super) faults: Vec<FaultText>,
    #[serde(default)]
    pub(super) provider: ProviderText,
    #[serde(default)]
    pub(super) network: NetworkText,
    #[serde(default)]
    pub(super) operator: OperatorText,
    #[serde(default)]
    pub(super) crashes: Vec<CrashText>,
    pub(super) expect: Option<Expect>,
}

fn first_seed() -> u64 {
    1
}
fn three_hours() -> u64 {
    3 * 3_600
}
fn yes() -> bool {
    true
}

/// A node.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent facts of a node, each with its own key"
)]
pub(super) struct NodeText {
    pub(super) name: NodeName,
    pub(super) role: Role,
    /// It has a machine at the provider.
    #[serde(default = "yes")]
    pub(super) provider: bool,
    pub(super) zone: Option<String>,
    #[serde(default)]
    pub(super) local_data: bool,
    #[serde(default)]
    pub(super) cordoned: bool,
    #[serde(default = "yes")]
    pub(super) joined: bool,
    #[serde(default = "half_a_minute")]
    pub(super) boot_secs: u64,
    #[serde(default = "one_minute")]
    pub(super) ready_secs: u64,
    #[serde(default)]
    pub(super) clock_skew_secs: i64,
}

fn half_a_minute() -> u64 {
    30
}
fn one_minute() -> u64 {
    60
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Cut,
    Hang,
    PowerOff,
    K3sDown,
    KubeletSilent,
    Check,
    AgentDead,
    Stalled,
    PluginBroken,
    Sluggish,
    Path,
    ZoneSplit,
    Blind,
    ControllerCut,
    ApiDown,
    ApiOverload,
    LeaseFrozen,
    ReadyLatched,
    ProviderTrouble,
    Suspended,
    Locked,
    SaysRunning,
    SaysStopped,
    SecretStore,
    Journal,
    Paused,
    Crash,
}

/// A fault. Keys that only some kinds have are optional here, and refused by the parent for all others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultText {
    pub(super) fault: Kind,
    pub(super) at_secs: u64,
    /// How long it lasts; none: until it is healed.
    pub(super) for_secs: Option<u64>,
    #[serde(default)]
    pub(super) nodes: Vec<NodeName>,
    #[serde(default)]
    pub(super) healed_by: Vec<HealText>,
    /// The fix that heals it.
    pub(super) fix: Option<String>,
    /// Fixes that the finding names, best first.
    #[serde(default)]
    pub(super) remedies: Vec<String>,
    /// Faults with the same word have one cause.
    pub(super) cause: Option<String>,
    pub(super) repeat: Option<Repeat>,
    /// `sluggish`: so many of its words in a hundred are late or lost.
    pub(super) percent: Option<u8>,
    /// `path`: so many of its peers in a hundred do not reach it.
    pub(super) peers_percent: Option<u8>,
    /// `path`: the controller does not reach it.
    pub(super) controller: Option<bool>,
    /// `path`: its own session is cut.
    pub(super) session: Option<bool>,
    /// `path`: its kubelet does not reach the API server.
    pub(super) api: Option<bool>,
    /// `controller-cut`: not even the provider is reached.
    pub(super) provider: Option<bool>,
    /// `blind`: it thinks itself well.
    pub(super) fit: Option<bool>,
    /// `provider-trouble`.
    pub(super) trouble: Option<TroubleText>,
    /// `crash`: how far the clock is off after the restart.
    pub(super) clock_secs: Option<i64>,
}

/// Again and again.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Repeat {
    pub(super) times: u32,
    pub(super) every_secs: u64,
}

/// What heals, beside a fix and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum HealText {
    Start,
    Reboot,
    Recreate,
}

/// What a provider in trouble answers.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TroubleText {
    Unauthorized,
    Forbidden,
    NotFound,
    RateLimited,
    Server,
    Silence,
}

/// The provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ProviderText {
    pub(super) latency_ms: [u64; 2],
    pub(super) lost_calls_permille: u64,
    pub(super) lost_answers_permille: u64,
    pub(super) refused_permille: u64,
    pub(super) reboot: RebootText,
    pub(super) recreate: RecreateText,
    pub(super) power_secs: [u64; 2],
    pub(super) reinstall_secs: [u64; 2],
    pub(super) meters: bool,
}

impl Default for ProviderText {
    fn default() -> Self {
        Self {
            latency_ms: [500, 1_000],
            lost_calls_permille: 0,
            lost_answers_permille: 0,
            refused_permille: 0,
            reboot: RebootText::Works,
            recreate: RecreateText::Works,
            power_secs: [10, 20],
            reinstall_secs: [60, 90],
            meters: true,
        }
    }
}

/// See [`crate::scenario::RebootManner`].
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RebootText {
    Works,
    DoesNothing,
    Fails,
}

/// See [`crate::scenario::RecreateManner`].
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RecreateText {
    Works,
    FailsBefore,
    HalfDone,
    ComesUpBare,
    RefusesPassword,
}

/// The network.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NetworkText {
    pub(super) loss_permille: u64,
    pub(super) duplicates_permille: u64,
    pub(super) delay_ms: u64,
    pub(super) breaks_permille: u64,
}

/// The operator.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OperatorText {
    pub(super) answer: AnswerText,
    pub(super) delay_secs: u64,
}

impl Default for OperatorText {
    fn default() -> Self {
        Self {
            answer: AnswerText::Never,
            delay_secs: 60,
        }
    }
}

/// To every question.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AnswerText {
    Yes,
    No,
    Never,
}

/// The controller dies at one step.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CrashText {
    /// The step's name, as in the journal.
    pub(super) action: String,
    /// It was sent, and the answer is lost; else only the intent was written.
    #[serde(default)]
    pub(super) sent: bool,
    pub(super) down_secs: u64,
}
