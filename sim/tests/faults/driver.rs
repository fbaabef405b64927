//! Random commands on a function's I/O queue, and what each of them must come to.

use std::fs::File;
use std::ops::Range;

use nitride_abi::nvme::command::{dsm, io, rw};
use nitride_abi::nvme::{Sqe, Status};
use nitride_sim::{ErrorRange, System};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::controller::{Controller, DEPTH, RANGES, TRANSFER};
use crate::disk::{BLOCK, Disk};
use crate::host::{BLOCKS, read};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write { durable: bool },
    Zeroes,
    Deallocate,
    Flush,
}

/// A command in flight.
#[derive(Debug)]
struct Operation {
    kind: Kind,
    blocks: Range<u64>,
    /// Where the data is in the slot.
    offset: usize,
    submitted: u64,
    expected: Status,
}

/// The driver of one function.
pub struct Driver {
    pub controller: Controller,
    pub disk: Disk,
    /// Media address of its volume.
    pub base: u64,
    /// It puts commands.
    pub running: bool,
    /// It puts no new ones until those in flight have ended.
    pub draining: bool,
    /// Ranges of the media that fail.
    pub media_errors: Vec<ErrorRange>,
    /// I/O virtual addresses that the function cannot read.
    pub unreadable: Vec<Range<u64>>,
    /// Commands that succeeded, and that failed as they had to.
    pub ended: [u64; 2],
    rng: SmallRng,
    flight: [Option<Operation>; DEPTH],
    stamp: u64,
}

impl Driver {
    pub fn new(controller: Controller, disk: Disk, base: u64, seed: u64) -> Self {
        // A stamp names the function too: data of another's would be found out.
        let stamp = u64::from(controller.function) << 35 | (seed & 0xff) << 27;
        Self {
            controller,
            disk,
            base,
            running: false,
            draining: false,
            media_errors: Vec::new(),
            unreadable: Vec::new(),
            ended: [0; 2],
            rng: SmallRng::seed_from_u64(seed),
            flight: [const { None }; DEPTH],
            stamp,
        }
    }

    pub fn is_busy(&self) -> bool {
        self.flight.iter().any(Option::is_some)
    }

    /// Takes what has ended, and keeps the queue full.
    pub fn turn(&mut self, system: &mut System, image: &File) {
        if !self.running {
            return;
        }
        self.reap(system, image);
        if self.draining {
            return;
        }
        let mut put = false;
        for slot in 0..DEPTH {
            if self.flight[slot].is_none()
                && let Some(operation) = self.choose(system.cycle())
            {
                self.put(slot, operation);
                put = true;
            }
        }
        if put {
            self.controller.ring(system, false);
        }
    }

    /// A random command that overlaps none in flight.
    fn choose(&mut self, now: u64) -> Option<Operation> {
        let kind = match self.rng.random_range(0..100) {
            0..45 => Kind::Read,
            45..80 => Kind::Write { durable: false },
            80..86 => Kind::Write { durable: true },
            86..92 => Kind::Zeroes,
            92..97 => Kind::Deallocate,
            _ => Kind::Flush,
        };
        let most = if self.rng.random_ratio(1, 8) { TRANSFER / BLOCK - 8 } else { 8 };
        let count = if kind == Kind::Flush { 0 } else { self.rng.random_range(1..=most as u64) };
        let lba = self.rng.random_range(0..=BLOCKS - count);
        let blocks = lba..lba + count;
        let offset = 4 * self.rng.random_range(0..1024);
        if !self.disk.is_free(&blocks, kind != Kind::Read) {
            return None;
        }
        Some(Operation { kind, blocks, offset, submitted: now, expected: Status::SUCCESS })
    }

    fn put(&mut self, slot: usize, mut operation: Operation) {
        let (kind, blocks) = (operation.kind, operation.blocks.clone());
        let (count, len) = (blocks.end - blocks.start, (blocks.end - blocks.start) as usize * BLOCK);
        let span = [blocks.start as u32, 0, count.wrapping_sub(1) as u32 & 0xffff, 0, 0, 0];
        let mut sqe = Sqe { nsid: 1, cid: slot as u16, cdw10: span, ..Sqe::default() };
        let data = Controller::slot(slot, operation.offset);
        if matches!(kind, Kind::Write { .. }) {
            self.stamp += 1;
        }
        match kind {
            Kind::Read => {
                sqe.opcode = io::READ;
                self.disk.begin_read(&blocks);
                assert!(self.controller.memory.write(data, &vec![0xee; len]));
            }
            Kind::Write { durable } => {
                sqe.opcode = io::WRITE;
                sqe.cdw10[2] |= rw::FUA.set(0, u64::from(durable)) as u32;
                self.disk.begin_write(&blocks, self.stamp);
                for (block, at) in blocks.clone().zip((data..).step_by(BLOCK)) {
                    let contents = crate::disk::contents(self.stamp, block);
                    assert!(self.controller.memory.write(at, &contents));
                }
            }
            Kind::Zeroes => {
                sqe.opcode = io::WRITE_ZEROES;
                self.disk.begin_write(&blocks, 0);
            }
            Kind::Deallocate => {
                sqe.opcode = io::DATASET_MANAGEMENT;
                sqe.cdw10 = [0, dsm::AD.mask() as u32, 0, 0, 0, 0];
                let ranges = Controller::slot(slot, RANGES);
                sqe.prp1 = self.controller.iova(ranges);
                let mut range = [0; dsm::RANGE_BYTES];
                range[4..8].copy_from_slice(&(count as u32).to_le_bytes());
                range[8..].copy_from_slice(&blocks.start.to_le_bytes());
                assert!(self.controller.memory.write(ranges, &range));
                self.disk.begin_write(&blocks, 0);
            }
            Kind::Flush => {
                sqe.opcode = io::FLUSH;
                sqe.cdw10 = [0; 6];
            }
        }
        if matches!(kind, Kind::Read | Kind::Write { .. }) {
            (sqe.prp1, sqe.prp2) = self.controller.point(slot, operation.offset, len);
        }
        operation.expected = self.expected(slot, &operation);
        self.flight[slot] = Some(operation);
        self.controller.put(false, &sqe);
    }

    /// How a command must end.
    fn expected(&self, slot: usize, operation: &Operation) -> Status {
        let media = |blocks: &Range<u64>| {
            let address = |block: u64| self.base + block * BLOCK as u64;
            address(blocks.start)..address(blocks.end)
        };
        let hit = |bytes: &Range<u64>, concerns: fn(&ErrorRange) -> bool| {
            let overlaps =
                |error: &&ErrorRange| error.range.start < bytes.end && bytes.start < error.range.end;
            self.media_errors.iter().filter(overlaps).any(concerns)
        };
        let (own, all) = (media(&operation.blocks), media(&(0..BLOCKS)));
        match operation.kind {
            Kind::Read if hit(&own, |error| error.reads) => Status::UNRECOVERED_READ_ERROR,
            Kind::Write { durable } => {
                let start = self.controller.iova(Controller::slot(slot, operation.offset));
                let data = start..start + own.end - own.start;
                if self.unreadable.iter().any(|range| range.start < data.end && data.start < range.end) {
                    Status::DATA_TRANSFER_ERROR
                } else if hit(&own, |error| error.writes) || durable && hit(&all, |error| error.commands) {
                    Status::WRITE_FAULT
                } else {
                    Status::SUCCESS
                }
            }
            Kind::Zeroes | Kind::Deallocate if hit(&own, |error| error.commands) => Status::WRITE_FAULT,
            Kind::Flush if hit(&all, |error| error.commands) => Status::WRITE_FAULT,
            _ => Status::SUCCESS,
        }
    }

    /// Takes what has ended.
    pub fn reap(&mut self, system: &mut System, image: &File) {
        while let Some(cqe) = self.controller.take(system, false) {
            let slot = usize::from(cqe.cid);
            let operation = self.flight.get_mut(slot).and_then(Option::take);
            let operation = operation.unwrap_or_else(|| panic!("{cqe:?} is of no command in flight"));
            let function = self.controller.function;
            assert_eq!(cqe.status, operation.expected, "function {function}: {operation:?}");
            self.ended[usize::from(!cqe.status.is_success())] += 1;
            self.end(slot, &operation, system.cycle(), image);
        }
    }

    fn end(&mut self, slot: usize, operation: &Operation, now: u64, image: &File) {
        let (blocks, success) = (&operation.blocks, operation.expected.is_success());
        match operation.kind {
            Kind::Read => {
                self.disk.end_read(blocks);
                for (block, at) in blocks.clone().zip((operation.offset..).step_by(BLOCK)) {
                    let mut got = [0; BLOCK];
                    assert!(self.controller.memory.read(Controller::slot(slot, at), &mut got));
                    let function = self.controller.function;
                    assert!(
                        !success || got == self.disk.expected(block),
                        "function {function}: block {block} was read as {:02x?}, not {:02x?}",
                        &got[..8],
                        &self.disk.expected(block)[..8]
                    );
                }
            }
            Kind::Flush if success => self.disk.flushed(operation.submitted),
            Kind::Flush => {}
            _ if !success => self.settle(blocks.clone(), image),
            kind => self.disk.end_write(blocks, now, kind == Kind::Write { durable: true }),
        }
    }

    /// Blocks whose write failed, or was cut short, hold what they held or what was written.
    fn settle(&mut self, blocks: Range<u64>, image: &File) {
        for block in blocks {
            self.disk.settle(block, &read(image, self.base, block..block + 1));
        }
    }

    /// After a reset: nothing is in flight any more.
    pub fn forget(&mut self, image: &File) {
        for slot in 0..DEPTH {
            match self.flight[slot].take() {
                Some(Operation { kind: Kind::Read, blocks, .. }) => self.disk.end_read(&blocks),
                Some(Operation { kind: Kind::Flush, .. }) | None => {}
                Some(Operation { blocks, .. }) => self.settle(blocks, image),
            }
        }
    }

    /// Every block of the image is what was written last.
    pub fn verify(&self, image: &File) {
        let data = read(image, self.base, 0..BLOCKS);
        for (block, got) in (0..).zip(data.chunks(BLOCK)) {
            let function = self.controller.function;
            assert!(got == self.disk.expected(block), "function {function}: block {block} of the image");
        }
    }
}
