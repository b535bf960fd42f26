//! Every test: of the plugins, of every crate, and end to end on real hosts.

use crate::process::{self, cargo, has_program, target_dir};
use crate::{assets, build, setup, wasm};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `test`.
#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    /// Only tests whose name contains this.
    filter: Option<String>,
    /// A test that cannot run here fails instead of saying that it was skipped.
    #[arg(long, env = "IASO_REQUIRE_ALL", value_parser = clap::builder::FalseyValueParser::new())]
    require_all: bool,
}

/// Sets up and runs.
pub(crate) fn run(arguments: &TestArguments) -> Result<()> {
    setup::ensure(&setup::COMPILER)?;
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
        if let Some(directory) = &kubernetes {
            command.env("KUBEBUILDER_ASSETS", directory);
        }
        process::run(&mut command)?;
    }
    Ok(())
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
