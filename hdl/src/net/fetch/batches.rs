//! Reads of available rings.

use nitride_lang::prelude::*;

use super::records::{BATCH_CONTEXT, Batch, Head, POLL_CONTEXT, of_group};
use crate::bus::{DmaDone, DmaReadRequest, DmaStatus, Landing, LandingWrite};
use crate::dma::LandingRam;
use crate::function::function_of_device;

/// What the block does with its oldest batch.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum State {
    /// Waits for its end.
    Wait,
    /// Its row is read.
    Look,
    /// Its heads are given.
    Give,
}

/// Reads entries of available rings (virtio 1.2 §2.7.6), up to 16 batches at once, and gives them in the order in which they were
/// asked for.
///
/// A batch a cycle, latency 1 cycle to its read; 3 cycles from its end to the first head, then a head a cycle.
#[derive(LogicBlock, Default)]
pub struct Batches<const READER: u64> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// What is to be read.
    pub batch: Sink<Batch>,
    /// Reads, with contexts from [`BATCH_CONTEXT`] on.
    pub read: Source<DmaReadRequest>,
    /// The end of one of them.
    pub done: Signal<In, DmaDone>,
    /// It is there.
    pub done_valid: Signal<In, Bit>,
    /// Where they land.
    pub landing: Signal<In, LandingWrite>,
    /// Entries.
    pub head: Source<Head>,
    /// Those under way.
    under_way: Fifo<Batch, 4>,
    rows: LandingRam<{ Landing::RINGS }, 4>,
    requests: RegFifo<DmaReadRequest, 2>,
    /// Of each row: its read has ended, and failed.
    ended: Reg<Bits<16>>,
    failed: Reg<Bits<16>>,
    next: Reg<Bits<4>>,
    oldest: Reg<Bits<4>>,
    state: Reg<State>,
    entries: Reg<Bits<256>>,
    given: Reg<Bits<4>>,
}

impl<const READER: u64> Logic for Batches<READER> {
    #[hdl]
    fn update(&mut self) {
        Source::<DmaReadRequest>::link(&mut self.read, &mut self.requests.source);
        let batch = self.batch.data.val();
        let next = self.next.q.val();
        let oldest = self.oldest.q.val();
        let may = self.under_way.sink.ready.val() && self.requests.sink.ready.val();
        let go = may && self.batch.valid.val();
        let offset = batch.address.get_bits::<1>(1);
        let halves = bit_cast::<5, 4>(batch.count) + bit_cast::<5, 1>(offset) + 1;
        self.batch.ready.next = may;
        self.under_way.sink.valid.next = go;
        self.under_way.sink.data.next = batch;
        self.requests.sink.valid.next = go;
        self.requests.sink.data.next = DmaReadRequest {
            function: function_of_device(batch.queue.get_bits::<4>(3)),
            address: batch.address & !3u64,
            length: bit_cast::<11, 4>(halves.get_bits::<4>(1)),
            destination: (bit_cast::<18, 4>(next) << 3) | ((Landing::RINGS << 15) | (READER << 13)),
            context: bit_cast::<8, 4>(next) + BATCH_CONTEXT,
        };
        if go {
            self.next.d.next = next + 1;
        }

        let done = self.done.val();
        let mine = self.done_valid.val() && done.context >= BATCH_CONTEXT && done.context < POLL_CONTEXT;
        let row = bits::<16>(1) << done.context.get_bits::<4>(0);
        let first = bits::<16>(1) << oldest;
        let over = self.state.q.val() == State::Give
            && self.head.ready.val()
            && self.given.q.val() + 1 == self.under_way.source.data.val().count;
        let ended = if over { self.ended.q.val() & !first } else { self.ended.q.val() };
        self.ended.d.next = if mine { ended | row } else { ended };
        if mine {
            self.failed.d.next = if done.status == DmaStatus::Ok {
                self.failed.q.val() & !row
            } else {
                self.failed.q.val() | row
            };
        }

        self.rows.write.next = of_group(self.landing.val(), READER, 0);
        self.rows.row.next = oldest;
        let now = self.under_way.source.data.val();
        let entries = self.entries.q.val();
        self.under_way.source.ready.next = over;
        self.head.valid.next = self.state.q.val() == State::Give;
        self.head.data.next = Head {
            queue: now.queue,
            index: entries.get_bits::<16>(0),
            place: now.place + bit_cast::<6, 4>(self.given.q.val()),
            failed: (self.failed.q.val() & first).any(),
        };
        match self.state.q.val() {
            State::Wait => {
                if self.under_way.source.valid.val() && (self.ended.q.val() & first).any() {
                    self.state.d.next = State::Look;
                }
            }
            State::Look => {
                let row = self.rows.data.val();
                self.entries.d.next = if now.address.get_bit(1) { row >> 16 } else { row };
                self.given.d.next = bits::<4>(0);
                self.state.d.next = State::Give;
            }
            State::Give => {
                if self.head.ready.val() {
                    self.entries.d.next = entries >> 16;
                    self.given.d.next = self.given.q.val() + 1;
                }
                if over {
                    self.oldest.d.next = oldest + 1;
                    self.state.d.next = State::Wait;
                }
            }
        }
    }
}
