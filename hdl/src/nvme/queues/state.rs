//! What a controller's queues are, as they lie in RAM.

use nitride_lang::prelude::*;

use crate::nvme::records::{POINTER, QueueIndex};

/// All queues of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Controller {
    /// Doorbells count and commands are fetched.
    pub open: Bit,
    /// Completions are posted.
    pub posting: Bit,
    /// Commands under way.
    pub in_flight: Bits<7>,
    /// I/O queues that exist, SQs and CQs.
    pub io_queues: Bits<4>,
    /// Submission queues to wake when a command is gone.
    pub waiting: Bits<8>,
    /// Submission queues that want a turn.
    pub scheduled: Bits<8>,
    /// The admin queue is in its schedule, the controller in that of I/O queues. These two survive everything.
    pub listed_admin: Bit,
    /// See `listed_admin`.
    pub listed_io: Bit,
    /// The I/O queue that had the last turn.
    pub current: Bits<3>,
    /// Commands that are left of its burst.
    pub burst: Bits<7>,
}

/// A submission queue.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Submission {
    /// It exists.
    pub open: Bit,
    /// Deleted, but commands of it are under way.
    pub closing: Bit,
    /// Host address in pages.
    pub base: Bits<52>,
    /// Entries, 0's based.
    pub last: Bits<POINTER>,
    /// The next entry to fetch.
    pub head: Bits<POINTER>,
    /// The host's next entry.
    pub tail: Bits<POINTER>,
    /// Where it posts.
    pub completion_queue: Bits<3>,
    /// Commands under way.
    pub in_flight: Bits<7>,
}

/// A completion queue.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Completion {
    /// It exists.
    pub open: Bit,
    /// Host address in pages.
    pub base: Bits<52>,
    /// Entries, 0's based.
    pub last: Bits<POINTER>,
    /// The host's next entry.
    pub head: Bits<POINTER>,
    /// The next entry to post.
    pub tail: Bits<POINTER>,
    /// Phase tag of this pass.
    pub phase: Bit,
    /// MSI-X vector.
    pub vector: Bits<3>,
    /// Interrupts enabled.
    pub interrupt: Bit,
    /// Submission queues that post here.
    pub users: Bits<4>,
    /// Entries that are kept for commands under way.
    pub reserved: Bits<7>,
    /// Submission queues to wake when there is room.
    pub waiting: Bits<8>,
    /// An event is to be told when there is room.
    pub owed: Bit,
}

/// What a request reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Records {
    /// The controller.
    pub controller: Controller,
    /// The request's submission queue.
    pub submission: Submission,
    /// The request's completion queue, or its submission queue's.
    pub completion: Completion,
}

/// `{controller, queue}`.
#[hdl_fn]
pub fn queue_index(controller: Bits<4>, queue: Bits<3>) -> QueueIndex {
    cat2::<4, 3, 7>(controller, queue)
}

/// The pointer after `pointer` in a queue of `last + 1` entries.
#[hdl_fn]
pub fn advance(pointer: Bits<POINTER>, last: Bits<POINTER>) -> Bits<POINTER> {
    if pointer == last { 0.into() } else { pointer + 1 }
}

/// Host address of entry `pointer` of a queue of pages, entries of `1 << shift` bytes.
#[hdl_fn]
pub fn entry_address(base: Bits<52>, pointer: Bits<POINTER>, shift: u64) -> Bits<64> {
    (bit_cast::<64, 52>(base) << 12) + (bit_cast::<64, 12>(pointer) << shift)
}

/// The completion queue has an entry that neither the host nor a command has.
#[hdl_fn]
pub fn has_room(completion: Completion) -> Bit {
    let used = if completion.tail >= completion.head {
        completion.tail - completion.head
    } else {
        completion.tail - completion.head + completion.last + 1
    };
    bit_cast::<13, 12>(used) + bit_cast::<13, 7>(completion.reserved) < bit_cast::<13, 12>(completion.last)
}

/// The I/O queue whose turn it is among those that want one: the same as long as its burst lasts, then the next one
/// (NVMe 1.4 §4.13.1). With none that wants a turn, any I/O queue.
#[hdl_fn]
pub fn next_queue(controller: Controller) -> Bits<3> {
    let wanting = controller.scheduled.get_bits::<7>(1);
    let above = wanting & (bits::<7>(0x7f) << controller.current);
    let first = lowest_one::<7>(if above.any() { above } else { wanting });
    let stays = controller.burst != 0 && controller.scheduled.get_bit(controller.current.index());
    if stays { controller.current } else { one_hot_index::<7, 3>(first) + 1 }
}

/// Commands after the first of a burst (Arbitration Burst, NVMe 1.4 §5.21.1.1).
#[hdl_fn]
pub fn burst_after_first(arbitration: Bits<3>) -> Bits<7> {
    (bits::<7>(1) << arbitration) - 1
}
