//! What travels inside of the receive engine.

use nitride_abi::virtio::net::{FRAME_BYTES, header};
use nitride_lang::prelude::*;

use crate::net::records::QueueIndex;

/// Bytes of the header in front of each frame.
pub const HEADER: u64 = header::BYTES as u64;
/// Bytes of a row.
pub const BEAT: u64 = 32;
/// The longest frame: one on the exception path.
pub const LONGEST: u64 = (FRAME_BYTES + nitride_abi::exception::HEADER_BYTES) as u64;
/// What a segment's length is cut to: a frame takes no more of it.
pub const SEGMENT: u64 = HEADER + LONGEST;
/// Rows of the frame RAM and of the launch ring, as a power of 2.
pub const ROW_BITS: usize = 10;
/// Bytes of the longest DMA write.
pub const WRITE: u64 = 4096;

/// A segment that waits for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Place {
    /// Where the buffer is.
    pub address: Bits<64>,
    /// Bytes, cut to [`SEGMENT`].
    pub length: Bits<14>,
    /// The chain's first descriptor.
    pub head: Bits<16>,
    /// The chain's last segment.
    pub last: Bit,
}

/// What goes into a segment, or a token.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Portion {
    /// The queue.
    pub queue: QueueIndex,
    /// The token; only `queue` counts in it.
    pub drain: Bit,
    /// Where.
    pub address: Bits<64>,
    /// Bytes of header and frame, 0 if nothing is left for it.
    pub bytes: Bits<14>,
    /// The chain's first descriptor.
    pub head: Bits<16>,
    /// The chain's last segment.
    pub chain_last: Bit,
    /// The frame's last segment.
    pub frame_last: Bit,
}

/// What is to be known of a frame before its first byte is placed.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Planned {
    /// Chains that it takes.
    pub chains: Bits<8>,
    /// Rows of the frame RAM that it takes.
    pub rows: Bits<9>,
}

/// Something whose end is to be waited for, or that follows what is.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Asked {
    /// There is a write; else there was nothing to write.
    pub write: Bit,
    /// Rows of the launch ring that it takes.
    pub rows: Bits<8>,
    /// The queue.
    pub queue: QueueIndex,
    /// The token of the queue.
    pub drain: Bit,
    /// The chain is over with it.
    pub chain_last: Bit,
    /// The frame is over with it.
    pub frame_last: Bit,
    /// The chain's first descriptor.
    pub head: Bits<16>,
    /// Bytes written to the chain.
    pub length: Bits<14>,
}
