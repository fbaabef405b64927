//! Host memory, and a DMA reader with latencies of its own.

use std::collections::VecDeque;

use nitride_lang::testing::Rng;

use super::model::Buffer;
use super::options::Options;
use crate::bus::{DmaDone, DmaReadRequest, DmaStatus, Landing, LandingWrite};
use crate::net::tests::dma;

/// Where host memory begins.
const BASE: u64 = 0x12_3456_7000;

#[derive(Debug)]
struct Flying {
    request: DmaReadRequest,
    chain: usize,
    due: u64,
    placed: u64,
    failed: bool,
}

#[derive(Debug, Default)]
pub struct Host {
    memory: Vec<u8>,
    flying: Vec<Flying>,
    /// Ends that have not been shown.
    pub done: VecDeque<DmaDone>,
}

impl Host {
    /// Bytes in memory, at an address that begins `offset` bytes after a multiple of 64.
    pub fn buffer(&mut self, bytes: &[u8], offset: u64, rng: &mut Rng) -> Buffer {
        while self.memory.len() as u64 % 64 != offset % 64 {
            self.memory.push(rng.below(256) as u8);
        }
        let address = BASE + self.memory.len() as u64;
        self.memory.extend(bytes);
        Buffer { address, length: bytes.len() as u32, write: false, bytes: bytes.to_vec() }
    }

    pub fn is_idle(&self) -> bool {
        self.flying.is_empty() && self.done.is_empty()
    }
    pub fn reads_for(&self, chain: usize) -> bool {
        self.flying.iter().any(|flying| flying.chain == chain)
    }
    pub fn flying(&self) -> usize {
        self.flying.len() + self.done.len()
    }

    /// A read that a chain asks for.
    pub fn ask(
        &mut self,
        request: DmaReadRequest,
        chain: usize,
        cycle: u64,
        options: &Options,
        rng: &mut Rng,
    ) {
        let length = request.length.to_u64();
        assert!((1..=1024).contains(&length), "{length} DWs");
        assert_eq!(request.address.to_u64() % 4, 0);
        assert_eq!(request.destination.to_u64() >> 15, Landing::FRAMES);
        assert!((request.destination.to_u64() >> 3) & 0xfff < 1024, "not in the ring");
        let distance = |from: &DmaReadRequest, to: &DmaReadRequest| {
            to.destination.to_u64().wrapping_sub(from.destination.to_u64()) & 0x1fff
        };
        let overlap = |other: &DmaReadRequest| {
            distance(other, &request) < other.length.to_u64() || distance(&request, other) < length
        };
        let ending = self.done.iter().map(|done| done.context);
        let mut contexts = self.flying.iter().map(|f| f.request.context).chain(ending);
        assert!(contexts.all(|context| context != request.context), "a context twice");
        assert!(!self.flying.iter().any(|f| overlap(&f.request)), "a place twice");
        let (least, most) = options.latency;
        let due = cycle + least + rng.below(most - least + 1);
        let failed = rng.chance(options.fail, 1000);
        self.flying.push(Flying { request, chain, due, placed: 0, failed });
    }

    /// What lands in this cycle, and the chain whose read has failed with it.
    pub fn landing(&mut self, cycle: u64, shuffle: bool, rng: &mut Rng) -> (LandingWrite, Option<usize>) {
        let due: Vec<usize> = (0..self.flying.len()).filter(|i| self.flying[*i].due <= cycle).collect();
        let at = match (due.first(), shuffle) {
            (None, _) => return Default::default(),
            (Some(first), false) => *first,
            _ => rng.pick(&due),
        };
        let flying = &mut self.flying[at];
        let (request, failed, chain) = (flying.request, flying.failed, flying.chain);
        let byte = |address: u64| {
            let at = address.wrapping_sub(BASE) as usize;
            self.memory.get(at).copied().unwrap_or_default()
        };
        let (write, count) = dma::landing(&request, flying.placed, byte);
        flying.placed += count;
        if flying.placed == request.length.to_u64() {
            let status = if failed {
                rng.pick(&[DmaStatus::Failed, DmaStatus::Timeout, DmaStatus::NotEnabled])
            } else {
                DmaStatus::Ok
            };
            self.done.push_back(DmaDone { context: request.context, status });
            self.flying.remove(at);
            if failed {
                return (LandingWrite::default(), Some(chain));
            }
        }
        if failed {
            return Default::default();
        }
        (write, None)
    }
}
