//! Width, colour and time, handed in; and which word gets which colour.

use comfy_table::Color;
use jiff::{SignedDuration, Timestamp, Unit};
use owo_colors::{AnsiColors, OwoColorize as _};

/// How to render.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Columns to fit; `None`: do not wrap.
    pub(crate) width: Option<u16>,
    /// Colours are wanted. They only repeat what the words say.
    pub(crate) color: bool,
    /// For ages.
    pub(crate) now: Timestamp,
}

/// What a word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Well.
    Good,
    /// May become worse, or is not known.
    Warn,
    /// Not well.
    Bad,
    /// Says little.
    Quiet,
    /// Neither.
    Plain,
}

impl Tone {
    /// Of the protocol's words.
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "ok" | "up" | "fresh" | "closed" | "running" | "healthy" | "yes" | "outcome" => {
                Self::Good
            }
            "warning" | "unknown" | "stale" | "open" | "diagnosis" | "approval" | "never" => {
                Self::Warn
            }
            "critical" | "gone" | "parked" | "no" => Self::Bad,
            "info" | "none" | "-" | "waiting" | "fact" | "note" => Self::Quiet,
            _ => Self::Plain,
        }
    }

    /// For a table's cell.
    pub(crate) fn cell(self) -> Option<Color> {
        match self {
            Self::Good => Some(Color::DarkGreen),
            Self::Warn => Some(Color::DarkYellow),
            Self::Bad => Some(Color::DarkRed),
            Self::Quiet => Some(Color::DarkGrey),
            Self::Plain => None,
        }
    }
}

impl Style {
    /// The text in its colour.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        let color = match tone {
            Tone::Good => AnsiColors::Green,
            Tone::Warn => AnsiColors::Yellow,
            Tone::Bad => AnsiColors::Red,
            Tone::Quiet => AnsiColors::BrightBlack,
            Tone::Plain => return text.to_owned(),
        };
        if self.color {
            text.color(color).to_string()
        } else {
            text.to_owned()
        }
    }

    /// A heading.
    pub(crate) fn bold(&self, text: &str) -> String {
        if self.color {
            text.bold().to_string()
        } else {
            text.to_owned()
        }
    }

    /// Date, time and age: `2026-11-23 03:12:45Z (12 min ago)`.
    pub(crate) fn moment(&self, at: Option<Timestamp>) -> String {
        at.map_or_else(
            || "-".to_owned(),
            |at| format!("{} ({})", date_time(at), self.ago(at)),
        )
    }

    /// How long ago, coarse.
    pub(crate) fn ago(&self, at: Timestamp) -> String {
        let age = self.now.duration_since(at);
        if age.is_negative() {
            "in the future: clocks differ".to_owned()
        } else {
            format!("{} ago", span(age))
        }
    }
}

/// `2026-11-23 03:12:45Z`.
pub(crate) fn date_time(at: Timestamp) -> String {
    let seconds = at.round(Unit::Second).unwrap_or(at);
    seconds.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// An age in milliseconds, coarse.
pub(crate) fn millis(ms: u64) -> String {
    span(SignedDuration::from_millis(
        i64::try_from(ms).unwrap_or(i64::MAX),
    ))
}

fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
