//! What each queue does next.

use nitride_abi::virtio::ring::AVAIL_RING;
use nitride_lang::prelude::*;

use super::progress::{Progress, Setup, batch_of, fresh, is_drained, is_full, is_quiet};
use super::records::{Batch, Complete, Give, Poll, Polled, Released, SLOT_BITS};
use crate::net::records::{Credit, Idle, QueueIndex, VirtqueueUpdate, receives};

/// Slots.
const SLOTS: u64 = 1 << SLOT_BITS;

#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum State {
    /// An event is chosen, and its queue looked up.
    Pick,
    /// It has its effect.
    Act,
    /// The chain at the queue's front is looked up.
    Look,
    /// It is given, if it is complete and there is room.
    Pass,
}

/// What happens to a queue, in the order of importance.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum Happening {
    Update,
    Polled,
    Complete,
    Credit,
    Released,
    Drain,
    IdleDone,
    Rung,
    Scheduled,
}

/// A complete chain that waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Parked {
    valid: Bit,
    complete: Complete,
}

/// Keeps what is known of each queue, and decides what is read of it.
///
/// A queue is looked at when it was notified: its available index is read, then entries of its ring as long as there are any, then its available index again;
/// when that finds nothing new, its driver is asked for a notification (`idle`), and after another look that finds
/// nothing the queue rests. Queues take turns, batch by batch. Chains are given in the order of each queue's ring, whichever is complete first.
///
/// An event takes 2 cycles, a chain that is given 2 more.
#[derive(LogicBlock, Default)]
pub struct Queues<const RECEIVE: bool> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// What drivers set up.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Queues that were notified.
    pub rung: Sink<QueueIndex>,
    /// Room that has become free.
    pub credit: Signal<In, Credit>,
    /// Queues to drain.
    pub drain: Sink<QueueIndex>,
    /// Available indices to read.
    pub poll: Source<Poll>,
    /// What they are.
    pub polled: Sink<Polled>,
    /// Entries to read.
    pub batch: Source<Batch>,
    /// Chains that are complete.
    pub complete: Sink<Complete>,
    /// What to give.
    pub give: Source<Give>,
    /// Slots that are free again.
    pub released: Sink<Released>,
    /// Queues that are about to rest.
    pub idle: Source<Idle>,
    /// Their drivers know.
    pub idle_done: Sink<QueueIndex>,
    /// Queues that are broken.
    pub broken: Source<QueueIndex>,
    /// Something is under way.
    pub busy: Signal<Out, Bit>,
    setups: Ram<Setup, 7>,
    progresses: Ram<Progress, 7>,
    parked: Ram<Parked, 13>,
    updates: Fifo<VirtqueueUpdate, 5>,
    credits: Fifo<Credit, 8>,
    schedule: Fifo<QueueIndex, 7>,
    gives: Fifo<Give, 7>,
    idles: Fifo<Idle, 7>,
    breaks: Fifo<QueueIndex, 7>,
    state: Reg<State>,
    happening: Reg<Happening>,
    queue: Reg<QueueIndex>,
    setup: Reg<Setup>,
    progress: Reg<Progress>,
    /// Slots that are reserved.
    used: Reg<Bits<7>>,
    polls: Reg<Bits<5>>,
    /// Of the schedule and notifications, the former has its turn.
    scheduling: Reg<Bit>,
}

impl<const RECEIVE: bool> Logic for Queues<RECEIVE> {
    #[hdl]
    fn update(&mut self) {
        Source::<Give>::link(&mut self.give, &mut self.gives.source);
        Source::<Idle>::link(&mut self.idle, &mut self.idles.source);
        Source::<QueueIndex>::link(&mut self.broken, &mut self.breaks.source);
        let told = self.update.val();
        let mine = receives(told.index, told.settings.early_control) == RECEIVE;
        self.updates.sink.data.next = told;
        self.updates.sink.valid.next = told.valid && (!told.queue.enabled || mine);
        self.credits.sink.data.next = self.credit.val();
        self.credits.sink.valid.next = self.credit.val().valid;

        // An event is chosen.
        let state = self.state.q.val();
        let picking = state == State::Pick;
        let update = self.updates.source.data.val();
        let polled = self.polled.data.val();
        let complete = self.complete.data.val();
        let credit = self.credits.source.data.val();
        let scheduled_turn =
            self.schedule.source.valid.val() && (self.scheduling.q.val() || !self.rung.valid.val());
        let chosen = if self.updates.source.valid.val() {
            Happening::Update
        } else if self.polled.valid.val() {
            Happening::Polled
        } else if self.complete.valid.val() {
            Happening::Complete
        } else if self.credits.source.valid.val() {
            Happening::Credit
        } else if self.released.valid.val() {
            Happening::Released
        } else if self.drain.valid.val() {
            Happening::Drain
        } else if self.idle_done.valid.val() {
            Happening::IdleDone
        } else if scheduled_turn {
            Happening::Scheduled
        } else {
            Happening::Rung
        };
        let any = self.updates.source.valid.val()
            || self.polled.valid.val()
            || self.complete.valid.val()
            || self.credits.source.valid.val()
            || self.released.valid.val()
            || self.drain.valid.val()
            || self.idle_done.valid.val()
            || self.schedule.source.valid.val()
            || self.rung.valid.val();
        let of_chosen = match chosen {
            Happening::Update => update.index,
            Happening::Polled => polled.queue,
            Happening::Complete => complete.queue,
            Happening::Credit => credit.queue,
            Happening::Released => self.released.data.val().queue,
            Happening::Drain => self.drain.data.val(),
            Happening::IdleDone => self.idle_done.data.val(),
            Happening::Rung => self.rung.data.val(),
            Happening::Scheduled => self.schedule.source.data.val(),
        };
        if picking {
            self.happening.d.next = chosen;
            self.queue.d.next = of_chosen;
            if any {
                self.state.d.next = State::Act;
            }
        }
        let queue = self.queue.q.val();
        self.setups.read_address.next = of_chosen;
        self.progresses.read_address.next = of_chosen;

        // It has its effect.
        let acting = state == State::Act;
        let happening = self.happening.q.val();
        let before = self.progresses.read_data.val();
        let setup = self.setups.read_data.val();
        let alive = setup.enabled && !before.broken;
        let enabled_now = update.queue.enabled && !setup.enabled;
        let ahead = polled.index - before.next;
        let lost = polled.failed || ahead > bit_cast::<16, 10>(setup.last) + 1;
        let available = before.known != before.next;
        let full = is_full(setup, before);
        let count = batch_of(setup, before, bits::<7>(SLOTS) - self.used.q.val());
        let serving = acting && happening == Happening::Scheduled && alive && before.scheduled;
        let polls_now = serving && !available && !full && self.poll.ready.val();
        let batches_now = serving && available && count != 0 && self.batch.ready.val();
        let rests = happening == Happening::Polled && alive && !lost && ahead == 0 && !before.notified;
        let breaks = alive
            && ((happening == Happening::Polled && lost)
                || (happening == Happening::Complete && complete.count == 0));
        let changed = match happening {
            Happening::Update => {
                if enabled_now {
                    fresh()
                } else {
                    before
                }
            }
            Happening::Polled => Progress {
                polling: false,
                notified: false,
                known: if alive && !lost { polled.index } else { before.known },
                idling: rests && !before.told,
                told: rests && before.told,
                scheduled: before.scheduled || (alive && !lost && !rests),
                ..before
            },
            Happening::Complete => Progress { parked: before.parked + 1, ..before },
            Happening::Credit => Progress {
                room: before.room + bit_cast::<8, 7>(credit.segments),
                starved: false,
                scheduled: before.scheduled || (before.starved && alive),
                ..before
            },
            Happening::Released => Progress {
                reserved: before.reserved - self.released.data.val().count,
                starved: false,
                scheduled: before.scheduled || (before.starved && alive),
                ..before
            },
            Happening::Drain => Progress { draining: true, ..before },
            Happening::IdleDone => {
                Progress { idling: false, told: true, scheduled: before.scheduled || alive, ..before }
            }
            Happening::Rung => Progress {
                told: false,
                notified: before.notified || (alive && before.polling),
                scheduled: before.scheduled || (alive && is_quiet(before)),
                ..before
            },
            Happening::Scheduled => Progress {
                scheduled: serving && !polls_now && !full,
                polling: before.polling || polls_now,
                starved: before.starved || (serving && full),
                next: if batches_now { before.next + bit_cast::<16, 4>(count) } else { before.next },
                reserved: if batches_now {
                    before.reserved + bit_cast::<7, 4>(count)
                } else {
                    before.reserved
                },
                ..before
            },
        };
        let after_break = Progress { broken: changed.broken || breaks, ..changed };
        let drained = acting && is_drained(after_break);
        let after = Progress { draining: after_break.draining && !drained, ..after_break };
        let goes_on = after.parked.any()
            && (happening == Happening::Complete
                || happening == Happening::Credit
                || happening == Happening::Drain);
        self.updates.source.ready.next = acting && happening == Happening::Update;
        self.polled.ready.next = acting && happening == Happening::Polled;
        self.complete.ready.next = acting && happening == Happening::Complete;
        self.credits.source.ready.next = acting && happening == Happening::Credit;
        self.released.ready.next = acting && happening == Happening::Released;
        self.drain.ready.next = acting && happening == Happening::Drain;
        self.idle_done.ready.next = acting && happening == Happening::IdleDone;
        self.rung.ready.next = acting && happening == Happening::Rung;
        self.schedule.source.ready.next = acting && happening == Happening::Scheduled;
        self.setups.write_address.next = queue;
        self.setups.write_data.next = Setup {
            enabled: update.queue.enabled,
            limited: queue.get_bit(0) == false,
            last: update.queue.last,
            driver: update.queue.driver,
        };
        self.setups.write_enable.next = acting && happening == Happening::Update;
        self.schedule.sink.data.next = queue;
        self.schedule.sink.valid.next = acting
            && after.scheduled
            && (!before.scheduled
                || happening == Happening::Scheduled
                || enabled_now && happening == Happening::Update);
        self.poll.valid.next = serving && !available && !full;
        self.poll.data.next = Poll { queue: queue, driver: setup.driver };
        self.batch.valid.next = serving && available && count != 0;
        let entry = before.next.get_bits::<10>(0) & setup.last;
        self.batch.data.next = Batch {
            queue: queue,
            address: setup.driver + ((bit_cast::<64, 10>(entry) << 1) + AVAIL_RING),
            count: count,
            place: before.next.get_bits::<SLOT_BITS>(0),
        };
        self.idles.sink.data.next = Idle { queue: queue, next: before.next };
        self.idles.sink.valid.next = acting && rests && !before.told;
        self.breaks.sink.data.next = queue;
        self.breaks.sink.valid.next = acting && breaks;
        let taken = if batches_now { bit_cast::<7, 4>(count) } else { bits::<7>(0) };
        let given_back = if acting && happening == Happening::Released {
            self.released.data.val().count
        } else {
            bits::<7>(0)
        };
        self.used.d.next = self.used.q.val() + taken - given_back;
        let polls = self.polls.q.val();
        self.polls.d.next = if polls_now {
            polls + 1
        } else if acting && happening == Happening::Polled {
            polls - 1
        } else {
            polls
        };
        if acting {
            self.setup.d.next = setup;
            self.progress.d.next = after;
            self.scheduling.d.next = happening != Happening::Scheduled;
            self.state.d.next = if goes_on { State::Look } else { State::Pick };
        }

        // The queue's front is looked up; what it takes is written back with the rest.
        let passing = state == State::Pass;
        let front = self.parked.read_data.val();
        let held = self.progress.q.val();
        let limits = self.setup.q.val().limited && self.setup.q.val().enabled;
        let fits = bit_cast::<8, 7>(front.complete.count) <= held.room;
        let passes = passing && front.valid && (!limits || fits);
        let passed = Progress {
            front: held.front + 1,
            parked: held.parked - 1,
            room: if limits { held.room - bit_cast::<8, 7>(front.complete.count) } else { held.room },
            ..held
        };
        if state == State::Look {
            self.state.d.next = State::Pass;
        }
        if passing {
            self.progress.d.next = passed;
            self.state.d.next = if passes && passed.parked.any() { State::Look } else { State::Pick };
        }
        self.progresses.write_address.next = queue;
        self.progresses.write_data.next = if passing { passed } else { after };
        self.progresses.write_enable.next = acting || passes;
        self.parked.read_address.next = cat2::<7, SLOT_BITS, 13>(queue, held.front);
        self.parked.write_address.next =
            cat2::<7, SLOT_BITS, 13>(queue, if passing { held.front } else { complete.place });
        self.parked.write_data.next = Parked { valid: acting, complete: complete };
        self.parked.write_enable.next = passes || (acting && happening == Happening::Complete);
        self.gives.sink.valid.next = passes || drained;
        self.gives.sink.data.next = Give {
            drain: drained,
            queue: queue,
            slot: front.complete.slot,
            count: front.complete.count,
            linked: front.complete.linked,
            before: front.complete.before,
        };

        self.busy.next = !picking
            || any
            || self.used.q.val().any()
            || polls.any()
            || self.gives.level.val().any()
            || self.idles.level.val().any()
            || self.breaks.level.val().any();
    }
}
