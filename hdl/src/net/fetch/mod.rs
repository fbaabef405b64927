//! From available rings to segments (virtio 1.2 §2.7).
//!
//! [`Bell`] keeps notifications, [`Queues`] decides what is read of which queue, [`Polls`] and [`Batches`] read available indices and rings, [`Heads`]
//! gives each chain a slot, [`Walker`] follows it, and [`Emitter`] gives its segments.

mod batches;
mod bell;
mod emitter;
mod heads;
mod polls;
mod progress;
mod queues;
mod records;
mod walker;

use nitride_lang::prelude::*;

use self::batches::Batches;
use self::bell::Bell;
use self::emitter::Emitter;
use self::heads::Heads;
use self::polls::Polls;
use self::queues::Queues;
use self::records::{
    Arrival, BATCH_CONTEXT, Batch, Complete, Give, Head, Poll, Polled, Released, SLOT_BITS, Slot,
};
use self::walker::Walker;
use super::records::{Credit, Idle, Notification, QueueIndex, Segment, VirtqueueUpdate};
use crate::bus::{DmaDone, DmaReadRequest, DmaStatus, LandingWrite};
use crate::dma::LandingRam;

/// Reads the chains that drivers make available: receive queues' if `RECEIVE`, else those of transmit and control queues. Descriptors land in
/// region `CHAINS`, rings where `READER` ([`RingReader`](super::records::RingReader)) has its rows.
///
/// - 64 chains are under way at once, shared fairly by the queues that have some; each costs 6 cycles of the engine, and a queue alone gets a chain
///   each 11 cycles at a DMA round trip of 125 cycles.
/// - A chain is given when all of its descriptors have been checked, in the order of its queue's available ring. What breaks a queue: an available
///   index further ahead than the queue is long, an entry that is no descriptor of the queue, a chain that [`Walker`] refuses, a DMA that fails.
///   Of a broken chain nothing is given.
/// - Of a queue that needs room, no more segments are given than there is room for. Other queues do not wait for it.
/// - A queue that is drained is given its token after its last chain.
#[derive(LogicBlock, Default)]
pub struct Fetcher<const RECEIVE: bool, const CHAINS: u64, const READER: u64> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// What drivers set up.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Notifications, of all queues.
    pub notify: Signal<In, Notification>,
    /// Room that has become free.
    pub credit: Signal<In, Credit>,
    /// Queues to drain.
    pub drain: Sink<QueueIndex>,
    /// Reads of rings and descriptors, contexts 0 to 95.
    pub read: Source<DmaReadRequest>,
    /// Their ends; always ready.
    pub read_done: Sink<DmaDone>,
    /// What they bring.
    pub landing: Signal<In, LandingWrite>,
    /// Chains, whole, and tokens.
    pub segments: Source<Segment>,
    /// Queues that are about to rest: `avail_event` is to be written.
    pub idle: Source<Idle>,
    /// It is written.
    pub idle_done: Sink<QueueIndex>,
    /// Queues that are broken.
    pub broken: Source<QueueIndex>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    bell: Bell,
    queues: Queues<RECEIVE>,
    polls: Polls<READER>,
    batches: Batches<READER>,
    heads: Heads<CHAINS>,
    arrivals: Fifo<Arrival, SLOT_BITS>,
    walker: Walker<CHAINS>,
    emitter: Emitter,
    slots: LandingRam<CHAINS, 11>,
    reads: StreamArbiter<DmaReadRequest, 4>,
}

impl<const RECEIVE: bool, const CHAINS: u64, const READER: u64> Logic for Fetcher<RECEIVE, CHAINS, READER> {
    #[hdl]
    fn update(&mut self) {
        self.bell.notify.next = self.notify.val();
        self.queues.update.next = self.update.val();
        self.queues.credit.next = self.credit.val();
        Source::<QueueIndex>::join(&mut self.bell.rung, &mut self.queues.rung);
        Sink::<QueueIndex>::link(&mut self.drain, &mut self.queues.drain);
        Source::<Idle>::link(&mut self.idle, &mut self.queues.idle);
        Sink::<QueueIndex>::link(&mut self.idle_done, &mut self.queues.idle_done);
        Source::<QueueIndex>::link(&mut self.broken, &mut self.queues.broken);

        // Rings.
        let done = self.read_done.data.val();
        self.read_done.ready.next = true;
        self.polls.done.next = done;
        self.polls.done_valid.next = self.read_done.valid.val();
        self.polls.landing.next = self.landing.val();
        self.batches.done.next = done;
        self.batches.done_valid.next = self.read_done.valid.val();
        self.batches.landing.next = self.landing.val();
        Source::<Poll>::join(&mut self.queues.poll, &mut self.polls.poll);
        Source::<Polled>::join(&mut self.polls.polled, &mut self.queues.polled);
        Source::<Batch>::join(&mut self.queues.batch, &mut self.batches.batch);
        Source::<Head>::join(&mut self.batches.head, &mut self.heads.head);

        // Descriptors. An end cannot wait, a refused chain can.
        self.heads.update.next = self.update.val();
        self.walker.update.next = self.update.val();
        self.walker.slot.next = self.heads.slot.val();
        self.walker.chain.next = self.heads.chain.val();
        self.walker.chain_valid.next = self.heads.chain_valid.val();
        self.emitter.slot.next = self.heads.slot.val();
        self.emitter.chain.next = self.heads.chain.val();
        self.emitter.chain_valid.next = self.heads.chain_valid.val();
        let ended = self.read_done.valid.val() && done.context < BATCH_CONTEXT;
        self.arrivals.sink.valid.next = ended || self.heads.refused.valid.val();
        self.arrivals.sink.data.next = if ended {
            Arrival { slot: done.context.get_bits::<SLOT_BITS>(0), failed: done.status != DmaStatus::Ok }
        } else {
            self.heads.refused.data.val()
        };
        self.heads.refused.ready.next = !ended && self.arrivals.sink.ready.val();
        Source::<Arrival>::join(&mut self.arrivals.source, &mut self.walker.arrival);
        Source::<Complete>::join(&mut self.walker.complete, &mut self.queues.complete);
        Source::<Give>::join(&mut self.queues.give, &mut self.emitter.give);
        Source::<Slot>::join(&mut self.emitter.free, &mut self.heads.free);
        Source::<Released>::join(&mut self.emitter.released, &mut self.queues.released);
        Source::<Segment>::link(&mut self.segments, &mut self.emitter.segments);
        self.slots.write.next = self.landing.val();
        let looks = self.walker.looks.val();
        self.slots.row.next = if looks { self.walker.row.val() } else { self.emitter.row.val() };
        self.emitter.taken.next = looks;
        self.walker.data.next = self.slots.data.val();
        self.emitter.data.next = self.slots.data.val();

        Source::<DmaReadRequest>::join(&mut self.walker.read, &mut self.reads.sink[0]);
        Source::<DmaReadRequest>::join(&mut self.heads.read, &mut self.reads.sink[1]);
        Source::<DmaReadRequest>::join(&mut self.batches.read, &mut self.reads.sink[2]);
        Source::<DmaReadRequest>::join(&mut self.polls.read, &mut self.reads.sink[3]);
        self.reads.last.next = bits::<4>(0xf);
        Source::<DmaReadRequest>::link(&mut self.read, &mut self.reads.source);
        self.busy.next = self.bell.busy.val()
            || self.queues.busy.val()
            || self.walker.busy.val()
            || self.emitter.busy.val()
            || self.arrivals.level.val().any();
    }
}

#[cfg(test)]
mod tests;
