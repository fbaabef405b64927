//! What the returner knows of queues, and what is under way for them.

use nitride_lang::prelude::*;

use crate::bus::InterruptRequest;
use crate::net::records::{QueueIndex, VirtqueueUpdate};

/// Checks under way at once, as a power of 2.
pub const CHECK_BITS: usize = 5;

/// What the driver set up, as far as it counts here.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Setup {
    /// The queue may be used.
    pub enabled: Bit,
    /// Queue Size - 1.
    pub last: Bits<10>,
    /// Driver Area.
    pub driver: Bits<64>,
    /// Device Area.
    pub device: Bits<64>,
    /// VIRTIO_F_EVENT_IDX.
    pub event_index: Bit,
    /// It has an MSI-X vector.
    pub interrupt: Bit,
    /// Which one.
    pub vector: Bits<3>,
}

/// What an update says.
#[hdl_fn]
pub fn setup_of(update: VirtqueueUpdate) -> Setup {
    Setup {
        enabled: update.queue.enabled,
        last: update.queue.last,
        driver: update.queue.driver,
        device: update.queue.device,
        event_index: update.settings.event_index,
        interrupt: update.queue.interrupt,
        vector: update.queue.vector,
    }
}

/// How far a queue has come. All 0 when it is enabled.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Progress {
    /// The used index of the next element.
    pub next: Bits<16>,
    /// The used index that the driver can see.
    pub visible: Bits<16>,
    /// The one for which the last decision on an interrupt was made.
    pub signalled: Bits<16>,
    /// Writes under way.
    pub writes: Bits<7>,
    /// A check is under way.
    pub checking: Bit,
    /// It is to be drained.
    pub draining: Bit,
}

/// A queue that is being drained has nothing under way any more.
#[hdl_fn]
pub fn is_drained(progress: Progress) -> Bit {
    progress.draining && !progress.writes.any() && !progress.checking
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum Kind {
    /// Elements of the used ring.
    #[default]
    Elements,
    /// Its index.
    Index,
    /// `avail_event`, or nothing, for the fetcher of what drivers send,
    IdleTransmit,
    /// and for the one of what they receive.
    IdleReceive,
}

/// A write under way.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Written {
    /// The queue.
    pub queue: QueueIndex,
    /// What.
    pub kind: Kind,
    /// The index, if that is what is written.
    pub index: Bits<16>,
}

/// A read of what the driver wants to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Check {
    /// The queue.
    pub queue: QueueIndex,
    /// The used index that is decided on.
    pub index: Bits<16>,
    /// What counts is in the DW's upper half.
    pub upper: Bit,
}

/// A check that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Ended {
    /// Which one.
    pub number: Bits<CHECK_BITS>,
    /// It could not be read.
    pub failed: Bit,
}

/// What leaves in order: an interrupt, or the token of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Leaving {
    /// A token; else an interrupt.
    pub drained: Bit,
    /// The token's queue.
    pub queue: QueueIndex,
    /// The interrupt.
    pub interrupt: InterruptRequest,
}
