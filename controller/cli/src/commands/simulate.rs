//! `iaso simulate SCENARIO`: needs no controller. 1: something that must never happen did, or it is not as the scenario expects.

use super::policy;
use crate::args::{Format, Global, SimulateArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{output, render};
use iaso_sim::file::{self, FileError, Loaded};
use iaso_sim::plant::Plant;
use iaso_sim::{picture, sim, story};

pub(super) fn run(global: &Global, what: &SimulateArgs) -> Result<Exit, Failure> {
    let loaded = load(what)?;
    let run = sim::run_told(&loaded.scenario, Plant::None);
    let story = story::tell(&loaded, &run);
    if let Some(file) = &what.svg {
        std::fs::write(file, picture::svg(&story)).map_err(|source| Failure::Write {
            file: file.clone(),
            option: "--svg",
            source,
        })?;
    }
    output::print(&match global.output {
        Format::Json => render::json(&story),
        Format::Table => render::simulation(&output::style(global.color), &story),
    })?;
    Ok(if story.is_fine() {
        Exit::Ok
    } else {
        Exit::Wrong
    })
}

fn load(what: &SimulateArgs) -> Result<Loaded, Failure> {
    let mut loaded = file::load(&what.scenario).map_err(|error| match error {
        FileError::Read { path, source } => Failure::Read { file: path, source },
        FileError::Policy(error) => policy::refused(error),
        FileError::Parse { .. } | FileError::Refused { .. } => Failure::Usage(error.to_string()),
    })?;
    if let Some(file) = &what.policy {
        loaded.scenario.policy = policy::load(file)?.policy;
        file::policy(&loaded.scenario.policy, &loaded.scenario.nodes).map_err(|why| {
            Failure::Usage(format!(
                "{} does not fit the scenario: {why}",
                file.display()
            ))
        })?;
    }
    if let Some(seed) = what.seed {
        loaded.scenario.seed = seed;
    }
    Ok(loaded)
}
