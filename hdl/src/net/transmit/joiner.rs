//! From rows to beats without holes.

use nitride_lang::prelude::*;

use super::records::{BEAT, Beat, Step};
use crate::net::lanes::{first_bytes, turn_up};
use crate::profile::DATA_BITS;

/// Turns each row so that its first byte follows the last one of the row before, and makes beats of them.
///
/// Latency 3 cycles from a step to its beat, a step a cycle, never waits.
#[derive(LogicBlock, Default)]
pub struct Joiner {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// What comes of the row that is being read.
    pub step: Signal<In, Step>,
    /// The row, one cycle later.
    pub data: Signal<In, Bits<DATA_BITS>>,
    /// Beats.
    pub beat: Signal<Out, Beat>,
    /// Something is in here.
    pub busy: Signal<Out, Bit>,
    reading: Reg<Step>,
    turned: Reg<Step>,
    row: Reg<Bits<DATA_BITS>>,
    /// Bytes that wait for a whole beat.
    carry: Reg<Bits<DATA_BITS>>,
    out: Reg<Beat>,
}

impl Logic for Joiner {
    #[hdl]
    fn update(&mut self) {
        let reading = self.reading.q.val();
        self.reading.d.next = self.step.val();
        self.turned.d.next = reading;
        self.row.d.next = turn_up(self.data.val(), reading.turn);

        let step = self.turned.q.val();
        let row = self.row.q.val();
        let waiting = first_bytes(bit_cast::<6, 5>(step.before));
        let joined = (self.carry.q.val() & waiting) | (row & !waiting);
        let whole = step.after >= BEAT;
        if step.valid {
            self.carry.d.next = if whole { row } else { joined };
        }
        self.out.d.next = Beat {
            valid: step.valid && (whole || step.end),
            header: step.header,
            data: joined,
            bytes: if whole { bits::<6>(BEAT) } else { step.after },
            end: step.end,
            copied: step.copied,
        };
        self.beat.next = self.out.q.val();
        self.busy.next = reading.valid || step.valid || self.out.q.val().valid;
    }
}
