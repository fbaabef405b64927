//! Which frame leaves by an Ethernet port next.

use nitride_lang::prelude::*;

use super::reader::PORT_BITS;
use super::records::{ETHERNET, Frame, Job, PLACE_BITS, Tally, cells_of};
use crate::net::records::{EgressQueue, rows_of};

/// Lets frames for the Ethernet ports go as soon as their port's FIFO has room for them, whatever receive queues wait for.
///
/// A frame a cycle; the ports take turns.
#[derive(LogicBlock, Default)]
pub struct Wires {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// A frame,
    pub added: Signal<In, Frame>,
    /// added in this cycle
    pub added_valid: Signal<In, Bit>,
    /// to this queue; those of receive queues are not for this block.
    pub added_queue: Signal<In, EgressQueue>,
    /// What left each queue so far.
    pub out: [Signal<Out, Tally>; 2],
    /// A beat left each port's FIFO.
    pub left: [Signal<In, Bit>; 2],
    /// Frames that leave.
    pub job: Source<Job>,
    /// A frame waits.
    pub busy: Signal<Out, Bit>,
    waiting: [Fifo<Frame, PLACE_BITS>; 2],
    /// Beats that are in each port's FIFO, or on their way to it.
    promised: [Reg<Bits<{ PORT_BITS + 1 }>>; 2],
    tallies: [Reg<Tally>; 2],
    /// The second port was the last one that had its turn.
    turn: Reg<Bit>,
    now: Reg<Job>,
    full: Reg<Bit>,
}

impl Logic for Wires {
    #[hdl]
    fn update(&mut self) {
        let free = !self.full.q.val() || self.job.ready.val();
        let mut fits = bits::<2>(0);
        for i in 0..2 {
            let frame = self.waiting[i].source.data.val();
            let beats = self.promised[i].q.val() + bit_cast::<{ PORT_BITS + 1 }, 9>(rows_of(frame.length));
            if self.waiting[i].source.valid.val() && beats <= (1u64 << PORT_BITS) {
                fits = fits | (1u64 << i);
            }
            self.waiting[i].sink.data.next = self.added.val();
            self.waiting[i].sink.valid.next =
                self.added_valid.val() && self.added_queue.val() == ETHERNET + i as u64;
        }
        let second = fits.get_bit(1) && !(fits.get_bit(0) && self.turn.q.val());
        let goes = free && fits.any();
        let frame =
            if second { self.waiting[1].source.data.val() } else { self.waiting[0].source.data.val() };
        for i in 0..2 {
            let mine = goes && second == (i == 1);
            self.waiting[i].source.ready.next = mine;
            let more = if mine { bit_cast::<{ PORT_BITS + 1 }, 9>(rows_of(frame.length)) } else { 0.into() };
            let less = if self.left[i].val() { bits::<{ PORT_BITS + 1 }>(1) } else { 0.into() };
            self.promised[i].d.next = self.promised[i].q.val() + more - less;
            let tally = self.tallies[i].q.val();
            self.out[i].next = tally;
            if mine {
                self.tallies[i].d.next =
                    Tally { frames: tally.frames + 1, cells: tally.cells + cells_of(frame.length) };
            }
        }
        if goes {
            self.turn.d.next = second;
            let queue = if second { bits::<6>(ETHERNET + 1) } else { bits::<6>(ETHERNET) };
            self.now.d.next = Job { frame: frame, queue: queue, drop: false };
        }
        self.full.d.next = goes || !free;
        self.job.valid.next = self.full.q.val();
        self.job.data.next = self.now.q.val();
        self.busy.next =
            self.full.q.val() || self.waiting[0].level.val().any() || self.waiting[1].level.val().any();
    }
}
