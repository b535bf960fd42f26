//! Lines as gzip members: any number of members one after the other are again a gzip file.
//!
//! **Invariants**
//! - A member is whole or not there: its checksum is part of it.
//! - A line longer than [`LINE_BYTES_MAX`] is refused: a small file cannot become a large one without end.

use crate::line::Line;
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::io::{self, BufRead, BufReader, Read, Write as _};

/// Longest line, in bytes: a base holds the world and the ledger.
pub const LINE_BYTES_MAX: u64 = 256 << 20;

/// Why lines cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes end in the middle, or are not gzip.
    #[error("line {line}: the recording is cut or damaged")]
    Damaged {
        /// Which.
        line: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A line is too long.
    #[error("line {line} is longer than {LINE_BYTES_MAX} bytes: this is no recording of Iaso's")]
    TooLong {
        /// Which.
        line: u64,
    },
    /// A line is not one of a recording.
    #[error(
        "line {line} cannot be understood: the recording is damaged, or a newer program wrote it"
    )]
    Unreadable {
        /// Which.
        line: u64,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}

/// Why lines cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A line is not JSON.
    #[error("a line cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// Compression failed.
    #[error("lines cannot be compressed")]
    Gzip(#[source] io::Error),
}

/// Lines on their way into one member.
#[derive(Debug)]
pub struct Member {
    encoder: GzEncoder<Vec<u8>>,
    raw: usize,
}

impl Default for Member {
    fn default() -> Self {
        Self {
            encoder: GzEncoder::new(Vec::new(), Compression::fast()),
            raw: 0,
        }
    }
}

impl Member {
    /// Adds a line.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn push(&mut self, line: &Line) -> Result<(), EncodeError> {
        let mut text = serde_json::to_vec(line).map_err(EncodeError::Json)?;
        text.push(b'\n');
        self.raw = self.raw.saturating_add(text.len());
        self.encoder.write_all(&text).map_err(EncodeError::Gzip)
    }

    /// Bytes before compression.
    #[must_use]
    pub fn raw_bytes(&self) -> usize {
        self.raw
    }

    /// The member.
    ///
    /// # Errors
    /// When compression fails.
    pub fn finish(self) -> Result<Vec<u8>, EncodeError> {
        self.encoder.finish().map_err(EncodeError::Gzip)
    }
}

/// The lines of `lines` as one member.
///
/// # Errors
/// When one cannot be written.
pub fn member<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Result<Vec<u8>, EncodeError> {
    let mut member = Member::default();
    for line in lines {
        member.push(line)?;
    }
    member.finish()
}

/// A value as one member.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn pack(value: &impl serde::Serialize) -> Result<Vec<u8>, EncodeError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut encoder, value).map_err(EncodeError::Json)?;
    encoder.finish().map_err(EncodeError::Gzip)
}

/// The value of one member, if it is whole and one.
///
/// # Errors
/// When it is cut, damaged, too long or not such a value.
pub fn unpack<T: serde::de::DeserializeOwned>(member: &[u8]) -> Result<T, CodecError> {
    let mut json = Vec::new();
    let read = MultiGzDecoder::new(member)
        .take(LINE_BYTES_MAX)
        .read_to_end(&mut json)
        .map_err(|source| CodecError::Damaged { line: 1, source })?;
    if read as u64 >= LINE_BYTES_MAX {
        return Err(CodecError::TooLong { line: 1 });
    }
    serde_json::from_slice(&json).map_err(|source| CodecError::Unreadable { line: 1, source })
}

/// Reads lines from members.
#[derive(Debug)]
pub struct Lines<R> {
    reader: BufReader<MultiGzDecoder<R>>,
    line: u64,
    over: bool,
}

impl<R: BufRead> Lines<R> {
    /// From compressed bytes.
    #[must_use]
    pub fn new(compressed: R) -> Self {
        Self {
            reader: BufReader::new(MultiGzDecoder::new(compressed)),
            line: 0,
            over: false,
        }
    }

    fn read(&mut self) -> Result<Option<Line>, CodecError> {
        let mut text = Vec::new();
        let line = self.line.saturating_add(1);
        self.line = line;
        let mut bounded = self.reader.by_ref().take(LINE_BYTES_MAX);
        let read = bounded
            .read_until(b'\n', &mut text)
            .map_err(|source| CodecError::Damaged { line, source })?;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 >= LINE_BYTES_MAX {
            return Err(CodecError::TooLong { line });
        }
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| CodecError::Unreadable { line, source })
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Line, CodecError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let read = self.read();
        self.over = !matches!(read, Ok(Some(_)));
        read.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iaso_engine::time::Tick;

    fn lines() -> Vec<Line> {
        let seen = |n| Line::Seen {
            at: Tick(n),
            facts: Vec::new(),
        };
        (0..100).map(seen).collect()
    }

    fn bytes() -> Vec<u8> {
        let lines = lines();
        let (first, second) = lines.split_at(40);
        [member(first).unwrap(), member(second).unwrap()].concat()
    }

    #[test]
    fn members_one_after_the_other_are_one_recording() {
        let bytes = bytes();
        let read: Vec<Line> = Lines::new(bytes.as_slice()).map(Result::unwrap).collect();
        assert_eq!(read, lines());
    }

    #[test]
    fn a_cut_or_changed_byte_is_found() {
        let whole = bytes();
        for cut in [whole.len() - 1, whole.len() - 9, whole.len() / 2, 5] {
            let outcome: Result<Vec<Line>, _> = Lines::new(&whole[..cut]).collect();
            assert!(
                matches!(outcome, Err(CodecError::Damaged { .. })),
                "{cut}: {outcome:?}"
            );
        }
        let mut changed = whole.clone();
        let last = changed.len() - 6;
        changed[last] ^= 1;
        let outcome: Result<Vec<Line>, _> = Lines::new(changed.as_slice()).collect();
        assert!(outcome.is_err());
    }

    #[test]
    fn what_is_no_recording_is_refused_in_words() {
        let text = b"{\"journal\":1}\n";
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        let bytes = encoder.finish().unwrap();
        let error = Lines::new(bytes.as_slice()).next().unwrap().unwrap_err();
        assert!(
            error.to_string().contains("line 1 cannot be understood"),
            "{error}"
        );
    }
}
