//! Whose turn it is.

use nitride_lang::prelude::*;

use crate::nvme::records::{Client, QueueOperation, QueueRequest};

/// A request that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Picked {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// Whose it is, if it is a client's.
    pub client: Bits<3>,
    /// A fetch from an I/O queue of `request.controller`, that is yet to be named.
    pub io: Bit,
    /// The request.
    pub request: QueueRequest,
}

/// What an operation makes of the schedules.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Scheduling {
    /// Whose.
    pub controller: Bits<4>,
    /// The controller's admin queue goes to the end of its schedule.
    pub admin: Bit,
    /// The controller goes to the end of the schedule of I/O queues.
    pub io: Bit,
    /// Submission queues to wake; there may be some only when none is left of before.
    pub wake: Bits<8>,
}

/// Chooses the next request: queues to wake first, then clients (round robin) and fetches in turn, so that neither doorbells
/// nor fetches starve the other.
///
/// The schedules are two FIFOs of controllers, one for admin queues and one for I/O queues, each controller once in each.
/// Latency 0; a choice whenever `pick` is high.
#[derive(LogicBlock, Default)]
pub struct Schedule {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Requests, by [`Client`].
    pub request: [Sink<QueueRequest>; Client::COUNT],
    /// Choose now.
    pub pick: Signal<In, Bit>,
    /// The choice.
    pub picked: Signal<Out, Picked>,
    /// What the last request made of the schedules.
    pub update: Signal<In, Scheduling>,
    /// An admin command can be started.
    pub admin_ready: Signal<In, Bit>,
    /// An I/O command can be started.
    pub io_ready: Signal<In, Bit>,
    /// Something waits here.
    pub busy: Signal<Out, Bit>,
    /// The last request was a client's: it is the schedule's turn.
    turn: Reg<Bit>,
    arbiter: StreamArbiter<QueueRequest, { Client::COUNT }>,
    admin: Fifo<Bits<4>, 4>,
    io: Fifo<Bits<4>, 4>,
    wake: Reg<Bits<8>>,
    wake_controller: Reg<Bits<4>>,
}

impl Logic for Schedule {
    #[hdl]
    fn update(&mut self) {
        for i in 0..Client::COUNT {
            Sink::<QueueRequest>::link(&mut self.request[i], &mut self.arbiter.sink[i]);
        }
        self.arbiter.last.next = bits::<{ Client::COUNT }>(0x7f);
        let picking = self.pick.val();
        let offered = self.arbiter.source.valid.val();
        let admin_due = self.admin.source.valid.val() && self.admin_ready.val();
        let io_due = self.io.source.valid.val() && self.io_ready.val();
        let wake = self.wake.q.val();
        let waking = picking && wake.any();
        let fetching = picking && !wake.any() && (admin_due || io_due) && (self.turn.q.val() || !offered);
        let serving = picking && !wake.any() && !fetching;
        self.arbiter.source.ready.next = serving;
        self.admin.source.ready.next = fetching && admin_due;
        self.io.source.ready.next = fetching && !admin_due;

        let woken = lowest_one::<8>(wake);
        let request = self.arbiter.source.data.val();
        self.picked.next = Picked {
            valid: waking || fetching || (serving && offered),
            client: self.arbiter.index.val().get_bits::<3>(0),
            io: fetching && !admin_due,
            request: QueueRequest {
                operation: if waking {
                    QueueOperation::Wake
                } else if fetching {
                    QueueOperation::Fetch
                } else {
                    request.operation
                },
                controller: if waking {
                    self.wake_controller.q.val()
                } else if !fetching {
                    request.controller
                } else if admin_due {
                    self.admin.source.data.val()
                } else {
                    self.io.source.data.val()
                },
                queue: if waking {
                    one_hot_index::<8, 3>(woken)
                } else if fetching {
                    bits::<3>(0)
                } else {
                    request.queue
                },
                ..request
            },
        };
        if waking {
            self.wake.d.next = wake & !woken;
        }
        if fetching || (serving && offered) {
            self.turn.d.next = serving;
        }

        let update = self.update.val();
        if update.wake.any() {
            self.wake.d.next = update.wake;
            self.wake_controller.d.next = update.controller;
        }
        self.admin.sink.data.next = update.controller;
        self.admin.sink.valid.next = update.admin;
        self.io.sink.data.next = update.controller;
        self.io.sink.valid.next = update.io;
        self.busy.next = offered || wake.any() || self.admin.level.val().any() || self.io.level.val().any();
    }
}
