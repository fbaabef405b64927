//! From segments to what is read of them, and where the answer goes.

use nitride_lang::prelude::*;

use super::records::{BYTES, Chain, Fate, Portion};
use crate::net::records::{Credit, Segment, VirtqueueUpdate};

/// Longest command that is told from longer ones.
const LONGEST: u64 = 0xffff;

/// Walks along a chain's segments.
///
/// Latency 2 cycles, a segment a cycle. Nothing is read of a disabled queue, nor from the segment on that breaks a queue: a
/// device-readable one behind a device-writable one (virtio 1.2 §2.7.4.2), or the last one if no byte is device-writable.
#[derive(LogicBlock, Default)]
pub struct Walker {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Which queues are enabled.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Chains and tokens.
    pub segments: Sink<Segment>,
    /// Room for segments, when a chain's last one was seen.
    pub credit: Signal<Out, Credit>,
    /// What is to be read of a chain.
    pub portion: Source<Portion>,
    /// The chain, with its last portion or after it; each token is one too. While it is not ready no portion comes either.
    pub chain: Source<Chain>,
    /// A segment waits here, or a chain's rest is to come.
    pub busy: Signal<Out, Bit>,
    enabled: Ram<Bit, 7>,
    held: Reg<Segment>,
    full: Reg<Bit>,
    /// Segments of the chain so far.
    segment_count: Reg<Bits<7>>,
    /// Its device-readable bytes, and what it has come to.
    length: Reg<Bits<16>>,
    fate: Reg<Fate>,
    /// One of them was device-writable.
    writing: Reg<Bit>,
    /// Its first device-writable byte, if there was one.
    ack: Reg<Bits<64>>,
    acked: Reg<Bit>,
}

impl Logic for Walker {
    #[hdl]
    fn update(&mut self) {
        let update = self.update.val();
        self.enabled.write_address.next = update.index;
        self.enabled.write_data.next = update.queue.enabled;
        self.enabled.write_enable.next = update.valid;

        // A segment waits here for what the RAM knows of its queue.
        let full = self.full.q.val();
        let go = full && self.portion.ready.val() && self.chain.ready.val();
        let ready = !full || go;
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

        let some = held.length.any();
        let here = held.write && some;
        let acked = self.acked.q.val() || here;
        let ack = if self.acked.q.val() { self.ack.q.val() } else { held.address };
        let so_far = self.fate.q.val();
        let misplaced = !held.write && self.writing.q.val();
        let fate = if so_far == Fate::Disabled || !self.enabled.read_data.val() {
            Fate::Disabled
        } else if so_far == Fate::Broken || misplaced || (held.last && !acked) {
            Fate::Broken
        } else {
            Fate::Command
        };

        let before = self.length.q.val();
        let sum = bit_cast::<33, 16>(before) + bit_cast::<33, 32>(held.length);
        let length = if held.write {
            before
        } else if sum > LONGEST {
            bits::<16>(LONGEST)
        } else {
            bit_cast::<16, 33>(sum)
        };
        let room = bits::<5>(BYTES) - bit_cast::<5, 4>(before.get_bits::<4>(0));
        let short = held.length < bit_cast::<32, 5>(room);
        let wanted = fate == Fate::Command && !held.drain && !held.write && some && before < BYTES;
        self.portion.valid.next = full && wanted && self.chain.ready.val();
        self.portion.data.next = Portion {
            device: held.queue.get_bits::<4>(3),
            address: held.address,
            bytes: if short { held.length.get_bits::<5>(0) } else { room },
            position: before.get_bits::<4>(0),
        };
        let last = held.last || held.drain;
        self.chain.valid.next = full && last && self.portion.ready.val();
        self.chain.data.next = Chain {
            queue: held.queue,
            drain: held.drain,
            head: held.head,
            fate: fate,
            length: length,
            ack: ack,
        };

        let count = self.segment_count.q.val() + 1;
        self.credit.next = Credit { valid: go && last && !held.drain, queue: held.queue, segments: count };
        if go {
            self.segment_count.d.next = if last { 0.into() } else { count };
            self.length.d.next = if last { 0.into() } else { length };
            self.fate.d.next = if last { Fate::Command } else { fate };
            self.writing.d.next = !last && (self.writing.q.val() || held.write);
            self.acked.d.next = !last && acked;
            self.ack.d.next = ack;
        }
        self.busy.next = full || self.segment_count.q.val().any();
    }
}
