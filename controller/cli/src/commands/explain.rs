//! `iaso explain NODE`. An explanation is an answer, whatever it says: it exits 0.

use super::Session;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render;

pub(super) async fn run(session: &Session, node: String) -> Result<Exit, Failure> {
    let answer = session.client.explain(node).await?;
    session.show(&answer, render::explanation)?;
    Ok(Exit::Ok)
}
