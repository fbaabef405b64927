//! Whole TLPs, and their way over the edge in beats.

use nitride_abi::tlp::{self as abi, BEAT_BYTES, MAX_DWS};

use crate::edge::Beat;

/// Which flow control and ordering rules a TLP follows (PCIe 4.0 §2.4.1, §2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Memory writes and messages.
    Posted = 0,
    /// Reads, and configuration writes.
    NonPosted = 1,
    /// Completions.
    Completion = 2,
}

/// A TLP: header words and payload, not necessarily well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlp {
    /// As [`abi::Header::emit`] gives it.
    pub header: [u32; 4],
    /// In memory order.
    pub payload: Vec<u8>,
}

impl Tlp {
    /// A well-formed TLP; the payload's length must be the header's.
    pub fn new(header: &abi::Header, payload: Vec<u8>) -> Self {
        debug_assert_eq!(payload.len(), 4 * header.payload_dws());
        Self { header: header.emit(), payload }
    }

    /// Its class; what is unknown counts as a non-posted request.
    pub fn class(&self) -> Class {
        class(&self.header)
    }

    /// Beats at the edge.
    pub fn beats(&self) -> usize {
        self.payload.len().div_ceil(BEAT_BYTES).max(1)
    }

    /// Beat `index` of [`Tlp::beats`].
    pub fn beat(&self, index: usize) -> Beat {
        let mut data = [0; BEAT_BYTES];
        let start = (index * BEAT_BYTES).min(self.payload.len());
        let part = &self.payload[start..self.payload.len().min(start + BEAT_BYTES)];
        data[..part.len()].copy_from_slice(part);
        Beat { header: self.header, data, last: index + 1 >= self.beats() }
    }
}

pub(crate) fn class(header: &[u32; 4]) -> Class {
    let data = abi::FMT.get(header) & 2 != 0;
    match abi::TYPE.get(header) as u8 {
        abi::TYPE_COMPLETION => Class::Completion,
        abi::TYPE_MEMORY if data => Class::Posted,
        kind if kind & 0b1_1000 == abi::TYPE_MESSAGE => Class::Posted,
        _ => Class::NonPosted,
    }
}

/// Puts the card's beats together.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    header: Option<[u32; 4]>,
    payload: Vec<u8>,
    beats: usize,
    mixed: bool,
}

impl Assembler {
    /// Whether the next beat is a TLP's first.
    pub(crate) fn at_start(&self) -> bool {
        self.header.is_none()
    }

    /// Takes a beat; gives the TLP when it was the last, or what is wrong with it.
    pub(crate) fn push(&mut self, beat: &Beat) -> Option<Result<Tlp, String>> {
        let header = *self.header.get_or_insert(beat.header);
        self.beats += 1;
        if self.beats <= MAX_DWS * 4 / BEAT_BYTES {
            self.payload.extend_from_slice(&beat.data);
        }
        self.mixed |= header != beat.header;
        if !beat.last {
            return None;
        }
        let dws = match abi::FMT.get(&header) & 2 {
            0 => 0,
            _ => (abi::LENGTH.get(&header) as usize).wrapping_sub(1) % MAX_DWS + 1,
        };
        let beats = std::mem::take(&mut self.beats);
        let mut payload = std::mem::take(&mut self.payload);
        self.header = None;
        if std::mem::take(&mut self.mixed) {
            return Some(Err("the header changed between the beats of a TLP".into()));
        }
        if beats != (4 * dws).div_ceil(BEAT_BYTES).max(1) {
            return Some(Err(format!(
                "a TLP with {dws} DWs of payload came in {beats} beats: {header:08x?}"
            )));
        }
        payload.truncate(4 * dws);
        Some(Ok(Tlp { header, payload }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dws: u16) -> Tlp {
        let kind = abi::Kind::Memory {
            write: true,
            requester: 1,
            tag: 0,
            first: 15,
            last: if dws > 1 { 15 } else { 0 },
            address: 0,
        };
        Tlp::new(&abi::Header::new(dws, kind), (0..4 * dws).map(|n| n as u8).collect())
    }

    #[test]
    fn beats_put_together_give_the_tlp_back() {
        let mut assembler = Assembler::default();
        for dws in [1, 7, 8, 9, 64, 1024] {
            let tlp = write(dws);
            let mut got = None;
            for index in 0..tlp.beats() {
                assert!(got.is_none());
                got = assembler.push(&tlp.beat(index));
            }
            assert_eq!(got, Some(Ok(tlp)));
        }
    }

    #[test]
    fn a_tlp_that_is_too_short_or_changes_its_header_is_refused() {
        let mut assembler = Assembler::default();
        let tlp = write(16);
        let mut beat = tlp.beat(0);
        beat.last = true;
        assert!(matches!(assembler.push(&beat), Some(Err(_))));
        assert!(assembler.push(&tlp.beat(0)).is_none());
        let mut beat = tlp.beat(1);
        beat.header[2] += 4;
        assert!(matches!(assembler.push(&beat), Some(Err(_))));
        assert!(assembler.at_start());
    }
}
