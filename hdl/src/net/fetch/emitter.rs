//! From slots to segments.

use nitride_lang::prelude::*;

use super::records::{Chain, Give, Released, SLOT_BITS, Slot, descriptor};
use crate::net::records::Segment;

#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum State {
    /// Takes a chain or a token.
    Take,
    /// A descriptor is read.
    Look,
    /// It is given.
    Give,
    /// The slot is free.
    Free,
}

/// Gives chains as segments, in the order in which it is told of them.
///
/// 2 cycles a segment and 2 more a chain.
#[derive(LogicBlock, Default)]
pub struct Emitter {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Slots that are given, as `Heads` tells.
    pub slot: Signal<In, Slot>,
    /// To which chains.
    pub chain: Signal<In, Chain>,
    /// One is given at this edge.
    pub chain_valid: Signal<In, Bit>,
    /// What to give.
    pub give: Sink<Give>,
    /// The row of the slots' RAM to read.
    pub row: Signal<Out, Bits<11>>,
    /// Somebody else reads it in this cycle.
    pub taken: Signal<In, Bit>,
    /// The row, one cycle later.
    pub data: Signal<In, Bits<256>>,
    /// Segments and tokens.
    pub segments: Source<Segment>,
    /// Slots that are free.
    pub free: Source<Slot>,
    /// Queues of chains whose slots are free again.
    pub released: Source<Released>,
    /// Something is in here.
    pub busy: Signal<Out, Bit>,
    heads: Ram<Bits<16>, SLOT_BITS>,
    state: Reg<State>,
    now: Reg<Give>,
    at: Reg<Bits<6>>,
    tally: Reg<Released>,
    out: RegFifo<Segment, 2>,
}

impl Logic for Emitter {
    #[hdl]
    fn update(&mut self) {
        Source::<Segment>::link(&mut self.segments, &mut self.out.source);
        self.heads.write_address.next = self.slot.val();
        self.heads.write_data.next = self.chain.val().head;
        self.heads.write_enable.next = self.chain_valid.val();

        let state = self.state.q.val();
        let offered = self.give.data.val();
        let now = self.now.q.val();
        let at = self.at.q.val();
        let room = self.out.sink.ready.val();
        let take = state == State::Take && self.give.valid.val() && (room || !offered.drain);
        self.give.ready.next = take;
        self.heads.read_address.next = now.slot;
        self.row.next = cat2::<SLOT_BITS, 5, 11>(now.slot, at.get_bits::<5>(1));

        let found = descriptor(self.data.val(), at.get_bit(0));
        let last = now.count == 1;
        self.out.sink.valid.next = state == State::Give || (take && offered.drain);
        self.out.sink.data.next = Segment {
            queue: if state == State::Give { now.queue } else { offered.queue },
            drain: state != State::Give,
            head: self.heads.read_data.val(),
            address: found.address,
            length: found.length,
            write: found.write,
            last: last,
        };
        // Slots of one queue are told of together, as long as nobody has heard of them.
        let tally = self.tally.q.val();
        let same = tally.queue == now.queue;
        let empty = !tally.count.any();
        let heard = self.released.ready.val() && !empty;
        let adds = state == State::Free && self.free.ready.val() && (empty || heard || same);
        self.free.valid.next = adds;
        self.free.data.next = now.slot;
        self.released.valid.next = !empty;
        self.released.data.next = tally;
        let kept = if heard { bits::<7>(0) } else { tally.count };
        self.tally.d.next = Released {
            queue: if adds { now.queue } else { tally.queue },
            count: if adds { kept + 1 } else { kept },
        };
        match state {
            State::Take => {
                self.now.d.next = offered;
                self.at.d.next = bits::<6>(0);
                if take && !offered.drain {
                    self.state.d.next = if offered.count == 0 { State::Free } else { State::Look };
                }
            }
            State::Look => {
                if room && !self.taken.val() {
                    self.state.d.next = State::Give;
                }
            }
            State::Give => {
                self.now.d.next.count = now.count - 1;
                self.at.d.next = if now.linked && at >= now.before {
                    now.before + found.next.get_bits::<6>(0)
                } else {
                    at + 1
                };
                self.state.d.next = if last { State::Free } else { State::Look };
            }
            State::Free => {
                if adds {
                    self.state.d.next = State::Take;
                }
            }
        }
        self.busy.next = state != State::Take || !empty || self.out.level.val().any();
    }
}
