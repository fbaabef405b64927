//! Submission and completion queues (NVMe 1.4 §4.1).

use nitride_abi::nvme::{CQE_BYTES, Cqe, SQE_BYTES, Sqe};

use super::host::{Fault, HostMemory};

/// A submission queue, whose tail is the host's.
#[derive(Debug, Clone)]
pub(super) struct SubmissionQueue {
    pub base: u64,
    pub size: u32,
    pub head: u32,
    pub tail: u32,
    pub completion_queue: usize,
}

impl SubmissionQueue {
    pub fn new(base: u64, size: u32, completion_queue: usize) -> Self {
        Self { base, size, head: 0, tail: 0, completion_queue }
    }

    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    pub fn fetch(&mut self, host: &mut dyn HostMemory) -> Result<Sqe, Fault> {
        let mut bytes = [0; SQE_BYTES];
        host.read(self.base.wrapping_add(self.head as u64 * SQE_BYTES as u64), &mut bytes)?;
        self.head = (self.head + 1) % self.size;
        Ok(Sqe::from_bytes(&bytes))
    }
}

/// A completion queue, whose head is the host's.
#[derive(Debug, Clone)]
pub(super) struct CompletionQueue {
    pub base: u64,
    pub size: u32,
    pub head: u32,
    tail: u32,
    phase: bool,
    pub vector: Option<u16>,
}

impl CompletionQueue {
    pub fn new(base: u64, size: u32, vector: Option<u16>) -> Self {
        Self { base, size, head: 0, tail: 0, phase: true, vector }
    }

    pub fn is_full(&self) -> bool {
        self.places() == 0
    }

    /// Entries that can be posted before the host's head moves.
    pub fn places(&self) -> u32 {
        (self.head + self.size - self.tail - 1) % self.size
    }

    /// Posts `cqe` with the queue's phase. A failed write is lost, as a posted write is.
    pub fn post(&mut self, host: &mut dyn HostMemory, cqe: Cqe) {
        let bytes = Cqe { phase: self.phase, ..cqe }.to_bytes();
        let _lost = host.write(self.base.wrapping_add(self.tail as u64 * CQE_BYTES as u64), &bytes);
        self.tail = (self.tail + 1) % self.size;
        self.phase ^= self.tail == 0;
    }
}
