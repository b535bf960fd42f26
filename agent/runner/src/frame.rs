//! Messages as bytes on a stream: four bytes of length, then the message in postcard's encoding.
//!
//! **Invariants**
//! - No length that was read makes room beyond [`FRAME_BYTES_MAX`], whatever the other side says.
//! - A frame is one whole message: bytes that are left over are an error, as are bytes that are no message.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest message. What a plugin may pass in one call, and what a host call may answer, is 1 MiB; the rest is room for their records.
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// Bytes of the length.
const HEAD: usize = 4;
/// Room that is kept, and the least that is read at once.
const ROOM: usize = 16 << 10;

/// Why there is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Larger than any message.
    #[error("a message of {bytes} bytes, at most {FRAME_BYTES_MAX} are allowed")]
    TooLarge {
        /// As it says of itself, or as it is.
        bytes: usize,
    },
    /// Not a message.
    #[error("bytes that are no message: {0}")]
    Malformed(String),
}

/// A message as a frame.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let mut frame = postcard::to_extend(message, vec![0; HEAD])
        .map_err(|error| FrameError::Malformed(error.to_string()))?;
    let bytes = frame.len().saturating_sub(HEAD);
    if bytes > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge { bytes });
    }
    let head = u32::try_from(bytes).map_err(|_| FrameError::TooLarge { bytes })?;
    if let Some(place) = frame.first_chunk_mut::<HEAD>() {
        *place = head.to_le_bytes();
    }
    Ok(frame)
}

/// Bytes as they come, and the messages in them.
#[derive(Debug)]
pub struct Frames {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            bytes: vec![0; ROOM],
            start: 0,
            end: 0,
        }
    }
}

impl Frames {
    /// Where the next bytes go; never empty. Say with [`Self::filled`] how many came.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.bytes.truncate(ROOM);
            self.bytes.shrink_to(ROOM);
        }
        if self.bytes.len().saturating_sub(self.end) < ROOM / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end.saturating_sub(self.start));
            // `take` refuses a frame that is too large as soon as its length is there, so this stays below the bound and a little.
            let wanted = self.end.saturating_mul(2).max(ROOM);
            self.bytes.resize(wanted, 0);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes were put into the room.
    pub fn filled(&mut self, bytes: usize) {
        self.end = self.end.saturating_add(bytes).min(self.bytes.len());
    }

    /// The next message, if all of it is there.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let there = self.bytes.get(self.start..self.end).unwrap_or_default();
        let Some((head, rest)) = there.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let bytes = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        if bytes > FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge { bytes });
        }
        let Some(body) = rest.get(..bytes) else {
            return Ok(None);
        };
        let (message, left) = postcard::take_from_bytes(body)
            .map_err(|error| FrameError::Malformed(error.to_string()))?;
        if !left.is_empty() {
            return Err(FrameError::Malformed(format!(
                "{} bytes after the message",
                left.len()
            )));
        }
        self.start = self.start.saturating_add(HEAD + bytes);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{FromRunner, ToRunner};

    fn feed(frames: &mut Frames, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = frames.room();
            let count = room.len().min(bytes.len());
            let (now, later) = bytes.split_at(count);
            room.get_mut(..count)
                .expect("just counted")
                .copy_from_slice(now);
            frames.filled(count);
            bytes = later;
        }
    }

    proptest! {
        /// Catches: a frame cut in two that is read as one, a length that is off by one, bytes lost when room is made.
        #[test]
        fn messages_come_out_as_they_went_in_however_the_stream_is_cut(
            sent in prop::collection::vec((any::<u8>(), 0usize..40_000), 1..8),
            cut in 1usize..30_000
        ) {
            let sent: Vec<Vec<u8>> = sent.into_iter().map(|(byte, times)| vec![byte; times]).collect();
            let stream: Vec<u8> = sent.iter().flat_map(|m| encode(m).expect("small")).collect();
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            for piece in stream.chunks(cut) {
                feed(&mut frames, piece);
                while let Some(message) = frames.take::<Vec<u8>>().expect("good") {
                    got.push(message);
                }
            }
            prop_assert_eq!(got, sent);
        }

        /// Catches: an index out of a length that was read, room made for a length that nobody sent.
        #[test]
        fn any_bytes_are_a_message_or_an_error_and_never_much_room(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut frames = Frames::default();
            feed(&mut frames, &bytes);
            while let Ok(Some(_)) = frames.take::<FromRunner>() {}
            let mut frames = Frames::default();
            feed(&mut frames, &bytes);
            while let Ok(Some(_)) = frames.take::<ToRunner>() {}
            prop_assert!(frames.bytes.len() <= 4 * ROOM);
        }
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_its_bytes_are_there() {
        let mut frames = Frames::default();
        feed(&mut frames, &u32::MAX.to_le_bytes());
        assert_eq!(
            frames.take::<Vec<u8>>(),
            Err(FrameError::TooLarge {
                bytes: u32::MAX as usize
            })
        );
        let large = vec![0_u8; FRAME_BYTES_MAX + 1];
        assert!(matches!(encode(&large), Err(FrameError::TooLarge { .. })));
    }

    #[test]
    fn bytes_after_a_message_in_its_frame_are_an_error() {
        let mut frame = encode(&7_u8).expect("small");
        frame.push(1);
        frame.splice(..HEAD, 2_u32.to_le_bytes());
        let mut frames = Frames::default();
        feed(&mut frames, &frame);
        assert!(matches!(frames.take::<u8>(), Err(FrameError::Malformed(_))));
    }
}
