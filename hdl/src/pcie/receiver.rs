//! The card's receive side: tells completions from requests, checks both, and normalises requests.

use nitride_abi::tlp;
use nitride_lang::prelude::*;

use super::request::{Request, RequestKind, Ticket};
use crate::bus::{ErrorKind, ErrorPulse, ErrorReport, TlpBeat};

const FMT: usize = tlp::FMT.bit();
const TYPE: usize = tlp::TYPE.bit();
const LENGTH: usize = tlp::LENGTH.bit();
const TRAFFIC_CLASS: usize = tlp::TRAFFIC_CLASS.bit();
const TAG_9: usize = tlp::TAG_9.bit();
const TAG_8: usize = tlp::TAG_8.bit();
const TAG: usize = tlp::TAG.bit();
const ATTR_IDO: usize = tlp::ATTR_IDO.bit();
const ATTR: usize = tlp::ATTR.bit();
const DIGEST: usize = tlp::DIGEST.bit();
const POISONED: usize = tlp::POISONED.bit();
const ADDRESS_TYPE: usize = tlp::ADDRESS_TYPE.bit();
const REQUESTER: usize = tlp::REQUESTER.bit();
const LAST_BE: usize = tlp::LAST_BE.bit();
const FIRST_BE: usize = tlp::FIRST_BE.bit();
const ADDRESS_32: usize = tlp::ADDRESS_32.bit();
const ADDRESS_LOW: usize = tlp::ADDRESS_LOW.bit();
const MEMORY: u64 = tlp::TYPE_MEMORY as u64;
const LOCKED: u64 = tlp::TYPE_LOCKED as u64;
const IO: u64 = tlp::TYPE_IO as u64;
const CONFIG_0: u64 = tlp::TYPE_CONFIG_0 as u64;
const CONFIG_1: u64 = tlp::TYPE_CONFIG_1 as u64;
const COMPLETION: u64 = tlp::TYPE_COMPLETION as u64;
const FETCH_ADD: u64 = tlp::TYPE_FETCH_ADD as u64;
const CAS: u64 = tlp::TYPE_CAS as u64;
const MESSAGE: u64 = tlp::TYPE_MESSAGE as u64 >> 3;

/// Classes of TLPs by Fmt and Type (PCIe 4.0 §2.2.1, Table 2-3).
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum Class {
    /// Reserved, of a kind that nothing can be done with, or with fields that contradict one another.
    #[default]
    Malformed,
    /// MRd, MWr.
    Memory,
    /// CfgRd0, CfgWr0.
    Config,
    /// Non-posted and not for this card.
    Refused,
    /// Cpl, CplD.
    Completion,
    /// Msg, MsgD: of no use to the card, and silently dropped.
    Message,
}

/// The class of a header, its fields checked as far as §2.2.5 and §2.2.7 let a receiver do it.
#[hdl_fn]
fn classify(hdr: Bits<128>) -> Class {
    let kind = hdr.get_bits::<5>(TYPE);
    let wide = hdr.get_bit(FMT);
    let with_data = hdr.get_bit(FMT + 1);
    let single = hdr.get_bits::<10>(LENGTH) == 1;
    let first = hdr.get_bits::<4>(FIRST_BE);
    let last = hdr.get_bits::<4>(LAST_BE);
    let enables = if single { !last.any() } else { first.any() && last.any() };
    let mut class: Class = Class::Malformed;
    if kind == MEMORY {
        if enables && !hdr.get_bits::<2>(ADDRESS_TYPE).any() {
            class = Class::Memory;
        }
    } else if (kind == CONFIG_0 || kind == CONFIG_1 || kind == IO) && !wide {
        if single && !last.any() {
            class = if kind == CONFIG_0 { Class::Config } else { Class::Refused };
        }
    } else if (kind == LOCKED && !with_data) || (kind >= FETCH_ADD && kind <= CAS && with_data) {
        class = Class::Refused;
    } else if kind == COMPLETION && !wide {
        class = Class::Completion;
    } else if kind.get_bits::<2>(3) == MESSAGE && wide {
        class = Class::Message;
    }
    // Fmt bit 2: a prefix. TD: the edge carries no digests.
    if hdr.get_bit(FMT + 2) || hdr.get_bit(DIGEST) {
        class = Class::Malformed;
    }
    class
}

/// Beats of a TLP: 1 to 128.
#[hdl_fn]
fn beats(hdr: Bits<128>) -> Bits<8> {
    let length = hdr.get_bits::<10>(LENGTH);
    let whole = bit_cast::<8, 7>(length.get_bits::<7>(3));
    let rounded = if length.get_bits::<3>(0).any() { whole + 1 } else { whole };
    if !hdr.get_bit(FMT + 1) {
        bits::<8>(1)
    } else if length.any() {
        rounded
    } else {
        bits::<8>(128)
    }
}

/// Disabled bytes below the first enabled one.
#[hdl_fn]
fn leading(enable: Bits<4>) -> Bits<2> {
    if enable.get_bit(0) || !enable.any() {
        bits::<2>(0)
    } else if enable.get_bit(1) {
        bits::<2>(1)
    } else if enable.get_bit(2) {
        bits::<2>(2)
    } else {
        bits::<2>(3)
    }
}

/// Disabled bytes above the last enabled one.
#[hdl_fn]
fn trailing(enable: Bits<4>) -> Bits<2> {
    if enable.get_bit(3) || !enable.any() {
        bits::<2>(0)
    } else if enable.get_bit(2) {
        bits::<2>(1)
    } else if enable.get_bit(1) {
        bits::<2>(2)
    } else {
        bits::<2>(3)
    }
}

/// What the completion of a request carries: byte count and lower address of a memory read after PCIe 4.0 §2.3.1.1, Tables
/// 2-37 to 2-39; 4 and 0 for all others (§2.2.9).
#[hdl_fn]
fn ticket(hdr: Bits<128>, read: Bit, address: Bits<64>) -> Ticket {
    let length = hdr.get_bits::<10>(LENGTH);
    let first = hdr.get_bits::<4>(FIRST_BE);
    let last = hdr.get_bits::<4>(LAST_BE);
    let skipped = leading(first);
    let unused = if length == 1 { trailing(first) } else { trailing(last) };
    let whole = cat2::<10, 2, 12>(length, bits::<2>(0));
    let enabled = whole - bit_cast::<12, 2>(skipped) - bit_cast::<12, 2>(unused);
    let count = if length == 1 && !first.any() { bits::<12>(1) } else { enabled };
    let lower = cat2::<5, 2, 7>(address.get_bits::<5>(2), skipped);
    let high = cat2::<1, 1, 2>(hdr.get_bits::<1>(TAG_9), hdr.get_bits::<1>(TAG_8));
    Ticket {
        requester: hdr.get_bits::<16>(REQUESTER),
        tag: cat2::<2, 8, 10>(high, hdr.get_bits::<8>(TAG)),
        traffic_class: hdr.get_bits::<3>(TRAFFIC_CLASS),
        attributes: cat2::<1, 2, 3>(hdr.get_bits::<1>(ATTR_IDO), hdr.get_bits::<2>(ATTR)),
        byte_count: if read { count } else { bits::<12>(4) },
        lower_address: if read { lower } else { bits::<7>(0) },
    }
}

/// The request of a header of class Memory, Config or Refused with the first two DWs of its payload.
#[hdl_fn]
fn request(hdr: Bits<128>, payload: Bits<64>, class: Class) -> Request {
    let with_data = hdr.get_bit(FMT + 1);
    let poisoned = hdr.get_bit(POISONED) && with_data;
    let high = hdr.get_bits::<32>(ADDRESS_32);
    let address = if hdr.get_bit(FMT) {
        cat2::<32, 32, 64>(high, hdr.get_bits::<32>(ADDRESS_LOW) & 0xffff_fffc)
    } else {
        bit_cast::<64, 32>(high & 0xffff_fffc)
    };
    let memory = class == Class::Memory;
    let upper = address.get_bit(2) && memory;
    let length = hdr.get_bits::<10>(LENGTH);
    let first = hdr.get_bits::<4>(FIRST_BE);
    let last = hdr.get_bits::<4>(LAST_BE);
    let double = length == 2;
    let word = if double { payload } else { bit_cast::<64, 32>(payload.get_bits::<32>(0)) };
    let mut kind: RequestKind = RequestKind::Refused;
    if memory {
        kind = if !with_data {
            RequestKind::MemoryRead
        } else if poisoned {
            RequestKind::Poisoned
        } else {
            RequestKind::MemoryWrite
        };
    } else if class == Class::Config && !poisoned {
        kind = if with_data { RequestKind::ConfigWrite } else { RequestKind::ConfigRead };
    } else if class == Class::Malformed {
        kind = RequestKind::Malformed;
    }
    Request {
        kind: kind,
        poisoned: poisoned,
        fits: length == 1 || (double && !upper),
        double: double,
        address: address,
        data: if upper { word << 32 } else { word },
        enable: if upper { cat2::<4, 4, 8>(first, bits::<4>(0)) } else { cat2::<4, 4, 8>(last, first) },
        ticket: ticket(hdr, memory && !with_data, address),
        header: hdr,
    }
}

/// Sorts what arrives from the link.
///
/// - Completions pass through whole, also poisoned ones, with a latency of 1 cycle and a beat each cycle. Their framing is
///   right, except for one that ends too early after its first beat: its `last` then comes early. Both that and one that goes
///   on too long (it is cut at its length) pulse `malformed`.
/// - Requests become [`Request`]s, 1 each cycle, which wait for `requests.ready`. What follows a request's first beat is dropped.
/// - Malformed TLPs, and poisoned memory writes, are dropped, and become a [`Request`] of that kind. After any TLP, also one whose length
///   and beats disagree, the next begins after its `last`. Messages are dropped.
#[derive(LogicBlock, Default)]
pub struct Receiver {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// TLPs from the link.
    pub rx: Sink<TlpBeat>,
    /// Completions of the card's reads.
    pub completions: Source<TlpBeat>,
    /// Requests, and news of dropped TLPs.
    pub requests: Source<Request>,
    /// A completion's length and beats disagree.
    pub malformed: Signal<Out, ErrorPulse>,
    /// A beat is held.
    pub busy: Signal<Out, Bit>,
    beat: Reg<TlpBeat>,
    full: Reg<Bit>,
    // Inside of a TLP: its first beat has been seen, its last has not.
    open: Reg<Bit>,
    // Beats of the completion that are still to be passed on; 0: drop the rest of the TLP.
    remaining: Reg<Bits<8>>,
}

impl Logic for Receiver {
    #[hdl]
    fn update(&mut self) {
        let beat = self.beat.q.val();
        let hdr = beat.hdr;
        let first = !self.open.q.val();
        let expected = beats(hdr);
        // A TLP whose first beat already contradicts its length is malformed as a whole.
        let framed = beat.last == (expected == 1);
        let class = if framed { classify(hdr) } else { Class::Malformed };
        let left = if first { expected } else { self.remaining.q.val() };
        let passes = if first { class == Class::Completion } else { left.any() };
        let becomes = first && class != Class::Completion && class != Class::Message;

        let full = self.full.q.val();
        let ready = (!passes || self.completions.ready.val()) && (!becomes || self.requests.ready.val());
        let moves = full && ready;
        self.completions.valid.next = full && passes;
        self.completions.data.next = TlpBeat { hdr: hdr, data: beat.data, last: beat.last || left == 1 };
        self.requests.valid.next = full && becomes;
        self.requests.data.next = request(hdr, beat.data.get_bits::<64>(0), class);
        self.malformed.next = ErrorPulse {
            valid: moves && !first && passes && beat.last != (left == 1),
            report: ErrorReport {
                kind: ErrorKind::Malformed,
                specific: false,
                function: bits::<5>(0),
                header: hdr,
            },
        };
        if moves {
            self.open.d.next = !beat.last;
            self.remaining.d.next = if passes { left - 1 } else { bits::<8>(0) };
        }

        self.rx.ready.next = !full || ready;
        if !full || ready {
            self.full.d.next = self.rx.valid.val();
            if self.rx.valid.val() {
                self.beat.d.next = self.rx.data.val();
            }
        }
        self.busy.next = full;
    }
}
