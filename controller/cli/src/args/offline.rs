//! Commands that need no controller.

use clap::Subcommand;
use std::path::PathBuf;

/// About a policy.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PolicyCommand {
    /// What a policy would do, rung by rung, and what in it is dangerous (2 when it is refused)
    Check(PolicyCheckArgs),
}

/// What is checked.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PolicyCheckArgs {
    /// A policy file, or a controller's configuration: then its nodes count too; none: the default policy
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Exit with 3 when something in it is allowed and dangerous
    #[arg(long)]
    pub(crate) deny_warnings: bool,
}

/// What is simulated.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SimulateArgs {
    /// The scenario: a TOML file
    #[arg(value_name = "SCENARIO")]
    pub(crate) scenario: PathBuf,
    /// With this policy instead of the scenario's own
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// With this seed instead of the scenario's own
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Draw the timeline here
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}
