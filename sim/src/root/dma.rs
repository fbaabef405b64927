//! The host's memory as a completer: reads in completions, writes under byte enables.

use nitride_abi::tlp::{Header, Kind, Status, enabled_bytes};
use nitride_driver::Memory;
use rand::Rng;
use rand::rngs::SmallRng;

use crate::tlp::Tlp;

/// A memory request of the card.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DmaRequest {
    pub(crate) header: Header,
    pub(crate) requester: u16,
    pub(crate) tag: u8,
    pub(crate) address: u64,
    pub(crate) first: u8,
    pub(crate) last: u8,
}

/// The bytes a request concerns: from its first enabled one to its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) address: u64,
    pub(crate) len: usize,
}

impl DmaRequest {
    pub(crate) fn access(&self) -> Access {
        let (offset, len) = enabled_bytes(self.header.length, self.first, self.last);
        Access { address: self.address + offset as u64, len }
    }

    fn completion(
        &self,
        status: Status,
        data: bool,
        length: u16,
        byte_count: usize,
        lower_address: u8,
    ) -> Header {
        let kind = Kind::Completion {
            data,
            completer: 0,
            status,
            byte_count: byte_count as u16,
            requester: self.requester,
            tag: self.tag,
            lower_address,
        };
        let Header { traffic_class, attributes, .. } = self.header;
        Header { length, traffic_class, attributes, poisoned: false, kind }
    }
}

/// The completion of a read that failed.
pub(crate) fn failed(request: &DmaRequest, status: Status) -> Tlp {
    let access = request.access();
    let header = request.completion(status, false, 0, access.len, (access.address & 0x7f) as u8);
    Tlp::new(&header, Vec::new())
}

/// The completions of a read whose bytes are `data`: each at most `max_payload` long, and split only where
/// an address is a multiple of `boundary` (PCIe 4.0 §2.3.1.1). With `rng` the splits are any legal ones, else as few
/// as can be.
pub(crate) fn completions(
    request: &DmaRequest,
    data: &[u8],
    max_payload: u64,
    boundary: u64,
    mut rng: Option<&mut SmallRng>,
    mut emit: impl FnMut(Tlp),
) {
    let access = request.access();
    let end = access.address + data.len() as u64;
    let mut at = access.address;
    while at < end {
        let furthest = ((at & !3) + max_payload).min(end);
        let mut stop = furthest;
        if stop < end {
            stop -= stop % boundary;
        }
        if let Some(rng) = rng.as_deref_mut() {
            let blocks = (stop - 1) / boundary - at / boundary;
            let chosen = rng.random_range(0..=blocks);
            if chosen < blocks {
                stop = (at / boundary + chosen + 1) * boundary;
            }
        }
        let (from, to) = ((at - access.address) as usize, (stop - access.address) as usize);
        let lead = (at % 4) as usize;
        let mut payload = vec![0; (lead + to - from).next_multiple_of(4)];
        payload[lead..lead + to - from].copy_from_slice(&data[from..to]);
        let length = (payload.len() / 4) as u16;
        let header =
            request.completion(Status::Success, true, length, (end - at) as usize, (at & 0x7f) as u8);
        emit(Tlp::new(&header, payload));
        at = stop;
    }
}

/// Writes the enabled bytes of `payload` to `memory`, where `offset` is that of the first enabled byte.
pub(crate) fn apply_write(request: &DmaRequest, payload: &[u8], memory: &Memory, offset: usize) -> bool {
    let (start, len) = enabled_bytes(request.header.length, request.first, request.last);
    let dws = usize::from(request.header.length);
    let enabled = |byte: usize| match byte / 4 {
        0 => request.first >> byte & 1 != 0,
        dw if dw + 1 == dws => request.last >> (byte % 4) & 1 != 0,
        _ => true,
    };
    let holes = if dws <= 2 { (start..start + len).any(|byte| !enabled(byte)) } else { false };
    if !holes {
        return memory.write(offset, &payload[start..start + len]);
    }
    (start..start + len)
        .filter(|byte| enabled(*byte))
        .all(|byte| memory.write(offset + byte - start, &payload[byte..=byte]))
}

#[cfg(test)]
mod tests {
    use nitride_abi::tlp::byte_enables;
    use rand::SeedableRng;

    use super::*;

    fn request(write: bool, address: u64, len: usize) -> DmaRequest {
        let (length, first, last) = byte_enables(address, len);
        let kind = Kind::Memory { write, requester: 0x110, tag: 7, first, last, address: address & !3 };
        let header = Header::new(length, kind);
        DmaRequest { header, requester: 0x110, tag: 7, address: address & !3, first, last }
    }

    /// What a requester that knows only the specification makes of the completions.
    fn reassemble(request: &DmaRequest, tlps: &[Tlp], max_payload: usize, boundary: u64) -> Vec<u8> {
        let access = request.access();
        let mut data = Vec::new();
        for tlp in tlps {
            let header = Header::parse(&tlp.header).unwrap();
            let Kind::Completion { status, byte_count, requester, tag, lower_address, .. } = header.kind
            else {
                panic!("not a completion")
            };
            assert_eq!((status, requester, tag), (Status::Success, 0x110, 7));
            assert!(tlp.payload.len() <= max_payload);
            let address = access.address + data.len() as u64;
            assert_eq!(u64::from(lower_address), address & 0x7f);
            assert_eq!(usize::from(byte_count), access.len - data.len());
            assert!(
                data.is_empty() || address.is_multiple_of(boundary),
                "split off the boundary at {address:x}"
            );
            let lead = usize::from(lower_address & 3);
            let len = (tlp.payload.len() - lead).min(usize::from(byte_count));
            data.extend_from_slice(&tlp.payload[lead..lead + len]);
        }
        data
    }

    #[test]
    fn every_split_is_legal_and_carries_the_bytes() {
        let mut rng = SmallRng::seed_from_u64(0x5eed);
        let mut most = 0;
        for round in 0..4000 {
            let len = rng.random_range(1..=4096usize);
            let address = 0x1_0000_0000 + rng.random_range(0..=4096 - len as u64);
            let (boundary, max_payload) = (64 << rng.random_range(0..2u64), 128 << rng.random_range(0..4u64));
            let data: Vec<u8> = (0..len).map(|_| rng.random()).collect();
            let request = request(false, address, len);
            let mut tlps = Vec::new();
            let mut splits = rng.clone();
            let rng_option = (round % 2 == 0).then_some(&mut splits);
            completions(&request, &data, max_payload, boundary, rng_option, |tlp| tlps.push(tlp));
            most = most.max(tlps.len());
            let got = reassemble(&request, &tlps, max_payload as usize, boundary);
            assert_eq!(got, data, "round {round}: {len} bytes at {address:x}");
        }
        assert!(most > 20, "splits should be small now and then");
    }

    #[test]
    fn a_write_changes_the_enabled_bytes_alone() {
        let memory = Memory::new("dma-test", 4096, false).unwrap();
        for start in 0..9u64 {
            for len in 1..40usize {
                assert!(memory.write(0, &[0xee; 128]));
                let request = request(true, start, len);
                let payload = vec![0x11; 4 * usize::from(request.header.length)];
                let access = request.access();
                assert!(apply_write(&request, &payload, &memory, access.address as usize));
                let mut got = [0; 128];
                assert!(memory.read(0, &mut got));
                for (at, byte) in got.iter().enumerate() {
                    let inside = (start as usize..start as usize + len).contains(&at);
                    assert_eq!(*byte, if inside { 0x11 } else { 0xee }, "{start} {len}");
                }
            }
        }
        let mut holes = request(true, 0, 8);
        (holes.first, holes.last) = (0b0101, 0b1010);
        assert!(memory.write(0, &[0; 8]));
        assert!(apply_write(&holes, &[0xff; 8], &memory, 0));
        let mut got = [0; 8];
        assert!(memory.read(0, &mut got));
        assert_eq!(got, [255, 0, 255, 0, 0, 255, 0, 255]);
    }
}
