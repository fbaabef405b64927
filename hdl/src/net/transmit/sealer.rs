//! What becomes of a chain that was copied.

use nitride_abi::virtio::net::header;
use nitride_lang::prelude::*;

use super::records::{BEAT, Beat, Copied, Fate, Frame, HEADER};
use super::summer::{Summand, Summer};
use crate::net::records::{Notification, QueueIndex, Used, VirtqueueUpdate};

/// The shortest frame: addresses and type.
const SHORTEST: u64 = 14;
/// Where the header is in its beat, in bits.
const HEADER_AT: usize = 8 * (BEAT - HEADER) as usize;

/// What is known of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Known {
    enabled: Bit,
    csum: Bit,
}

/// A chain that has ended, and its header.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Ended {
    valid: Bit,
    copied: Copied,
    header: Bits<96>,
}

/// What a chain has come to.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Verdict {
    valid: Bit,
    drain: Bit,
    queue: QueueIndex,
    head: Bits<16>,
    broken: Bit,
    /// The checksum's first byte is in an even place: the sum's bytes are in order.
    even: Bit,
    frame: Frame,
}

/// Sums frames while they are written to the frame RAM, and judges them at their end.
///
/// Latency 3 cycles from a chain's last beat to its frame, its return, and what else is told of it. Never waits: whoever starts a chain
/// sees to it that there is `room`.
#[derive(LogicBlock, Default)]
pub struct Sealer {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Which queues are enabled, and what their drivers agreed on.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Beats of chains.
    pub beat: Signal<In, Beat>,
    /// The beat goes into the frame RAM.
    pub write: Signal<Out, Bit>,
    /// A frame, or what has become none, is whole.
    pub sealed: Signal<Out, Bit>,
    /// Which.
    pub frame: Signal<Out, Frame>,
    /// Chains that go back, and tokens.
    pub used: Source<Used>,
    /// Queues that are broken.
    pub broken: Source<QueueIndex>,
    /// A frame was dropped.
    pub dropped: Signal<Out, Notification>,
    /// There is room for what comes of 16 more chains, but for their frames.
    pub room: Signal<Out, Bit>,
    /// A chain is being judged, or a broken queue has not been told of.
    pub judging: Signal<Out, Bit>,
    /// Something is in here.
    pub busy: Signal<Out, Bit>,
    known: Ram<Known, 7>,
    header: Reg<Bits<96>>,
    /// Beats of the frame so far.
    index: Reg<Bits<9>>,
    summer: Summer,
    ended: Reg<Ended>,
    judged: Reg<Verdict>,
    summed: Reg<Verdict>,
    used_out: Fifo<Used, 6>,
    broken_out: Fifo<QueueIndex, 5>,
    told: Reg<Notification>,
}

impl Logic for Sealer {
    #[hdl]
    fn update(&mut self) {
        Source::<Used>::link(&mut self.used, &mut self.used_out.source);
        Source::<QueueIndex>::link(&mut self.broken, &mut self.broken_out.source);
        let update = self.update.val();
        self.known.write_address.next = update.index;
        self.known.write_data.next = Known { enabled: update.queue.enabled, csum: update.settings.csum };
        self.known.write_enable.next = update.valid;

        // Beats
        let beat = self.beat.val();
        let index = self.index.q.val();
        let write = beat.valid && !beat.header && beat.bytes.any();
        let header = if beat.header { beat.data.get_bits::<96>(HEADER_AT) } else { self.header.q.val() };
        if beat.valid {
            self.header.d.next = header;
            self.index.d.next = if beat.header { 0.into() } else { index + 1 };
        }
        self.write.next = write;
        self.summer.summand.next = Summand {
            clear: beat.valid && beat.header,
            valid: write,
            data: beat.data,
            bytes: beat.bytes,
            index: index,
            start: header.get_bits::<16>(8 * header::CSUM_START),
        };
        self.known.read_address.next = beat.copied.chain.queue;
        self.ended.d.next = Ended { valid: beat.valid && beat.end, copied: beat.copied, header: header };

        // The verdict, when the RAM has answered
        let ended = self.ended.q.val();
        let chain = ended.copied.chain;
        let known = self.known.read_data.val();
        let alive = known.enabled && chain.fate != Fate::Disabled;
        let headless = ended.copied.total < HEADER;
        let bytes = if headless { bits::<14>(0) } else { ended.copied.total - HEADER };
        let needs_csum = (ended.header.get_bits::<8>(8 * header::FLAGS) & (header::NEEDS_CSUM as u64)).any();
        let gso = ended.header.get_bits::<8>(8 * header::GSO_TYPE).any();
        let start = bit_cast::<18, 16>(ended.header.get_bits::<16>(8 * header::CSUM_START));
        let position = start + bit_cast::<18, 16>(ended.header.get_bits::<16>(8 * header::CSUM_OFFSET));
        let beyond = position + 2 > bit_cast::<18, 14>(bytes);
        let wrong = headless || gso || (needs_csum && (!known.csum || beyond));
        let broken =
            chain.fate == Fate::Broken || ended.copied.failed || (chain.fate == Fate::Frame && wrong);
        self.judged.d.next = Verdict {
            valid: ended.valid,
            drain: chain.drain,
            queue: chain.queue,
            head: chain.head,
            broken: alive && broken,
            even: !start.get_bit(0),
            frame: Frame {
                bytes: bytes,
                give: alive && !broken && chain.fate == Fate::Frame && bytes >= SHORTEST,
                device: chain.queue.get_bits::<4>(3),
                patch: needs_csum,
                position: bit_cast::<14, 18>(position),
                checksum: bits::<16>(0),
            },
        };
        self.summed.d.next = self.judged.q.val();

        // The sum is ready too
        let verdict = self.summed.q.val();
        let sum = self.summer.sum.val();
        let ordered =
            if verdict.even { cat2::<8, 8, 16>(sum.get_bits::<8>(0), sum.get_bits::<8>(8)) } else { sum };
        // 0 stands for no checksum at all in UDP (RFC 768).
        let checksum = if ordered.all() { ordered } else { !ordered };
        let chain_ends = verdict.valid && !verdict.drain;
        self.sealed.next = chain_ends;
        self.frame.next = Frame { checksum: checksum, ..verdict.frame };
        self.used_out.sink.valid.next = verdict.valid;
        self.used_out.sink.data.next = Used {
            queue: verdict.queue,
            drain: verdict.drain,
            head: verdict.head,
            length: bits::<32>(0),
            last: true,
        };
        self.broken_out.sink.valid.next = chain_ends && verdict.broken;
        self.broken_out.sink.data.next = verdict.queue;
        self.told.d.next = Notification {
            valid: chain_ends && !verdict.broken && !verdict.frame.give,
            index: verdict.queue,
        };
        self.dropped.next = self.told.q.val();

        self.room.next = self.used_out.level.val() <= 48 && self.broken_out.level.val() <= 16;
        let judging = ended.valid || self.judged.q.val().valid || verdict.valid;
        self.judging.next = judging || self.broken_out.level.val().any();
        self.busy.next = judging || self.broken_out.level.val().any() || self.used_out.level.val().any();
    }
}
