//! Repair windows: when disruptive rungs may be taken, by the week and a fixed offset from UTC. Computed from a [`Tick`] alone.
//!
//! Deliberately absent: named time zones. Their rules change with the world, and a decision must replay the same in ten years.

use crate::policy::step::StepKind;
use crate::time::Tick;
use serde::{Deserialize, Serialize};
use std::fmt;

const MINUTES_A_DAY: u64 = 1_440;
const MINUTE_MS: u64 = 60_000;

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    /// Of the n-th day since 1970-01-01, a Thursday.
    fn of(day: u64) -> Self {
        match day % 7 {
            0 => Self::Thu,
            1 => Self::Fri,
            2 => Self::Sat,
            3 => Self::Sun,
            4 => Self::Mon,
            5 => Self::Tue,
            _ => Self::Wed,
        }
    }
}

/// Why a time or an offset is not one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not {expected}")]
pub struct BadTime {
    text: String,
    expected: &'static str,
}

/// A time of the day, `HH:MM`, from 00:00 to 24:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay {
    /// Minutes since midnight.
    pub minutes: u16,
}

/// An offset from UTC, `+HH:MM` or `-HH:MM`, at most 14 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UtcOffset {
    /// Minutes east of UTC.
    pub minutes: i16,
}

fn hours_and_minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |part: &str| {
        let plain = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| part.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60).then(|| hours.saturating_mul(60).saturating_add(minutes))
}

impl TryFrom<String> for TimeOfDay {
    type Error = BadTime;

    fn try_from(text: String) -> Result<Self, BadTime> {
        match hours_and_minutes(&text) {
            Some(minutes) if u64::from(minutes) <= MINUTES_A_DAY => Ok(Self { minutes }),
            Some(_) | None => Err(BadTime {
                text,
                expected: "a time of the day: write HH:MM, from 00:00 to 24:00",
            }),
        }
    }
}

impl TryFrom<String> for UtcOffset {
    type Error = BadTime;

    fn try_from(text: String) -> Result<Self, BadTime> {
        let parsed = match text.split_at_checked(1) {
            Some(("+", rest)) => hours_and_minutes(rest).map(|m| (1, m)),
            Some(("-", rest)) => hours_and_minutes(rest).map(|m| (-1, m)),
            Some(_) | None => None,
        };
        match parsed {
            Some((sign, minutes)) if minutes <= 14 * 60 => Ok(Self {
                minutes: i16::try_from(minutes).unwrap_or(0).saturating_mul(sign),
            }),
            Some(_) | None => Err(BadTime {
                text,
                expected: "an offset from UTC: write +HH:MM or -HH:MM, at most 14 hours",
            }),
        }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl fmt::Display for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.minutes < 0 { '-' } else { '+' };
        let minutes = self.minutes.unsigned_abs();
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

impl From<UtcOffset> for String {
    fn from(offset: UtcOffset) -> Self {
        offset.to_string()
    }
}

/// One window of the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// On these days; empty: every day. One that goes over midnight belongs to the day on which it opens.
    #[serde(default)]
    pub days: Vec<Day>,
    /// Opens.
    pub from: TimeOfDay,
    /// Closes. Before `from`: on the next day.
    pub to: TimeOfDay,
    /// By the clock of this offset; default UTC.
    #[serde(default)]
    pub utc_offset: UtcOffset,
    /// The rungs that wait for it.
    #[serde(default = "usual_rungs")]
    pub rungs: Vec<StepKind>,
}

fn usual_rungs() -> Vec<StepKind> {
    vec![StepKind::Reboot, StepKind::Recreate]
}

impl Window {
    /// Days since the epoch and minutes since midnight, by the window's own clock.
    fn local(&self, at: Tick) -> (u64, u64) {
        let minutes = (at.0 / MINUTE_MS).saturating_add_signed(i64::from(self.utc_offset.minutes));
        (minutes / MINUTES_A_DAY, minutes % MINUTES_A_DAY)
    }

    fn opens_on(&self, day: u64) -> bool {
        self.days.is_empty() || self.days.contains(&Day::of(day))
    }

    /// Whether it is open.
    #[must_use]
    pub fn contains(&self, at: Tick) -> bool {
        let (day, minute) = self.local(at);
        let (from, to) = (u64::from(self.from.minutes), u64::from(self.to.minutes));
        if from < to {
            return self.opens_on(day) && (from..to).contains(&minute);
        }
        let since_yesterday = minute < to && self.opens_on(day.saturating_sub(1));
        since_yesterday || (minute >= from && self.opens_on(day))
    }

    /// When it opens next; `at` itself when it is open.
    #[must_use]
    pub fn next_opening(&self, at: Tick) -> Tick {
        if self.contains(at) {
            return at;
        }
        let (day, minute) = self.local(at);
        let from = u64::from(self.from.minutes);
        let first = u64::from(minute >= from);
        // Every window opens within a week.
        let ahead =
            (first..=first.saturating_add(7)).find(|n| self.opens_on(day.saturating_add(*n)));
        let days = ahead.unwrap_or(7);
        let wait = days
            .saturating_mul(MINUTES_A_DAY)
            .saturating_add(from)
            .saturating_sub(minute);
        let whole = at.0 / MINUTE_MS;
        Tick(whole.saturating_add(wait).saturating_mul(MINUTE_MS))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days.is_empty() {
            f.write_str("every day")?;
        }
        for (n, day) in self.days.iter().enumerate() {
            let word = format!("{day:?}").to_lowercase();
            write!(f, "{}{word}", if n == 0 { "" } else { ", " })?;
        }
        write!(f, " {} to {} {}", self.from, self.to, self.utc_offset)
    }
}

/// When a rung may be taken: `None` now, else when the first of its windows opens. A rung that no window names is always allowed.
#[must_use]
pub fn wait_for(windows: &[Window], kind: StepKind, at: Tick) -> Option<Tick> {
    let opening = windows
        .iter()
        .filter(|w| w.rungs.contains(&kind))
        .map(|w| w.next_opening(at))
        .min()?;
    (opening > at).then_some(opening)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test that unwraps wrongly fails, as it should"
    )]
    use super::*;

    fn window(days: &[Day], from: &str, to: &str, offset: &str) -> Window {
        Window {
            days: days.to_vec(),
            from: TimeOfDay::try_from(from.to_owned()).unwrap(),
            to: TimeOfDay::try_from(to.to_owned()).unwrap(),
            utc_offset: UtcOffset::try_from(offset.to_owned()).unwrap(),
            rungs: usual_rungs(),
        }
    }

    /// Saturday, 11 October 2025, at so many minutes after midnight UTC.
    fn saturday(minutes: u64) -> Tick {
        Tick((1_760_140_800 + minutes * 60) * 1_000)
    }

    #[test]
    fn a_window_opens_and_closes_on_its_days() {
        let w = window(&[Day::Sat], "22:00", "23:30", "+00:00");
        let cases = [
            (1_319, false),
            (1_320, true),
            (1_409, true),
            (1_410, false),
            (1_320 + 1_440, false),
        ];
        for (minute, expect) in cases {
            assert_eq!(w.contains(saturday(minute)), expect, "{minute}");
        }
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_opens() {
        let w = window(&[Day::Sat], "23:00", "04:00", "+00:00");
        assert!(
            !w.contains(saturday(60)),
            "Friday's night is not Saturday's"
        );
        assert!(w.contains(saturday(1_380)));
        assert!(w.contains(saturday(1_440 + 239)));
        assert!(!w.contains(saturday(1_440 + 240)));
    }

    #[test]
    fn an_offset_shifts_the_day_too() {
        let w = window(&[Day::Sun], "00:00", "02:00", "+02:00");
        assert!(
            w.contains(saturday(1_320)),
            "22:00 UTC on Saturday is Sunday in +02:00"
        );
        assert!(!w.contains(saturday(1_440)));
        let w = window(&[Day::Fri], "20:00", "24:00", "-05:00");
        assert!(w.contains(saturday(60)) && !w.contains(saturday(300)));
    }

    #[test]
    fn the_next_opening_is_the_first_moment_at_which_it_is_open() {
        let windows = [
            window(&[Day::Mon, Day::Thu], "02:00", "04:00", "+00:00"),
            window(&[], "23:00", "01:00", "-03:30"),
            window(&[Day::Sat], "00:00", "24:00", "+14:00"),
        ];
        for w in &windows {
            for minute in (0..14 * 1_440).step_by(7) {
                let (at, opening) = (saturday(minute), w.next_opening(saturday(minute)));
                assert!(w.contains(opening), "{w} at {minute}");
                assert!(
                    opening == at || !w.contains(Tick(opening.0 - 1)),
                    "{w} at {minute}"
                );
                assert!(opening.since(at).as_secs() <= 8 * 86_400);
            }
        }
    }

    #[test]
    fn what_is_no_time_is_refused_in_words() {
        for bad in ["24:01", "7:00", "12:60", "", "+12:00", "12:0x", "99:99"] {
            let refused = TimeOfDay::try_from(bad.to_owned()).unwrap_err();
            assert!(refused.to_string().contains("HH:MM"), "{bad}");
        }
        for bad in ["", "02:00", "+15:00", "é1:00", "+2"] {
            assert!(UtcOffset::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rung_that_no_window_names_is_always_allowed() {
        let windows = [window(&[Day::Mon], "02:00", "04:00", "+00:00")];
        assert_eq!(wait_for(&windows, StepKind::Fix, saturday(0)), None);
        assert_eq!(wait_for(&[], StepKind::Recreate, saturday(0)), None);
        // Saturday 00:00 to Monday 02:00 is 50 hours.
        assert_eq!(
            wait_for(&windows, StepKind::Recreate, saturday(0)),
            Some(saturday(50 * 60))
        );
    }
}
