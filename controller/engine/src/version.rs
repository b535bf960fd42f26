//! Versions of journal records: which one is written, and how each one is read.
//!
//! **Invariants**
//! - Old versions are read for ever: `corpus/` keeps entries of each as they were written then.
//! - An entry of a newer version than this program's is refused in words, never guessed at.
//! - A new record, a new case of an enum inside one or a new field without a default is a new version; the corpus' test says when
//!   one was forgotten.

use crate::ledger::Ledger;
use crate::record::{Entry, Record};
use crate::time::Tick;
use serde::Deserialize;

/// The version that is written.
pub const RECORD_VERSION: u32 = 2;

/// Entries of each version, as they were written then: of 1 one of every kind, of a later one what came with it. Never changed.
const CORPUS: [&str; 2] = [
    include_str!("../corpus/v1.jsonl"),
    // The rescue image.
    include_str!("../corpus/v2.jsonl"),
];

/// An entry of the corpus.
#[derive(Deserialize)]
struct Kept {
    version: u32,
    sequence: u64,
    at: Tick,
    record: serde_json::Value,
}

/// Every entry of the corpus, as this program reads it.
fn corpus() -> impl Iterator<Item = Result<Entry, ReadError>> {
    CORPUS.iter().flat_map(|text| text.lines()).map(|line| {
        let kept: Kept = serde_json::from_str(line).map_err(|source| ReadError::Unreadable {
            version: RECORD_VERSION,
            source,
        })?;
        Ok(Entry {
            sequence: kept.sequence,
            at: kept.at,
            record: read(kept.version, &kept.record.to_string())?,
        })
    })
}

/// What this program's fold makes of the corpus. When it differs between two programs, so does what their ledgers mean.
#[must_use]
pub fn sample_ledger() -> Ledger {
    let mut ledger = Ledger::default();
    for entry in corpus().flatten() {
        // A test holds that all of it folds; here, what does not is part of what is special to this program.
        let _ = ledger.fold(&entry);
    }
    ledger
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Written by a later program.
    #[error(
        "it has version {found}, and this program knows up to {known}: run the newer program that wrote it"
    )]
    Newer {
        /// The entry's.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// No program ever wrote this version.
    #[error("it has version 0, which does not exist: it is damaged")]
    Impossible,
    /// It is not what its version says.
    #[error("it is not a record of version {version}")]
    Unreadable {
        /// Its version.
        version: u32,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads a record that was written as JSON in a version.
///
/// # Errors
/// When the version is newer than this program's, or the text is not a record of it.
pub fn read(version: u32, json: &str) -> Result<Record, ReadError> {
    match version {
        0 => Err(ReadError::Impossible),
        1..=RECORD_VERSION => {
            serde_json::from_str(json).map_err(|source| ReadError::Unreadable { version, source })
        }
        found => Err(ReadError::Newer {
            found,
            known: RECORD_VERSION,
        }),
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]
mod tests {
    use super::*;
    use crate::effect::{Action, Outcome, Yield};
    use crate::record::{Closing, Diagnosis, Rung, RungResult, Waiting};
    use serde::de::DeserializeOwned;

    #[test]
    fn every_entry_that_was_ever_written_is_read_and_folds() {
        let mut ledger = Ledger::default();
        for entry in corpus() {
            ledger.fold(&entry.unwrap()).unwrap();
        }
        assert_eq!(ledger.sequence, corpus().count() as u64);
        assert_eq!(ledger.incidents.len(), 3);
        assert_eq!(ledger, sample_ledger());
    }

    #[test]
    fn a_newer_entry_is_refused_in_words_and_not_guessed_at() {
        let error = read(RECORD_VERSION + 1, "{}").unwrap_err().to_string();
        assert!(
            error.contains("version 3") && error.contains("newer program"),
            "{error}"
        );
        assert!(matches!(read(0, "{}"), Err(ReadError::Impossible)));
    }

    /// The names of an enum's cases, from what it says of one that it does not have.
    fn cases<T: DeserializeOwned>(probe: &str) -> String {
        let Err(error) = serde_json::from_str::<T>(probe) else {
            return "takes anything".into();
        };
        let said = error.to_string();
        let list = said.split_once("expected ").map_or("", |(_, list)| list);
        list.split(" at line").next().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_new_word_in_the_journal_is_a_new_version() {
        let words = [
            ("record", cases::<Record>(r#"{"type":"?"}"#)),
            ("diagnosis", cases::<Diagnosis>(r#""?""#)),
            ("rung", cases::<Rung>(r#""?""#)),
            ("result", cases::<RungResult>(r#""?""#)),
            ("closing", cases::<Closing>(r#""?""#)),
            ("waiting", cases::<Waiting>(r#""?""#)),
            ("action", cases::<Action>(r#"{"do":"?"}"#)),
            ("outcome", cases::<Outcome>(r#"{"outcome":"?"}"#)),
            ("yield", cases::<Yield>(r#"{"kind":"?"}"#)),
        ];
        let lines = words.map(|(name, cases)| format!("{name}: {cases}"));
        let text = lines.join("\n");
        // When this differs: raise RECORD_VERSION, add a corpus file of the new entries, and accept the new words.
        insta::assert_snapshot!(format!("words_of_version_{RECORD_VERSION}"), text);
    }
}
