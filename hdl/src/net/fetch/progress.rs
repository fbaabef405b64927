//! How far a queue has come.

use nitride_lang::prelude::*;

use super::records::{BATCH, Place};
use crate::net::records::ROOM;

/// Entries that are worth a read of their own.
const WORTH: u64 = 8;

/// What the driver set up, as far as it counts here.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Setup {
    /// The queue may be used.
    pub enabled: Bit,
    /// Its segments need room ([`ROOM`]).
    pub limited: Bit,
    /// Queue Size - 1.
    pub last: Bits<10>,
    /// The Driver Area.
    pub driver: Bits<64>,
}

/// How far a queue has come.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Progress {
    /// The index in the available ring of the next entry to ask for.
    pub next: Bits<16>,
    /// The available index as it was last read.
    pub known: Bits<16>,
    /// Slots that it uses, those included that its entries on their way will get.
    pub reserved: Bits<7>,
    /// Segments that there is room for.
    pub room: Bits<8>,
    /// The place of the chain that is to be given next.
    pub front: Place,
    /// Chains that are complete and not given.
    pub parked: Bits<7>,
    /// It is on the list of queues that have something to do.
    pub scheduled: Bit,
    /// Its available index is being read.
    pub polling: Bit,
    /// It was notified since that began.
    pub notified: Bit,
    /// `avail_event` is being written.
    pub idling: Bit,
    /// It was, and nothing has become available since.
    pub told: Bit,
    /// It waits for room.
    pub starved: Bit,
    /// It is broken.
    pub broken: Bit,
    /// It is to be drained.
    pub draining: Bit,
}

/// A queue that has just been enabled. Its driver may have made buffers available before: it is looked at once without a notification.
#[hdl_fn]
pub fn fresh() -> Progress {
    Progress { room: bits::<8>(ROOM), scheduled: true, ..Progress::default() }
}

/// A queue that is being drained has nothing under way any more.
#[hdl_fn]
pub fn is_drained(progress: Progress) -> Bit {
    progress.draining && !progress.reserved.any() && !progress.polling && !progress.idling
}

/// Nothing is under way that would look at the available ring sooner or later.
#[hdl_fn]
pub fn is_quiet(progress: Progress) -> Bit {
    !progress.scheduled && !progress.polling && !progress.idling && !progress.starved
}

/// There is no room for one more chain.
#[hdl_fn]
pub fn is_full(setup: Setup, progress: Progress) -> Bit {
    setup.limited && progress.room <= bit_cast::<8, 7>(progress.reserved)
}

#[hdl_fn]
fn least(a: Bits<16>, b: Bits<16>) -> Bits<16> {
    if a < b { a } else { b }
}

/// How many entries may be asked for at once: those that are available, up to the ring's end, while there is room, and
/// so many that the queue uses no more than three times the slots that remain `free`: one queue gets three quarters of all, two get three sevenths each.
/// A queue that uses some already waits until a few more are worth a read.
#[hdl_fn]
pub fn batch_of(setup: Setup, progress: Progress, free: Bits<7>) -> Bits<4> {
    let available = progress.known - progress.next;
    // The size is a power of 2.
    let to_end = bit_cast::<16, 10>((setup.last - progress.next.get_bits::<10>(0)) & setup.last) + 1;
    let share = bit_cast::<16, 7>(free) + (bit_cast::<16, 7>(free) << 1);
    let reserved = bit_cast::<16, 7>(progress.reserved);
    let fair = if share > reserved { (share - reserved) >> 2 } else { bits::<16>(0) };
    let room = if !setup.limited {
        bits::<16>(BATCH)
    } else if is_full(setup, progress) {
        bits::<16>(0)
    } else {
        bit_cast::<16, 8>(progress.room - bit_cast::<8, 7>(progress.reserved))
    };
    let wanted = least(least(least(available, to_end), bits::<16>(BATCH)), room);
    let few = fair < wanted && fair < WORTH && progress.reserved.any();
    if few { bits::<4>(0) } else { least(wanted, fair).get_bits::<4>(0) }
}
