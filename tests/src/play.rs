//! A lab that stays, so that a person can break things and look on with `iaso`.
//!
//! Deliberately absent: anything that the tests need. It is the demonstration without a script.

use crate::dns::DnsFault;
use crate::hostinger::Faults;
use crate::hosts::HostKind;
use crate::programs;
use crate::scene::{Crash, Lab, LabOptions};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

const HELP: &str = "  cut NODE | heal NODE            the hypervisor's cut
  freeze NODE | thaw NODE         the machine hangs
  kill NODE [UNIT]                kill -9 of k3s-agent.service or another unit
  dns well|silent|upstream|refused
  provider well|404|401|500|hang|reboot-fails|reboot-does-nothing
  api stop|hang|well              the Kubernetes API
  controller kill                 kill -9, and start again
  help | quit";

/// Who says yes to a rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Recreate {
    /// Iaso, by itself.
    Auto,
    /// You: `iaso approve INCIDENT`.
    Approve,
    /// Nobody: it is only told what would have been done.
    Observe,
}

/// Arguments of `iaso-lab play`.
#[derive(Debug, Clone, Args)]
pub struct PlayArguments {
    /// What the hosts are made of.
    #[arg(long, value_enum, default_value = "process")]
    hosts: HostKind,
    /// The mode of a recreation.
    #[arg(long, value_enum, default_value = "approve")]
    recreate: Recreate,
}

/// Starts a lab and obeys until `quit`, the end of the input, or a signal.
///
/// # Errors
/// When the lab does not start.
pub async fn run(arguments: PlayArguments) -> Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    println!("starting three hosts, a controller, a provider and a Kubernetes API ...");
    let mut options = LabOptions::new(arguments.hosts);
    let mode = match arguments.recreate {
        Recreate::Auto => "\"auto\"",
        Recreate::Approve => "\"approve\"",
        Recreate::Observe => "\"observe\"",
    };
    options.policy.push(("recreate", mode.into()));
    let mut lab = Lab::start(options).await?;
    let iaso = programs::program("iaso")?;
    println!(
        "all green. In another shell:\n\n  export IASO_CONTROLLER={} IASO_TOKEN_FILE={}\n  alias iaso={}\n  iaso nodes\n\nHere:\n{HELP}",
        lab.paths.controller_url(),
        lab.paths.operator_token_file().display(),
        iaso.display()
    );
    let mut lines = lines();
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            _ = terminated.recv() => break,
            _ = interrupted.recv() => break,
        };
        let Some(line) = line else { break };
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            ["quit" | "exit"] => break,
            ["help"] => println!("{HELP}"),
            words => match obey(&mut lab, words).await {
                Ok(()) => println!("done: {line}"),
                Err(error) => println!("not done: {error:#}"),
            },
        }
    }
    println!("everything that was started is gone");
    Ok(ExitCode::SUCCESS)
}

/// Standard input, line by line. On a thread: a read from a terminal cannot be given up.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn obey(lab: &mut Lab, words: &[&str]) -> Result<()> {
    match words {
        ["cut", node] => lab.host(node)?.cut().await,
        ["heal", node] => lab.host(node)?.heal().await,
        ["freeze", node] => lab.host(node)?.freeze().await,
        ["thaw", node] => lab.host(node)?.thaw().await,
        ["kill", node] => lab.host(node)?.kill_unit("k3s-agent.service").await,
        ["kill", node, unit] => lab.host(node)?.kill_unit(unit).await,
        ["dns", how] => {
            lab.set_dns(match *how {
                "well" => DnsFault::None,
                "silent" => DnsFault::Silent,
                "upstream" => DnsFault::UpstreamGone,
                "refused" => DnsFault::Refused,
                _ => bail!("{how:?} is none of well, silent, upstream, refused"),
            });
            Ok(())
        }
        ["provider", how] => provider(lab, how),
        ["api", "stop"] => {
            lab.kube.stop().await;
            Ok(())
        }
        ["api", "hang"] => {
            lab.kube.hang();
            Ok(())
        }
        ["api", "well"] => {
            lab.kube.unhang();
            lab.kube.start_again().await
        }
        ["controller", "kill"] => {
            lab.controller.crash(Crash::Kill).await?;
            lab.controller_again().await
        }
        _ => bail!(
            "{:?} is not understood; `help` lists what is",
            words.join(" ")
        ),
    }
}

fn provider(lab: &Lab, how: &str) -> Result<()> {
    let well = Faults::default();
    lab.provider.set_faults(match how {
        "well" => well,
        "404" => Faults {
            not_found_everywhere: true,
            ..well
        },
        "401" => Faults {
            unauthorized: true,
            ..well
        },
        "500" => Faults {
            server_error: Some(500),
            ..well
        },
        "hang" => Faults { hang: true, ..well },
        "reboot-fails" => Faults {
            reboot_fails: true,
            ..well
        },
        "reboot-does-nothing" => Faults {
            reboot_does_nothing: true,
            ..well
        },
        _ => {
            bail!("{how:?} is none of well, 404, 401, 500, hang, reboot-fails, reboot-does-nothing")
        }
    });
    Ok(())
}
