//! Notifications that wait.

use nitride_lang::prelude::*;

use crate::net::records::{Notification, QueueIndex};

/// A FIFO of notified queues in which no queue is twice: however often drivers notify, it never overflows.
///
/// Takes a notification each cycle; latency 4 cycles. A queue waits if its two marks differ: one is turned over when it comes in, the other
/// when it goes out.
#[derive(LogicBlock, Default)]
pub struct Bell {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Notifications.
    pub notify: Signal<In, Notification>,
    /// Queues, in the order of their first notification since they were taken.
    pub rung: Source<QueueIndex>,
    /// A queue waits.
    pub busy: Signal<Out, Bit>,
    came: Ram<Bit, 7>,
    went: Ram<Bit, 7>,
    asked: Reg<Notification>,
    /// The queue that was put in last, whose mark was still being written when the next was read.
    put: Reg<Notification>,
    queue: Fifo<Ring, 7>,
}

/// A queue that waits, and its mark.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Ring {
    index: QueueIndex,
    mark: Bit,
}

impl Logic for Bell {
    #[hdl]
    fn update(&mut self) {
        let notify = self.notify.val();
        self.came.read_address.next = notify.index;
        self.went.read_address.next = notify.index;
        self.asked.d.next = notify;

        let asked = self.asked.q.val();
        let put = self.put.q.val();
        let just_put = put.valid && put.index == asked.index;
        let mark = self.came.read_data.val();
        let new = asked.valid && !just_put && mark == self.went.read_data.val();
        self.came.write_address.next = asked.index;
        self.came.write_data.next = !mark;
        self.came.write_enable.next = new;
        self.put.d.next = Notification { valid: new, index: asked.index };
        self.queue.sink.data.next = Ring { index: asked.index, mark: !mark };
        self.queue.sink.valid.next = new;

        let first = self.queue.source.data.val();
        self.rung.data.next = first.index;
        self.rung.valid.next = self.queue.source.valid.val();
        self.queue.source.ready.next = self.rung.ready.val();
        self.went.write_address.next = first.index;
        self.went.write_data.next = first.mark;
        self.went.write_enable.next = self.queue.source.valid.val() && self.rung.ready.val();
        self.busy.next = asked.valid || self.queue.level.val().any();
    }
}
