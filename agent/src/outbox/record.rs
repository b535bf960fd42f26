//! The outbox's file format: records with a length and a CRC, so that a torn tail is seen and never believed.
//!
//! `length: u32 | crc: u32 | kind: u8 | sequence: u64 | payload`, little-endian; the CRC-32 (IEEE) covers kind, sequence and payload.

/// Largest payload of one record: what one protocol message may be.
pub const PAYLOAD_BYTES_MAX: usize = iaso_proto::MAX_MESSAGE_BYTES;
/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 17;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A plugin's report: may be dropped when there is no room.
    Sample,
    /// The outcome of a fix or an act of our own: never dropped.
    Durable,
    /// Everything up to this sequence was acknowledged.
    Acked,
    /// The next sequence to be given out is above this one (written when the file is rewritten).
    Base,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Sample => 1,
            Self::Durable => 2,
            Self::Acked => 3,
            Self::Base => 4,
        }
    }

    fn parse(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Sample),
            2 => Some(Self::Durable),
            3 => Some(Self::Acked),
            4 => Some(Self::Base),
            _ => None,
        }
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// Its place in the order of everything this agent ever sent up.
    pub sequence: u64,
    /// The encoded message; empty for `Acked` and `Base`.
    pub payload: Vec<u8>,
}

impl Record {
    /// The record's bytes in the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(9 + self.payload.len());
        body.push(self.kind.code());
        body.extend_from_slice(&self.sequence.to_le_bytes());
        body.extend_from_slice(&self.payload);
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(8 + body.len());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&crc32(&body).to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// The first record of `bytes` and how many bytes it took; `None` if it is torn or not a record.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let length = u32::from_le_bytes(bytes.get(0..4)?.try_into().ok()?) as usize;
        let crc = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
        if length > PAYLOAD_BYTES_MAX {
            return None;
        }
        let end = HEADER_BYTES + length;
        let body = bytes.get(8..end)?;
        if crc32(body) != crc {
            return None;
        }
        let kind = Kind::parse(*body.first()?)?;
        let sequence = u64::from_le_bytes(body.get(1..9)?.try_into().ok()?);
        Some((
            Self {
                kind,
                sequence,
                payload: body.get(9..)?.to_vec(),
            },
            end,
        ))
    }
}

const TABLE: [u32; 256] = crc_table();

#[allow(
    clippy::indexing_slicing,
    reason = "a constant evaluated by the compiler: a wrong index does not compile"
)]
const fn crc_table() -> [u32; 256] {
    let mut table = [0u32; 256];
    let mut byte = 0u32;
    while byte < 256 {
        let mut value = byte;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                (value >> 1) ^ 0xEDB8_8320
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[byte as usize] = value;
        byte += 1;
    }
    table
}

/// CRC-32 as in IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let slot = usize::from(crc.to_le_bytes()[0] ^ byte);
        (crc >> 8) ^ TABLE.get(slot).copied().unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_everybody_calls_crc32() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_record_with_any_bit_flipped_is_not_believed() {
        let record = Record {
            kind: Kind::Durable,
            sequence: 7,
            payload: b"fixed".to_vec(),
        };
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Some((record, bytes.len())));
        for position in 0..bytes.len() * 8 {
            let mut torn = bytes.clone();
            if let Some(byte) = torn.get_mut(position / 8) {
                *byte ^= 1 << (position % 8);
            }
            assert!(
                Record::decode(&torn).is_none(),
                "bit {position} went unseen"
            );
        }
    }
}
