//! The RTL in a system.

use nitride_abi::card::{
    BAR0_SIZE, DEVICE_STORAGE, DEVICE_STORAGE_VF, MSIX_VECTORS, PF_MANAGEMENT, PF_NETWORK, PF_STORAGE,
    VENDOR_ID, VF_NETWORK_FIRST, VF_STORAGE_FIRST, VFS, device_of,
};
use nitride_abi::pci;
use nitride_abi::tlp::{Header, Kind, Status};
use nitride_sim::{BUS, Card, Failure, LinkOptions, Options, System, Tlp};

fn booted(options: Options) -> System {
    let mut system = System::new(Box::new(Card::new()), options).unwrap();
    system.boot().unwrap();
    system
}

fn bar(system: &System, function: u8) -> u64 {
    system.topology().function(function).unwrap().bars[0].unwrap().address
}

fn read(system: &mut System, address: u64, len: u16) -> u64 {
    let ticket = system.memory_read(address, len);
    system.wait(ticket).unwrap().iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn no_violations(system: &System) {
    assert!(system.violations().is_empty(), "{:?}", system.violations());
}

#[test]
fn the_card_comes_up_with_its_functions() {
    for stall_percent in [0, 40] {
        let link = LinkOptions { stall_percent, ..LinkOptions::default() };
        let mut system = booted(Options { link, ..Options::default() });
        let topology = system.topology().clone();
        let mut expected = vec![PF_MANAGEMENT, PF_NETWORK, PF_STORAGE];
        expected.extend(VF_NETWORK_FIRST..VF_NETWORK_FIRST + VFS);
        expected.extend(VF_STORAGE_FIRST..VF_STORAGE_FIRST + VFS);
        assert_eq!(topology.functions.iter().map(|f| f.number).collect::<Vec<_>>(), expected);
        for function in &topology.functions {
            // Network devices have virtio's IDs (virtio 1.2 §4.1.2).
            let network = device_of(function.number, VFS).is_some() && function.number != PF_MANAGEMENT;
            let vendor = if network { 0x1af4 } else { VENDOR_ID };
            assert_eq!((function.vendor, function.bars[0].unwrap().size), (vendor, BAR0_SIZE));
            assert!(!network || function.device == 0x1041);
        }
        let (pf, vf) = (topology.function(PF_STORAGE).unwrap(), topology.function(VF_STORAGE_FIRST).unwrap());
        assert_eq!((pf.device, vf.device), (DEVICE_STORAGE, DEVICE_STORAGE_VF));
        assert_eq!(usize::from(vf.msix_vectors()), MSIX_VECTORS);
        assert!(system.settle(100_000), "an idle card is not busy");
        no_violations(&system);
    }
}

#[test]
fn every_controller_answers_at_its_own_bar() {
    let mut system = booted(Options::default());
    for number in std::iter::once(PF_STORAGE).chain(VF_STORAGE_FIRST..VF_STORAGE_FIRST + VFS) {
        let base = bar(&system, number);
        assert_eq!(read(&mut system, base + 8, 4), 0x0001_0400, "VS of function {number} (NVMe 1.4 §3.1.2)");
        assert_eq!(read(&mut system, base, 8) & 0xffff, 1023, "CAP.MQES of function {number}");
        assert_eq!(
            read(&mut system, base, 8),
            u64::from(read(&mut system, base, 4) as u32) | read(&mut system, base + 4, 4) << 32
        );
    }
    no_violations(&system);
}

#[test]
fn a_function_that_is_reset_answers_again() {
    let mut system = booted(Options::default());
    for number in [VF_STORAGE_FIRST, PF_STORAGE] {
        let base = bar(&system, number);
        let aqa = base + 0x24;
        system.memory_write(aqa, &0x001f_001fu32.to_le_bytes()).unwrap();
        assert_eq!(read(&mut system, aqa, 4), 0x001f_001f);
        system.reset(number).unwrap();
        assert_eq!(read(&mut system, base + 8, 4), 0x0001_0400);
        assert_eq!(read(&mut system, aqa, 4), 0, "AQA is reset with function {number}");
    }
    let vf = bar(&system, VF_STORAGE_FIRST + 1);
    assert_eq!(read(&mut system, vf + 8, 4), 0x0001_0400, "the VFs of a PF that was reset are enabled again");
    no_violations(&system);
}

#[test]
fn what_is_not_there_gets_unsupported_request() {
    let mut system = booted(Options::default());
    for function in [3, 7, 24, 31, 32, 255] {
        let ticket = system.config_read(function, 0, 4);
        assert_eq!(
            system.wait(ticket),
            Err(Failure::Status(Status::UnsupportedRequest)),
            "function {function}"
        );
    }
    let ticket = system.memory_read(0x0f_0000_0000, 4);
    assert_eq!(system.wait(ticket), Err(Failure::Status(Status::UnsupportedRequest)));
    no_violations(&system);
}

#[test]
fn requests_of_kinds_that_no_function_has_are_answered_or_dropped_and_nothing_hangs() {
    let mut system = booted(Options::default());
    let base = bar(&system, PF_STORAGE);
    let kind = Kind::Memory { write: false, requester: 0, tag: 0xf0, first: 15, last: 0, address: base };
    let mut io_read = Header::new(1, kind).emit();
    // IORd has no 4-DW form; Type 0b00010, Fmt 0b000.
    io_read[0] = 0x0200_0001;
    io_read[2] = 0x1000;
    system.inject(Tlp { header: io_read, payload: Vec::new() });
    let poisoned =
        Kind::Memory { write: true, requester: 0, tag: 0, first: 15, last: 0, address: base + 0x24 };
    let poisoned = Header { poisoned: true, ..Header::new(1, poisoned) };
    system.inject(Tlp::new(&poisoned, vec![0xff; 4]));
    let stray = Kind::Completion {
        data: true,
        completer: 0,
        status: Status::Success,
        byte_count: 4,
        requester: 0x0110,
        tag: 0x55,
        lower_address: 0,
    };
    system.inject(Tlp::new(&Header::new(1, stray), vec![0xff; 4]));
    assert!(system.settle(100_000));
    assert_eq!(read(&mut system, base + 0x24, 4), 0, "a poisoned write has no effect");
    let answer = system.take_raw_completion().expect("an I/O read is a non-posted request: it is completed");
    let answer = Header::parse(&answer.header).unwrap();
    assert!(
        matches!(answer.kind, Kind::Completion { status: Status::UnsupportedRequest, tag: 0xf0, .. }),
        "{answer:?}"
    );
    no_violations(&system);
}

#[test]
fn the_cards_error_messages_reach_the_host_and_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.txt");
    let mut system = booted(Options { tlp_log: Some(log.clone()), ..Options::default() });
    let write = |system: &mut System, function, offset, len, value| {
        let ticket = system.config_write(function, offset, len, value);
        system.wait(ticket).unwrap();
    };
    // All reporting enables; an error of the reader's own too.
    for pf in [PF_MANAGEMENT, PF_STORAGE] {
        write(&mut system, pf, pci::DEVICE_CONTROL, 2, pci::CONTROL_REPORTING | 1 << 5 | 1 << 8 | 2 << 12);
        write(&mut system, pf, pci::AER_CORRECTABLE_MASK, 4, 0);
    }
    let stray = Kind::Completion {
        data: true,
        completer: 0,
        status: Status::Success,
        byte_count: 4,
        requester: u16::from(BUS) << 8 | u16::from(PF_STORAGE),
        tag: 0x55,
        lower_address: 0,
    };
    let stray = Tlp::new(&Header::new(1, stray), vec![0xff; 4]);
    system.inject(stray.clone());
    assert!(system.settle(100_000));
    system.memory_write(0x0f_0000_0000, &[0; 4]).unwrap();
    system.inject(Tlp { header: [0x1f00_0000, 0, 0, 0], payload: Vec::new() });
    assert!(system.settle(100_000));
    let counters = system.counters();
    assert_eq!(counters.functions[usize::from(PF_STORAGE)].errors, [1, 0, 0]);
    assert_eq!(counters.functions[usize::from(PF_MANAGEMENT)].errors, [0, 1, 1]);
    let header: Vec<u32> = (0..4)
        .map(|dw| {
            let ticket = system.config_read(PF_STORAGE, pci::AER_HEADER + 4 * dw, 4);
            u32::from_le_bytes(system.wait(ticket).unwrap().try_into().unwrap())
        })
        .collect();
    assert_eq!(header, stray.header);
    no_violations(&system);
    system.flush_log().unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    for line in ["< Msg ERR_COR from=01:02", "< Msg ERR_NONFATAL from=01:00", "< Msg ERR_FATAL from=01:00"] {
        assert_eq!(log.lines().filter(|logged| logged.ends_with(line)).count(), 1, "{line}");
    }
}

#[test]
#[cfg(feature = "trace")]
fn a_waveform_begins_at_the_cycle_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card.vcd");
    let trace = nitride_sim::Trace { path: path.clone(), from_cycle: 1000 };
    drop(booted(Options { trace: Some(trace), ..Options::default() }));
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(" rx$valid $end"), "the edge's ports are in it");
    let first = text.lines().find_map(|line| line.strip_prefix('#')).unwrap();
    assert!(first.parse::<u64>().unwrap() >= 4_000_000, "cycle 1000 is at 4 us, not {first} ps");
}
