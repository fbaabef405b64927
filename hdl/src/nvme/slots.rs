//! The card's command slots.

use nitride_lang::prelude::*;

use super::records::Freed;

/// Slots of the card, shared by all controllers.
const SLOTS: u64 = 64;

/// The free command slots.
///
/// A slot is offered 2 cycles after it was freed at the latest; one can be taken and one freed each cycle.
#[derive(LogicBlock, Default)]
pub struct Slots {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// A free slot.
    pub slot: Source<Bits<6>>,
    /// A slot that comes back.
    pub freed: Signal<In, Freed>,
    /// Free slots, 0 to 64.
    pub level: Signal<Out, Bits<7>>,
    /// The slots below this one have been in use; the others were never.
    fresh: Reg<Bits<7>>,
    used: Fifo<Bits<6>, 6>,
}

impl Logic for Slots {
    #[hdl]
    fn update(&mut self) {
        let fresh = self.fresh.q.val();
        let virgin = fresh != SLOTS;
        self.slot.valid.next = virgin || self.used.source.valid.val();
        self.slot.data.next = if virgin { fresh.get_bits::<6>(0) } else { self.used.source.data.val() };
        self.used.source.ready.next = !virgin && self.slot.ready.val();
        if virgin && self.slot.ready.val() {
            self.fresh.d.next = fresh + 1;
        }
        self.used.sink.data.next = self.freed.val().slot;
        self.used.sink.valid.next = self.freed.val().valid;
        self.level.next = (bits::<7>(SLOTS) - fresh) + self.used.level.val().get_bits::<7>(0);
    }
}
