//! Which engine a queue is of.

use nitride_lang::prelude::*;

use super::records::{QueueIndex, Segment, VirtqueueUpdate, receives};

/// Sends queues to drain to the fetcher that serves them, and segments of what drivers send to their engine. Latency 0.
#[derive(LogicBlock, Default)]
pub struct Router {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// What drivers set up.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Queues to drain.
    pub drain: Sink<QueueIndex>,
    /// Those of the transmit fetcher,
    pub drain_transmit: Source<QueueIndex>,
    /// and those of the receive fetcher.
    pub drain_receive: Source<QueueIndex>,
    /// What the transmit fetcher gives.
    pub segments: Sink<Segment>,
    /// Of transmit queues,
    pub transmit: Source<Segment>,
    /// and of control queues.
    pub control: Source<Segment>,
    /// Devices whose control queue is number 2.
    early: Reg<Bits<16>>,
}

impl Logic for Router {
    #[hdl]
    fn update(&mut self) {
        let update = self.update.val();
        let device = bits::<16>(1) << update.index.get_bits::<4>(3);
        if update.valid && update.queue.enabled {
            self.early.d.next = if update.settings.early_control {
                self.early.q.val() | device
            } else {
                self.early.q.val() & !device
            };
        }
        let queue = self.drain.data.val();
        let early = self.early.q.val().get_bit(queue.get_bits::<4>(3).index());
        let receive = receives(queue, early);
        self.drain_transmit.data.next = queue;
        self.drain_transmit.valid.next = self.drain.valid.val() && !receive;
        self.drain_receive.data.next = queue;
        self.drain_receive.valid.next = self.drain.valid.val() && receive;
        self.drain.ready.next =
            if receive { self.drain_receive.ready.val() } else { self.drain_transmit.ready.val() };

        let segment = self.segments.data.val();
        let sends = segment.queue.get_bit(0);
        self.transmit.data.next = segment;
        self.transmit.valid.next = self.segments.valid.val() && sends;
        self.control.data.next = segment;
        self.control.valid.next = self.segments.valid.val() && !sends;
        self.segments.ready.next = if sends { self.transmit.ready.val() } else { self.control.ready.val() };
    }
}

#[cfg(test)]
mod tests {
    use nitride_lang::testing::differential;

    use super::*;

    #[test]
    fn the_verilog_is_the_same() {
        differential(
            "router",
            Router::default,
            |uut, rng| {
                uut.update.next = VirtqueueUpdate { valid: rng.chance(1, 4), ..rng.value() };
                uut.drain.valid.next = rng.bit();
                uut.drain.data.next = rng.bits();
                uut.drain_transmit.ready.next = rng.bit();
                uut.drain_receive.ready.next = rng.bit();
                uut.segments.valid.next = rng.bit();
                uut.segments.data.next = rng.value();
                uut.transmit.ready.next = rng.bit();
                uut.control.ready.next = rng.bit();
            },
            10_000,
        );
    }
}
