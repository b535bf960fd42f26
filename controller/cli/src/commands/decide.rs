//! `iaso approve`, `deny`, `pause` and `resume`: a person's word, kept in the journal with who said it.

use super::Session;
use crate::args;
use crate::client::{Decision, Hold, Word};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::model::Answer;
use crate::output;

pub(super) async fn decide(
    session: &Session,
    decision: Decision,
    given: args::Decision,
) -> Result<Exit, Failure> {
    let word = word(given.reason, given.who)?;
    let answer = session
        .client
        .decide(decision, given.incident, word)
        .await?;
    show(session, &answer)
}

pub(super) async fn hold(
    session: &Session,
    hold: Hold,
    node: Option<String>,
    reason: Option<String>,
    who: Option<String>,
) -> Result<Exit, Failure> {
    let word = word(reason, who)?;
    let answer = session
        .client
        .hold(hold, node.unwrap_or_default(), word)
        .await?;
    show(session, &answer)
}

fn show(session: &Session, answer: &Answer) -> Result<Exit, Failure> {
    session.show(answer, |_, answer| {
        format!("{}\n", answer.message.or_dash())
    })?;
    Ok(Exit::Ok)
}

/// `sudo` hides who it is: `SUDO_USER` comes first.
fn word(reason: Option<String>, who: Option<String>) -> Result<Word, Failure> {
    let who = who.or_else(|| {
        ["SUDO_USER", "USER", "LOGNAME"]
            .into_iter()
            .find_map(output::variable)
    });
    let who = who.ok_or_else(|| {
        Failure::Usage(
            "the journal must say who decides, and this shell has no user name: add --who NAME"
                .to_owned(),
        )
    })?;
    Ok(Word {
        reason: reason.unwrap_or_default(),
        who,
    })
}
