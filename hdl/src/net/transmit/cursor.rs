//! Which row of the landing ring is read when, and what it adds to its chain.

use nitride_lang::prelude::*;

use super::records::{Arrived, BEAT, Copied, HEADER, Step};

/// Walks through the pieces row by row.
///
/// A row a cycle. A chain costs a cycle for each row that it has bytes in, and one more at its end if its last row fills one beat
/// and begins another. Each chain begins so many bytes before a beat's end that its header fills it.
#[derive(LogicBlock, Default)]
pub struct Cursor {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Pieces that are in the landing ring.
    pub arrived: Sink<Arrived>,
    /// There is room for what comes of 16 more steps.
    pub room: Signal<In, Bit>,
    /// All that comes of the steps so far has left: a token may pass.
    pub quiet: Signal<In, Bit>,
    /// The row to read.
    pub row: Signal<Out, Bits<10>>,
    /// What comes of it.
    pub step: Signal<Out, Step>,
    /// DWs of the ring that are read in this cycle for the last time.
    pub freed: Signal<Out, Bits<11>>,
    /// A chain has begun.
    pub busy: Signal<Out, Bit>,
    /// Between two rows of a piece: where it goes on, and how many bytes are left.
    midway: Reg<Bit>,
    at: Reg<Bits<15>>,
    left: Reg<Bits<13>>,
    /// All is read, but what waits is more than a beat.
    flush: Reg<Bit>,
    /// Between two steps of a chain.
    begun: Reg<Bit>,
    /// The header's beat is over.
    headed: Reg<Bit>,
    waiting: Reg<Bits<5>>,
    total: Reg<Bits<14>>,
    failed: Reg<Bit>,
}

impl Logic for Cursor {
    #[hdl]
    fn update(&mut self) {
        let arrived = self.arrived.data.val();
        let piece = arrived.piece;
        let midway = self.midway.q.val();
        let flush = self.flush.q.val();
        let start = if midway { self.at.q.val() } else { piece.start };
        let left = if midway { self.left.q.val() } else { piece.bytes };
        let lane = start.get_bits::<5>(0);
        let span = bits::<13>(BEAT) - bit_cast::<13, 5>(lane);
        let finished = flush || left <= span;
        let bytes = if flush {
            bits::<13>(0)
        } else if finished {
            left
        } else {
            span
        };

        let begun = self.begun.q.val();
        let before = if begun { self.waiting.q.val() } else { bits::<5>(BEAT - HEADER) };
        let after = bit_cast::<6, 5>(before) + bit_cast::<6, 13>(bytes);
        let tail = piece.last && finished;
        let end = tail && after <= BEAT;
        let total = if begun { self.total.q.val() } else { bits::<14>(0) } + bit_cast::<14, 13>(bytes);
        let failed = arrived.failed || (begun && self.failed.q.val());

        let may = self.room.val() && (!piece.chain.drain || self.quiet.val());
        let go = self.arrived.valid.val() && may;
        self.arrived.ready.next = may && finished && (end || !piece.last);
        self.row.next = start.get_bits::<10>(5);
        self.step.next = Step {
            valid: go,
            turn: before - lane,
            before: before,
            after: after,
            header: !self.headed.q.val(),
            end: end,
            copied: Copied { chain: piece.chain, failed: failed, total: total },
        };
        self.freed.next = if go && finished && !flush { piece.dwords } else { bits::<11>(0) };
        if go {
            self.midway.d.next = !finished;
            self.at.d.next = start + bit_cast::<15, 13>(bytes);
            self.left.d.next = left - bytes;
            self.flush.d.next = tail && !end;
            self.begun.d.next = !end;
            self.headed.d.next = !end && (self.headed.q.val() || after >= BEAT);
            self.waiting.d.next = after.get_bits::<5>(0);
            self.total.d.next = total;
            self.failed.d.next = failed;
        }
        self.busy.next = begun;
    }
}
