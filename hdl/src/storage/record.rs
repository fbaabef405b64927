//! What travels between the blocks of the storage engine.

use nitride_lang::prelude::*;

use crate::bus::{BufferAddress, Volume};

/// The data transfer that is left of a read or write command, and where its next host page comes from
/// (NVMe 1.4 §4.3, PRP entries and lists).
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Job {
    /// Host to media; else media to host.
    pub write: Bit,
    /// Make it durable before it is completed.
    pub force_unit_access: Bit,
    /// The requester.
    pub function: Bits<5>,
    /// Index of the volume.
    pub volume: Bits<6>,
    /// Next byte on the media.
    pub media: Bits<48>,
    /// Bytes left, at most 1 MiB.
    pub remaining: Bits<21>,
    /// Next byte in the current host page.
    pub host: Bits<64>,
    /// Bytes left in the current host page.
    pub left: Bits<13>,
    /// With `list`, the address of the next PRP list entry; else the second page.
    pub pointer: Bits<64>,
    /// PRP2 points to a PRP list.
    pub list: Bit,
    /// Of the fetched list entries, the next one.
    pub index: Bits<5>,
    /// Fetched list entries that are not used yet.
    pub window: Bits<6>,
}

/// A [`Job`] as it starts.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Start {
    /// Command slot.
    pub slot: Bits<6>,
    /// All of its data transfer.
    pub job: Job,
}

/// A piece of a job inside of one aligned 4 KiB of media, moved through one chunk buffer.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Chunk {
    /// Chunk buffer, of the direction's 32.
    pub id: Bits<5>,
    /// Command slot.
    pub slot: Bits<6>,
    /// The requester.
    pub function: Bits<5>,
    /// First byte on the media, a multiple of 512.
    pub media: Bits<48>,
    /// Bytes, 512 to 4096.
    pub length: Bits<13>,
    /// First byte in host memory.
    pub first: Bits<64>,
    /// Bytes that are there.
    pub first_length: Bits<13>,
    /// The rest, where there is any: in another page.
    pub second: Bits<64>,
}

/// One host segment of a chunk: what a DMA engine is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Segment {
    /// The requester.
    pub function: Bits<5>,
    /// Host byte address.
    pub address: Bits<64>,
    /// DWs.
    pub length: Bits<11>,
    /// Where in the chunk buffers.
    pub buffer: BufferAddress,
    /// `{0 (2), last segment of its chunk, chunk (5)}`.
    pub context: Bits<8>,
}

/// What happened to a command: the [`super::Tracker`] adds these up. A command is complete once `last` was seen
/// and as many parts ended as were started.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Event {
    /// Command slot.
    pub slot: Bits<6>,
    /// A part was started.
    pub start: Bit,
    /// A part ended.
    pub end: Bit,
    /// No more parts will be started.
    pub last: Bit,
    /// When all ended well, flush before completing. With `last`.
    pub flush: Bit,
    /// The volume to flush: `{controller (4), nsid - 1 (2)}`. With `flush`.
    pub volume: Bits<6>,
    /// Status; 0 is success. The first other one stays.
    pub status: Bits<15>,
}

/// A flush that a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct FlushRequest {
    /// Command slot.
    pub slot: Bits<6>,
    /// All volumes of the controller; else the one.
    pub all: Bit,
    /// `{controller (4), nsid - 1 (2)}`.
    pub volume: Bits<6>,
}

/// AXI4 read or write address; always INCR bursts of whole beats.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct AxiAddress {
    /// Transaction.
    pub id: Bits<6>,
    /// First byte.
    pub address: Bits<48>,
    /// Beats - 1.
    pub length: Bits<8>,
}

/// AXI4 write data; all strobes set.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct AxiWrite {
    /// 32 bytes.
    pub data: Bits<256>,
    /// The burst's last beat.
    pub last: Bit,
}

/// AXI4 write response.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct AxiResponse {
    /// Transaction.
    pub id: Bits<6>,
    /// Not OKAY.
    pub error: Bit,
}

/// AXI4 read data. Bursts may come in any order, but not interleaved.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct AxiRead {
    /// Transaction.
    pub id: Bits<6>,
    /// 32 bytes.
    pub data: Bits<256>,
    /// Not OKAY.
    pub error: Bit,
    /// The burst's last beat.
    pub last: Bit,
}

/// A chunk that is over with.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Ended {
    /// Chunk buffer.
    pub id: Bits<5>,
    /// Status; 0 is success.
    pub status: Bits<15>,
}

/// A Dataset Management command.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct RangeList {
    /// Command slot.
    pub slot: Bits<6>,
    /// The requester.
    pub function: Bits<5>,
    /// Ranges - 1.
    pub count: Bits<8>,
    /// Attribute: Deallocate.
    pub deallocate: Bit,
    /// Where the ranges are.
    pub prp1: Bits<64>,
    /// Where they go on, if they cross a page.
    pub prp2: Bits<64>,
    /// What they are ranges of.
    pub volume: Volume,
}
