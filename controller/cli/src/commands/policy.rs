//! `iaso policy check [FILE]`: needs no controller. What is refused exits with 2, what is dangerous with 3 if that was asked for.

use crate::args::{Format, Global, PolicyCheckArgs, PolicyCommand};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{output, render};
use iaso_engine::policy::Policy;
use iaso_policy_file::{Loaded, PolicyFileError};
use std::path::Path;

pub(super) fn run(global: &Global, what: &PolicyCommand) -> Result<Exit, Failure> {
    let PolicyCommand::Check(what) = what;
    check(global, what)
}

fn check(global: &Global, what: &PolicyCheckArgs) -> Result<Exit, Failure> {
    let loaded = match &what.file {
        Some(file) => load(file)?,
        None => Loaded {
            policy: Policy::default(),
            inventory: None,
        },
    };
    let style = output::style(global.color);
    let model = render::policy_model(what.file.as_deref(), &loaded, style.now);
    output::print(&match global.output {
        Format::Json => render::json(&model),
        Format::Table => render::policy(&style, &model),
    })?;
    Ok(if what.deny_warnings && !model.dangers.is_empty() {
        Exit::Person
    } else {
        Exit::Ok
    })
}

/// A policy file as the controller reads it.
pub(super) fn load(file: &Path) -> Result<Loaded, Failure> {
    iaso_policy_file::load(file).map_err(refused)
}

pub(super) fn refused(error: PolicyFileError) -> Failure {
    match error {
        PolicyFileError::Read { path, source } => Failure::Read { file: path, source },
        PolicyFileError::TooLarge { .. }
        | PolicyFileError::Parse { .. }
        | PolicyFileError::Twice { .. }
        | PolicyFileError::Refused { .. } => Failure::Usage(error.to_string()),
    }
}
