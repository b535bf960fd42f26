//! `iaso replay INCIDENT`: its decisions again, with the engine in this program, against what was journaled.

use super::Session;
use super::recordings::{self, Source};
use crate::args::{Format, Global, ReplayArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{output, render};
use iaso_replay::replay::{Verdict, replay};
use std::time::Duration;

pub(super) async fn run(global: &Global, what: &ReplayArgs) -> Result<Exit, Failure> {
    let source = match (&what.file, &what.incident) {
        (Some(file), _) => Source::File(file.clone()),
        (None, Some(incident)) => {
            let session = Session::open(global).await?;
            let stream = session.client.recording(incident, Duration::ZERO).await?;
            if let Some(file) = &what.export {
                let bytes = recordings::save(stream, file).await?;
                output::complain(&format!("{bytes} bytes written to {}", file.display()));
                return Ok(Exit::Ok);
            }
            Source::Bytes(recordings::collect(stream).await?)
        }
        (None, None) => {
            return Err(Failure::Usage(
                "name an incident, or a recording with --file".into(),
            ));
        }
    };
    let name = source.name();
    let found = replay(source.open()?).map_err(|error| recordings::unusable(&name, &error))?;
    let exit = match found.verdict {
        Verdict::Reproduced => Exit::Ok,
        Verdict::Differs | Verdict::Incomplete => Exit::Wrong,
    };
    output::print(&match global.output {
        Format::Json => render::json(&render::replay_model(&found)),
        Format::Table => render::replay(&output::style(global.color), &found),
    })?;
    Ok(exit)
}
