//! A submission and a completion queue in DMA memory (NVMe 1.4 §4.1).

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use nitride_abi::nvme::register::{cq_head_doorbell, sq_tail_doorbell};
use nitride_abi::nvme::{CQE_BYTES, Cqe, SQE_BYTES, Sqe};

use crate::dma::{Dma, DmaSpace};
use crate::function::{Function, Result};

/// A queue pair of one size: as no more commands than entries less one are outstanding, neither overflows.
pub(super) struct Ring {
    id: u16,
    entries: u32,
    function: Arc<dyn Function>,
    submission: Dma,
    completion: Dma,
    tail: u32,
    head: u32,
    /// The phase of entries that the controller posts next.
    phase: bool,
    /// Entries were put since the last doorbell.
    unrung: bool,
}

impl Ring {
    pub fn new(function: Arc<dyn Function>, space: &DmaSpace, id: u16, entries: u32) -> Result<Self> {
        let submission = space.allocate(entries as usize * SQE_BYTES)?;
        let completion = space.allocate(entries as usize * CQE_BYTES)?;
        Ok(Self {
            id,
            entries,
            function,
            submission,
            completion,
            tail: 0,
            head: 0,
            phase: true,
            unrung: false,
        })
    }

    pub fn id(&self) -> u16 {
        self.id
    }

    pub fn function(&self) -> &dyn Function {
        &*self.function
    }

    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// I/O virtual addresses of the submission and the completion queue.
    pub fn bases(&self) -> (u64, u64) {
        (self.submission.iova(), self.completion.iova())
    }

    /// Forgets all entries, for a controller that was just reset.
    pub fn restart(&mut self) {
        for offset in (0..self.entries as usize * CQE_BYTES).step_by(4) {
            self.completion.store(offset, 0);
        }
        (self.tail, self.head, self.phase, self.unrung) = (0, 0, true, false);
    }

    /// Puts a command into the submission queue. The controller sees it after [`Ring::ring`].
    pub fn put(&mut self, sqe: &Sqe) {
        let base = self.tail as usize * SQE_BYTES;
        for (index, dword) in sqe.to_dwords().into_iter().enumerate() {
            self.submission.store(base + 4 * index, dword);
        }
        self.tail = (self.tail + 1) % self.entries;
        self.unrung = true;
    }

    /// Tells the controller of what was put since the last time.
    pub fn ring(&mut self) -> Result<()> {
        if !self.unrung {
            return Ok(());
        }
        self.unrung = false;
        // The entries must be in memory before the controller hears of them.
        fence(Ordering::Release);
        self.function.bar_write(0, sq_tail_doorbell(self.id), &self.tail.to_le_bytes())
    }

    /// The next completion, if there is one.
    pub fn take(&mut self) -> Option<Cqe> {
        let base = self.head as usize * CQE_BYTES;
        // The phase tag is in the last dword: once it is there, so is the rest.
        let last = self.completion.load(base + 12);
        let cqe = Cqe::from_dwords(&[0, 0, 0, last]);
        if cqe.phase != self.phase {
            return None;
        }
        let dwords = [self.completion.load(base), 0, self.completion.load(base + 8), last];
        self.head = (self.head + 1) % self.entries;
        self.phase ^= self.head == 0;
        Some(Cqe::from_dwords(&dwords))
    }

    /// Gives the entries of all completions that were taken back to the controller.
    pub fn release(&mut self) -> Result<()> {
        self.function.bar_write(0, cq_head_doorbell(self.id), &self.head.to_le_bytes())
    }
}
