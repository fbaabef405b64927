//! The seam between a PCI function and everything that uses one.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::memory::{Access, Memory};

/// The access widths, in bytes, that [`Function::bar_read`] and [`Function::bar_write`] take.
pub const WIDTHS: [usize; 4] = [1, 2, 4, 8];

/// What a [`Function`] can answer with instead of success. One line: what was asked, what is wrong.
///
/// An operating-system error is part of that line and not a source of its own, so that a report of an error
/// with its causes does not say it twice.
#[derive(Debug)]
pub enum Error {
    /// An offset, length, alignment or vector outside of what the function has.
    OutOfRange {
        /// The access that was asked for.
        what: &'static str,
        /// Which limit it broke.
        detail: String,
    },
    /// The function answered a read with Unsupported Request, Completer Abort or not at all.
    Completion {
        /// The access that was asked for.
        what: &'static str,
        /// The completion status, in words.
        status: &'static str,
    },
    /// The card, its daemon or its device is gone: nothing on this handle will work again.
    Gone {
        /// The function, as [`Info::name`] has it.
        name: String,
        /// How that was noticed.
        detail: String,
    },
    /// The back end cannot do what was asked.
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
    /// An operating-system call failed.
    Io {
        /// What was being done.
        what: String,
        /// The system's error.
        source: std::io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { what, detail } => write!(f, "{what}: {detail}"),
            Self::Completion { what, status } => {
                write!(f, "{what}: the function did not complete the request ({status})")
            }
            Self::Gone { name, detail } => write!(f, "{name}: the card is gone ({detail})"),
            Self::Unsupported { what } => write!(f, "{what}: not supported by this back end"),
            Self::Io { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for Error {}

/// The result of every operation of the seam.
pub type Result<T> = std::result::Result<T, Error>;

/// One memory BAR of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// Size in bytes, a power of two.
    pub size: u64,
    /// 64-bit BAR (occupies this index and the next).
    pub wide: bool,
    /// Prefetchable.
    pub prefetchable: bool,
}

/// What a back end knows of a function when it opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// What a user calls it: a socket's path, a BDF, `sim:2.0`.
    pub name: String,
    /// The memory BARs, by BAR index.
    pub bars: [Option<Bar>; 6],
    /// MSI-X vectors (table size), 0 where there is no MSI-X capability.
    pub msix_vectors: u16,
    /// The function's configuration space in bytes (256 or 4096).
    pub config_size: u16,
}

/// MSI-X vectors as event file descriptors: what VFIO's `SET_IRQS` does with `DATA_EVENTFD`.
///
/// An entry of `None` leaves that vector without a target: its interrupts are lost.
pub type Interrupts<'a> = &'a [Option<BorrowedFd<'a>>];

/// One PCI function (a PF or a VF), whatever carries it.
///
/// It is used as vfio-pci lets a process use one: configuration space is virtualised where the
/// process must not touch the real one (BARs, MSI-X), MSI-X is programmed by [`Function::set_msix`]
/// and never by writing to the table, and a DMA reaches only what [`Function::dma_map`] opened.
pub trait Function: Send + Sync {
    /// What is known of the function since it was opened.
    fn info(&self) -> &Info;

    /// Reads `data.len()` bytes of configuration space at `offset`.
    fn config_read(&self, offset: u16, data: &mut [u8]) -> Result<()>;

    /// Writes `data` into configuration space at `offset`.
    fn config_write(&self, offset: u16, data: &[u8]) -> Result<()>;

    /// Reads 1, 2, 4 or 8 naturally aligned bytes of a BAR (see [`WIDTHS`]), little-endian.
    fn bar_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> Result<()>;

    /// Writes 1, 2, 4 or 8 naturally aligned bytes of a BAR. Posted: it returns before it arrives;
    /// writes of one thread arrive in order.
    fn bar_write(&self, bar: u8, offset: u64, data: &[u8]) -> Result<()>;

    /// Enables MSI-X with one event file descriptor per vector, from vector 0 on, replacing all
    /// that was set before. An empty slice disables MSI-X.
    fn set_msix(&self, vectors: Interrupts<'_>) -> Result<()>;

    /// Opens `memory` to this function's DMA at I/O virtual address `iova` (both multiples of 4 KiB).
    fn dma_map(&self, iova: u64, memory: Arc<Memory>, access: Access) -> Result<()>;

    /// Closes what [`Function::dma_map`] opened at exactly `iova`. On return no DMA reaches it.
    fn dma_unmap(&self, iova: u64, len: u64) -> Result<()>;

    /// Function Level Reset (PCIe 4.0 §6.6.2). DMA mappings stay, MSI-X is disabled.
    fn reset(&self) -> Result<()>;

    /// Clock cycles that the card has run for, where the back end can tell: only a simulator can.
    fn cycles(&self) -> Option<u64> {
        None
    }
}

/// Whether a BAR access lies in a BAR and has a width and an alignment of the seam. For back ends.
pub fn check_bar_access(info: &Info, what: &'static str, bar: u8, offset: u64, len: usize) -> Result<()> {
    let size = info.bars.get(bar as usize).copied().flatten().map_or(0, |bar| bar.size);
    let inside = offset.checked_add(len as u64).is_some_and(|end| end <= size);
    if inside && WIDTHS.contains(&len) && offset.is_multiple_of(len as u64) {
        return Ok(());
    }
    let detail = format!("{} has no aligned {len} bytes at {offset:#x} of BAR {bar}", info.name);
    Err(Error::OutOfRange { what, detail })
}

/// Whether a configuration access lies in the function's configuration space. For back ends.
pub fn check_config_access(info: &Info, what: &'static str, offset: u16, len: usize) -> Result<()> {
    if offset as usize + len <= info.config_size as usize {
        return Ok(());
    }
    let detail = format!("{} has no {len} bytes at {offset:#x} of its {}", info.name, info.config_size);
    Err(Error::OutOfRange { what, detail })
}
