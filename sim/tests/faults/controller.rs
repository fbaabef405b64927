//! The queues of a controller in its host's memory.

use std::ops::Range;
use std::sync::Arc;

use nitride_abi::nvme::register::{cq_head_doorbell, sq_tail_doorbell};
use nitride_abi::nvme::{CQE_BYTES, Cqe, SQE_BYTES, Sqe};
use nitride_driver::{Access, Memory};
use nitride_sim::System;

/// Entries of each queue: its submission queue fills a page.
pub const ENTRIES: u16 = 64;
/// Commands in flight on the I/O queue.
pub const DEPTH: usize = 32;
/// Data of a command at most, in bytes.
pub const TRANSFER: usize = 16 << 10;
/// Where in the memory the commands' own parts begin, and bytes of each.
const SLOTS: usize = 64 << 10;
const SLOT: usize = 32 << 10;
/// In a slot: the PRP list, behind all data.
const LIST: usize = 28 << 10;
/// In a slot: the ranges of Dataset Management.
pub const RANGES: usize = 24 << 10;
const MEMORY: usize = SLOTS + DEPTH * SLOT;
const PAGE: u64 = 4096;

/// A queue pair.
pub struct Queue {
    pub id: u16,
    sq: usize,
    cq: usize,
    tail: u16,
    head: u16,
    phase: bool,
}

impl Queue {
    fn new(id: u16) -> Self {
        let base = usize::from(id) * 0x2000;
        Self { id, sq: base, cq: base + 0x1000, tail: 0, head: 0, phase: true }
    }
}

/// A function's controller, with memory of its own.
pub struct Controller {
    pub function: u8,
    /// Bus address of BAR 0.
    pub bar: u64,
    pub memory: Arc<Memory>,
    pub admin: Queue,
    pub io: Queue,
}

impl Controller {
    /// The controller of a function, with its memory open to it.
    pub fn new(system: &mut System, function: u8) -> Self {
        let bar = system.topology().function(function).unwrap().bars[0].unwrap().address;
        let memory = Arc::new(Memory::new("faults", MEMORY, false).unwrap());
        let controller = Self { function, bar, memory, admin: Queue::new(0), io: Queue::new(1) };
        controller.map(system);
        controller
    }

    /// I/O virtual address of an offset in the memory.
    pub fn iova(&self, offset: usize) -> u64 {
        ((u64::from(self.function) + 1) << 32) + offset as u64
    }

    /// I/O virtual addresses of submission and completion queue.
    pub fn bases(&self, queue: &Queue) -> (u64, u64) {
        (self.iova(queue.sq), self.iova(queue.cq))
    }

    /// Opens the memory to the function.
    pub fn map(&self, system: &mut System) {
        system.map(self.function, self.iova(0), self.memory.clone(), Access::ReadWrite).unwrap();
    }

    /// Takes the memory back.
    pub fn unmap(&self, system: &mut System) {
        system.unmap(self.function, self.iova(0), MEMORY as u64).unwrap();
    }

    /// Empty queues, for a controller that is about to be enabled.
    pub fn restart(&mut self) {
        (self.admin, self.io) = (Queue::new(0), Queue::new(1));
        assert!(self.memory.write(0, &vec![0; SLOTS]));
    }

    /// Where in the memory a slot's part of `offset` is.
    pub fn slot(index: usize, offset: usize) -> usize {
        SLOTS + index * SLOT + offset
    }

    /// PRP1 and PRP2 of `len` bytes at `offset` of a slot (NVMe 1.4 §4.3), with the list if there is one.
    pub fn point(&self, index: usize, offset: usize, len: usize) -> (u64, u64) {
        let start = self.iova(Self::slot(index, offset));
        let second = (start / PAGE + 1) * PAGE;
        let rest: Vec<u64> = (second..start + len as u64).step_by(PAGE as usize).collect();
        match rest[..] {
            [] => (start, 0),
            [page] => (start, page),
            _ => {
                let list = Self::slot(index, LIST);
                let bytes: Vec<u8> = rest.iter().flat_map(|page| page.to_le_bytes()).collect();
                assert!(self.memory.write(list, &bytes));
                (start, self.iova(list))
            }
        }
    }

    /// I/O virtual addresses of a slot's data area.
    pub fn data_area(&self, index: usize) -> Range<u64> {
        self.iova(Self::slot(index, 0))..self.iova(Self::slot(index, TRANSFER))
    }

    /// Puts a command into a queue.
    pub fn put(&mut self, admin: bool, sqe: &Sqe) {
        let queue = if admin { &mut self.admin } else { &mut self.io };
        let at = queue.sq + SQE_BYTES * usize::from(queue.tail);
        queue.tail = (queue.tail + 1) % ENTRIES;
        assert!(self.memory.write(at, &sqe.to_bytes()));
    }

    /// Tells the controller of what was put.
    pub fn ring(&self, system: &mut System, admin: bool) {
        let queue = if admin { &self.admin } else { &self.io };
        let doorbell = self.bar + sq_tail_doorbell(queue.id);
        system.memory_write(doorbell, &u32::from(queue.tail).to_le_bytes()).unwrap();
    }

    /// The next completion.
    pub fn take(&mut self, system: &mut System, admin: bool) -> Option<Cqe> {
        let queue = if admin { &mut self.admin } else { &mut self.io };
        let mut bytes = [0; CQE_BYTES];
        assert!(self.memory.read(queue.cq + CQE_BYTES * usize::from(queue.head), &mut bytes));
        let cqe = Cqe::from_bytes(&bytes);
        if cqe.phase != queue.phase {
            return None;
        }
        queue.head = (queue.head + 1) % ENTRIES;
        queue.phase ^= queue.head == 0;
        let doorbell = self.bar + cq_head_doorbell(queue.id);
        system.memory_write(doorbell, &u32::from(queue.head).to_le_bytes()).unwrap();
        Some(cqe)
    }
}
