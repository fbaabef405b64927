//! What differs in the pages that the admin engine makes: one DW at a time.

use nitride_abi::card;
use nitride_abi::nvme::identify::{controller as c, descriptor, namespace as n};
use nitride_abi::nvme::{NGUID_PREFIX, SERIAL_PREFIX, SUBNQN_PREFIX, log};
use nitride_lang::prelude::*;

use super::templates::{TEMPLATE_BITS, Template, contents, place};
use crate::bus::Volume;
use crate::function::function_of;
use crate::nvme::smart::Counter;

/// The DW of a byte offset.
const fn dword(offset: usize) -> u64 {
    offset as u64 / 4
}

/// The first bit of a byte offset in its DW.
const fn bit(offset: usize) -> u64 {
    8 * (offset as u64 % 4)
}

/// The last two bytes of the serial number and of the NQN, the function number in hexadecimal.
const SERIAL: usize = c::SN + SERIAL_PREFIX.len();
const SUBNQN: usize = c::SUBNQN + SUBNQN_PREFIX.len();
/// The last two bytes of the NGUID, function number and NSID.
const NGUID: usize = n::NGUID + NGUID_PREFIX.len();
const DESCRIPTOR_NGUID: usize = descriptor::NID + NGUID_PREFIX.len();
/// Identify Controller, CMIC: this controller is a virtual function (NVMe 1.4 §5.15.2.2).
const CMIC_VIRTUAL: u64 = 1 << 2;

/// A hexadecimal digit in ASCII.
#[hdl_fn]
fn hexadecimal(nibble: Bits<4>) -> Bits<8> {
    if nibble < 10 {
        bit_cast::<8, 4>(nibble) + b'0' as u64
    } else {
        bit_cast::<8, 4>(nibble) + (b'a' as u64 - 10)
    }
}

/// DWs of the Error Information log.
const ERROR_DWORDS: u64 = (log::error::ENTRIES * log::error::BYTES) as u64 / 4;

/// The DW is one of the 16 bytes at `offset`.
#[hdl_fn]
fn is_at(dword: Bits<11>, offset: usize) -> Bit {
    dword.get_bits::<9>(2) == offset as u64 / 16
}

/// The [`Counter`] of the SMART log at a DW; some, where there is none.
#[hdl_fn]
fn counter_at(dword: Bits<11>) -> Bits<3> {
    if is_at(dword, log::smart::DATA_UNITS_READ) {
        bits::<3>(Counter::UNITS_READ)
    } else if is_at(dword, log::smart::DATA_UNITS_WRITTEN) {
        bits::<3>(Counter::UNITS_WRITTEN)
    } else if is_at(dword, log::smart::HOST_READ_COMMANDS) {
        bits::<3>(Counter::READS)
    } else if is_at(dword, log::smart::HOST_WRITE_COMMANDS) {
        bits::<3>(Counter::WRITES)
    } else {
        bits::<3>(Counter::MEDIA_ERRORS)
    }
}

/// There is a count in the SMART log at a DW.
#[hdl_fn]
fn has_count(dword: Bits<11>) -> Bit {
    is_at(dword, log::smart::DATA_UNITS_READ)
        || is_at(dword, log::smart::DATA_UNITS_WRITTEN)
        || is_at(dword, log::smart::HOST_READ_COMMANDS)
        || is_at(dword, log::smart::HOST_WRITE_COMMANDS)
        || is_at(dword, log::smart::MEDIA_ERRORS)
        || is_at(dword, log::smart::ERROR_ENTRIES)
}

/// Whose page it is.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Subject {
    /// What kind of page.
    pub template: Template,
    /// Whose.
    pub controller: Bits<4>,
    /// Which of its namespaces, NSID less 1.
    pub namespace: Bits<2>,
    /// That namespace's volume.
    pub volume: Volume,
    /// The namespaces of a list, NSID less 1 by bit.
    pub listed: Bits<4>,
    /// The DW of the page to begin with.
    pub offset: Bits<11>,
}

/// The DWs of a page, in their order: the template's from ROM with what is the subject's put in.
///
/// `data` answers `next` one cycle later, a DW each cycle. The DWs before the subject's offset are passed over, `valid` low.
#[derive(LogicBlock)]
pub struct Content {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Begin with DW 0. `subject` holds from here on.
    pub start: Signal<In, Bit>,
    /// Whose page.
    pub subject: Signal<In, Subject>,
    /// Go on to the next DW.
    pub next: Signal<In, Bit>,
    /// A count of the SMART log: the [`Counter`] that was asked for, or that of errors.
    pub count: Signal<In, Bits<64>>,
    /// Show this [`Counter`] in the next cycle.
    pub counter: Signal<Out, Bits<3>>,
    /// The DW of the Error Information log that was asked for.
    pub error: Signal<In, Bits<32>>,
    /// Show this DW of it in the next cycle.
    pub error_index: Signal<Out, Bits<6>>,
    /// More DWs of it are to come.
    pub wants_errors: Signal<Out, Bit>,
    /// The controller's errors.
    pub errors: Signal<In, Bits<64>>,
    /// A DW.
    pub data: Signal<Out, Bits<32>>,
    /// `data` is one.
    pub valid: Signal<Out, Bit>,
    /// Which one, from the offset on.
    pub index: Signal<Out, Bits<10>>,
    rom: Rom<Bits<32>, 11>,
    /// DWs that were asked for.
    asked: Reg<Bits<11>>,
    shown: Reg<Bits<11>>,
    showing: Reg<Bit>,
    listed: Reg<Bits<4>>,
}

impl Default for Content {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            start: Signal::default(),
            subject: Signal::default(),
            next: Signal::default(),
            count: Signal::default(),
            counter: Signal::default(),
            error: Signal::default(),
            error_index: Signal::default(),
            wants_errors: Signal::default(),
            errors: Signal::default(),
            data: Signal::default(),
            valid: Signal::default(),
            index: Signal::default(),
            rom: Rom::new(contents()),
            asked: Reg::default(),
            shown: Reg::default(),
            showing: Reg::default(),
            listed: Reg::default(),
        }
    }
}

impl Logic for Content {
    #[hdl]
    fn update(&mut self) {
        let subject = self.subject.val();
        let asked = self.asked.q.val();
        let shown = self.shown.q.val();
        self.showing.d.next = self.next.val();
        if self.next.val() {
            self.asked.d.next = asked + 1;
            self.shown.d.next = asked;
        }
        if self.start.val() {
            self.asked.d.next = bits::<11>(0);
            self.listed.d.next = subject.listed;
        }
        self.rom.address.next = cat2::<3, 8, 11>(place(subject.template), asked.get_bits::<TEMPLATE_BITS>(0));
        self.counter.next = counter_at(asked);
        self.error_index.next = asked.get_bits::<6>(0);
        self.wants_errors.next = asked <= ERROR_DWORDS;

        let beyond = shown.get_bits::<3>(TEMPLATE_BITS) != 0;
        let constant = if beyond { bits::<32>(0) } else { self.rom.data.val() };
        let function = function_of(subject.controller);
        let high = hexadecimal(bit_cast::<4, 1>(function.get_bits::<1>(4)));
        let digits = cat2::<8, 8, 16>(hexadecimal(function.get_bits::<4>(0)), high);
        let nsid = bit_cast::<8, 2>(subject.namespace) + 1;
        let guid = cat2::<8, 8, 16>(nsid, bit_cast::<8, 5>(function));
        let blocks = bit_cast::<64, 40>(subject.volume.blocks);
        let mut data = constant;
        match subject.template {
            Template::Controller => {
                if shown == dword(SERIAL) {
                    data = cat2::<16, 16, 32>(digits, constant.get_bits::<16>(0));
                }
                if shown == dword(SUBNQN) {
                    data = cat2::<16, 16, 32>(digits, constant.get_bits::<16>(0));
                }
                if shown == dword(c::CMIC) && subject.controller != 0 {
                    data = constant | (CMIC_VIRTUAL << bit(c::CMIC));
                }
            }
            Template::Namespace => {
                if shown <= dword(n::NUSE + 7) {
                    data =
                        if shown.get_bit(0) { blocks.get_bits::<32>(32) } else { blocks.get_bits::<32>(0) };
                }
                if shown == dword(n::FLBAS) && subject.volume.large_blocks {
                    data = constant | (1 << bit(n::FLBAS));
                }
                if shown == dword(n::NSATTR) && subject.volume.read_only {
                    data = constant | (1 << bit(n::NSATTR));
                }
                if shown == dword(NGUID) {
                    data = cat2::<16, 16, 32>(guid, constant.get_bits::<16>(0));
                }
            }
            Template::Descriptors => {
                if shown == dword(DESCRIPTOR_NGUID) {
                    data = cat2::<16, 16, 32>(guid, constant.get_bits::<16>(0));
                }
            }
            Template::Smart => {
                let is_count = shown.get_bits::<2>(0) < 2 && has_count(shown);
                let count = if is_at(shown, log::smart::ERROR_ENTRIES) {
                    self.errors.val()
                } else {
                    self.count.val()
                };
                if is_count {
                    data = if shown.get_bit(0) { count.get_bits::<32>(32) } else { count.get_bits::<32>(0) };
                }
            }
            Template::Errors => {
                data = if shown < ERROR_DWORDS { self.error.val() } else { bits::<32>(0) };
            }
            Template::List => {
                let first = lowest_one::<4>(self.listed.q.val());
                data = if first.any() {
                    bit_cast::<32, 2>(one_hot_index::<4, 2>(first)) + 1
                } else {
                    bits::<32>(0)
                };
                if self.showing.q.val() {
                    self.listed.d.next = self.listed.q.val() & !first;
                }
            }
            Template::Firmware => {}
            Template::Zeroes => {
                data = bits::<32>(0);
            }
        }
        self.data.next = data;
        self.valid.next = self.showing.q.val() && shown >= subject.offset;
        self.index.next = (shown - subject.offset).get_bits::<10>(0);
    }
}

const _: () = assert!(card::NAMESPACES == 4, "a list of namespaces is 4 bits");
