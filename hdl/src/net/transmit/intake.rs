//! From segments to what is read of them.

use nitride_lang::prelude::*;

use super::records::{CHAIN, Chain, Fate, Portion};
use crate::net::records::{Segment, VirtqueueUpdate};

/// Looks at each segment before anything of it is read: nothing is of a disabled queue, from a device-writable segment on, or
/// from the segment on with which the chain becomes longer than the longest frame.
///
/// Latency 2 cycles, a segment a cycle. Segments that nothing is read of go no further, but for a chain's last.
#[derive(LogicBlock, Default)]
pub struct Intake {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Which queues are enabled.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Chains and tokens.
    pub segments: Sink<Segment>,
    /// What is to be read; each chain has a last portion, each token is one.
    pub portion: Source<Portion>,
    /// Something is in here.
    pub busy: Signal<Out, Bit>,
    enabled: Ram<Bit, 7>,
    held: Reg<Segment>,
    full: Reg<Bit>,
    /// Bytes of the chain so far, and what it has come to.
    total: Reg<Bits<14>>,
    fate: Reg<Fate>,
    out: RegFifo<Portion, 2>,
}

impl Logic for Intake {
    #[hdl]
    fn update(&mut self) {
        Source::<Portion>::link(&mut self.portion, &mut self.out.source);
        let update = self.update.val();
        self.enabled.write_address.next = update.index;
        self.enabled.write_data.next = update.queue.enabled;
        self.enabled.write_enable.next = update.valid;

        // A segment waits here for what the RAM knows of its queue.
        let full = self.full.q.val();
        let ready = !full || self.out.sink.ready.val();
        let held = self.held.q.val();
        self.segments.ready.next = ready;
        let take = ready && self.segments.valid.val();
        self.enabled.read_address.next = if take { self.segments.data.val().queue } else { held.queue };
        if take {
            self.held.d.next = self.segments.data.val();
        }
        if ready {
            self.full.d.next = take;
        }

        let length = held.length.get_bits::<14>(0);
        let total = bit_cast::<15, 14>(self.total.q.val()) + bit_cast::<15, 14>(length);
        let oversize = held.length > CHAIN || total > CHAIN;
        let so_far = self.fate.q.val();
        let fate = if so_far == Fate::Disabled || !self.enabled.read_data.val() {
            Fate::Disabled
        } else if so_far == Fate::Broken || held.write {
            Fate::Broken
        } else if so_far == Fate::Oversize || oversize {
            Fate::Oversize
        } else {
            Fate::Frame
        };
        let last = held.last || held.drain;
        let read = fate == Fate::Frame && !held.drain && length.any();
        let judged = full && self.out.sink.ready.val();
        if judged {
            self.total.d.next = if last {
                0.into()
            } else if read {
                bit_cast::<14, 15>(total)
            } else {
                self.total.q.val()
            };
            self.fate.d.next = if last { Fate::Frame } else { fate };
        }
        self.out.sink.valid.next = full && (read || last);
        self.out.sink.data.next = Portion {
            chain: Chain { queue: held.queue, drain: held.drain, head: held.head, fate: fate },
            address: held.address,
            length: if read { length } else { bits::<14>(0) },
            last: last,
        };
        self.busy.next = full || self.out.level.val().any();
    }
}
