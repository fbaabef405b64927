//! What travels between the parts of [`Transmit`](super::Transmit).

use nitride_abi::virtio::net::{FRAME_BYTES, header};
use nitride_lang::prelude::*;

use crate::net::records::QueueIndex;
use crate::profile::DATA_BITS;

/// Bytes of a beat, and of a row of the landing RAM.
pub const BEAT: u64 = DATA_BITS as u64 / 8;
/// Bytes of the header in front of a frame.
pub const HEADER: u64 = header::BYTES as u64;
/// The most bytes that a chain may have.
pub const CHAIN: u64 = HEADER + FRAME_BYTES as u64;
/// The most DWs that a DMA read may have.
pub const READ: u64 = 1024;
/// The ring in the landing RAM: 2 to the power of this many rows.
pub const LANDING_ROWS: usize = 10;
/// The frame RAM: 2 to the power of this many rows.
pub const FRAME_ROWS: usize = 10;

/// What is to become of a chain, as far as its segments tell.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum Fate {
    /// A frame.
    #[default]
    Frame,
    /// Its queue is disabled.
    Disabled,
    /// A segment of it is device-writable.
    Broken,
    /// It is longer than any frame.
    Oversize,
}

/// A chain's name and fate.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Chain {
    /// The queue.
    pub queue: QueueIndex,
    /// No chain but a queue's token; only `queue` counts in it.
    pub drain: Bit,
    /// The chain's first descriptor.
    pub head: Bits<16>,
    /// What is to become of it; that of its last portion or piece counts.
    pub fate: Fate,
}

/// Bytes of host memory that are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Portion {
    /// Whose.
    pub chain: Chain,
    /// Where they are.
    pub address: Bits<64>,
    /// How many, at most [`CHAIN`] in all of a chain; 0 only in a last one.
    pub length: Bits<14>,
    /// The chain's last portion.
    pub last: Bit,
}

/// What one DMA read brings into the landing ring, or none.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Piece {
    /// Whose.
    pub chain: Chain,
    /// Where its first byte lands, in bytes from the ring's start.
    pub start: Bits<15>,
    /// Bytes, 0 to 4,096.
    pub bytes: Bits<13>,
    /// DWs that the read takes of the ring; 0: there is no read.
    pub dwords: Bits<11>,
    /// The chain's last piece.
    pub last: Bit,
}

/// A piece whose read has ended.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Arrived {
    /// The piece.
    pub piece: Piece,
    /// Not all of it could be read.
    pub failed: Bit,
}

/// A chain all of whose bytes were copied.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Copied {
    /// The chain.
    pub chain: Chain,
    /// Some of it could not be read.
    pub failed: Bit,
    /// Bytes, the header included.
    pub total: Bits<14>,
}

/// What the bytes of one row add to the chain that is being joined.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Step {
    /// The rest holds something.
    pub valid: Bit,
    /// Bytes by which the row has to be turned up.
    pub turn: Bits<5>,
    /// Bytes that already wait for a whole beat.
    pub before: Bits<5>,
    /// Bytes that wait with those of this row, 0 to 63.
    pub after: Bits<6>,
    /// The beat that they belong to is the first of the chain: the header, in its last 12 bytes.
    pub header: Bit,
    /// Nothing follows in the chain.
    pub end: Bit,
    /// The chain; only when it ends.
    pub copied: Copied,
}

/// A beat of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Beat {
    /// The rest holds something.
    pub valid: Bit,
    /// The chain's first beat: the header, in its last 12 bytes. The frame begins with the next one.
    pub header: Bit,
    /// The bytes.
    pub data: Bits<DATA_BITS>,
    /// How many, 32 but at the chain's end.
    pub bytes: Bits<6>,
    /// The chain ends here.
    pub end: Bit,
    /// The chain; only when it ends.
    pub copied: Copied,
}

/// A frame in the frame RAM.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Frame {
    /// Its bytes, or those that were copied of what has become none.
    pub bytes: Bits<14>,
    /// It is given; else its rows are freed without.
    pub give: Bit,
    /// The device that it comes from.
    pub device: Bits<4>,
    /// A checksum is put in.
    pub patch: Bit,
    /// Where, in bytes from the frame's start.
    pub position: Bits<14>,
    /// The checksum, its first byte in bits 15:8.
    pub checksum: Bits<16>,
}
