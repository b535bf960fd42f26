//! Standard output and error, and what is known of the terminal.

use crate::args::Color;
use crate::failure::Failure;
use crate::render::Style;
use jiff::Timestamp;
use std::io::{self, IsTerminal as _, Write as _};

/// Narrowest and widest terminal that tables are fitted to.
const WIDTH: std::ops::RangeInclusive<u16> = 40..=400;

/// How to render, from the flags, the environment and the terminal. Not on a terminal and without `COLUMNS`, lines are not wrapped,
/// so that `grep` finds whole lines.
pub(crate) fn style(color: Color) -> Style {
    let terminal = io::stdout().is_terminal();
    let color = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            terminal
                && variable("NO_COLOR").is_none()
                && variable("TERM").as_deref() != Some("dumb")
        }
    };
    let columns = variable("COLUMNS").and_then(|columns| columns.parse().ok());
    let width = columns.or_else(|| {
        if terminal {
            comfy_table::Table::new().width()
        } else {
            None
        }
    });
    Style {
        width: width.map(|width| width.clamp(*WIDTH.start(), *WIDTH.end())),
        color,
        now: Timestamp::now(),
    }
}

/// Writes to standard output, at once: a follower's reader must not wait for a full buffer.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Failure::Output)
}

/// Writes a line to standard error. Nobody is left to be told when that fails.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// An environment variable that is set, not empty and text.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
