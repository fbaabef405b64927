//! What travels inside of the fetcher.

use nitride_lang::prelude::*;

use crate::bus::LandingWrite;
use crate::net::records::{QueueIndex, VirtqueueUpdate, of_reader};

/// Chains that are under way at once, as a power of 2: each has a slot.
pub const SLOT_BITS: usize = 6;
/// Descriptors of a chain: the room in a slot.
pub const CHAIN: u64 = 64;
/// Contexts of the reads: of slots from 0 on,
pub const BATCH_CONTEXT: u64 = 64;
/// of batches from there, and of polls from here on: 16 each.
pub const POLL_CONTEXT: u64 = 80;
/// Heads that are read at once: with the half DW in front of them they fit into a row.
pub const BATCH: u64 = 15;

/// A slot's number.
pub type Slot = Bits<SLOT_BITS>;
/// A chain's place among those of its queue: the available ring's index, as far as needed to tell those under way apart.
pub type Place = Bits<SLOT_BITS>;

/// Where a queue's available index is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Poll {
    /// The queue.
    pub queue: QueueIndex,
    /// The Driver Area.
    pub driver: Bits<64>,
}

/// What came of a poll.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Polled {
    /// The queue.
    pub queue: QueueIndex,
    /// It could not be read.
    pub failed: Bit,
    /// The available index.
    pub index: Bits<16>,
}

/// Entries of an available ring, side by side.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Batch {
    /// The queue.
    pub queue: QueueIndex,
    /// Address of the first, a multiple of 2.
    pub address: Bits<64>,
    /// How many, 1 to 15.
    pub count: Bits<4>,
    /// The first one's place.
    pub place: Place,
}

/// An entry of an available ring: a chain's first descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Head {
    /// The queue.
    pub queue: QueueIndex,
    /// The entry.
    pub index: Bits<16>,
    /// Its place.
    pub place: Place,
    /// It could not be read.
    pub failed: Bit,
}

/// A chain that a slot was given to.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Chain {
    /// The queue.
    pub queue: QueueIndex,
    /// Its first descriptor.
    pub head: Bits<16>,
    /// Its place.
    pub place: Place,
}

/// A slot whose read has ended, or that has come to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Arrival {
    /// The slot.
    pub slot: Slot,
    /// Nothing could be read.
    pub failed: Bit,
}

/// A chain all of whose descriptors are in its slot.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Complete {
    /// The queue.
    pub queue: QueueIndex,
    /// Its place.
    pub place: Place,
    /// The slot.
    pub slot: Slot,
    /// Descriptors, 1 to 64; 0 of a broken chain.
    pub count: Bits<7>,
    /// Those of a table, which follow each other as their `next` says, end it; else they follow each other as they lie in the slot.
    pub linked: Bit,
    /// Where in the slot the table begins.
    pub before: Bits<6>,
}

/// A chain to be given, or a token.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Give {
    /// A token of `queue`.
    pub drain: Bit,
    /// The queue.
    pub queue: QueueIndex,
    /// The slot.
    pub slot: Slot,
    /// Descriptors; of 0 nothing is given.
    pub count: Bits<7>,
    /// As in [`Complete`].
    pub linked: Bit,
    /// As in [`Complete`].
    pub before: Bits<6>,
}

/// Slots that are free again.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Released {
    /// The queue of their chains.
    pub queue: QueueIndex,
    /// How many.
    pub count: Bits<7>,
}

/// What is to be known of a queue to read its chains.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Area {
    /// Address of the Descriptor Area.
    pub descriptors: Bits<64>,
    /// Queue Size - 1.
    pub last: Bits<10>,
    /// VIRTIO_F_INDIRECT_DESC.
    pub indirect: Bit,
}

/// A descriptor (virtio 1.2 §2.7.5).
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Descriptor {
    /// Where the buffer is.
    pub address: Bits<64>,
    /// Bytes.
    pub length: Bits<32>,
    /// VIRTQ_DESC_F_NEXT.
    pub next_valid: Bit,
    /// VIRTQ_DESC_F_WRITE.
    pub write: Bit,
    /// VIRTQ_DESC_F_INDIRECT.
    pub indirect: Bit,
    /// Not used by anything.
    pub reserved: Bits<13>,
    /// The next descriptor.
    pub next: Bits<16>,
}

/// The descriptor in the lower or the upper half of a row.
#[hdl_fn]
pub fn descriptor(row: Bits<256>, upper: Bit) -> Descriptor {
    unpack::<Descriptor>(if upper { row.get_bits::<128>(128) } else { row.get_bits::<128>(0) })
}

/// A landing write into another than `group` of the two groups of 16 rows that the reader has, without its bytes.
#[hdl_fn]
pub fn of_group(write: LandingWrite, reader: u64, group: u64) -> LandingWrite {
    let mine = write.row.get_bits::<1>(4) == group;
    of_reader(LandingWrite { enable: if mine { write.enable } else { bits::<8>(0) }, ..write }, reader)
}

/// Where an update says that a queue is.
#[hdl_fn]
pub fn area_of(update: VirtqueueUpdate) -> Area {
    Area {
        descriptors: update.queue.descriptors,
        last: update.queue.last,
        indirect: update.settings.indirect,
    }
}
