//! From time to place: a linear scale with ticks that people read.

use crate::scenario::{Ms, SECOND};

/// Most ticks.
const TICKS_MAX: u64 = 14;
/// Distances between ticks, seconds.
const STEPS: [u64; 14] = [
    1, 5, 10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200,
];

/// The plot's place and span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) end: Ms,
}

impl Scale {
    pub(super) fn x(&self, at: Ms) -> f64 {
        self.left + share(at.min(self.end), self.end.max(1)) * (self.right - self.left)
    }

    /// Where ticks stand.
    pub(super) fn ticks(&self) -> impl Iterator<Item = Ms> + use<> {
        let end = self.end / SECOND;
        let step = STEPS.iter().find(|step| end / **step <= TICKS_MAX);
        let step = step.copied().unwrap_or(86_400);
        (0..=end / step).map(move |n| n.saturating_mul(step).saturating_mul(SECOND))
    }
}

/// A part of a whole, from 0 to 1.
#[allow(
    clippy::cast_precision_loss,
    reason = "a place in a picture; a run is far below 2^52 ms"
)]
pub(super) fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// `12:34`, from an hour on `1:02:34`.
pub(super) fn clock(at: Ms) -> String {
    let secs = at / SECOND;
    let (hours, minutes, seconds) = (secs / 3_600, secs / 60 % 60, secs % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// `45 s`, `3 min 37 s`, `1 h 4 min`.
pub(super) fn span(secs: u64) -> String {
    match secs {
        0..=99 => format!("{secs} s"),
        100..=3_599 if secs.is_multiple_of(60) => format!("{} min", secs / 60),
        100..=3_599 => format!("{} min {} s", secs / 60, secs % 60),
        _ => format!("{} h {} min", secs / 3_600, secs / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_stand_within_the_plot() {
        for end in [1, 59, 60, 755, 3_600, 10_800, 172_800] {
            let scale = Scale {
                left: 100.0,
                right: 900.0,
                end: end * SECOND,
            };
            let ticks: Vec<Ms> = scale.ticks().collect();
            assert!(ticks.len() <= 15, "{end}: {ticks:?}");
            assert!(ticks.iter().all(|t| scale.x(*t) <= 900.0));
        }
    }
}
