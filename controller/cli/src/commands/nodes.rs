//! `iaso nodes`.

use super::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{render, verdict};

pub(super) async fn run(session: &Session) -> Result<Exit, Failure> {
    let answer = session.client.nodes().await?;
    session.show(&answer, render::nodes)?;
    Ok(verdict::nodes(&answer.nodes))
}
