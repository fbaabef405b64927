//! What travels inside of the egress queues.

use nitride_lang::prelude::*;

use crate::net::records::{EgressQueue, PortNumber};

/// Cells of the packet memory, as a power of 2: each has 4 rows of 32 bytes.
pub const CELL_BITS: usize = 10;
/// Bytes of a cell.
pub const CELL: u64 = 128;
/// Receive queues.
pub const RECEIVES: usize = 32;
/// Frames of a queue, as a power of 2.
pub const PLACE_BITS: usize = 7;
/// The first Ethernet port's queue, after the receive queues.
pub const ETHERNET: u64 = RECEIVES as u64;

/// A cell's number.
pub type Cell = Bits<CELL_BITS>;

/// A frame in the packet memory.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Frame {
    /// Its first cell.
    pub cell: Cell,
    /// Its bytes.
    pub length: Bits<14>,
}

/// What came into a queue, or left it, so far: modulo their widths.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Tally {
    /// Frames.
    pub frames: Bits<{ PLACE_BITS + 1 }>,
    /// Cells.
    pub cells: Bits<{ CELL_BITS + 1 }>,
}

/// A frame that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Job {
    /// The frame.
    pub frame: Frame,
    /// Its queue.
    pub queue: EgressQueue,
    /// It is dropped.
    pub drop: Bit,
}

/// Cells of a frame.
#[hdl_fn]
pub fn cells_of(length: Bits<14>) -> Bits<{ CELL_BITS + 1 }> {
    bit_cast::<{ CELL_BITS + 1 }, 7>((length + (CELL - 1)).get_bits::<7>(7))
}

/// The port of a queue.
#[hdl_fn]
pub fn port_of(queue: EgressQueue) -> PortNumber {
    if queue < ETHERNET {
        bit_cast::<5, 5>(queue.get_bits::<5>(1))
    } else {
        cat2::<4, 1, 5>(bits::<4>(8), queue.get_bits::<1>(0))
    }
}
