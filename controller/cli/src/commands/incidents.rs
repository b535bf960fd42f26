//! `iaso incidents`.

use super::Session;
use crate::args::State;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{render, verdict};

pub(super) async fn run(
    session: &Session,
    state: Option<State>,
    limit: u32,
) -> Result<Exit, Failure> {
    let answer = session
        .client
        .incidents(limit, state.map_or("", State::word))
        .await?;
    session.show(&answer, render::incidents)?;
    Ok(verdict::incidents(&answer.incidents))
}
