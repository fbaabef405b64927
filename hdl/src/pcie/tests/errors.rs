//! Errors: what the registers tell of them, and the messages that tell the host (PCIe 4.0 §6.2).

use nitride_abi::pci;
use nitride_abi::tlp::{self, ERR_COR, ERR_FATAL, ERR_NONFATAL, Header, Kind};

use super::host::{HOST, Host};
use crate::bus::ErrorKind;

/// Device Control: all four reporting enables.
const ALL: u16 = 0xf;
const CORRECTABLE: u16 = 1;
const NON_FATAL: u16 = 2;
const FATAL: u16 = 4;
const UNSUPPORTED: u16 = 8;
const PF2: u8 = 2;
const VF1: u8 = 17;

fn memory(write: bool, address: u64, length: u16, tag: u8) -> [u32; 4] {
    let last = if length > 1 { 0xf } else { 0 };
    Header::new(length, Kind::Memory { write, requester: HOST, tag, first: 0xf, last, address }).emit()
}

/// A read that is too large for the registers: Completer Abort.
fn abort(host: &mut Host, address: u64, tag: u8) -> [u32; 4] {
    let words = memory(false, address, 3, tag);
    host.send(&words, &[]);
    host.answer(tag);
    host.settle();
    words
}

/// A memory write that belongs to nobody: Unsupported Request.
fn unclaimed(host: &mut Host, address: u64) -> [u32; 4] {
    let words = memory(true, address, 1, 0);
    host.send(&words, &[0]);
    host.settle();
    words
}

fn malformed(host: &mut Host) -> [u32; 4] {
    let mut words = memory(false, 0x1000, 1, 0);
    tlp::TYPE.set(&mut words, 0b11111);
    host.send(&words, &[]);
    host.settle();
    words
}

fn report(host: &mut Host, function: u8, enables: u16) {
    host.config_write_16(function, pci::DEVICE_CONTROL, 1 << 8 | 2 << 12 | enables);
}

fn log(host: &mut Host, function: u8) -> [u32; 4] {
    std::array::from_fn(|i| host.config_read(function, pci::AER_HEADER + 4 * i as u16))
}

fn pointer(host: &mut Host, function: u8) -> u32 {
    host.config_read(function, pci::AER_CONTROL)
}

#[test]
fn an_advisory_error_is_told_by_err_cor_once_it_is_unmasked() {
    let mut host = Host::new();
    let bar = host.boot()[1];
    report(&mut host, PF2, ALL);
    abort(&mut host, bar, 3);
    assert_eq!(host.messages(), []);
    assert_eq!(host.config_read(PF2, pci::AER_CORRECTABLE), 1 << 13);
    assert_eq!(host.config_read(PF2, pci::AER_UNCORRECTABLE), 0, "its mask is set after reset");

    host.config_write(PF2, pci::AER_CORRECTABLE_MASK, 0);
    let words = abort(&mut host, bar + 8, 4);
    assert_eq!(host.messages(), [(2, ERR_COR)]);
    assert_eq!(host.config_read(PF2, pci::AER_UNCORRECTABLE), 1 << 15);
    assert_eq!((pointer(&mut host, PF2), log(&mut host, PF2)), (15, words));
    report(&mut host, PF2, ALL & !CORRECTABLE);
    abort(&mut host, bar, 5);
    assert_eq!(host.messages(), []);
    // With the severity "fatal" it is advisory no more.
    report(&mut host, PF2, ALL);
    host.config_write(PF2, pci::AER_SEVERITY, 1 << 15);
    abort(&mut host, bar, 6);
    assert_eq!(host.messages(), [(2, ERR_FATAL)]);
    assert_eq!(host.config_read(PF2, pci::DEVICE_CONTROL) >> 16, 0b101);
}

#[test]
fn the_first_errors_header_stays_until_its_status_is_cleared() {
    let mut host = Host::new();
    host.boot();
    let first = unclaimed(&mut host, 0x5_0000_1000);
    malformed(&mut host);
    for pf in [0, PF2] {
        assert_eq!((pointer(&mut host, pf), log(&mut host, pf)), (20, first));
        assert_eq!(host.config_read(pf, pci::AER_UNCORRECTABLE), 1 << 20 | 1 << 18);
    }
    // Only PF2's is cleared, so that only PF2 logs the next one.
    host.config_write(PF2, pci::AER_UNCORRECTABLE, 1 << 20);
    let second = malformed(&mut host);
    assert_eq!((pointer(&mut host, PF2), log(&mut host, PF2)), (18, second));
    assert_eq!((pointer(&mut host, 0), log(&mut host, 0)), (20, first));
    // Host software can't write it, and a function-level reset leaves it alone.
    host.config_write(PF2, pci::AER_CONTROL, !0);
    host.config_write(PF2, pci::AER_HEADER, !0);
    host.config_write_16(PF2, pci::DEVICE_CONTROL, 1 << 15);
    host.settle();
    host.finish_resets();
    assert_eq!((pointer(&mut host, PF2), log(&mut host, PF2)), (18, second));
    assert_eq!(host.config_read(PF2, pci::AER_UNCORRECTABLE), 1 << 18);
}

#[test]
fn an_error_of_no_function_is_told_once_a_severity() {
    let mut host = Host::new();
    host.boot();
    malformed(&mut host);
    assert_eq!(host.messages(), [], "nobody reports");
    report(&mut host, PF2, FATAL);
    malformed(&mut host);
    assert_eq!(host.messages(), [(2, ERR_FATAL)]);
    report(&mut host, 0, FATAL);
    malformed(&mut host);
    assert_eq!(host.messages(), [(0, ERR_FATAL)]);
    host.config_write(PF2, pci::AER_SEVERITY, 0);
    malformed(&mut host);
    assert_eq!(host.messages(), [(0, ERR_FATAL)], "PF2 reports no non-fatal ones");
    report(&mut host, PF2, NON_FATAL);
    malformed(&mut host);
    assert_eq!(host.messages(), [(0, ERR_FATAL), (2, ERR_NONFATAL)]);
}

#[test]
fn a_masked_error_is_in_the_status_alone() {
    let mut host = Host::new();
    host.boot();
    for pf in [0, PF2] {
        report(&mut host, pf, ALL);
        host.config_write(pf, pci::AER_UNCORRECTABLE_MASK, 1 << 20);
    }
    unclaimed(&mut host, 0x5000_0000);
    assert_eq!(host.messages(), []);
    assert_eq!(host.config_read(0, pci::AER_UNCORRECTABLE), 1 << 20);
    assert_eq!(host.config_read(0, pci::DEVICE_CONTROL) >> 16, 0b1010);
    assert_eq!((pointer(&mut host, 0), log(&mut host, 0)), (0, [0; 4]));
}

#[test]
fn unsupported_requests_have_an_enable_of_their_own_and_serr_overrides() {
    let mut host = Host::new();
    host.boot();
    for (enables, serr, told) in [
        (NON_FATAL, false, false),
        (UNSUPPORTED, false, false),
        (NON_FATAL | UNSUPPORTED, false, true),
        (0, true, true),
    ] {
        report(&mut host, PF2, enables);
        host.config_write_16(PF2, pci::COMMAND, 6 | u16::from(serr) << 8);
        unclaimed(&mut host, 0x5000_0000);
        assert_eq!(
            host.messages(),
            if told { vec![(2, ERR_NONFATAL)] } else { vec![] },
            "{enables:x} {serr}"
        );
        assert_eq!(host.config_read(PF2, pci::COMMAND) >> 30 & 1, u32::from(serr), "Signaled System Error");
    }
}

#[test]
fn a_vf_tells_its_errors_under_its_own_number_if_its_pf_reports() {
    let mut host = Host::new();
    let bar = host.boot()[2] + 0x4000;
    let mut poisoned = memory(true, bar, 1, 0);
    tlp::POISONED.set(&mut poisoned, 1);
    host.send(&poisoned, &[1]);
    assert_eq!(host.messages(), []);
    report(&mut host, PF2, NON_FATAL | CORRECTABLE);
    host.send(&poisoned, &[1]);
    assert_eq!(host.messages(), [(17, ERR_NONFATAL)]);
    assert_eq!(host.config_read(VF1, pci::COMMAND) >> 31, 1, "Detected Parity Error");
    assert_eq!(host.config_read(VF1, pci::DEVICE_CONTROL) >> 16, 0b10);
    for pf in [0, PF2] {
        assert_eq!(host.config_read(pf, pci::DEVICE_CONTROL) >> 16, 0, "no PF has to do with it");
    }
    // It has no AER, so that an advisory error has no message (§6.2.3.2.4) and no registers but these.
    abort(&mut host, bar, 3);
    assert_eq!(host.messages(), []);
    assert_eq!(host.config_read(VF1, pci::DEVICE_CONTROL) >> 16, 0b11);
    assert_eq!(host.config_read(VF1, pci::AER_CORRECTABLE), 0);
}

#[test]
fn errors_of_the_cards_reads_are_their_functions() {
    let mut host = Host::new();
    host.boot();
    report(&mut host, PF2, ALL);
    let completion = |requester| {
        let kind = Kind::Completion {
            data: false,
            completer: HOST,
            status: tlp::Status::UnsupportedRequest,
            byte_count: 4,
            requester,
            tag: 9,
            lower_address: 0,
        };
        Header::new(0, kind).emit()
    };
    host.read_error(ErrorKind::Timeout, PF2, [!0; 4]);
    assert_eq!(host.messages(), [(2, ERR_NONFATAL)]);
    assert_eq!((pointer(&mut host, PF2), log(&mut host, PF2)), (14, [!0; 4]));
    host.read_error(ErrorKind::Timeout, VF1, [!0; 4]);
    assert_eq!(host.messages(), [(17, ERR_NONFATAL)]);

    // UR and CA of the host are no errors of the card's; Status tells them. So it does poisoned data, to who asks for parity.
    for (kind, status) in [(ErrorKind::MasterAborted, 1 << 29), (ErrorKind::TargetAborted, 1 << 28)] {
        host.read_error(kind, VF1, completion(0));
        assert_eq!(host.config_read(VF1, pci::COMMAND) & 0xf900_0000, status);
        host.config_write(VF1, pci::COMMAND, status);
    }
    assert_eq!(host.messages(), []);
    host.config_write_16(PF2, pci::COMMAND, 0x46);
    host.read_error(ErrorKind::PoisonedCompletion, PF2, completion(0));
    assert_eq!(host.messages(), [(2, ERR_NONFATAL)]);
    assert_eq!(host.config_read(PF2, pci::COMMAND) & 0xf900_0000, 0x8100_0000);

    // An unexpected completion is its function's if there is one, and advisory.
    host.config_write(PF2, pci::AER_CORRECTABLE_MASK, 0);
    host.config_write(PF2, pci::AER_UNCORRECTABLE, !0);
    host.read_error(ErrorKind::Unexpected, PF2, completion(2));
    assert_eq!(host.messages(), [(2, ERR_COR)]);
    assert_eq!((pointer(&mut host, PF2), log(&mut host, PF2)), (16, completion(2)));
    assert_eq!(host.config_read(0, pci::AER_CORRECTABLE), 0);
    host.read_error(ErrorKind::Unexpected, 9, completion(9));
    assert_eq!(host.config_read(0, pci::AER_CORRECTABLE), 1 << 13, "all PFs'");
}

#[test]
fn errors_do_not_wait_for_a_link_that_takes_no_message() {
    let mut host = Host::new();
    let bar = host.boot()[1];
    report(&mut host, PF2, ALL);
    host.settle();
    host.link_open = false;
    for i in 0..40 {
        host.send(&memory(true, 0x5000_0000, 1, 0), &[0]);
        host.write(bar + 0x1000, i, 4);
    }
    host.run(4000);
    assert_eq!(host.nvme_writes.len(), 40);
    host.link_open = true;
    // 16 in the queue, and those that had left it.
    let messages = host.messages();
    assert!((16..=20).contains(&messages.len()), "{}", messages.len());
}
