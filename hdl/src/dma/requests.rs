//! When a read request is finished.

use nitride_lang::prelude::*;

use super::{CLIENTS, Slot, TAG_BITS};
use crate::bus::{DmaDone, DmaStatus};

/// A request that entered the engine.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Opened {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// The slot it was given.
    pub slot: Slot,
    /// Its pieces: 1 to 33.
    pub pieces: Bits<6>,
    /// The client's handle.
    pub context: Bits<8>,
    /// Which client asked.
    pub client: Bits<3>,
}

/// A piece of a request that is over.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Settled {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// The request's slot.
    pub slot: Slot,
    /// How the piece went.
    pub status: DmaStatus,
}

/// Pieces of one request that are over.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Tally {
    pieces: Bits<6>,
    // The first that was not Ok.
    status: DmaStatus,
}

/// Counts the pieces of each request that are over, and says when it was the last one.
///
/// Takes a settled piece each cycle and answers 2 cycles after the last one of a request. `refused` waits while there is
/// a settled piece. A slot is free again, for `opened`, from the cycle on in which it shows in `freed`.
#[derive(LogicBlock, Default)]
pub struct Requests {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Requests that begin.
    pub opened: Signal<In, Opened>,
    /// Pieces whose tag is settled.
    pub settled: Signal<In, Settled>,
    /// Slots of pieces that were refused (`NotEnabled`).
    pub refused: Sink<Slot>,
    /// Ends of requests, to each client.
    pub done: [Source<DmaDone>; CLIENTS],
    /// A slot is free again.
    pub free: Signal<Out, Bit>,
    /// Which.
    pub freed: Signal<Out, Slot>,
    /// An end is on its way.
    pub busy: Signal<Out, Bit>,
    // Written when a request begins.
    opening: Ram<Opened, TAG_BITS>,
    // Written when a piece is over; zero between two requests.
    tallies: Ram<Tally, TAG_BITS>,
    latest: Reg<Settled>,
    // What was written to `tallies` one cycle ago, which the read at that time missed.
    wrote: Reg<Tally>,
    wrote_slot: Reg<Slot>,
    wrote_valid: Reg<Bit>,
    finished: Reg<Bits<CLIENTS>>,
    outcome: Reg<DmaDone>,
}

impl Logic for Requests {
    #[hdl]
    fn update(&mut self) {
        self.opening.write_address.next = self.opened.val().slot;
        self.opening.write_data.next = self.opened.val();
        self.opening.write_enable.next = self.opened.val().valid;

        let settled = self.settled.val();
        let valid = settled.valid || self.refused.valid.val();
        let slot = if settled.valid { settled.slot } else { self.refused.data.val() };
        self.refused.ready.next = !settled.valid;
        self.opening.read_address.next = slot;
        self.tallies.read_address.next = slot;
        self.latest.d.next = Settled {
            valid: valid,
            slot: slot,
            status: if settled.valid { settled.status } else { DmaStatus::NotEnabled },
        };

        let latest = self.latest.q.val();
        let request = self.opening.read_data.val();
        let missed = self.wrote_valid.q.val() && self.wrote_slot.q.val() == latest.slot;
        let before = if missed { self.wrote.q.val() } else { self.tallies.read_data.val() };
        let pieces = before.pieces + 1;
        let status = if before.status == DmaStatus::Ok { latest.status } else { before.status };
        let finished = pieces == request.pieces;
        let after = if finished {
            Tally { pieces: bits::<6>(0), status: DmaStatus::Ok }
        } else {
            Tally { pieces: pieces, status: status }
        };
        self.tallies.write_address.next = latest.slot;
        self.tallies.write_data.next = after;
        self.tallies.write_enable.next = latest.valid;
        self.wrote_valid.d.next = latest.valid;
        if latest.valid {
            self.wrote.d.next = after;
            self.wrote_slot.d.next = latest.slot;
        }

        self.finished.d.next = 0.into();
        if latest.valid && finished {
            self.finished.d.next = bits::<CLIENTS>(1) << request.client;
            self.outcome.d.next = DmaDone { context: request.context, status: status };
        }
        self.free.next = latest.valid && finished;
        self.freed.next = latest.slot;
        self.busy.next = latest.valid || self.finished.q.val().any();
        for i in 0..CLIENTS {
            self.done[i].valid.next = self.finished.q.val().get_bit(i);
            self.done[i].data.next = self.outcome.q.val();
        }
    }
}
