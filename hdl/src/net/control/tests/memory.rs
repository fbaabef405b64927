//! Host memory, and DMA engines with latencies of their own.

use std::collections::{HashMap, VecDeque};

use nitride_lang::prelude::*;
use nitride_lang::testing::Rng;

use super::options::Options;
use crate::bus::{DmaDone, DmaReadRequest, DmaStatus, DmaWriteRequest, Landing, LandingWrite, LaunchRead};
use crate::net::records::RingReader;
use crate::net::tests::dma;

/// All of the address space; what was not written is different everywhere.
#[derive(Debug, Default)]
pub struct Memory {
    written: HashMap<u64, u8>,
}

impl Memory {
    pub fn read(&self, address: u64) -> u8 {
        let other = || (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        self.written.get(&address).copied().unwrap_or_else(other)
    }
    pub fn write(&mut self, address: u64, byte: u8) {
        self.written.insert(address, byte);
    }
}

#[derive(Debug)]
struct Flying {
    request: DmaReadRequest,
    due: u64,
    failed: bool,
}

/// Reads in flight; each lands at once, when its time has come, in any order.
#[derive(Debug, Default)]
pub struct Reader {
    flying: Vec<Flying>,
    done: VecDeque<DmaDone>,
}

impl Reader {
    pub fn is_idle(&self) -> bool {
        self.flying.is_empty() && self.done.is_empty()
    }

    /// A read that is asked for; whether it will fail.
    pub fn ask(&mut self, request: DmaReadRequest, cycle: u64, options: &Options, rng: &mut Rng) -> bool {
        let place = request.destination.to_u64();
        assert!((1..=5).contains(&request.length.to_u64()), "{request:x?}");
        assert_eq!(request.address.to_u64() % 4, 0);
        assert_eq!((place >> 15, (place >> 13) & 3), (Landing::RINGS, RingReader::CONTROL));
        assert!(request.context.to_u64() < 32);
        for other in &self.flying {
            assert_ne!(other.request.context, request.context, "a context twice");
            assert_ne!(other.request.destination.to_u64() >> 3, place >> 3, "a row twice");
        }
        assert!(self.done.iter().all(|done| done.context != request.context), "a context twice");
        let failed = rng.chance(options.fail, 1000);
        self.flying.push(Flying { request, due: cycle + options.latency(rng), failed });
        failed
    }

    /// The end that is shown in this cycle.
    pub fn done(&mut self) -> Option<DmaDone> {
        self.done.pop_front()
    }

    /// What lands in this cycle; the end is shown in the next one. In between other blocks' reads land.
    pub fn landing(&mut self, memory: &Memory, cycle: u64, rng: &mut Rng) -> LandingWrite {
        let due: Vec<usize> = (0..self.flying.len()).filter(|i| self.flying[*i].due <= cycle).collect();
        if due.is_empty() {
            let mut other: LandingWrite = rng.value();
            if other.row.to_u64() >> 10 == Landing::RINGS << 2 | RingReader::CONTROL {
                other.row = Bits::default();
            }
            return other;
        }
        let Flying { request, failed, .. } = self.flying.swap_remove(rng.pick(&due));
        let status = if failed {
            rng.pick(&[DmaStatus::Failed, DmaStatus::Timeout, DmaStatus::NotEnabled])
        } else {
            DmaStatus::Ok
        };
        self.done.push_back(DmaDone { context: request.context, status });
        if failed {
            return LandingWrite::default();
        }
        dma::landing(&request, 0, |at| memory.read(at)).0
    }
}

/// Where a write is.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// It waits until this cycle.
    Waits(u64),
    /// Its row was named in the cycle before this one.
    Launched,
    /// Its end is to be shown.
    Sent,
}

/// The one write that may be in flight.
#[derive(Debug, Default)]
pub struct Writer {
    flying: Option<(DmaWriteRequest, Stage)>,
}

impl Writer {
    pub fn is_idle(&self) -> bool {
        self.flying.is_none()
    }

    pub fn ask(&mut self, request: DmaWriteRequest, cycle: u64, options: &Options, rng: &mut Rng) {
        assert!(self.flying.is_none());
        assert_eq!(request.length, bits(1));
        self.flying = Some((request, Stage::Waits(cycle + options.latency(rng))));
    }

    /// The row that is named in this cycle; in between other writes' rows.
    pub fn launch(&mut self, cycle: u64, rng: &mut Rng) -> LaunchRead {
        match self.flying {
            Some((request, Stage::Waits(due))) if due <= cycle => {
                self.flying = Some((request, Stage::Launched));
                let place = request.source.to_u64();
                LaunchRead { wrap: ((1u64 << (place % 8)) - 1).into(), row: (place / 8).into() }
            }
            _ => LaunchRead { row: rng.below(5 << 12).into(), ..rng.value() },
        }
    }

    /// The end that is shown in this cycle.
    pub fn done(&mut self, rng: &mut Rng) -> Option<DmaDone> {
        let (request, Stage::Sent) = self.flying? else { return None };
        self.flying = None;
        let status = if rng.chance(1, 20) { DmaStatus::NotEnabled } else { DmaStatus::Ok };
        Some(DmaDone { context: request.context, status })
    }

    /// The bytes that are written, with what is launched in this cycle.
    pub fn sent(&mut self, data: Bits<256>) -> Vec<(u64, u8)> {
        let Some((request, stage @ Stage::Launched)) = &mut self.flying else {
            assert!(!data.any(), "another region is launched");
            return vec![];
        };
        *stage = Stage::Sent;
        let lane = request.source.to_u64() % 8;
        let dword = (data >> (32 * lane)).get_bits::<32>(0).to_u64();
        let enable = request.first.to_u64() & request.last.to_u64();
        (0..4u64)
            .filter(|byte| enable >> byte & 1 == 1)
            .map(|byte| (request.address.to_u64().wrapping_add(byte), (dword >> (8 * byte)) as u8))
            .collect()
    }
}
