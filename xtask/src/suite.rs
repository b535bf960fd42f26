//! Every test: of the plugins, of every crate, and end to end on real hosts.

use crate::process::{self, cargo, has_program, target_dir};
use crate::{assets, build, languages, setup, wasm};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::{Path, PathBuf};

/// By which the tests know that they are on somebody else's cluster.
const KUBECONFIG_VARIABLE: &str = "IASO_TEST_KUBECONFIG";
/// What they label everything with there.
const RUN_LABEL: &str = "iaso.dev/test-run";
/// The kinds that they make there; what lies in their namespace goes with it.
const LEAVES: &str = "namespaces,nodes,leases,persistentvolumes,volumeattachments,secrets,\
clusterroles,clusterrolebindings,roles,rolebindings";

/// Arguments of `test`.
#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// Only the tests of the cluster, on the one that this file names: an administrator's, for a cluster that may have visitors. They make
    /// nodes, pods and roles under names of their own, and remove what they made and nothing else.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A test that cannot run here fails instead of saying that it was skipped.
    #[arg(long, env = "IASO_REQUIRE_ALL", value_parser = clap::builder::FalseyValueParser::new())]
    require_all: bool,
}

/// Sets up and runs.
pub(crate) fn run(arguments: &TestArguments) -> Result<()> {
    setup::ensure(&setup::COMPILER)?;
    if let Some(kubeconfig) = &arguments.kubeconfig {
        return on_a_cluster(kubeconfig, arguments.filter.as_deref());
    }
    if setup::can_install() {
        setup::ensure(&setup::BUS)?;
        setup::ensure(&setup::HOSTS)?;
    } else {
        eprintln!(
            "==> no root or no apt-get: tests on real hosts cannot run here, and will say so by name"
        );
    }
    let plugins = wasm::build_all()?;
    let programs = build::programs()?;
    let kubernetes = kubernetes(arguments);
    let path = languages::path(arguments.filter.is_none())?;
    let nextest = has_program("cargo-nextest");
    let suites: Vec<(&str, Vec<&str>)> = vec![
        (
            "testing the plugins",
            vec!["--manifest-path", "plugins/Cargo.toml", "--workspace"],
        ),
        ("testing the plugin compiler", vec!["-p", "iaso-compile"]),
        // Last: what a reader of the end of the log wants to see.
        (
            "testing every crate, and end to end",
            vec!["--workspace", "--exclude", "iaso-compile"],
        ),
    ];
    for (what, selection) in &suites {
        eprintln!("==> {what}");
        let mut command = cargo();
        if nextest {
            command.args(["nextest", "run", "--no-tests=pass"]);
        } else {
            command.arg("test");
        }
        command.arg("--locked").args(selection.iter());
        if what.ends_with("the plugins") {
            command.env("CARGO_TARGET_DIR", target_dir().join("plugins-native"));
        }
        if let Some(filter) = &arguments.filter {
            command.arg(filter);
        }
        if arguments.require_all {
            command.env("IASO_REQUIRE_ALL", "1");
        }
        if !nextest && what.ends_with("end to end") {
            // Labs share one bridge: without nextest's groups they take turns.
            command.args(["--", "--test-threads=1"]);
        }
        programs.tell(&mut command, &plugins);
        command.env("PATH", &path);
        if let Some(directory) = &kubernetes {
            command.env("KUBEBUILDER_ASSETS", directory);
        }
        process::run(&mut command)?;
    }
    Ok(())
}

/// The tests of the cluster, on one that is somebody else's.
fn on_a_cluster(kubeconfig: &Path, filter: Option<&str>) -> Result<()> {
    let file = kubeconfig.canonicalize().with_context(|| {
        format!(
            "there is no kubeconfig {}: name the file of an administrator of the cluster",
            kubeconfig.display()
        )
    })?;
    let mut command = cargo();
    command.args([
        "test",
        "--locked",
        "-p",
        "iaso-tests",
        "--test",
        "kubernetes",
    ]);
    command.args(filter);
    // One after another: a cluster that others use should notice little of it.
    command.args(["--", "--test-threads=1"]);
    command.env(KUBECONFIG_VARIABLE, &file);
    if let Some(directory) = assets::ready() {
        command.env("KUBEBUILDER_ASSETS", directory);
    } else if !has_program("kubectl") {
        bail!("there is no kubectl: install it, or run `cargo xtask assets` once");
    }
    eprintln!("==> testing on the cluster of {}", file.display());
    process::run(&mut command).with_context(|| {
        format!(
            "if a test was killed, what it had made is left: kubectl --kubeconfig {} delete \
             {LEAVES} --selector {RUN_LABEL} --all-namespaces",
            file.display()
        )
    })
}

/// A real Kubernetes. Some tests out of many get one only if it is there already: making it takes minutes.
fn kubernetes(arguments: &TestArguments) -> Option<PathBuf> {
    if arguments.filter.is_some() {
        return assets::ready();
    }
    assets::ensure()
        .inspect_err(|error| {
            eprintln!(
                "==> tests on a real Kubernetes cannot run here, and will say so by name: {error:#}"
            );
        })
        .ok()
}
