//! Which frame leaves for a receive queue next.

use nitride_abi::management::PortEvent as Event;
use nitride_lang::prelude::*;

use super::records::{ETHERNET, Frame, Job, PLACE_BITS, RECEIVES, Tally, cells_of, port_of};
use crate::net::records::{EgressQueue, Offer, PortEvent, Reply, Wake};

#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum State {
    /// A queue is chosen.
    Pick,
    /// Its tally is read,
    Tally,
    /// and its oldest frame.
    Frame,
    /// The frame is offered,
    Offer,
    /// and the answer awaited.
    Answer,
    /// It leaves.
    Leave,
}

/// Lets receive queues take turns.
///
/// A frame takes 4 cycles, and what it takes to be answered.
#[derive(LogicBlock, Default)]
pub struct Scheduler {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// A frame,
    pub added: Signal<In, Frame>,
    /// added in this cycle
    pub added_valid: Signal<In, Bit>,
    /// to this queue (those of Ethernet ports are not for this block)
    pub added_queue: Signal<In, EgressQueue>,
    /// at this place.
    pub added_place: Signal<In, Bits<PLACE_BITS>>,
    /// A frame leaves this queue,
    pub out_queue: Signal<Out, EgressQueue>,
    /// and this is what left it so far,
    pub out: Signal<Out, Tally>,
    /// in this cycle.
    pub out_valid: Signal<Out, Bit>,
    /// Frames that would like to go.
    pub offer: Source<Offer>,
    /// Whether they may.
    pub reply: Sink<Reply>,
    /// Receive queues to ask again.
    pub wake: Signal<In, Wake>,
    /// Frames that leave.
    pub job: Source<Job>,
    /// Frames that are dropped.
    pub counted: Signal<Out, PortEvent>,
    /// A frame waits, whether it may go or not.
    pub busy: Signal<Out, Bit>,
    /// Frames of each queue.
    counts: [Reg<Bits<{ PLACE_BITS + 1 }>>; RECEIVES],
    asleep: Reg<Bits<RECEIVES>>,
    frames: Ram<Frame, { PLACE_BITS + 5 }>,
    outs: Ram<Tally, 5>,
    state: Reg<State>,
    queue: Reg<Bits<5>>,
    tally: Reg<Tally>,
    /// The queue was woken since it was offered.
    woken: Reg<Bit>,
    drops: Reg<Bit>,
}

impl Logic for Scheduler {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let queue = self.queue.q.val();
        let leaving = state == State::Leave && self.job.ready.val();
        let arrives = self.added_queue.val();
        let added = self.added_valid.val() && arrives < ETHERNET;
        let mut waiting = bits::<RECEIVES>(0);
        for i in 0..RECEIVES {
            let count = self.counts[i].q.val();
            let up = if added && arrives == i as u64 { bits::<8>(1) } else { bits::<8>(0) };
            let down = if leaving && queue == i as u64 { bits::<8>(1) } else { bits::<8>(0) };
            self.counts[i].d.next = count + up - down;
            if count.any() {
                waiting = waiting | (1u64 << i);
            }
        }
        self.frames.write_address.next =
            cat2::<5, PLACE_BITS, { PLACE_BITS + 5 }>(arrives.get_bits::<5>(0), self.added_place.val());
        self.frames.write_data.next = self.added.val();
        self.frames.write_enable.next = added;

        // The next queue after the last one that can go on, else the first.
        let able = waiting & !self.asleep.q.val();
        let later = able & !((bits::<RECEIVES>(2) << queue) - 1);
        let index = if later.any() {
            one_hot_index::<RECEIVES, 5>(lowest_one::<RECEIVES>(later))
        } else {
            one_hot_index::<RECEIVES, 5>(lowest_one::<RECEIVES>(able))
        };
        let frame = self.frames.read_data.val();
        let tally = self.tally.q.val();
        self.outs.read_address.next = index;
        self.frames.read_address.next = cat2::<5, PLACE_BITS, { PLACE_BITS + 5 }>(
            queue,
            if state == State::Tally {
                self.outs.read_data.val().frames.get_bits::<PLACE_BITS>(0)
            } else {
                tally.frames.get_bits::<PLACE_BITS>(0)
            },
        );
        self.offer.valid.next = state == State::Offer;
        self.offer.data.next = Offer { queue: queue, length: frame.length };
        self.reply.ready.next = state == State::Answer;
        self.job.valid.next = state == State::Leave;
        self.job.data.next = Job { frame: frame, queue: bit_cast::<6, 5>(queue), drop: self.drops.q.val() };
        self.counted.next = PortEvent {
            valid: leaving && self.drops.q.val(),
            port: port_of(bit_cast::<6, 5>(queue)),
            event: bits::<4>(Event::NoBuffer as u64),
            bytes: frame.length,
        };
        let after = Tally { frames: tally.frames + 1, cells: tally.cells + cells_of(frame.length) };
        self.out_queue.next = bit_cast::<6, 5>(queue);
        self.out.next = after;
        self.out_valid.next = leaving;
        self.outs.write_address.next = queue;
        self.outs.write_data.next = after;
        self.outs.write_enable.next = leaving;

        let wake = self.wake.val();
        let wakes = if wake.valid { bits::<RECEIVES>(1) << wake.queue } else { bits::<RECEIVES>(0) };
        let of_queue = wake.valid && wake.queue == queue;
        let answered = state == State::Answer && self.reply.valid.val();
        let sleeps = answered && self.reply.data.val() == Reply::Wait && !self.woken.q.val() && !of_queue;
        let slept = if sleeps { bits::<RECEIVES>(1) << queue } else { bits::<RECEIVES>(0) };
        self.asleep.d.next = (self.asleep.q.val() | slept) & !wakes;
        match state {
            State::Pick => {
                if able.any() {
                    self.queue.d.next = index;
                    self.state.d.next = State::Tally;
                }
                self.woken.d.next = false;
            }
            State::Tally => {
                self.tally.d.next = self.outs.read_data.val();
                self.state.d.next = State::Frame;
                self.woken.d.next = self.woken.q.val() || of_queue;
            }
            State::Frame => {
                self.drops.d.next = false;
                self.state.d.next = State::Offer;
                self.woken.d.next = self.woken.q.val() || of_queue;
            }
            State::Offer => {
                if self.offer.ready.val() {
                    self.state.d.next = State::Answer;
                }
                self.woken.d.next = self.woken.q.val() || of_queue;
            }
            State::Answer => {
                self.drops.d.next = self.reply.data.val() == Reply::Drop;
                if answered {
                    self.state.d.next =
                        if self.reply.data.val() == Reply::Wait { State::Pick } else { State::Leave };
                }
                self.woken.d.next = self.woken.q.val() || of_queue;
            }
            State::Leave => {
                if leaving {
                    self.state.d.next = State::Pick;
                }
            }
        }
        self.busy.next = state != State::Pick || able.any() || added;
    }
}
