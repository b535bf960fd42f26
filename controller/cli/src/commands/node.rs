//! `iaso node NAME`.

use super::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{render, verdict};

pub(super) async fn run(session: &Session, name: String) -> Result<Exit, Failure> {
    let answer = session.client.node(name).await?;
    session.show(&answer, render::node)?;
    Ok(verdict::nodes([&answer.node]))
}
