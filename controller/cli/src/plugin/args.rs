//! The command line of `iaso plugin`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What an author and an operator do with a plugin.
#[derive(Debug, Clone, Args)]
pub(crate) struct PluginArgs {
    #[command(subcommand)]
    pub(crate) command: PluginCommand,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum PluginCommand {
    /// What a plugin may do, asks for and is signed by, before it runs (1 when an agent would refuse it)
    Inspect(InspectArgs),
    /// A pair of keys to sign plugins with: NAME.key, only for you, and NAME.pub, for those who trust you
    Keygen(KeygenArgs),
    /// Sign a packed plugin: writes FILE.sig beside it
    Sign(SignArgs),
    /// Whether a trusted key signed these very bytes (1 when not)
    Verify(VerifyArgs),
}

/// What is looked at.
#[derive(Debug, Clone, Args)]
pub(crate) struct InspectArgs {
    /// The component, a .wasm file
    pub(crate) file: PathBuf,
    /// The signature; else FILE.sig, if there is one
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,
    /// A public key that you trust (a .pub file); may be given again
    #[arg(long = "key", value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,
}

/// Where the keys go.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeygenArgs {
    /// Path and name without an ending; nothing that exists is overwritten
    pub(crate) name: PathBuf,
}

/// What is signed.
#[derive(Debug, Clone, Args)]
pub(crate) struct SignArgs {
    /// The component, packed: it has a manifest
    pub(crate) file: PathBuf,
    /// Your secret key (a .key file, mode 0600)
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Where the signature goes, instead of FILE.sig
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// What is checked.
#[derive(Debug, Clone, Args)]
pub(crate) struct VerifyArgs {
    /// The component, a .wasm file
    pub(crate) file: PathBuf,
    /// A public key that you trust (a .pub file); may be given again
    #[arg(long = "key", value_name = "FILE", required = true)]
    pub(crate) keys: Vec<PathBuf>,
    /// The signature, instead of FILE.sig
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,
    /// The least version that is accepted
    #[arg(long, value_name = "VERSION")]
    pub(crate) minimum: Option<semver::Version>,
}
