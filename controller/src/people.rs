//! The commands that need no running controller: the first admin's token, and a node's join token.
//!
//! Whoever may write the controller's data directory may do this; nobody else is asked. The journal has it when the controller runs.

use crate::config::Config;
use crate::identity::Identities;
use crate::identity::access::Role;
use crate::run::make_private;
use anyhow::{Context as _, bail};
use clap::Subcommand;
use std::fmt::Write as _;
use std::time::Duration;

/// Longest life of a join token.
const JOIN_TTL_MAX: Duration = Duration::from_hours(7 * 24);
/// Longest span that is understood: ten years.
const SPAN_MAX_SECS: u64 = 3_650 * 86_400;

/// What is done with operators.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token, and print it: it is kept nowhere. A second one of the same name takes the place of the first.
    Add {
        /// The person's or script's name, as the journal will have it.
        name: String,
        /// viewer looks; operator approves, denies, pauses and resumes; admin lets nodes in and out as well.
        #[arg(long, value_enum)]
        role: Role,
        /// How long it may be used: 12h, 90d; else until it is removed.
        #[arg(long, value_parser = span)]
        ttl: Option<Duration>,
    },
    /// Who has a token, with which role, until when.
    List,
    /// Take a token back.
    Remove {
        /// Whose.
        name: String,
    },
}

/// Does it, and says what to print.
///
/// # Errors
/// When the record of identities cannot be used.
pub fn operator(config: &Config, command: Command) -> anyhow::Result<String> {
    let identities = open(config)?;
    match command {
        Command::Add { name, role, ttl } => {
            let token = identities.add_operator(&name, role, ttl)?;
            Ok(format!("{}\n", token.expose()))
        }
        Command::List => {
            let mut out = String::new();
            for entry in identities.operators()? {
                let until = match entry
                    .expires
                    .map(|secs| jiff::Timestamp::from_second(secs.cast_signed()))
                {
                    Some(Ok(at)) => format!("until {at}"),
                    Some(Err(_)) | None => "until it is removed".into(),
                };
                // Writing to a String cannot fail.
                let _ = writeln!(out, "{}\t{}\t{until}", entry.name, entry.role);
            }
            Ok(out)
        }
        Command::Remove { name } => {
            if !identities.remove_operator(&name)? {
                bail!("there is no operator {name:?}: see `iaso-controller operator list`");
            }
            Ok(format!("{name}'s token is taken back\n"))
        }
    }
}

/// Makes a join token, and says what to print.
///
/// # Errors
/// When there is no such node, or the record of identities cannot be used.
pub fn join_token(config: &Config, node: &str, ttl: Duration) -> anyhow::Result<String> {
    let Some(node) = config
        .nodes
        .iter()
        .find(|declared| declared.name.as_str() == node)
    else {
        bail!(
            "node {node:?} is not in the configuration: add it to [[nodes]], or correct its spelling"
        );
    };
    if ttl > JOIN_TTL_MAX {
        bail!("a join token lives at most 7d: use a shorter --ttl");
    }
    let made = open(config)?.join_token(&node.name, ttl, "the controller's command line")?;
    Ok(format!("{}\n", made.secret.expose()))
}

fn open(config: &Config) -> anyhow::Result<Identities> {
    make_private(&config.data_dir)?;
    Identities::at_the_desk(config).context("run this as the user that the controller runs as")
}

/// A span as `90s`, `10m`, `1h` or `7d`.
///
/// # Errors
/// When it is none, zero, or longer than ten years.
pub fn span(text: &str) -> Result<Duration, String> {
    let secs = |unit: char| match unit {
        's' => Some(1_u64),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    };
    let unit = text.chars().last().and_then(secs);
    let digits = text
        .get(..text.len().saturating_sub(1))
        .and_then(|digits| digits.parse::<u64>().ok());
    let span = unit
        .zip(digits)
        .and_then(|(unit, count)| count.checked_mul(unit));
    match span {
        Some(secs @ 1..=SPAN_MAX_SECS) => Ok(Duration::from_secs(secs)),
        Some(_) | None => Err("write a number and s, m, h or d, such as 1h".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_unit_and_a_bound() {
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("7d"), Ok(Duration::from_hours(168)));
        for bad in ["", "h", "1", "0s", "-1h", "1w", "99999999999d", "1é"] {
            assert!(span(bad).is_err(), "{bad:?}");
        }
    }
}
