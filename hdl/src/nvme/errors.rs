//! The Error Information log (NVMe 1.4 §5.14.1.1).

use nitride_abi::nvme::log;
use nitride_lang::prelude::*;

use super::records::Failure;

/// Entries of a controller.
const ENTRIES: u64 = log::error::ENTRIES as u64;
/// DWs of an entry that are kept; those after them are 0.
const KEPT: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Take,
    Read,
    Latch,
    Write,
    Count,
}

/// What is known of a controller's errors.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Total {
    /// Errors since the card started.
    count: Bits<64>,
    /// Entries that hold something since the last reset.
    held: Bits<3>,
}

/// DW `dword` of the entry of a failure, the `count`th.
#[hdl_fn]
fn entry_dword(failure: Failure, count: Bits<64>, dword: Bits<3>) -> Bits<32> {
    match dword.index() {
        0 => count.get_bits::<32>(0),
        1 => count.get_bits::<32>(32),
        2 => cat2::<16, 16, 32>(failure.cid, failure.queue),
        // Parameter Error Location is not told.
        3 => cat2::<16, 16, 32>(bits::<16>(0xffff), bit_cast::<16, 15>(failure.status) << 1),
        4 => failure.lba.get_bits::<32>(0),
        5 => failure.lba.get_bits::<32>(32),
        6 => failure.nsid,
        _ => bits::<32>(0),
    }
}

/// The last errors of each controller, the newest first, in RAM.
///
/// Takes an error each 12 cycles, and none while `hold` is high: a page that is being made stays whole.
#[derive(LogicBlock, Default)]
pub struct Errors {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Errors.
    pub failure: Sink<Failure>,
    /// Controllers whose entries are removed; the count goes on.
    pub clear: Sink<Bits<4>>,
    /// A page is being made.
    pub hold: Signal<In, Bit>,
    /// Of whom; holds from 2 cycles before the first DW is asked for.
    pub controller: Signal<In, Bits<4>>,
    /// Ask for a DW of the page.
    pub index: Signal<In, Bits<6>>,
    /// The DW, one cycle later.
    pub data: Signal<Out, Bits<32>>,
    /// The controller's errors since the card started.
    pub count: Signal<Out, Bits<64>>,
    /// No entry is being written.
    pub quiet: Signal<Out, Bit>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    state: Reg<State>,
    failure_now: Reg<Failure>,
    /// A controller's entries are removed.
    removing: Reg<Bit>,
    total: Reg<Total>,
    dword: Reg<Bits<3>>,
    totals: Ram2<Total, 4>,
    entries: Ram<Bits<32>, 9>,
    shown: Reg<Bit>,
}

impl Logic for Errors {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let failure = self.failure_now.q.val();
        let total = self.total.q.val();
        let dword = self.dword.q.val();
        let clearing = self.clear.valid.val();
        let taking = state == State::Take && !self.hold.val();
        self.clear.ready.next = taking;
        self.failure.ready.next = taking && !clearing;
        match state {
            State::Take => {
                self.failure_now.d.next = self.failure.data.val();
                self.removing.d.next = clearing;
                if clearing {
                    self.failure_now.d.next.controller = self.clear.data.val();
                }
                if taking && (clearing || self.failure.valid.val()) {
                    self.state.d.next = State::Read;
                }
            }
            State::Read => {
                self.state.d.next = State::Latch;
            }
            State::Latch => {
                let before = self.totals.read_data[0].val();
                let more = if before.held == ENTRIES { before.held } else { before.held + 1 };
                self.total.d.next = if self.removing.q.val() {
                    Total { count: before.count, held: bits::<3>(0) }
                } else {
                    Total { count: before.count + 1, held: more }
                };
                self.dword.d.next = bits::<3>(0);
                self.state.d.next = if self.removing.q.val() { State::Count } else { State::Write };
            }
            State::Write => {
                self.dword.d.next = dword + 1;
                if dword == KEPT - 1 {
                    self.state.d.next = State::Count;
                }
            }
            State::Count => {
                self.state.d.next = State::Take;
            }
        }
        self.totals.read_address[0].next = failure.controller;
        self.totals.write_address.next = failure.controller;
        self.totals.write_data.next = total;
        self.totals.write_enable.next = state == State::Count;
        self.entries.write_address.next =
            cat2::<6, 3, 9>(cat2::<4, 2, 6>(failure.controller, total.count.get_bits::<2>(0)), dword);
        self.entries.write_data.next = entry_dword(failure, total.count, dword);
        self.entries.write_enable.next = state == State::Write;

        // Entry 0 of the page is the last one that was written.
        let wanted = self.totals.read_data[1].val();
        let index = self.index.val();
        let entry = index.get_bits::<2>(4);
        self.totals.read_address[1].next = self.controller.val();
        self.entries.read_address.next = cat2::<6, 3, 9>(
            cat2::<4, 2, 6>(self.controller.val(), wanted.count.get_bits::<2>(0) - entry),
            index.get_bits::<3>(0),
        );
        self.shown.d.next = !index.get_bit(3) && bit_cast::<3, 2>(entry) < wanted.held;
        self.data.next = if self.shown.q.val() { self.entries.read_data.val() } else { bits::<32>(0) };
        self.count.next = wanted.count;
        self.quiet.next = state == State::Take;
        self.busy.next = state != State::Take || self.failure.valid.val() || clearing;
    }
}
