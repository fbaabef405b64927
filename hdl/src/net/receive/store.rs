//! Buffers that wait for frames, and which frames may come.

use nitride_lang::prelude::*;

use super::records::{HEADER, Place, Planned, Portion, ROW_BITS, SEGMENT};
use crate::net::records::{
    Credit, Offer, QueueIndex, Reply, Segment, VirtqueueUpdate, Wake, receives, rows_of,
};

/// A queue with more segments than this that still cannot hold a frame never will.
const ENOUGH: u64 = 64;
/// Rows of the frame RAM.
const ROWS: u64 = 1 << ROW_BITS;

#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum State {
    /// An event is chosen, and its queue looked up.
    Pick,
    /// It has its effect.
    Act,
    /// The oldest chain is looked at; the offer is answered.
    Judge,
    /// Segments are consumed, one a cycle.
    Consume,
}

#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum Happening {
    Update,
    Offer,
    Segment,
}

/// A receive queue. Places go round.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Queue {
    enabled: Bit,
    mergeable: Bit,
    /// The oldest segment and the next free place.
    oldest: Bits<7>,
    free: Bits<7>,
    /// Segments, of chains that are whole or not.
    segments: Bits<8>,
    /// The oldest chain's and the next chain's place.
    oldest_chain: Bits<7>,
    free_chain: Bits<7>,
    /// Chains that are whole.
    chains: Bits<8>,
    /// Bytes of them all.
    bytes: Bits<21>,
    /// Bytes of the chain that is not whole.
    begun: Bits<14>,
}

/// `{device, pair}` of a receive queue.
#[hdl_fn]
fn pair_of(queue: QueueIndex) -> Bits<5> {
    cat2::<4, 1, 5>(queue.get_bits::<4>(3), queue.get_bits::<1>(1))
}

/// Its index as a virtqueue.
#[hdl_fn]
fn queue_of(pair: Bits<5>) -> QueueIndex {
    cat2::<4, 3, 7>(pair.get_bits::<4>(1), cat2::<2, 1, 3>(pair.get_bits::<2>(0) & 1, bits::<1>(0)))
}

/// The bytes of a chain or of chains, at most [`SEGMENT`].
#[hdl_fn]
fn cut(bytes: Bits<15>) -> Bits<14> {
    if bytes > SEGMENT { bits::<14>(SEGMENT) } else { bytes.get_bits::<14>(0) }
}

/// Keeps segments of 32 receive queues, 128 of each, and answers offers.
///
/// A frame takes the oldest chain, or as many as it needs if they may be merged (virtio 1.2 §5.1.6.4). An event takes 2 cycles, an offer 3
/// and one more for each segment that it consumes.
#[derive(LogicBlock, Default)]
pub struct Store {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// What drivers set up.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Chains of receive queues, and tokens.
    pub segments: Sink<Segment>,
    /// Segments that are consumed.
    pub credit: Signal<Out, Credit>,
    /// Frames that would like to come.
    pub offer: Sink<Offer>,
    /// Whether they may.
    pub reply: Source<Reply>,
    /// Queues that should be asked again.
    pub wake: Signal<Out, Wake>,
    /// Where the frames that may come go to, and tokens.
    pub portion: Source<Portion>,
    /// Frames whose portions are all there.
    pub planned: Source<Planned>,
    /// Rows of the frame RAM that are free again.
    pub freed: Signal<In, Bits<9>>,
    /// Queues with a segment that may not be written to.
    pub broken: Source<QueueIndex>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    queues: Ram<Queue, 5>,
    places: Ram<Place, 12>,
    lengths: Ram<Bits<14>, 12>,
    updates: Fifo<VirtqueueUpdate, 5>,
    waiting: RegFifo<Segment, 4>,
    replies: RegFifo<Reply, 2>,
    portions: Fifo<Portion, 8>,
    plans: Fifo<Planned, 6>,
    breaks: Fifo<QueueIndex, 5>,
    state: Reg<State>,
    happening: Reg<Happening>,
    pair: Reg<Bits<5>>,
    now: Reg<Queue>,
    /// Bytes of the frame, header included, that have no place yet.
    left: Reg<Bits<14>>,
    /// Segments of the chain that is consumed, and chains of the frame before it.
    count: Reg<Bits<7>>,
    chains: Reg<Bits<8>>,
    rows: Reg<Bits<9>>,
    /// Rows of the frame RAM that are taken.
    used: Reg<Bits<11>>,
}

impl Logic for Store {
    #[hdl]
    fn update(&mut self) {
        Sink::<Segment>::link(&mut self.segments, &mut self.waiting.sink);
        Source::<Reply>::link(&mut self.reply, &mut self.replies.source);
        Source::<Portion>::link(&mut self.portion, &mut self.portions.source);
        Source::<Planned>::link(&mut self.planned, &mut self.plans.source);
        Source::<QueueIndex>::link(&mut self.broken, &mut self.breaks.source);
        let told = self.update.val();
        self.updates.sink.data.next = told;
        self.updates.sink.valid.next = told.valid && receives(told.index, told.settings.early_control);

        // An event is chosen.
        let state = self.state.q.val();
        let update = self.updates.source.data.val();
        let segment = self.waiting.source.data.val();
        let offer = self.offer.data.val();
        let rows = rows_of(offer.length);
        let used = self.used.q.val();
        let offers = self.offer.valid.val()
            && self.replies.sink.ready.val()
            && self.plans.sink.ready.val()
            && used + bit_cast::<11, 9>(rows) <= ROWS;
        let stores = self.waiting.source.valid.val() && self.portions.sink.ready.val();
        let chosen = if self.updates.source.valid.val() {
            Happening::Update
        } else if offers && (self.happening.q.val() != Happening::Offer || !stores) {
            Happening::Offer
        } else {
            Happening::Segment
        };
        let of_chosen = match chosen {
            Happening::Update => pair_of(update.index),
            Happening::Offer => offer.queue,
            Happening::Segment => pair_of(segment.queue),
        };
        self.queues.read_address.next = of_chosen;
        if state == State::Pick && (self.updates.source.valid.val() || offers || stores) {
            self.happening.d.next = chosen;
            self.pair.d.next = of_chosen;
            self.state.d.next = State::Act;
        }

        // It has its effect.
        let acting = state == State::Act;
        let happening = self.happening.q.val();
        let pair = self.pair.q.val();
        let before = self.queues.read_data.val();
        let updating = acting && happening == Happening::Update;
        let storing = acting && happening == Happening::Segment;
        let wrong = storing && !segment.drain && before.enabled && !segment.write;
        let keeps = storing && !segment.drain && before.enabled && segment.write;
        let length =
            if segment.length > SEGMENT { bits::<14>(SEGMENT) } else { segment.length.get_bits::<14>(0) };
        let begun = cut(bit_cast::<15, 14>(before.begun) + bit_cast::<15, 14>(length));
        let fresh = update.queue.enabled && !before.enabled;
        let whole = keeps && segment.last;
        let updated = Queue {
            enabled: update.queue.enabled,
            mergeable: update.settings.mergeable,
            ..if fresh { Queue::default() } else { before }
        };
        let kept = Queue {
            free: before.free + 1,
            segments: before.segments + 1,
            begun: if segment.last { bits::<14>(0) } else { begun },
            free_chain: if segment.last { before.free_chain + 1 } else { before.free_chain },
            chains: if segment.last { before.chains + 1 } else { before.chains },
            bytes: if segment.last { before.bytes + bit_cast::<21, 14>(begun) } else { before.bytes },
            ..before
        };
        self.updates.source.ready.next = updating;
        self.waiting.source.ready.next = storing;
        self.places.write_address.next = cat2::<5, 7, 12>(pair, before.free);
        self.places.write_data.next =
            Place { address: segment.address, length: length, head: segment.head, last: segment.last };
        self.places.write_enable.next = keeps;
        self.lengths.write_address.next = cat2::<5, 7, 12>(pair, before.free_chain);
        self.lengths.write_data.next = begun;
        self.lengths.write_enable.next = whole;
        self.breaks.sink.valid.next = wrong;
        self.breaks.sink.data.next = segment.queue;
        self.wake.next = Wake { valid: updating || whole || wrong, queue: pair };

        // The offer is answered.
        let judging = state == State::Judge;
        let now = self.now.q.val();
        let need = offer.length + HEADER;
        let most = if now.mergeable { now.bytes } else { bit_cast::<21, 14>(self.lengths.read_data.val()) };
        let fits = now.chains.any() && most >= bit_cast::<21, 14>(need);
        let never = !now.enabled || (now.chains.any() && !now.mergeable) || now.segments > ENOUGH;
        let takes = judging && fits && now.enabled;
        self.offer.ready.next = judging;
        self.replies.sink.valid.next = judging;
        self.replies.sink.data.next = if takes {
            Reply::Take
        } else if never {
            Reply::Drop
        } else {
            Reply::Wait
        };
        let taken = if takes { bit_cast::<11, 9>(rows) } else { bits::<11>(0) };
        self.used.d.next = used + taken - bit_cast::<11, 9>(self.freed.val());
        if judging {
            self.left.d.next = need;
            self.count.d.next = bits::<7>(1);
            self.chains.d.next = bits::<8>(1);
            self.rows.d.next = rows;
        }

        // Segments are consumed.
        let place = self.places.read_data.val();
        let left = self.left.q.val();
        let consumes = state == State::Consume && self.portions.sink.ready.val();
        let bytes = if left < place.length { left } else { place.length };
        let over = place.last && bytes == left;
        let after = Queue {
            oldest: now.oldest + 1,
            segments: now.segments - 1,
            oldest_chain: if place.last { now.oldest_chain + 1 } else { now.oldest_chain },
            chains: if place.last { now.chains - 1 } else { now.chains },
            bytes: if place.last {
                now.bytes - bit_cast::<21, 14>(self.lengths.read_data.val())
            } else {
                now.bytes
            },
            ..now
        };
        let token = storing && segment.drain;
        self.portions.sink.valid.next = state == State::Consume || token;
        self.portions.sink.data.next = Portion {
            queue: queue_of(pair),
            drain: token,
            address: place.address,
            bytes: bytes,
            head: place.head,
            chain_last: place.last,
            frame_last: over,
        };
        self.credit.next =
            Credit { valid: consumes && place.last, queue: queue_of(pair), segments: self.count.q.val() };
        self.plans.sink.valid.next = consumes && over;
        self.plans.sink.data.next = Planned { chains: self.chains.q.val(), rows: self.rows.q.val() };
        if consumes {
            self.left.d.next = left - bytes;
            self.count.d.next = if place.last { bits::<7>(1) } else { self.count.q.val() + 1 };
            self.chains.d.next = if place.last { self.chains.q.val() + 1 } else { self.chains.q.val() };
        }

        let ahead = if acting {
            before
        } else if consumes {
            after
        } else {
            now
        };
        self.places.read_address.next = cat2::<5, 7, 12>(pair, ahead.oldest);
        self.lengths.read_address.next = cat2::<5, 7, 12>(pair, ahead.oldest_chain);
        if acting || consumes {
            self.now.d.next = ahead;
        }
        if acting {
            self.state.d.next = if happening == Happening::Offer { State::Judge } else { State::Pick };
        } else if judging {
            self.state.d.next = if takes { State::Consume } else { State::Pick };
        } else if consumes && over {
            self.state.d.next = State::Pick;
        }
        self.queues.write_address.next = pair;
        self.queues.write_data.next = if consumes {
            after
        } else if updating {
            updated
        } else if keeps {
            kept
        } else {
            Queue { enabled: false, ..before }
        };
        self.queues.write_enable.next = (consumes && over) || updating || keeps || wrong;
        self.busy.next = state != State::Pick
            || self.updates.level.val().any()
            || self.waiting.level.val().any()
            || self.offer.valid.val()
            || self.replies.level.val().any()
            || self.portions.level.val().any()
            || self.plans.level.val().any()
            || self.breaks.level.val().any();
    }
}
