//! The counters of the SMART / Health Information log (NVMe 1.4 §5.14.1.2).

use nitride_lang::prelude::*;

use super::records::Counted;
use crate::bus::VolumeUpdate;
use crate::storage::VolumeTable;

/// A counter, by its place in a controller's 8 words.
pub struct Counter;
impl Counter {
    /// 512-byte units that were read: `{thousands (54), units (10)}`.
    pub const UNITS_READ: u64 = 0;
    /// The same, written.
    pub const UNITS_WRITTEN: u64 = 1;
    /// Reads that succeeded.
    pub const READS: u64 = 2;
    /// Writes that succeeded.
    pub const WRITES: u64 = 3;
    /// Errors of media and data integrity.
    pub const MEDIA_ERRORS: u64 = 4;
}

/// Units of 512 bytes that make one data unit of the log.
const UNIT: u64 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Idle,
    Look,
    ReadUnits,
    AddUnits,
    ReadCommands,
    AddCommands,
}

/// A count of units after `more` of them.
#[hdl_fn]
fn add_units(count: Bits<64>, more: Bits<12>) -> Bits<64> {
    let sum = bit_cast::<12, 10>(count.get_bits::<10>(0)) + more;
    let thousands = if sum >= 3 * UNIT {
        bits::<54>(3)
    } else if sum >= 2 * UNIT {
        bits::<54>(2)
    } else if sum >= UNIT {
        bits::<54>(1)
    } else {
        bits::<54>(0)
    };
    let rest = if sum >= 3 * UNIT {
        sum - 3 * UNIT
    } else if sum >= 2 * UNIT {
        sum - 2 * UNIT
    } else if sum >= UNIT {
        sum - UNIT
    } else {
        sum
    };
    cat2::<54, 10, 64>(count.get_bits::<54>(10) + thousands, rest.get_bits::<10>(0))
}

/// What each controller's host did since the card started.
///
/// Takes an event each 6 cycles: they come from [`Post`](super::post::Post), which takes longer for a command.
#[derive(LogicBlock, Default)]
pub struct Smart {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Commands to count.
    pub counted: Signal<In, Counted>,
    /// Changes of the volumes.
    pub volume: Signal<In, VolumeUpdate>,
    /// Whose count to show.
    pub controller: Signal<In, Bits<4>>,
    /// Which [`Counter`].
    pub counter: Signal<In, Bits<3>>,
    /// The count as the log has it, one cycle later.
    pub count: Signal<Out, Bits<64>>,
    state: Reg<State>,
    counted_now: Reg<Counted>,
    volumes: VolumeTable,
    counts: Ram2<Bits<64>, 7>,
    shows_units: Reg<Bit>,
}

impl Logic for Smart {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let now = self.counted_now.q.val();
        let counts = now.read || now.write || now.media_error;
        match state {
            State::Idle => {
                if self.counted.val().valid {
                    self.counted_now.d.next = self.counted.val();
                    self.state.d.next = State::Look;
                }
            }
            State::Look => {
                self.state.d.next = if counts { State::ReadUnits } else { State::Idle };
            }
            State::ReadUnits => {
                self.state.d.next = State::AddUnits;
            }
            State::AddUnits => {
                self.state.d.next = State::ReadCommands;
            }
            State::ReadCommands => {
                self.state.d.next = State::AddCommands;
            }
            State::AddCommands => {
                self.state.d.next = State::Idle;
            }
        }

        self.volumes.update.next = self.volume.val();
        self.volumes.index.next = cat2::<4, 2, 6>(now.controller, now.namespace);
        let blocks = now.blocks.get_bits::<12>(0) + 1;
        let units = if self.volumes.volume.val().large_blocks { blocks << 3 } else { blocks };
        let units_turn = state == State::ReadUnits || state == State::AddUnits;
        let word = if units_turn && now.write {
            bits::<3>(Counter::UNITS_WRITTEN)
        } else if units_turn {
            bits::<3>(Counter::UNITS_READ)
        } else if now.media_error {
            bits::<3>(Counter::MEDIA_ERRORS)
        } else if now.write {
            bits::<3>(Counter::WRITES)
        } else {
            bits::<3>(Counter::READS)
        };
        let index = cat2::<4, 3, 7>(now.controller, word);
        let count = self.counts.read_data[0].val();
        self.counts.read_address[0].next = index;
        self.counts.write_address.next = index;
        self.counts.write_data.next = if units_turn { add_units(count, units) } else { count + 1 };
        self.counts.write_enable.next =
            (state == State::AddUnits && !now.media_error) || state == State::AddCommands;

        let counter = self.counter.val();
        self.counts.read_address[1].next = cat2::<4, 3, 7>(self.controller.val(), counter);
        self.shows_units.d.next = counter == Counter::UNITS_READ || counter == Counter::UNITS_WRITTEN;
        let shown = self.counts.read_data[1].val();
        let started = if shown.get_bits::<10>(0).any() { bits::<64>(1) } else { bits::<64>(0) };
        self.count.next = if self.shows_units.q.val() { (shown >> 10) + started } else { shown };
    }
}
