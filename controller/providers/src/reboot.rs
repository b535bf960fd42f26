//! Proves a reboot by the hypervisor's own clock: a machine that was rebooted is up for less long than before.
//!
//! The state `running` proves nothing: a provider can report success and do nothing.

use jiff::Timestamp;

use crate::Sample;

/// What the uptime says about a reboot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RebootProof {
    /// The uptime fell after the call.
    Proven {
        /// The last sample before the call.
        before: Sample,
        /// The first sample after it that is lower.
        after: Sample,
    },
    /// There are samples after the call, and the uptime only grew.
    NotYet,
    /// There is nothing to compare: no sample before the call, or none after it.
    NoData,
}

/// Compares the uptime before and after a reboot was called.
///
/// `called_at` must be by the provider's clock, as the samples are: use `Operation::created_at`. Samples may come in
/// any order. Providers stamp samples to the second, so one within the second of the call counts as evidence only
/// when it has fallen.
#[must_use]
pub fn reboot_proof(uptime_ms: &[Sample], called_at: Timestamp) -> RebootProof {
    let called = called_at.as_second();
    let valid = || {
        uptime_ms
            .iter()
            .filter(|sample| sample.value.is_finite() && sample.value >= 0.0)
    };
    let before = valid()
        .filter(|sample| sample.at.as_second() < called)
        .max_by_key(|sample| sample.at);
    let Some(before) = before.copied() else {
        return RebootProof::NoData;
    };
    let later = || valid().filter(|sample| sample.at.as_second() >= called);
    let fallen = later()
        .filter(|sample| sample.value < before.value)
        .min_by_key(|sample| sample.at);
    match fallen {
        Some(after) => RebootProof::Proven {
            before,
            after: *after,
        },
        None if later().any(|sample| sample.at.as_second() > called) => RebootProof::NotYet,
        None => RebootProof::NoData,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(second: i64, value: f64) -> Sample {
        Sample {
            at: at(second),
            value,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a small number of seconds is a time")
    }

    #[test]
    fn a_fallen_uptime_proves_the_reboot() {
        let samples = [
            sample(160, 20_000.0),
            sample(90, 990_000.0),
            sample(100, 1_000_000.0),
        ];
        let proof = reboot_proof(&samples, at(120));
        assert_eq!(
            proof,
            RebootProof::Proven {
                before: sample(100, 1_000_000.0),
                after: sample(160, 20_000.0)
            }
        );
    }

    #[test]
    fn a_growing_uptime_proves_nothing() {
        let samples = [sample(100, 1_000_000.0), sample(160, 1_060_000.0)];
        assert_eq!(reboot_proof(&samples, at(120)), RebootProof::NotYet);
    }

    #[test]
    fn yesterdays_reboot_is_not_this_one() {
        let samples = [
            sample(10, 9e9),
            sample(50, 1_000.0),
            sample(100, 51_000.0),
            sample(160, 111_000.0),
        ];
        assert_eq!(reboot_proof(&samples, at(120)), RebootProof::NotYet);
    }

    #[test]
    fn one_side_alone_is_no_data() {
        assert_eq!(reboot_proof(&[], at(120)), RebootProof::NoData);
        assert_eq!(
            reboot_proof(&[sample(100, 5.0)], at(120)),
            RebootProof::NoData
        );
        assert_eq!(
            reboot_proof(&[sample(160, 5.0)], at(120)),
            RebootProof::NoData
        );
        assert_eq!(
            reboot_proof(&[sample(100, 5.0), sample(120, 6.0)], at(120)),
            RebootProof::NoData
        );
        assert_eq!(
            reboot_proof(&[sample(100, f64::NAN), sample(160, 5.0)], at(120)),
            RebootProof::NoData
        );
    }

    proptest! {
        /// Catches: taking the highest earlier sample, or any earlier fall, for the sample before the call.
        #[test]
        fn an_uptime_that_never_falls_after_the_call_is_never_proof(
            earlier in proptest::collection::btree_map(0_i64..1000, 0.0..1e9_f64, 0..20),
            later in proptest::collection::vec(1000_i64..2000, 0..20),
        ) {
            let last = earlier.values().next_back().copied().unwrap_or_default();
            let mut samples: Vec<_> = earlier.iter().map(|(second, value)| sample(*second, *value)).collect();
            samples.extend(later.iter().map(|second| sample(*second, last + 1.0)));
            let proven = matches!(reboot_proof(&samples, at(1000)), RebootProof::Proven { .. });
            prop_assert!(!proven);
        }
    }
}
