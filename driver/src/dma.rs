//! Memory that a driver shares with a function, with both of its addresses.
#![allow(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::function::{Error, Function, Result};
use crate::memory::{Access, Memory};

/// The first I/O virtual address that is handed out, above all that a 32-bit device could mean.
const FIRST_IOVA: u64 = 1 << 32;
const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 << 20;

/// Hands out [`Dma`] memory to the one driver of a function.
///
/// It owns the function's I/O address space from 4 GiB on: two of them on one function would collide.
pub struct DmaSpace {
    function: Arc<dyn Function>,
    next: AtomicU64,
}

impl fmt::Debug for DmaSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaSpace").field("next", &self.next).finish_non_exhaustive()
    }
}

impl DmaSpace {
    /// The I/O address space of `function`.
    pub fn new(function: Arc<dyn Function>) -> Self {
        Self { function, next: AtomicU64::new(FIRST_IOVA) }
    }

    /// `len` zeroed bytes (rounded up to whole pages) that the function can read and write.
    pub fn allocate(&self, len: usize) -> Result<Dma> {
        let align = if len >= HUGE_PAGE { HUGE_PAGE } else { PAGE };
        let len = len.max(1).checked_next_multiple_of(align);
        let what = || format!("allocation of DMA memory for {}", self.function.info().name);
        let len =
            len.ok_or_else(|| Error::Io { what: what(), source: std::io::ErrorKind::OutOfMemory.into() })?;
        let memory =
            Memory::new("nitride-dma", len, true).map_err(|source| Error::Io { what: what(), source })?;
        let memory = Arc::new(memory);
        // Addresses are not used again: 2^63 bytes outlast every driver.
        let start = self.next.fetch_add((len + align) as u64, Ordering::Relaxed);
        let iova = start.next_multiple_of(align as u64);
        self.function.dma_map(iova, memory.clone(), Access::ReadWrite)?;
        Ok(Dma(Arc::new(Mapping { memory, iova, function: self.function.clone() })))
    }
}

/// Memory that a function can read and write: the process's and the function's address of it in one.
///
/// A clone is the same memory; the last one to go unmaps it. The function may write to it at any time, so
/// its bytes are copied in and out, never referred to.
#[derive(Clone)]
pub struct Dma(Arc<Mapping>);

struct Mapping {
    memory: Arc<Memory>,
    iova: u64,
    function: Arc<dyn Function>,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // Fails only when the card is gone, and then nothing reaches the memory either.
        let _ = self.function.dma_unmap(self.iova, self.memory.len() as u64);
    }
}

impl fmt::Debug for Dma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dma({:#x} bytes at {:#x})", self.len(), self.iova())
    }
}

impl Dma {
    /// Its length in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.memory.len()
    }

    /// Its address for the function, 4 KiB aligned.
    pub fn iova(&self) -> u64 {
        self.0.iova
    }

    /// Copies `data.len()` bytes at `offset` out of it.
    pub fn read(&self, offset: usize, data: &mut [u8]) -> Result<()> {
        if self.0.memory.read(offset, data) { Ok(()) } else { Err(self.outside("read", offset, data.len())) }
    }

    /// Copies `data` into it at `offset`.
    pub fn write(&self, offset: usize, data: &[u8]) -> Result<()> {
        if self.0.memory.write(offset, data) {
            Ok(())
        } else {
            Err(self.outside("write", offset, data.len()))
        }
    }

    fn outside(&self, what: &'static str, offset: usize, len: usize) -> Error {
        let detail = format!("{len} bytes at {offset:#x} of {:#x} bytes of DMA memory", self.len());
        Error::OutOfRange { what, detail }
    }

    /// The dword at `offset`. A driver's own ring index, never a device's value, may choose it.
    ///
    /// # Panics
    /// Outside of the memory, or where `offset` is not a multiple of 4.
    fn dword(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.len(), "no dword at {offset:#x} of {self:?}");
        // SAFETY: the dword lies in the mapping, which lives as long as `self`, and is aligned as the
        // mapping is page-aligned; the function's own accesses to it are atomic too.
        unsafe { AtomicU32::from_ptr(self.0.memory.as_ptr().add(offset).cast()) }
    }

    /// Loads a little-endian dword; what the function wrote before it is seen by later loads.
    pub(crate) fn load(&self, offset: usize) -> u32 {
        u32::from_le(self.dword(offset).load(Ordering::Acquire))
    }

    /// Stores a little-endian dword.
    pub(crate) fn store(&self, offset: usize, value: u32) {
        self.dword(offset).store(value.to_le(), Ordering::Relaxed);
    }

    /// Stores a little-endian qword, in two halves.
    pub(crate) fn store_qword(&self, offset: usize, value: u64) {
        self.store(offset, value as u32);
        self.store(offset + 4, (value >> 32) as u32);
    }
}
