//! What an error leaves in the registers of a function, and the message that tells it.

use nitride_abi::{card, pci};
use nitride_lang::prelude::*;

use super::store::{Access, DW_BITS, Operation, Place, is_physical, kind_of, physical_after, physical_of};
use crate::bus::{ErrorKind, ErrorReport};
use crate::pcie::request::{ErrorMessage, Severity};

const FIRST: u64 = card::PF_MANAGEMENT as u64;
const LAST: u64 = card::PF_STORAGE as u64;

const COMMAND: u64 = pci::COMMAND as u64 / 4;
const DEVICE: u64 = pci::DEVICE_CONTROL as u64 / 4;
const SEVERITY: u64 = pci::AER_SEVERITY as u64 / 4;
const MASK: u64 = pci::AER_UNCORRECTABLE_MASK as u64 / 4;
const ADVISORY_MASK: u64 = pci::AER_CORRECTABLE_MASK as u64 / 4;
const CORRECTABLE: u64 = pci::AER_CORRECTABLE as u64 / 4;
const UNCORRECTABLE: u64 = pci::AER_UNCORRECTABLE as u64 / 4;
const CONTROL: u64 = pci::AER_CONTROL as u64 / 4;
const HEADER: u64 = pci::AER_HEADER as u64 / 4;

const PARITY: usize = pci::COMMAND_PARITY.ilog2() as usize;
const SERR: usize = pci::COMMAND_SERR.ilog2() as usize;
const ADVISORY: u64 = pci::AER_ADVISORY as u64;
const ADVISORY_BIT: usize = pci::AER_ADVISORY.ilog2() as usize;
const DEVICE_CORRECTABLE: u64 = pci::DEVICE_CORRECTABLE as u64;
const DEVICE_NON_FATAL: u64 = pci::DEVICE_NON_FATAL as u64;
const DEVICE_FATAL: u64 = pci::DEVICE_FATAL as u64;
const DEVICE_UNSUPPORTED: u64 = pci::DEVICE_UNSUPPORTED as u64;
/// Bits of Device Control: the reporting enables.
const REPORT_CORRECTABLE: usize = 0;
const REPORT_NON_FATAL: usize = 1;
const REPORT_FATAL: usize = 2;
const REPORT_UNSUPPORTED: usize = 3;

/// A register that an error concerns, in the order in which they are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum Step {
    /// No error.
    #[default]
    Idle,
    /// AER: Uncorrectable Error Severity.
    Severity,
    /// AER: Uncorrectable Error Mask.
    Mask,
    /// AER: Correctable Error Mask.
    AdvisoryMask,
    /// Device Control of the function, or of a VF's PF (PCIe 4.0 §9.3.5.4).
    Enables,
    /// Device Status.
    Device,
    /// AER: Correctable Error Status.
    Advisory,
    /// AER: First Error Pointer.
    Pointer,
    /// AER: Uncorrectable Error Status.
    Uncorrectable,
    /// AER: First Error Pointer again, to set it.
    Point,
    /// AER: Header Log, four DWs.
    Header,
    /// Command and Status.
    Command,
}

/// Logs errors as PCIe 4.0 Figure 6-2 has it, one by one, and says what message to send.
///
/// - An error of a function takes 29 cycles, one of no function as many for each PF; of these, those that are enabled and have the same
///   severity send one message (§6.2.4).
/// - VFs have no AER: their errors have the severities that AER has after a reset, and an advisory one sends no message (§6.2.3.2.4).
/// - The first error's header stays in the log until its status bit is cleared; Multiple Header Recording is not there.
/// - A masked error is in the status registers alone (§7.8.4.3).
#[derive(LogicBlock, Default)]
pub struct ErrorLog {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Errors. Taken while `grant`.
    pub errors: Sink<ErrorReport>,
    /// The store is free, and this block's until `active` ends.
    pub grant: Signal<In, Bit>,
    /// There is PF1.
    pub network: Signal<In, Bit>,
    /// The function of the error that is offered is there.
    pub there: Signal<In, Bit>,
    /// An error is being logged.
    pub active: Signal<Out, Bit>,
    /// To the store.
    pub place: Signal<Out, Place>,
    /// To the store.
    pub access: Signal<Out, Access>,
    /// From the store.
    pub value: Signal<In, Bits<32>>,
    /// Messages to send. Taken at once.
    pub message: Source<ErrorMessage>,
    report: Reg<ErrorReport>,
    // The function whose registers are written, and in which of them the walk is.
    subject: Reg<Bits<5>>,
    step: Reg<Step>,
    part: Reg<Bits<2>>,
    // The store has read the register.
    fetched: Reg<Bit>,
    // What the registers said: the error is fatal, masked, masked if it is advisory; the reporting enables; the First Error Pointer.
    fatal: Reg<Bit>,
    masked: Reg<Bit>,
    quiet: Reg<Bit>,
    enables: Reg<Bits<4>>,
    pointer: Reg<Bits<5>>,
    // This error is the first: its header is to be logged.
    first: Reg<Bit>,
    // Severities whose message was sent by a PF before this one.
    sent: Reg<Bits<3>>,
}

/// The error's bit in the uncorrectable registers.
#[hdl_fn]
fn aer_bit(kind: ErrorKind) -> Bits<5> {
    match kind {
        ErrorKind::UnsupportedPosted | ErrorKind::UnsupportedNonPosted => {
            bits::<5>(pci::AER_UNSUPPORTED.ilog2() as u64)
        }
        ErrorKind::Aborted => bits::<5>(pci::AER_ABORT.ilog2() as u64),
        ErrorKind::Malformed => bits::<5>(pci::AER_MALFORMED.ilog2() as u64),
        ErrorKind::Unexpected => bits::<5>(pci::AER_UNEXPECTED.ilog2() as u64),
        ErrorKind::Timeout => bits::<5>(pci::AER_TIMEOUT.ilog2() as u64),
        _ => bits::<5>(pci::AER_POISONED.ilog2() as u64),
    }
}

/// The bits that an error sets in Status.
#[hdl_fn]
fn status_bits(kind: ErrorKind, parity: Bit) -> Bits<32> {
    match kind {
        ErrorKind::Aborted => bits::<32>(pci::STATUS_SIGNALED_TARGET_ABORT as u64),
        ErrorKind::Poisoned => bits::<32>(pci::STATUS_PARITY as u64),
        ErrorKind::PoisonedCompletion => {
            if parity {
                bits::<32>((pci::STATUS_PARITY | pci::STATUS_MASTER_PARITY) as u64)
            } else {
                bits::<32>(pci::STATUS_PARITY as u64)
            }
        }
        ErrorKind::MasterAborted => bits::<32>(pci::STATUS_RECEIVED_MASTER_ABORT as u64),
        ErrorKind::TargetAborted => bits::<32>(pci::STATUS_RECEIVED_TARGET_ABORT as u64),
        _ => bits::<32>(0),
    }
}

/// Errors that are advisory unless they are fatal (§6.2.3.2.4).
#[hdl_fn]
fn may_be_advisory(kind: ErrorKind) -> Bit {
    kind == ErrorKind::UnsupportedNonPosted || kind == ErrorKind::Aborted || kind == ErrorKind::Unexpected
}

/// The register of a step.
#[hdl_fn]
fn register(step: Step, part: Bits<2>) -> Bits<DW_BITS> {
    match step {
        Step::Severity => bits::<DW_BITS>(SEVERITY),
        Step::Mask => bits::<DW_BITS>(MASK),
        Step::AdvisoryMask => bits::<DW_BITS>(ADVISORY_MASK),
        Step::Enables | Step::Device => bits::<DW_BITS>(DEVICE),
        Step::Advisory => bits::<DW_BITS>(CORRECTABLE),
        Step::Pointer | Step::Point => bits::<DW_BITS>(CONTROL),
        Step::Uncorrectable => bits::<DW_BITS>(UNCORRECTABLE),
        Step::Header => bit_cast::<DW_BITS, 2>(part) + HEADER,
        _ => bits::<DW_BITS>(COMMAND),
    }
}

impl Logic for ErrorLog {
    #[hdl]
    fn update(&mut self) {
        let step = self.step.q.val();
        let part = self.part.q.val();
        let report = self.report.q.val();
        let kind = report.kind;
        let function = self.subject.q.val();
        let value = self.value.val();
        let fetched = self.fetched.q.val();
        let enables = self.enables.q.val();

        let has_aer = is_physical(function);
        let bit = aer_bit(kind);
        let unsupported = kind == ErrorKind::UnsupportedPosted || kind == ErrorKind::UnsupportedNonPosted;
        let fatal = self.fatal.q.val();
        let advisory = may_be_advisory(kind) && !fatal;
        let quiet = advisory && self.quiet.q.val();

        let owner = if step == Step::Enables { physical_of(function) } else { function };
        self.place.next = Place { function: owner, kind: kind_of(owner), dw: register(step, part) };
        let mut operation: Operation = Operation::Read;
        let mut data = bits::<32>(0);
        self.message.valid.next = false;
        let severity = if advisory {
            Severity::Correctable
        } else if fatal {
            Severity::Fatal
        } else {
            Severity::NonFatal
        };
        self.message.data.next = ErrorMessage { function: function, severity: severity };

        if step != Step::Idle {
            self.fetched.d.next = !fetched;
        }
        if fetched {
            match step {
                Step::Severity => {
                    self.fatal.d.next = has_aer && value.get_bit(bit.index());
                    self.step.d.next = Step::Mask;
                }
                Step::Mask => {
                    self.masked.d.next = has_aer && value.get_bit(bit.index());
                    self.step.d.next = Step::AdvisoryMask;
                }
                Step::AdvisoryMask => {
                    self.quiet.d.next = !has_aer || value.get_bit(ADVISORY_BIT);
                    self.step.d.next = Step::Enables;
                }
                Step::Enables => {
                    self.enables.d.next = value.get_bits::<4>(0);
                    self.step.d.next = Step::Device;
                }
                Step::Device => {
                    operation = Operation::Set;
                    data = if advisory {
                        bits::<32>(DEVICE_CORRECTABLE)
                    } else if fatal {
                        bits::<32>(DEVICE_FATAL)
                    } else {
                        bits::<32>(DEVICE_NON_FATAL)
                    };
                    if unsupported {
                        data = data | DEVICE_UNSUPPORTED;
                    }
                    self.step.d.next = if has_aer { Step::Advisory } else { Step::Command };
                }
                Step::Advisory => {
                    operation = Operation::Set;
                    data = if advisory { bits::<32>(ADVISORY) } else { bits::<32>(0) };
                    self.step.d.next = if quiet { Step::Command } else { Step::Pointer };
                }
                Step::Pointer => {
                    self.pointer.d.next = value.get_bits::<5>(0);
                    self.step.d.next = Step::Uncorrectable;
                }
                Step::Uncorrectable => {
                    operation = Operation::Set;
                    data = bits::<32>(1) << bit;
                    let first = !self.masked.q.val() && !value.get_bit(self.pointer.q.val().index());
                    self.step.d.next = if first { Step::Point } else { Step::Command };
                }
                Step::Point => {
                    operation = Operation::Load;
                    data = bit_cast::<32, 5>(bit);
                    self.step.d.next = Step::Header;
                }
                Step::Header => {
                    operation = Operation::Load;
                    data = match part.index() {
                        0 => report.header.get_bits::<32>(0),
                        1 => report.header.get_bits::<32>(32),
                        2 => report.header.get_bits::<32>(64),
                        _ => report.header.get_bits::<32>(96),
                    };
                    self.part.d.next = part + 1;
                    if part == 3 {
                        self.step.d.next = Step::Command;
                    }
                }
                _ => {
                    let serr = value.get_bit(SERR) && has_aer && !advisory;
                    let told = kind != ErrorKind::MasterAborted && kind != ErrorKind::TargetAborted;
                    let wanted = match severity {
                        Severity::Correctable => enables.get_bit(REPORT_CORRECTABLE),
                        Severity::Fatal => enables.get_bit(REPORT_FATAL),
                        _ => enables.get_bit(REPORT_NON_FATAL),
                    };
                    let enabled = serr || (wanted && (!unsupported || enables.get_bit(REPORT_UNSUPPORTED)));
                    let tells = told && enabled && !self.masked.q.val() && !quiet;
                    let sent = self.sent.q.val();
                    let mine = match severity {
                        Severity::Correctable => bits::<3>(1),
                        Severity::Fatal => bits::<3>(4),
                        _ => bits::<3>(2),
                    };
                    let sends = tells && !(sent & mine).any();
                    self.message.valid.next = sends;
                    if sends {
                        self.sent.d.next = sent | mine;
                    }
                    operation = Operation::Set;
                    data = status_bits(kind, value.get_bit(PARITY));
                    if sends && serr {
                        data = data | pci::STATUS_SIGNALED_SYSTEM_ERROR as u64;
                    }
                    if report.specific || function == LAST {
                        self.step.d.next = Step::Idle;
                    } else {
                        self.subject.d.next = physical_after(function, self.network.val());
                        self.step.d.next = Step::Severity;
                    }
                }
            }
        }
        self.access.next =
            Access { operation: operation, data: data, enable: bits::<4>(0), hold: bits::<32>(0) };

        let takes = step == Step::Idle && self.grant.val();
        self.errors.ready.next = takes;
        if takes && self.errors.valid.val() {
            let offered = self.errors.data.val();
            let specific = offered.specific && self.there.val();
            let silent = offered.kind == ErrorKind::MasterAborted || offered.kind == ErrorKind::TargetAborted;
            self.report.d.next = ErrorReport { specific: specific, ..offered };
            self.subject.d.next = if specific { offered.function } else { bits::<5>(FIRST) };
            self.step.d.next = if !silent {
                Step::Severity
            } else if specific {
                Step::Command
            } else {
                Step::Idle
            };
            self.fetched.d.next = false;
            self.part.d.next = bits::<2>(0);
            self.sent.d.next = bits::<3>(0);
        }
        self.active.next = step != Step::Idle;
    }
}
