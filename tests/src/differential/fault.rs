//! Functions with planted errors, which a run must find.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nitride_abi::card::BAR0_DOORBELLS;
use nitride_abi::nvme::CQE_BYTES;
use nitride_driver::{Access, Function, Info, Interrupts, Memory, Result};

use super::side::{DATA, MEMORY, completion_queue};

/// What goes wrong, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A bit of the data that a command moved to the host is wrong.
    DataBit,
    /// A completion's status is another one.
    Status,
    /// A completion's phase tag stays as it was.
    Phase,
    /// A completion comes with another command's identifier.
    Identifier,
    /// No vector is interrupted any more.
    Interrupts,
}

/// A function that does its work inside of a doorbell write, with a fault some time after so many doorbell writes.
pub struct Faulty<F> {
    inner: F,
    fault: Fault,
    doorbells: AtomicUsize,
    memory: Mutex<Option<Arc<Memory>>>,
}

impl<F: Function> Faulty<F> {
    /// `fault` after `doorbells` doorbell writes.
    pub fn new(inner: F, fault: Fault, doorbells: usize) -> Self {
        Self { inner, fault, doorbells: AtomicUsize::new(doorbells), memory: Mutex::default() }
    }

    fn copy(&self) -> Option<(Arc<Memory>, Vec<u8>)> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let mut bytes = vec![0; MEMORY];
        memory.read(0, &mut bytes).then_some((memory, bytes))
    }

    /// Does the damage to what a doorbell write changed: whether there was something to damage.
    fn damage(&self, before: &[u8], memory: &Memory, after: &mut [u8]) -> bool {
        let queues = completion_queue(0)..DATA;
        let entry = queues.clone().step_by(CQE_BYTES).find(|at| {
            let end = at + CQE_BYTES;
            before[*at..end] != after[*at..end]
        });
        let at = match (self.fault, entry) {
            (Fault::DataBit, _) => (DATA..MEMORY).find(|at| before[*at] != after[*at]),
            // The status begins in the second bit of its byte, below it is the phase tag.
            (Fault::Status | Fault::Phase, Some(entry)) => Some(entry + 14),
            (Fault::Identifier, Some(entry)) => Some(entry + 12),
            _ => None,
        };
        let Some(at) = at else { return false };
        after[at] ^= if self.fault == Fault::Status { 2 } else { 1 };
        memory.write(at, &after[at..=at])
    }
}

impl<F: Function> Function for Faulty<F> {
    fn info(&self) -> &Info {
        self.inner.info()
    }

    fn config_read(&self, offset: u16, data: &mut [u8]) -> Result<()> {
        self.inner.config_read(offset, data)
    }

    fn config_write(&self, offset: u16, data: &[u8]) -> Result<()> {
        self.inner.config_write(offset, data)
    }

    fn bar_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> Result<()> {
        self.inner.bar_read(bar, offset, data)
    }

    fn bar_write(&self, bar: u8, offset: u64, data: &[u8]) -> Result<()> {
        let left = self.doorbells.load(Ordering::Relaxed);
        if offset < BAR0_DOORBELLS || left == 0 {
            return self.inner.bar_write(bar, offset, data);
        }
        if left > 1 || self.fault == Fault::Interrupts {
            self.doorbells.store(left - 1, Ordering::Relaxed);
            if left == 1 {
                self.inner.set_msix(&[])?;
            }
            return self.inner.bar_write(bar, offset, data);
        }
        let before = self.copy();
        self.inner.bar_write(bar, offset, data)?;
        if let (Some((_, before)), Some((memory, mut after))) = (before, self.copy())
            && self.damage(&before, &memory, &mut after)
        {
            self.doorbells.store(0, Ordering::Relaxed);
        }
        Ok(())
    }

    fn set_msix(&self, vectors: Interrupts<'_>) -> Result<()> {
        self.inner.set_msix(vectors)
    }

    fn dma_map(&self, iova: u64, memory: Arc<Memory>, access: Access) -> Result<()> {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Some(memory.clone());
        self.inner.dma_map(iova, memory, access)
    }

    fn dma_unmap(&self, iova: u64, len: u64) -> Result<()> {
        self.inner.dma_unmap(iova, len)
    }

    fn reset(&self) -> Result<()> {
        self.inner.reset()
    }
}
