//! MSI-X: the tables and pending bits of all functions, and the messages.

use nitride_abi::{card, tlp};
use nitride_lang::prelude::*;

use crate::bus::{
    FunctionState, FunctionUpdate, InterruptRequest, LinkConfig, RegisterRequest, RegisterResponse, TlpBeat,
};
use crate::profile::DATA_BITS;

/// The offset bit that tells the PBA from the table.
const PBA_BIT: usize = (card::BAR0_MSIX_PBA ^ card::BAR0_MSIX_TABLE).ilog2() as usize;
const VECTORS: usize = card::MSIX_VECTORS;
const VECTOR_BITS: usize = card::MSIX_VECTORS.ilog2() as usize;
/// Address of an 8-byte word of a table: `{function, vector, word}`.
const WORD_BITS: usize = card::FUNCTION_BITS + VECTOR_BITS + 1;
const FUNCTION_BITS: usize = card::FUNCTION_BITS;
const FUNCTIONS: u64 = card::FUNCTIONS as u64;
/// Address of a word of a function's table: `{vector, word}`.
const TABLE_BITS: usize = VECTOR_BITS + 1;
/// Offset bits above a table, up to [`PBA_BIT`].
const ABOVE_TABLE: usize = TABLE_BITS + 3;
/// Vector Control's Mask Bit in the second word of an entry (PCIe 4.0 §7.7.2.8).
const MASK: usize = 32;
/// RW bits of an entry's first word: Message Address, a multiple of 4.
const ADDRESS_BITS: u64 = !3;
/// RW bits of an entry's second word: Message Data and Mask Bit.
const DATA_AND_MASK: u64 = (1 << (MASK + 1)) - 1;

const LENGTH: u64 = 1;
const WRITE_32: u64 = (tlp::FMT_3DW_DATA as u64) << tlp::FMT.lsb | LENGTH;
const WRITE_64: u64 = (tlp::FMT_4DW_DATA as u64) << tlp::FMT.lsb | LENGTH;
const REQUESTER: u64 = tlp::REQUESTER.lsb as u64;
const FIRST_BE: u64 = 0xf << tlp::FIRST_BE.lsb;

/// A message on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Message {
    /// The requester.
    pub function: Bits<5>,
    /// Where to.
    pub address: Bits<64>,
    /// What.
    pub data: Bits<32>,
}

/// What the block does.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum MsixState {
    /// Chooses what to do next.
    #[default]
    Idle,
    /// The RAMs read for a register access.
    RegisterFetch,
    /// The access is carried out; a read's answer is offered.
    RegisterApply,
    /// The RAMs read an entry's first word, the function's pending bits and its state.
    First,
    /// They read its second word.
    Second,
    /// The vector is signaled, kept pending or dropped.
    Decide,
    /// The RAMs read the pending bits and the state of the function that the sweep is at.
    SweepFetch,
    /// The sweep chooses the function's next pending vector, or goes on to the next function.
    SweepDecide,
    /// A function's table and pending bits are cleared.
    Clear,
}

/// The MSI-X tables and pending bit arrays of all functions (PCIe 4.0 §6.1.4, §7.7.2), and their messages.
///
/// - Register accesses are whole or partial 8-byte words at offsets from the table on. They take 3 cycles and are served also while a
///   message waits for the link, so that no posted write of the host depends on one of the card's.
/// - An interrupt request becomes a memory write after 4 cycles, one each 5 cycles. While its vector or function is masked, or
///   the function may not master the bus, it is kept in the pending bits instead, and sent when that ends. While MSI-X is not enabled
///   it is dropped.
/// - Whatever may end a wait starts a sweep over all functions for pending vectors.
/// - `flr` clears a function's table, masks and pending bits, and passes the function on to `cleared`.
#[derive(LogicBlock)]
pub struct Msix {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Register accesses.
    pub register: Sink<RegisterRequest>,
    /// Answers to reads.
    pub response: Source<RegisterResponse>,
    /// Interrupts to be signaled.
    pub request: Sink<InterruptRequest>,
    /// States of functions.
    pub update: Signal<In, FunctionUpdate>,
    /// For the requester ID.
    pub link: Signal<In, LinkConfig>,
    /// Functions to be cleared.
    pub flr: Sink<Bits<5>>,
    /// Functions that are cleared.
    pub cleared: Source<Bits<5>>,
    /// Messages.
    pub tlp: Source<TlpBeat>,
    /// A message was handed to the link: one pulse.
    pub sent: Signal<Out, Bit>,
    /// Something is being done or waits to be sent.
    pub busy: Signal<Out, Bit>,
    words: Ram<Bits<64>, WORD_BITS>,
    pending: Ram<Bits<VECTORS>, FUNCTION_BITS>,
    states: Ram<FunctionState, FUNCTION_BITS>,
    state: Reg<MsixState>,
    access: Reg<RegisterRequest>,
    requester: Reg<Bits<5>>,
    vector: Reg<Bits<VECTOR_BITS>>,
    address: Reg<Bits<64>>,
    // Of the function that is looked at: its pending bits and its state.
    waiting: Reg<Bits<VECTORS>>,
    known: Reg<FunctionState>,
    // Functions that the sweep has still to look at, where it is, and the vectors it has not looked at there.
    sweep: Reg<Bits<6>>,
    at: Reg<Bits<5>>,
    candidates: Reg<Bits<VECTORS>>,
    word: Reg<Bits<TABLE_BITS>>,
    message: Reg<Message>,
    sending: Reg<Bit>,
    passing: Reg<Bit>,
    passed: Reg<Bits<5>>,
}

impl Default for Msix {
    fn default() -> Self {
        let masked = |i: usize| (((i & 1) as u64) << MASK).into();
        Self {
            clock: Signal::default(),
            register: Sink::default(),
            response: Source::default(),
            request: Sink::default(),
            update: Signal::default(),
            link: Signal::default(),
            flr: Sink::default(),
            cleared: Source::default(),
            tlp: Source::default(),
            sent: Signal::default(),
            busy: Signal::default(),
            words: Ram::from_fn(masked),
            pending: Ram::default(),
            states: Ram::default(),
            state: Reg::new(MsixState::Idle),
            access: Reg::default(),
            requester: Reg::default(),
            vector: Reg::default(),
            address: Reg::default(),
            waiting: Reg::default(),
            known: Reg::default(),
            sweep: Reg::default(),
            at: Reg::default(),
            candidates: Reg::default(),
            word: Reg::default(),
            message: Reg::default(),
            sending: Reg::default(),
            passing: Reg::default(),
            passed: Reg::default(),
        }
    }
}

#[hdl_fn]
fn may_send(state: FunctionState) -> Bit {
    state.msix_enable && !state.msix_mask && state.bus_master
}

/// RW bits of a word, in the bytes of `enable`.
#[hdl_fn]
fn writable(second: Bit, enable: Bits<8>) -> Bits<64> {
    let mut mask = bits::<64>(0);
    for i in 0..8 {
        if enable.get_bit(i) {
            mask = mask | (0xffu64 << (8 * i));
        }
    }
    mask & (if second { bits::<64>(DATA_AND_MASK) } else { bits::<64>(ADDRESS_BITS) })
}

/// A memory write of one DW (PCIe 4.0 §2.2.7).
#[hdl_fn]
fn header(message: Message, bus: Bits<8>) -> Bits<128> {
    let id = bit_cast::<32, 5>(message.function) | (bit_cast::<32, 8>(bus) << 8);
    let dw1 = (id << REQUESTER) | FIRST_BE;
    let high = message.address.get_bits::<32>(32);
    let low = message.address.get_bits::<32>(0);
    if high.any() {
        cat2::<64, 64, 128>(cat2::<32, 32, 64>(low, high), cat2::<32, 32, 64>(dw1, bits::<32>(WRITE_64)))
    } else {
        cat2::<64, 64, 128>(bit_cast::<64, 32>(low), cat2::<32, 32, 64>(dw1, bits::<32>(WRITE_32)))
    }
}

impl Logic for Msix {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let access = self.access.q.val();
        let function = self.requester.q.val();
        let vector = self.vector.q.val();
        let sending = self.sending.q.val();
        let register = state == MsixState::RegisterFetch || state == MsixState::RegisterApply;
        let owner = if register { access.function } else { function };
        let mine = cat2::<FUNCTION_BITS, VECTOR_BITS, 8>(function, vector);
        let asked = cat2::<FUNCTION_BITS, TABLE_BITS, WORD_BITS>(
            access.function,
            access.offset.get_bits::<TABLE_BITS>(3),
        );
        let entry = cat2::<8, 1, WORD_BITS>(
            mine,
            if state == MsixState::First { bits::<1>(0) } else { bits::<1>(1) },
        );
        let second = access.offset.get_bit(3);
        let pba = access.offset.get_bit(PBA_BIT);
        let in_table = !pba && !access.offset.get_bits::<{ PBA_BIT - ABOVE_TABLE }>(ABOVE_TABLE).any();
        let in_pba = pba && !access.offset.get_bits::<{ PBA_BIT - 3 }>(3).any();
        let value = self.words.read_data.val();

        self.words.read_address.next = if register { asked } else { entry };
        self.words.write_address.next = asked;
        self.words.write_enable.next = false;
        self.words.write_data.next = value;
        self.pending.read_address.next = owner;
        self.pending.write_address.next = owner;
        self.pending.write_enable.next = false;
        self.pending.write_data.next = bits::<VECTORS>(0);
        self.states.read_address.next = owner;
        self.states.write_address.next = self.update.val().function;
        self.states.write_data.next = self.update.val().state;
        self.states.write_enable.next = self.update.val().valid;
        self.response.valid.next = state == MsixState::RegisterApply && !access.write;
        self.response.data.next = RegisterResponse {
            data: if in_table {
                value
            } else if in_pba {
                bit_cast::<64, VECTORS>(self.pending.read_data.val())
            } else {
                bits::<64>(0)
            },
        };
        self.register.ready.next = state == MsixState::Idle;
        self.flr.ready.next = false;
        self.request.ready.next = false;

        match state {
            MsixState::Idle => {
                let idle = !self.register.valid.val();
                let clear = idle && self.flr.valid.val() && !self.passing.q.val();
                let free = idle && !clear && !sending;
                self.flr.ready.next = clear;
                self.request.ready.next = free && self.request.valid.val();
                if !idle {
                    self.access.d.next = self.register.data.val();
                    self.state.d.next = MsixState::RegisterFetch;
                } else if clear {
                    self.requester.d.next = self.flr.data.val();
                    self.word.d.next = bits::<TABLE_BITS>(0);
                    self.state.d.next = MsixState::Clear;
                } else if free && self.request.valid.val() {
                    self.requester.d.next = self.request.data.val().function;
                    self.vector.d.next = self.request.data.val().vector;
                    self.state.d.next = MsixState::First;
                } else if free && self.sweep.q.val().any() {
                    self.requester.d.next = self.at.q.val();
                    self.state.d.next = MsixState::SweepFetch;
                }
            }
            MsixState::RegisterFetch => {
                self.state.d.next = MsixState::RegisterApply;
            }
            MsixState::RegisterApply => {
                let mask = writable(second, access.enable);
                self.words.write_data.next = (value & !mask) | (access.data & mask);
                self.words.write_enable.next = access.write && in_table;
                if access.write || self.response.ready.val() {
                    self.state.d.next = MsixState::Idle;
                }
            }
            MsixState::First => {
                self.state.d.next = MsixState::Second;
            }
            MsixState::Second => {
                self.address.d.next = value;
                self.waiting.d.next = self.pending.read_data.val();
                self.known.d.next = self.states.read_data.val();
                self.state.d.next = MsixState::Decide;
            }
            MsixState::Decide => {
                let bit = bits::<VECTORS>(1) << vector;
                let known = self.known.q.val();
                self.state.d.next = MsixState::Idle;
                if known.msix_enable {
                    self.pending.write_enable.next = true;
                    if value.get_bit(MASK) || !may_send(known) {
                        self.pending.write_data.next = self.waiting.q.val() | bit;
                    } else {
                        self.pending.write_data.next = self.waiting.q.val() & !bit;
                        self.sending.d.next = true;
                        self.message.d.next = Message {
                            function: function,
                            address: self.address.q.val(),
                            data: value.get_bits::<32>(0),
                        };
                    }
                }
            }
            MsixState::SweepFetch => {
                self.state.d.next = MsixState::SweepDecide;
            }
            MsixState::SweepDecide => {
                let found = self.pending.read_data.val() & self.candidates.q.val();
                let first = lowest_one::<VECTORS>(found);
                if found.any() && may_send(self.states.read_data.val()) {
                    self.candidates.d.next = self.candidates.q.val() & !first;
                    self.vector.d.next = one_hot_index::<VECTORS, VECTOR_BITS>(first);
                    self.state.d.next = MsixState::First;
                } else {
                    self.candidates.d.next = !bits::<VECTORS>(0);
                    self.at.d.next = self.at.q.val() + 1;
                    self.sweep.d.next = self.sweep.q.val() - 1;
                    self.state.d.next = MsixState::Idle;
                }
            }
            MsixState::Clear => {
                let word = self.word.q.val();
                self.words.write_address.next = cat2::<FUNCTION_BITS, TABLE_BITS, WORD_BITS>(function, word);
                self.words.write_data.next =
                    if word.get_bit(0) { bits::<64>(1 << MASK) } else { bits::<64>(0) };
                self.words.write_enable.next = true;
                self.pending.write_enable.next = true;
                self.word.d.next = word + 1;
                if word.all() {
                    self.passing.d.next = true;
                    self.passed.d.next = function;
                    self.state.d.next = MsixState::Idle;
                }
            }
            _ => {}
        }

        let unmasked = state == MsixState::RegisterApply && access.write && second && in_table;
        if unmasked || (self.update.val().valid && may_send(self.update.val().state)) {
            self.sweep.d.next = bits::<6>(FUNCTIONS);
            self.candidates.d.next = !bits::<VECTORS>(0);
        }

        self.tlp.valid.next = sending;
        self.tlp.data.next = TlpBeat {
            hdr: header(self.message.q.val(), self.link.val().bus),
            data: bit_cast::<DATA_BITS, 32>(self.message.q.val().data),
            last: true,
        };
        self.sent.next = sending && self.tlp.ready.val();
        if sending && self.tlp.ready.val() {
            self.sending.d.next = false;
        }
        self.cleared.valid.next = self.passing.q.val();
        self.cleared.data.next = self.passed.q.val();
        if self.passing.q.val() && self.cleared.ready.val() {
            self.passing.d.next = false;
        }
        let wanted = self.register.valid.val() || self.request.valid.val() || self.flr.valid.val();
        self.busy.next =
            state != MsixState::Idle || sending || self.passing.q.val() || self.sweep.q.val().any() || wanted;
    }
}
