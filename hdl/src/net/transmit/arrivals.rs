//! Pieces until their reads have ended.

use nitride_lang::prelude::*;

use super::records::{Arrived, Piece};
use crate::bus::{DmaDone, DmaStatus};

/// A context's last end.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Mark {
    /// It belongs to a read of an even round through the contexts.
    even: Bit,
    /// The read failed.
    failed: Bit,
}

/// Puts reads, which end in any order, into the order in which they were asked for.
///
/// Up to 256 pieces wait here; a piece whose read has ended leaves 3 cycles later, if it is the oldest, and then a piece a cycle.
/// Contexts go round; a context's mark tells by the round's parity whether it is the present read's.
#[derive(LogicBlock, Default)]
pub struct Arrivals {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Pieces whose reads are being asked for.
    pub piece: Sink<Piece>,
    /// The context that the next of them that has a read is to have.
    pub next_context: Signal<Out, Bits<8>>,
    /// Ends; always ready.
    pub read_done: Sink<DmaDone>,
    /// Pieces, in order.
    pub arrived: Source<Arrived>,
    /// Something is in here.
    pub busy: Signal<Out, Bit>,
    pieces: Fifo<Piece, 8>,
    marks: Ram<Mark, 8>,
    /// `{round's parity, context}` of the next read, and of the oldest one.
    next: Reg<Bits<9>>,
    oldest: Reg<Bits<9>>,
    out: RegFifo<Arrived, 2>,
}

impl Logic for Arrivals {
    #[hdl]
    fn update(&mut self) {
        Sink::<Piece>::link(&mut self.piece, &mut self.pieces.sink);
        Source::<Arrived>::link(&mut self.arrived, &mut self.out.source);
        let next = self.next.q.val();
        let new = self.piece.data.val();
        self.next_context.next = next.get_bits::<8>(0);
        if self.piece.valid.val() && self.pieces.sink.ready.val() && new.dwords.any() {
            self.next.d.next = next + 1;
        }

        // Of the contexts in use, those below the next one are of its round, the others of the one before.
        let done = self.read_done.data.val();
        let current = done.context < next.get_bits::<8>(0);
        self.read_done.ready.next = true;
        self.marks.write_address.next = done.context;
        self.marks.write_data.next =
            Mark { even: current != next.get_bit(8), failed: done.status != DmaStatus::Ok };
        self.marks.write_enable.next = self.read_done.valid.val();

        let oldest = self.oldest.q.val();
        let piece = self.pieces.source.data.val();
        let reads = piece.dwords.any();
        let mark = self.marks.read_data.val();
        let ended = !reads || mark.even != oldest.get_bit(8);
        let go = self.pieces.source.valid.val() && ended && self.out.sink.ready.val();
        let after = if go && reads { oldest + 1 } else { oldest };
        self.oldest.d.next = after;
        self.marks.read_address.next = after.get_bits::<8>(0);
        self.pieces.source.ready.next = ended && self.out.sink.ready.val();
        self.out.sink.valid.next = self.pieces.source.valid.val() && ended;
        self.out.sink.data.next = Arrived { piece: piece, failed: reads && mark.failed };
        self.busy.next = self.pieces.level.val().any() || self.out.level.val().any();
    }
}
