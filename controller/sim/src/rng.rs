//! Randomness that is a function of a seed and a purpose: one stream for each, so that drawing more of one never shifts another.

/// The finalizer of splitmix64: every bit of the input moves every bit of the output.
fn mix(value: u64) -> u64 {
    let z = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number that depends on all of these and on nothing else: for what must not depend on the order of questions.
#[must_use]
pub fn hash(seed: u64, parts: [u64; 3]) -> u64 {
    parts.into_iter().fold(mix(seed ^ STEP), |sum, part| {
        mix(sum.wrapping_add(STEP) ^ part.wrapping_mul(STEP))
    })
}

/// One stream of numbers.
#[derive(Debug, Clone)]
pub struct Stream {
    state: u64,
}

impl Stream {
    /// The stream of one purpose.
    #[must_use]
    pub fn new(seed: u64, purpose: &str) -> Self {
        let state = purpose.bytes().fold(mix(seed), |sum, byte| {
            mix(sum.wrapping_add(STEP) ^ u64::from(byte))
        });
        Self { state }
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// From 0 to `limit` exclusive; 0 for a limit of 0. The bias is below one in 2^40 for the limits used here.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw().checked_rem(limit).unwrap_or(0)
    }

    /// From `low` to `high`, both inclusive.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low.saturating_add(self.below(high.saturating_sub(low).saturating_add(1)))
    }

    /// Whether something of so many in a thousand happens.
    pub fn permille(&mut self, chance: u64) -> bool {
        self.below(1_000) < chance
    }

    /// Whether something of so many in a hundred happens.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of the weighted choices; the last one if the weights are all zero.
    pub fn weighted<T: Copy>(&mut self, choices: &[(u64, T)], otherwise: T) -> T {
        let total = choices.iter().map(|(weight, _)| weight).sum();
        let mut left = self.below(total);
        for (weight, choice) in choices {
            if left < *weight {
                return *choice;
            }
            left = left.saturating_sub(*weight);
        }
        otherwise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_two_purposes_differ_and_the_same_one_repeats() {
        let draw = |seed, purpose| {
            let mut stream = Stream::new(seed, purpose);
            [stream.draw(), stream.draw(), stream.draw()]
        };
        assert_eq!(draw(1, "net"), draw(1, "net"));
        assert_ne!(draw(1, "net"), draw(1, "faults"));
        assert_ne!(draw(1, "net"), draw(2, "net"));
    }

    #[test]
    fn draws_stay_within_their_bounds_and_reach_them() {
        let mut stream = Stream::new(7, "bounds");
        let drawn: Vec<u64> = (0..1_000).map(|_| stream.between(3, 6)).collect();
        assert_eq!(drawn.iter().min(), Some(&3));
        assert_eq!(drawn.iter().max(), Some(&6));
        assert_eq!(stream.below(0), 0);
    }
}
