//! Identifiers of buffers and slots that are not in use.

use nitride_lang::prelude::*;

/// Hands out each of the numbers 0 to 2^A - 1 until it is given back.
///
/// It starts full: numbers are counted out first, then reused in the order they came back.
///
/// Latency: `take` shows a number at once; one that is given back can be taken 2 cycles later.
/// Back-pressure: `take` while none is free; `give` never, if nothing is given back that was not taken.
#[derive(LogicBlock, Default)]
pub struct FreeList<const A: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A free number.
    pub take: Source<Bits<A>>,
    /// A number that is free again.
    pub give: Sink<Bits<A>>,
    fresh: Reg<Bits<16>>,
    returned: Fifo<Bits<A>, A>,
}

impl<const A: usize> Logic for FreeList<A> {
    #[hdl]
    fn update(&mut self) {
        let counted_out = self.fresh.q.val().get_bit(A);
        self.returned.sink.data.next = self.give.data.val();
        self.returned.sink.valid.next = self.give.valid.val();
        self.give.ready.next = self.returned.sink.ready.val();
        self.returned.source.ready.next = counted_out & self.take.ready.val();
        self.take.valid.next = !counted_out | self.returned.source.valid.val();
        self.take.data.next =
            if counted_out { self.returned.source.data.val() } else { self.fresh.q.val().get_bits::<A>(0) };
        if !counted_out & self.take.ready.val() {
            self.fresh.d.next = self.fresh.q.val() + 1;
        }
    }
}
