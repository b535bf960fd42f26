//! Echo messages as bytes: built, and told apart from everybody else's. No I/O.

use std::net::IpAddr;

const HEADER_BYTES: usize = 8;
const NONCE_BYTES: usize = 8;

/// Which protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }

    fn request(self) -> u8 {
        if self == Self::V4 { 8 } else { 128 }
    }

    fn reply(self) -> u8 {
        if self == Self::V4 { 0 } else { 129 }
    }
}

/// What a received message says about our request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Echo,
    Unreachable,
    TooBig,
    NotOurs,
}

/// One echo request.
#[derive(Debug)]
pub(super) struct Probe {
    family: Family,
    ident: u16,
    sequence: u16,
    payload: Vec<u8>,
}

impl Probe {
    pub(super) fn new(family: Family, ident: u16, sequence: u16, payload_bytes: usize) -> Self {
        // Nobody else's reply may pass for ours: as much of a random number as there is room for.
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = nonce
            .iter()
            .copied()
            .chain(std::iter::repeat(0x69))
            .take(payload_bytes)
            .collect();
        Self {
            family,
            ident,
            sequence,
            payload,
        }
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.family.request(), 0, 0, 0];
        bytes.extend(self.ident.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(&self.payload);
        // For ICMPv6 the kernel fills it in, because it covers addresses that we do not know.
        if self.family == Family::V4 {
            let sum = checksum(&bytes).to_be_bytes();
            if let Some(field) = bytes.get_mut(2..4) {
                field.copy_from_slice(&sum);
            }
        }
        bytes
    }

    /// `raw`: the identifier is ours; a datagram socket has the kernel's instead, and only ever sees its own.
    pub(super) fn judge(&self, message: &[u8], raw: bool) -> Verdict {
        let (Some(&kind), Some(&code)) = (message.first(), message.get(1)) else {
            return Verdict::NotOurs;
        };
        if kind == self.family.reply() {
            let ours = self.is_ours(message, raw)
                && message.get(HEADER_BYTES..) == Some(self.payload.as_slice());
            return if ours {
                Verdict::Echo
            } else {
                Verdict::NotOurs
            };
        }
        let verdict = match (self.family, kind, code) {
            (Family::V4, 3, 4) | (Family::V6, 2, _) => Verdict::TooBig,
            (Family::V4, 3, _) | (Family::V6, 1, _) => Verdict::Unreachable,
            _ => return Verdict::NotOurs,
        };
        let quoted = message
            .get(HEADER_BYTES..)
            .and_then(|packet| match self.family {
                Family::V4 => after_ip_header(packet),
                Family::V6 => packet.get(40..),
            });
        match quoted {
            Some(request)
                if request.first() == Some(&self.family.request())
                    && self.is_ours(request, raw) =>
            {
                verdict
            }
            _ => Verdict::NotOurs,
        }
    }

    fn is_ours(&self, message: &[u8], raw: bool) -> bool {
        let ident = message.get(4..6) == Some(self.ident.to_be_bytes().as_slice());
        let sequence = message.get(6..8) == Some(self.sequence.to_be_bytes().as_slice());
        sequence && (ident || !raw)
    }
}

/// What follows an IPv4 header; `None` if it is not one, or not of ICMP.
pub(super) fn after_ip_header(bytes: &[u8]) -> Option<&[u8]> {
    let first = *bytes.first()?;
    let header = usize::from(first & 0x0f) * 4;
    let plausible = first >> 4 == 4 && header >= 20 && bytes.get(9) == Some(&1);
    plausible.then(|| bytes.get(header..)).flatten()
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| {
            u32::from(*pair.first().unwrap_or(&0)) << 8 | u32::from(*pair.get(1).unwrap_or(&0))
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(probe: &Probe) -> Vec<u8> {
        let mut bytes = probe.encode();
        bytes[0] = probe.family.reply();
        bytes
    }

    #[test]
    fn a_message_with_its_own_checksum_sums_to_zero() {
        for payload in [0, 1, 7, 56, 8_972] {
            assert_eq!(
                checksum(&Probe::new(Family::V4, 7, 3, payload).encode()),
                0,
                "{payload} bytes"
            );
        }
    }

    #[test]
    fn only_the_reply_to_this_very_request_counts() {
        let probe = Probe::new(Family::V4, 7, 3, 56);
        assert_eq!(probe.judge(&reply(&probe), true), Verdict::Echo);
        assert_eq!(
            probe.judge(&probe.encode(), true),
            Verdict::NotOurs,
            "our own request seen on the loopback"
        );
        let other = Probe {
            ident: 8,
            ..Probe::new(Family::V4, 8, 3, 56)
        };
        assert_eq!(
            probe.judge(&reply(&other), true),
            Verdict::NotOurs,
            "another's identifier"
        );
        let same_numbers = Probe::new(Family::V4, 7, 3, 56);
        assert_eq!(
            probe.judge(&reply(&same_numbers), false),
            Verdict::NotOurs,
            "another's payload"
        );
    }

    #[test]
    fn a_router_that_says_too_big_is_heard_when_it_quotes_our_request() {
        let probe = Probe::new(Family::V4, 7, 3, 56);
        let mut header = vec![0x45; 20];
        header[9] = 1;
        let message = |code| {
            [
                vec![3, code, 0, 0, 0, 0, 5, 0],
                header.clone(),
                probe.encode(),
            ]
            .concat()
        };
        assert_eq!(probe.judge(&message(4), true), Verdict::TooBig);
        assert_eq!(probe.judge(&message(1), true), Verdict::Unreachable);
    }

    proptest! {
        #[test]
        fn no_received_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..80), six in any::<bool>(), raw in any::<bool>()) {
            let family = if six { Family::V6 } else { Family::V4 };
            let probe = Probe::new(family, 1, 1, 16);
            prop_assert_ne!(probe.judge(&bytes, raw), Verdict::Echo);
            let _ = after_ip_header(&bytes);
        }
    }
}
