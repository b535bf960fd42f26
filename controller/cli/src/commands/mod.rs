//! One small file for each command: ask, print, and say with which code to exit.

mod backtest;
mod completions;
mod decide;
mod events;
mod explain;
mod identity;
mod incident;
mod incidents;
mod node;
mod nodes;
mod policy;
mod reconnect;
mod recordings;
mod replay;
mod report;
mod simulate;

use crate::args::{Args, Command, Format, Global};
use crate::client::{Client, Decision, Hold};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::{self, Style};
use crate::{output, plugin, target, token};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// What every command gets.
struct Session {
    client: Client,
    format: Format,
    style: Style,
}

impl Session {
    async fn open(global: &Global) -> Result<Self, Failure> {
        let uri = target::controller(&global.controller)?;
        let home = output::variable("HOME").map(PathBuf::from);
        let token = token::read(global.token_file.as_deref(), home.as_deref())?;
        if token.exposed {
            output::complain(&format!(
                "iaso: others on this machine can read the token: chmod 600 {}",
                token.file.display()
            ));
        }
        let client = Client::connect(&uri, token, Duration::from_secs(global.timeout_secs)).await?;
        Ok(Self {
            client,
            format: global.output,
            style: output::style(global.color),
        })
    }

    /// Prints the JSON or the table.
    fn show<T: Serialize>(
        &self,
        model: &T,
        table: impl FnOnce(&Style, &T) -> String,
    ) -> Result<(), Failure> {
        output::print(&match self.format {
            Format::Json => render::json(model),
            Format::Table => table(&self.style, model),
        })
    }
}

/// Runs one command to its end.
pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    if let Command::Completions { shell } = args.command {
        return completions::run(shell);
    }
    if let Command::Policy(what) = &args.command {
        return policy::run(&args.global, what);
    }
    if let Command::Simulate(what) = &args.command {
        return simulate::run(&args.global, what);
    }
    if let Command::Plugin(what) = &args.command {
        // A plugin is looked at here, not on the controller.
        return plugin::run(&args.global, what);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let exit = runtime.block_on(dispatch(args));
    // A name lookup may hang in a thread: it must not keep the process.
    runtime.shutdown_background();
    exit
}

async fn dispatch(args: Args) -> Result<Exit, Failure> {
    if let Command::Replay(what) = &args.command {
        // A recording in a file needs no controller.
        return replay::run(&args.global, what).await;
    }
    if let Command::Backtest(what) = &args.command {
        return backtest::run(&args.global, what).await;
    }
    let session = Session::open(&args.global).await?;
    match args.command {
        Command::Nodes => nodes::run(&session).await,
        Command::Node { name } => node::run(&session, name).await,
        Command::Incidents { state, limit } => incidents::run(&session, state, limit).await,
        Command::Incident { id, follow } => incident::run(&session, &id, &follow).await,
        Command::Report { id, format, out } => {
            report::run(&session, id, format, out.as_deref()).await
        }
        Command::Approve(decision) => decide::decide(&session, Decision::Approve, decision).await,
        Command::Deny(decision) => decide::decide(&session, Decision::Deny, decision).await,
        Command::Pause { node, reason, who } => {
            decide::hold(&session, Hold::Pause, node, Some(reason), who).await
        }
        Command::Resume { node, reason, who } => {
            decide::hold(&session, Hold::Resume, node, reason, who).await
        }
        Command::Events {
            since,
            incident,
            follow,
        } => events::run(&session, since, incident.as_deref(), &follow).await,
        Command::Explain { node } => explain::run(&session, node).await,
        Command::JoinToken { node, ttl } => identity::join_token(&session, node, ttl).await,
        Command::Revoke { node, reason } => identity::revoke(&session, node, reason).await,
        Command::Backtest(what) => backtest::run(&args.global, &what).await,
        Command::Replay(what) => replay::run(&args.global, &what).await,
        Command::Policy(what) => policy::run(&args.global, &what),
        Command::Simulate(what) => simulate::run(&args.global, &what),
        Command::Completions { shell } => completions::run(shell),
        Command::Plugin(what) => plugin::run(&args.global, &what),
    }
}
