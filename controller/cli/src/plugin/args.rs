//! The command line of `iaso plugin`.

use clap::{Args, Subcommand, ValueEnum};
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
    /// Begin a plugin: a directory that builds and tests at once
    New(NewArgs),
    /// Compile it, make a component of it, and pack the manifest into it
    Build(BuildArgs),
    /// Play its fixtures, and make every host call fail (1 when something is not as it must be)
    Test(TestArgs),
    /// Measure it against the budget of its manifest (1 when it needs more)
    Bench(BenchArgs),
    /// A module or component of other tools into a plugin: adds the manifest
    Pack(PackArgs),
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

/// In what it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    /// With the SDK
    Rust,
    /// Freestanding, with clang
    C,
    /// On `SpiderMonkey`, with componentize-js
    Js,
    /// On `CPython`, with componentize-py
    Python,
}

/// What is begun.
#[derive(Debug, Clone, Args)]
pub(crate) struct NewArgs {
    /// The plugin's name; its findings' codes begin with it
    pub(crate) name: String,
    /// The language
    #[arg(long, value_enum, default_value_t = Lang::Rust)]
    pub(crate) lang: Lang,
    /// Where, instead of ./NAME
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) dir: Option<PathBuf>,
}

/// What is built.
#[derive(Debug, Clone, Args)]
pub(crate) struct BuildArgs {
    /// The plugin's directory
    #[arg(long, default_value = ".", value_name = "DIRECTORY")]
    pub(crate) dir: PathBuf,
    /// Where the component goes, instead of build/NAME.wasm
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// What is packed.
#[derive(Debug, Clone, Args)]
pub(crate) struct PackArgs {
    /// A core module with the interface in it, or a component
    pub(crate) file: PathBuf,
    /// The manifest
    #[arg(long, default_value = "plugin.toml", value_name = "FILE")]
    pub(crate) manifest: PathBuf,
    /// Where the plugin goes, instead of ./NAME.wasm
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Which component is played.
#[derive(Debug, Clone, Args)]
pub(crate) struct ComponentArgs {
    /// The plugin's directory: plugin.toml, fixtures/
    #[arg(long, default_value = ".", value_name = "DIRECTORY")]
    pub(crate) dir: PathBuf,
    /// The component, instead of build/NAME.wasm
    #[arg(long, value_name = "FILE")]
    pub(crate) component: Option<PathBuf>,
    /// The program that compiles components; else iaso-compile beside this one, else in PATH
    #[arg(long, env = "IASO_COMPILE", value_name = "FILE")]
    pub(crate) compiler: Option<PathBuf>,
}

/// What is tested.
#[derive(Debug, Clone, Args)]
pub(crate) struct TestArgs {
    /// Only fixtures whose names contain one of these
    pub(crate) fixtures: Vec<String>,
    #[command(flatten)]
    pub(crate) component: ComponentArgs,
    /// Leave out the runs in which host calls are made to fail
    #[arg(long)]
    pub(crate) no_faults: bool,
    /// Run the check once on this machine, with what the manifest asks for, and write what it answered to fixtures/NAME.toml
    #[arg(long, value_name = "NAME", conflicts_with_all = ["fixtures", "no_faults"])]
    pub(crate) record: Option<String>,
    /// With --record: a key of the plugin's configuration; may be given again
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = pair, requires = "record")]
    pub(crate) config: Vec<(String, String)>,
    /// With --record: an agent's configuration, for its kubeconfig, D-Bus address and scripts
    #[arg(long, value_name = "FILE", requires = "record")]
    pub(crate) agent_config: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct BenchArgs {
    /// Only fixtures whose names contain one of these
    pub(crate) fixtures: Vec<String>,
    #[command(flatten)]
    pub(crate) component: ComponentArgs,
    /// Runs of each fixture
    #[arg(long, default_value_t = 200)]
    pub(crate) runs: usize,
}

fn pair(given: &str) -> Result<(String, String), String> {
    let (key, value) = given.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
