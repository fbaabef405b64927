//! From engines back to drivers: used rings and interrupts (virtio 1.2 §2.7.7, §2.7.8, §2.7.10).

mod records;

use nitride_abi::virtio::ring::{AVAIL_NO_INTERRUPT, AVAIL_RING, USED_INDEX, USED_RING};
use nitride_lang::prelude::*;

use self::records::{
    CHECK_BITS, Check, Ended, Kind, Leaving, Progress, Setup, Written, is_drained, setup_of,
};
use super::records::{Idle, QueueIndex, RingReader, Used, VirtqueueUpdate, of_reader};
use crate::bus::{
    DmaDone, DmaReadRequest, DmaStatus, DmaWriteRequest, InterruptRequest, Landing, LandingWrite, Launch,
    LaunchRead,
};
use crate::dma::{LandingRam, LaunchRam};
use crate::free_list::FreeList;
use crate::function::function_of_device;
use crate::profile::DATA_BITS;

/// Rows of the launch RAM, as a power of 2: a write has one until it is handed over.
const ROW_BITS: usize = 6;
/// Elements of a row.
const ELEMENTS: u64 = 4;
/// Sources of used chains.
const SOURCES: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum State {
    /// An event is chosen, and its queue looked up.
    Pick,
    /// It has its effect.
    Act,
    /// Elements are added as long as there are some that fit.
    Gather,
    /// They are written,
    Elements,
    /// and the index behind them.
    Index,
}

/// What happens to a queue, in the order of importance.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum Happening {
    Update,
    Checked,
    Done,
    IdleTransmit,
    IdleReceive,
    Used,
}

/// Puts 16 bits into the half of the first lane in which an address has them.
#[hdl_fn]
fn placed(value: Bits<16>, address: Bits<64>) -> Bits<DATA_BITS> {
    if address.get_bit(1) { bit_cast::<DATA_BITS, 16>(value) << 16 } else { bit_cast::<DATA_BITS, 16>(value) }
}

/// A write of 16 bits.
#[hdl_fn]
fn half_write(queue: QueueIndex, address: Bits<64>, row: Bits<ROW_BITS>) -> DmaWriteRequest {
    let bytes = if address.get_bit(1) { bits::<4>(0xc) } else { bits::<4>(0x3) };
    DmaWriteRequest {
        function: function_of_device(queue.get_bits::<4>(3)),
        address: address & !3u64,
        length: bits::<11>(1),
        first: bytes,
        last: bytes,
        source: (bit_cast::<18, ROW_BITS>(row) << 3) | (Launch::USED << 15),
        context: bits::<8>(0),
    }
}

/// The driver wants to be told: the index that it waits for (`event`) is among those from `old` to before `new` (§2.7.10.1).
#[hdl_fn]
fn passed(event: Bits<16>, old: Bits<16>, new: Bits<16>) -> Bit {
    new - event - 1 < new - old
}

/// Gives chains back to their drivers, tells them of it, and asks them for notifications.
///
/// Used elements of one source and queue that are there one after another are written together, 4 at most, and then the index behind a frame's last one.
/// When that was handed to the link, the driver's wish is read (`used_event`, or the flags), and decides on an interrupt; what
/// was written meanwhile is decided on next, so that a queue has one interrupt a DMA round trip at most.
///
/// 3 cycles for what is written together and 1 for each element, 2 for each write's end and each check. Up to 32 checks are under way.
/// An interrupt follows the index that it tells of, and a token all interrupts of its queue.
#[derive(LogicBlock, Default)]
pub struct Returner {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// What drivers set up.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Chains that go back, and tokens: of `Transmit`, `Receive`, `Control`.
    pub used: [Sink<Used>; SOURCES],
    /// Queues that are about to rest: of the transmit and the receive fetcher.
    pub idle: [Sink<Idle>; 2],
    /// Their drivers know.
    pub idle_done: [Source<QueueIndex>; 2],
    /// Writes of rings.
    pub write: Source<DmaWriteRequest>,
    /// Their ends, in order; always ready.
    pub write_done: Sink<DmaDone>,
    /// The DMA engine's reads of what is written.
    pub launch: Signal<In, LaunchRead>,
    /// As [`LaunchRam`] has it.
    pub launch_data: Signal<Out, Bits<DATA_BITS>>,
    /// Reads of what drivers want to be told of, contexts 0 to 31.
    pub read: Source<DmaReadRequest>,
    /// Their ends; always ready.
    pub read_done: Sink<DmaDone>,
    /// What they bring.
    pub landing: Signal<In, LandingWrite>,
    /// Interrupts.
    pub interrupt: Source<InterruptRequest>,
    /// Queues whose wishes cannot be read.
    pub broken: Source<QueueIndex>,
    /// Queues that are drained.
    pub drained: Source<QueueIndex>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    setups: Ram<Setup, 7>,
    progresses: Ram<Progress, 7>,
    checks: Ram<Check, CHECK_BITS>,
    rows: LaunchRam<{ Launch::USED }, ROW_BITS>,
    wishes: LandingRam<{ Landing::RINGS }, CHECK_BITS>,
    numbers: FreeList<CHECK_BITS>,
    updates: Fifo<VirtqueueUpdate, 5>,
    ended: Fifo<Ended, CHECK_BITS>,
    writing: Fifo<Written, ROW_BITS>,
    done: Reg<Bits<8>>,
    requests: Fifo<DmaWriteRequest, 3>,
    reads: Fifo<DmaReadRequest, 3>,
    leaving: Fifo<Leaving, 4>,
    breaks: Fifo<QueueIndex, 7>,
    /// A fetcher has a queue idle once at a time, so there is room for all.
    idles: [Fifo<QueueIndex, 7>; 2],
    state: Reg<State>,
    happening: Reg<Happening>,
    queue: Reg<QueueIndex>,
    source: Reg<Bits<2>>,
    setup: Reg<Setup>,
    progress: Reg<Progress>,
    row: Reg<Bits<ROW_BITS>>,
    /// Elements in the row, and the ring's place of the first.
    count: Reg<Bits<3>>,
    first: Reg<Bits<10>>,
    /// The last of them ends a frame.
    whole: Reg<Bit>,
    /// What the RAM knows is of the check that has ended.
    looked: Reg<Bit>,
    /// Checks under way.
    checking: Reg<Bits<6>>,
}

impl Logic for Returner {
    #[hdl]
    fn update(&mut self) {
        Source::<DmaWriteRequest>::link(&mut self.write, &mut self.requests.source);
        Source::<DmaReadRequest>::link(&mut self.read, &mut self.reads.source);
        Source::<QueueIndex>::link(&mut self.broken, &mut self.breaks.source);
        self.rows.launch.next = self.launch.val();
        self.launch_data.next = self.rows.data.val();
        let told = self.update.val();
        self.updates.sink.data.next = told;
        self.updates.sink.valid.next = told.valid;
        for i in 0..2 {
            Source::<QueueIndex>::link(&mut self.idle_done[i], &mut self.idles[i].source);
        }

        // Ends wait for their turn: writes' are only counted, for they come in order.
        self.write_done.ready.next = true;
        self.read_done.ready.next = true;
        let ending = self.read_done.data.val();
        self.ended.sink.valid.next = self.read_done.valid.val();
        self.ended.sink.data.next = Ended {
            number: ending.context.get_bits::<CHECK_BITS>(0),
            failed: ending.status != DmaStatus::Ok,
        };
        self.wishes.write.next = of_reader(self.landing.val(), RingReader::RETURNER);

        // An event is chosen.
        let state = self.state.q.val();
        let picking = state == State::Pick;
        let update = self.updates.source.data.val();
        let ended = self.ended.source.data.val();
        let written = self.writing.source.data.val();
        let source = self.source.q.val();
        let first = if source == 0 {
            bits::<2>(1)
        } else if source == 1 {
            bits::<2>(2)
        } else {
            bits::<2>(0)
        };
        let second = if first == 0 {
            bits::<2>(1)
        } else if first == 1 {
            bits::<2>(2)
        } else {
            bits::<2>(0)
        };
        let turn = if self.used[first.index()].valid.val() {
            first
        } else if self.used[second.index()].valid.val() {
            second
        } else {
            source
        };
        let from = if picking { turn } else { source };
        let offered = self.used[from.index()].data.val();
        let offers = self.used[from.index()].valid.val();
        let told_room = self.leaving.level.val() <= 14 && self.reads.level.val() <= 6;
        let room = self.requests.level.val() <= 4 && self.writing.level.val() <= 60 && told_room;
        // A check's place in the RAM is looked up while its end waits.
        let known = self.checks.read_data.val();
        self.checks.read_address.next = ended.number;
        self.wishes.row.next = ended.number;
        let has_checked = self.ended.source.valid.val() && told_room;
        let has_done = self.done.q.val().any() && self.numbers.take.valid.val() && told_room;
        let chosen = if self.updates.source.valid.val() {
            Happening::Update
        } else if has_checked {
            Happening::Checked
        } else if has_done {
            Happening::Done
        } else if self.idle[0].valid.val() && room {
            Happening::IdleTransmit
        } else if self.idle[1].valid.val() && room {
            Happening::IdleReceive
        } else {
            Happening::Used
        };
        let any = self.updates.source.valid.val()
            || has_checked
            || has_done
            || (room && (self.idle[0].valid.val() || self.idle[1].valid.val() || offers));
        let of_chosen = match chosen {
            Happening::Update => update.index,
            Happening::Checked => known.queue,
            Happening::Done => written.queue,
            Happening::IdleTransmit => self.idle[0].data.val().queue,
            Happening::IdleReceive => self.idle[1].data.val().queue,
            Happening::Used => offered.queue,
        };
        let looked = self.looked.q.val();
        self.looked.d.next = self.ended.source.valid.val() && picking;
        if picking && any && (chosen != Happening::Checked || looked) {
            self.state.d.next = State::Act;
            self.happening.d.next = chosen;
            self.queue.d.next = of_chosen;
            if chosen == Happening::Used {
                self.source.d.next = turn;
            }
        }
        let queue = self.queue.q.val();
        self.setups.read_address.next = of_chosen;
        self.progresses.read_address.next = of_chosen;

        // It has its effect.
        let acting = state == State::Act;
        let happening = self.happening.q.val();
        let setup = self.setups.read_data.val();
        let before = self.progresses.read_data.val();
        let updating = acting && happening == Happening::Update;
        let checked = acting && happening == Happening::Checked;
        let over = acting && happening == Happening::Done;
        let idling = acting && (happening == Happening::IdleTransmit || happening == Happening::IdleReceive);
        let using = acting && happening == Happening::Used;
        let wish = if known.upper {
            self.wishes.data.val().get_bits::<16>(16)
        } else {
            self.wishes.data.val().get_bits::<16>(0)
        };
        let wanted = if setup.event_index {
            passed(wish, before.signalled, known.index)
        } else {
            !(wish & (AVAIL_NO_INTERRUPT as u64)).any()
        };
        let interrupts = checked && !ended.failed && setup.enabled && setup.interrupt && wanted;
        let visible = if over && written.kind == Kind::Index { written.index } else { before.visible };
        let more = setup.enabled && setup.interrupt;
        let checks_next = checked && more && !ended.failed && visible != known.index;
        let checks_first = over && more && written.kind == Kind::Index && !before.checking;
        let idle = if happening == Happening::IdleTransmit {
            self.idle[0].data.val()
        } else {
            self.idle[1].data.val()
        };
        let asks = idling && setup.enabled && setup.event_index;
        let fresh = updating && update.queue.enabled && !setup.enabled;
        let changed = match happening {
            Happening::Update => {
                if fresh {
                    Progress::default()
                } else {
                    before
                }
            }
            Happening::Checked => Progress { signalled: known.index, checking: checks_next, ..before },
            Happening::Done => Progress {
                visible: visible,
                writes: before.writes - 1,
                checking: before.checking || checks_first,
                ..before
            },
            Happening::IdleTransmit | Happening::IdleReceive => {
                Progress { writes: if asks { before.writes + 1 } else { before.writes }, ..before }
            }
            Happening::Used => Progress { draining: before.draining || offered.drain, ..before },
        };
        let drained = acting && is_drained(changed);
        let after = Progress { draining: changed.draining && !drained, ..changed };
        let gathers = using && !offered.drain && setup.enabled;
        self.updates.source.ready.next = updating;
        self.ended.source.ready.next = checked;
        self.writing.source.ready.next = over;
        self.idle[0].ready.next = acting && happening == Happening::IdleTransmit;
        self.idle[1].ready.next = acting && happening == Happening::IdleReceive;
        self.setups.write_address.next = queue;
        self.setups.write_data.next = setup_of(update);
        self.setups.write_enable.next = updating;
        self.breaks.sink.data.next = queue;
        self.breaks.sink.valid.next = checked && ended.failed && setup.enabled;
        self.leaving.sink.valid.next = interrupts || drained;
        self.leaving.sink.data.next = Leaving {
            drained: drained,
            queue: queue,
            interrupt: InterruptRequest {
                function: function_of_device(queue.get_bits::<4>(3)),
                vector: setup.vector,
            },
        };
        let one = if self.write_done.valid.val() { bits::<8>(1) } else { bits::<8>(0) };
        self.done.d.next = self.done.q.val() + one - if over { bits::<8>(1) } else { bits::<8>(0) };

        // A check is asked for.
        let number = if checked { ended.number } else { self.numbers.take.data.val() };
        let size = bit_cast::<64, 10>(setup.last) + 1;
        let wish_at = setup.driver + if setup.event_index { (size << 1) + AVAIL_RING } else { bits::<64>(0) };
        self.numbers.take.ready.next = checks_first;
        self.numbers.give.valid.next = checked && !checks_next;
        self.numbers.give.data.next = ended.number;
        self.checks.write_address.next = number;
        self.checks.write_data.next = Check { queue: queue, index: visible, upper: wish_at.get_bit(1) };
        self.checks.write_enable.next = checks_first || checks_next;
        self.reads.sink.valid.next = checks_first || checks_next;
        self.reads.sink.data.next = DmaReadRequest {
            function: function_of_device(queue.get_bits::<4>(3)),
            address: wish_at & !3u64,
            length: bits::<11>(1),
            destination: (bit_cast::<18, CHECK_BITS>(number) << 3)
                | ((Landing::RINGS << 15) | (RingReader::RETURNER << 13)),
            context: bit_cast::<8, CHECK_BITS>(number),
        };

        // Elements are gathered.
        let gathering = state == State::Gather;
        let held = self.progress.q.val();
        let held_setup = self.setup.q.val();
        let count = self.count.q.val();
        let place = held.next.get_bits::<10>(0) & held_setup.last;
        let adds =
            gathering && offers && !offered.drain && offered.queue == queue && count < ELEMENTS && place != 0;
        let puts = gathers || adds;
        let slot = if gathers { bits::<3>(0) } else { count };
        let element = cat2::<32, 32, 64>(offered.length, bit_cast::<32, 16>(offered.head));
        for i in 0..SOURCES {
            self.used[i].ready.next = (using || adds) && source == i as u64;
        }
        let row = self.row.q.val();
        let used_index = held_setup.device + USED_INDEX;
        let event_at = setup.device + ((size << 3) + USED_RING);
        let shifted = bit_cast::<DATA_BITS, 64>(element) << (bit_cast::<8, 3>(slot) << 6);
        self.rows.write_row.next = row;
        self.rows.write_data.next = if puts {
            shifted
        } else if asks {
            placed(idle.next, event_at)
        } else {
            placed(held.next, used_index)
        };
        self.rows.write_enable.next = if puts {
            bits::<8>(3) << (slot << 1)
        } else if asks || state == State::Index {
            bits::<8>(1)
        } else {
            bits::<8>(0)
        };
        if puts {
            self.count.d.next = slot + 1;
            self.whole.d.next = offered.last;
        }
        if gathers {
            self.first.d.next = before.next.get_bits::<10>(0) & setup.last;
        }
        let writes = asks || state == State::Elements || state == State::Index;
        if writes {
            self.row.d.next = row + 1;
        }
        self.requests.sink.valid.next = writes;
        self.requests.sink.data.next = if asks {
            half_write(queue, event_at, row)
        } else if state == State::Index {
            half_write(queue, used_index, row)
        } else {
            DmaWriteRequest {
                function: function_of_device(queue.get_bits::<4>(3)),
                address: held_setup.device + ((bit_cast::<64, 10>(self.first.q.val()) << 3) + USED_RING),
                length: bit_cast::<11, 3>(count) << 1,
                first: bits::<4>(0xf),
                last: bits::<4>(0xf),
                source: (bit_cast::<18, ROW_BITS>(row) << 3) | (Launch::USED << 15),
                context: bits::<8>(0),
            }
        };
        self.writing.sink.valid.next = writes;
        self.writing.sink.data.next = Written {
            queue: queue,
            kind: if asks {
                if happening == Happening::IdleTransmit { Kind::IdleTransmit } else { Kind::IdleReceive }
            } else if state == State::Index {
                Kind::Index
            } else {
                Kind::Elements
            },
            index: held.next,
        };
        let silent = idling && !asks;
        self.idles[0].sink.data.next = queue;
        self.idles[0].sink.valid.next =
            (silent && happening == Happening::IdleTransmit) || (over && written.kind == Kind::IdleTransmit);
        self.idles[1].sink.data.next = queue;
        self.idles[1].sink.valid.next =
            (silent && happening == Happening::IdleReceive) || (over && written.kind == Kind::IdleReceive);

        let kept = Progress { writes: held.writes + 1, ..held };
        match state {
            State::Pick => {}
            State::Act => {
                self.setup.d.next = setup;
                self.progress.d.next =
                    if gathers { Progress { next: after.next + 1, ..after } } else { after };
                self.state.d.next = if gathers { State::Gather } else { State::Pick };
            }
            State::Gather => {
                if adds {
                    self.progress.d.next = Progress { next: held.next + 1, ..held };
                } else {
                    self.state.d.next = State::Elements;
                }
            }
            State::Elements => {
                self.progress.d.next = kept;
                self.state.d.next = if self.whole.q.val() { State::Index } else { State::Pick };
            }
            State::Index => {
                self.state.d.next = State::Pick;
            }
        }
        self.progresses.write_address.next = queue;
        self.progresses.write_data.next = if acting { after } else { kept };
        self.progresses.write_enable.next =
            (acting && !gathers) || state == State::Elements || state == State::Index;

        // Interrupts and tokens leave in order.
        let leaving = self.leaving.source.data.val();
        let leaves = self.leaving.source.valid.val();
        self.interrupt.valid.next = leaves && !leaving.drained;
        self.interrupt.data.next = leaving.interrupt;
        self.drained.valid.next = leaves && leaving.drained;
        self.drained.data.next = leaving.queue;
        self.leaving.source.ready.next =
            if leaving.drained { self.drained.ready.val() } else { self.interrupt.ready.val() };
        let mut waits = false;
        for i in 0..SOURCES {
            waits = waits || self.used[i].valid.val();
        }
        self.busy.next = !picking
            || waits
            || self.idle[0].valid.val()
            || self.idle[1].valid.val()
            || self.leaving.level.val().any()
            || self.updates.level.val().any()
            || self.writing.level.val().any()
            || self.checking.q.val().any()
            || self.idles[0].level.val().any()
            || self.idles[1].level.val().any()
            || self.breaks.level.val().any();
        let begun = if checks_first { bits::<6>(1) } else { bits::<6>(0) };
        let given = if checked && !checks_next { bits::<6>(1) } else { bits::<6>(0) };
        self.checking.d.next = self.checking.q.val() + begun - given;
    }
}

#[cfg(test)]
mod tests;
