//! A plugin's only memory between runs: a few keys under a quota, kept as one value so that it is replaced in one step.
//!
//! **Invariants**
//! - What [`KeyValues::encode`] gives is never larger than [`QUOTA_BYTES`].
//! - Bytes that do not decode are an error, never an empty state: forgetting silently would look like a first run.

use std::collections::BTreeMap;

use crate::broker::CapError;

/// Bytes of all keys and values of one plugin, with 8 bytes more for each pair.
pub const QUOTA_BYTES: usize = 64 << 10;

/// The longest key.
const KEY_BYTES_MAX: usize = 256;

/// The pairs of one plugin.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct KeyValues(BTreeMap<String, Vec<u8>>);

impl KeyValues {
    pub(crate) fn get(&self, key: &str) -> Option<&Vec<u8>> {
        self.0.get(key)
    }

    /// Sets a pair, or says why it does not fit and changes nothing.
    pub(crate) fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), CapError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(CapError::TooLarge(format!(
                "a state key has 1 to {KEY_BYTES_MAX} bytes"
            )));
        }
        let others: usize = self
            .0
            .iter()
            .filter(|(k, _)| **k != key)
            .map(|(k, v)| cost(k, v))
            .sum();
        let total = others.saturating_add(cost(&key, &value));
        if total > QUOTA_BYTES {
            return Err(CapError::TooLarge(format!(
                "the state would be {total} bytes; a plugin has {QUOTA_BYTES}"
            )));
        }
        self.0.insert(key, value);
        Ok(())
    }

    /// Whether there was such a key.
    pub(crate) fn delete(&mut self, key: &str) -> bool {
        self.0.remove(key).is_some()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, value) in &self.0 {
            for part in [key.as_bytes(), value.as_slice()] {
                let len =
                    u32::try_from(part.len()).expect("the quota keeps every part far below 4 GiB");
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(part);
            }
        }
        out
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, CapError> {
        let damaged =
            || CapError::Other("the kept state is damaged; delete it to start anew".to_owned());
        let mut pairs = BTreeMap::new();
        if bytes.len() > QUOTA_BYTES {
            return Err(damaged());
        }
        while !bytes.is_empty() {
            let key = take_part(&mut bytes).ok_or_else(damaged)?;
            let value = take_part(&mut bytes).ok_or_else(damaged)?;
            let key = String::from_utf8(key.to_vec()).map_err(|_| damaged())?;
            pairs.insert(key, value.to_vec());
        }
        Ok(Self(pairs))
    }
}

fn cost(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + 8
}

fn take_part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    let (part, rest) = rest.split_at_checked(len)?;
    *bytes = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Catches: a quota that counts values and not keys, a replaced value counted twice, a codec that mixes up lengths.
        #[test]
        fn what_was_accepted_fits_the_quota_and_comes_back(
            pairs in prop::collection::vec(("[a-z]{1,200}", prop::collection::vec(any::<u8>(), 0..20_000)), 0..12)
        ) {
            let mut state = KeyValues::default();
            for (key, value) in pairs {
                let before = state.clone();
                if state.set(key, value).is_err() {
                    prop_assert_eq!(&state, &before);
                }
            }
            let bytes = state.encode();
            prop_assert!(bytes.len() <= QUOTA_BYTES);
            prop_assert_eq!(KeyValues::decode(&bytes), Ok(state));
        }

        /// Catches: a decoder that indexes by a length it read.
        #[test]
        fn any_bytes_decode_or_are_called_damaged(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(state) = KeyValues::decode(&bytes) {
                prop_assert!(state.encode().len() <= bytes.len());
            }
        }
    }

    #[test]
    fn a_value_is_replaced_in_place_of_being_added() {
        let mut state = KeyValues::default();
        for _ in 0..3 {
            assert_eq!(state.set("k".into(), vec![0; 60_000]), Ok(()));
        }
        assert!(matches!(
            state.set("other".into(), vec![0; 60_000]),
            Err(CapError::TooLarge(_))
        ));
        assert!(state.delete("k"));
        assert_eq!(state.get("k"), None);
    }
}
