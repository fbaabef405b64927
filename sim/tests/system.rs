//! A whole system around a card in software.

mod responder;

use std::sync::Arc;

use nitride_abi::tlp::{Header, Kind, MSI_WINDOW, Status};
use nitride_driver::{Access, Memory};
use nitride_sim::{BUS, Failure, LinkOptions, Options, System, Tlp};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use responder::*;

fn options(seed: u64) -> Options {
    Options { seed, ..Options::default() }
}

fn booted(card: Box<Responder>, options: Options) -> System {
    let mut system = System::new(card, options).unwrap();
    system.boot().unwrap();
    system
}

fn bar(system: &System, function: u8) -> u64 {
    system.topology().function(function).unwrap().bars[0].unwrap().address
}

fn register(system: &mut System, function: u8, offset: u64) -> u32 {
    let ticket = system.memory_read(bar(system, function) + offset, 4);
    u32::from_le_bytes(system.wait(ticket).unwrap().try_into().unwrap())
}

fn set(system: &mut System, function: u8, offset: u64, data: &[u8]) {
    system.memory_write(bar(system, function) + offset, data).unwrap();
}

fn enable_bus_master(system: &mut System, function: u8) {
    let ticket = system.config_write(function, 4, 2, 6);
    system.wait(ticket).unwrap();
}

fn start(system: &mut System, function: u8, command: u32, address: u64, len: u32) {
    set(system, function, ADDRESS, &address.to_le_bytes());
    set(system, function, LENGTH, &len.to_le_bytes());
    set(system, function, COMMAND, &command.to_le_bytes());
}

fn no_violations(system: &System) {
    assert!(system.violations().is_empty(), "{:?}", system.violations());
}

#[test]
fn boot_finds_the_functions_and_gives_them_addresses_of_their_own() {
    let system = booted(Responder::new(), options(1));
    let topology = system.topology();
    assert_eq!(topology.functions.iter().map(|f| f.number).collect::<Vec<_>>(), [PF0, PF2, VF0, VF1]);
    let vf = topology.function(VF1).unwrap();
    assert_eq!((vf.vendor, vf.device, vf.msix_vectors()), (VENDOR, DEVICE_VF, VECTORS));
    let mut ranges: Vec<_> =
        topology.functions.iter().map(|f| f.bars[0].unwrap()).map(|b| (b.address, b.size)).collect();
    ranges.sort_unstable();
    assert!(ranges.iter().all(|(address, size)| *size == 0x4000 && address % size == 0));
    assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
    no_violations(&system);
}

#[test]
fn an_absent_function_answers_with_unsupported_request() {
    let mut system = booted(Responder::new(), options(1));
    let ticket = system.config_read(1, 0, 4);
    assert_eq!(system.wait(ticket), Err(Failure::Status(Status::UnsupportedRequest)));
}

#[test]
fn bars_are_read_and_written_in_every_width_and_place() {
    let mut system = booted(
        Responder::slow(),
        Options { link: LinkOptions { stall_percent: 30, ..LinkOptions::default() }, ..options(2) },
    );
    let mut rng = SmallRng::seed_from_u64(3);
    let mut model = vec![0u8; 0x800];
    let base = bar(&system, VF0) + BUFFER;
    for _ in 0..300 {
        let len = if rng.random() { rng.random_range(1..=8) } else { rng.random_range(1..=200) };
        let at = rng.random_range(0..model.len() - len);
        if rng.random() {
            let data: Vec<u8> = (0..len).map(|_| rng.random()).collect();
            let first = data.len().min(4096 - ((base as usize + at) % 4096));
            for (offset, part) in [(0, &data[..first]), (first, &data[first..])] {
                if !part.is_empty() {
                    system.memory_write(base + (at + offset) as u64, part).unwrap();
                }
            }
            model[at..at + len].copy_from_slice(&data);
        } else if (base as usize + at) % 4096 + len <= 4096 {
            let ticket = system.memory_read(base + at as u64, len as u16);
            assert_eq!(system.wait(ticket).unwrap(), &model[at..at + len]);
        }
    }
    no_violations(&system);
}

#[test]
fn dma_moves_the_bytes_under_any_disorder_stalls_and_few_credits() {
    for seed in 0..12 {
        let link = LinkOptions {
            stall_percent: (seed as u8 % 3) * 20,
            credits: [1 + seed as u16, 1 + seed as u16 % 5, 2],
            latency: 1 + seed * 10,
            max_read_request: 128 << (seed % 4),
            read_completion_boundary: 64 << (seed % 2),
            disorder: seed % 4 != 0,
            ..LinkOptions::default()
        };
        let mut system = booted(Responder::new(), Options { link, ..options(seed) });
        let mut rng = SmallRng::seed_from_u64(seed);
        let memory = Arc::new(Memory::new("dma", 16384, false).unwrap());
        system.map(VF0, 0x7_0000_0000, memory.clone(), Access::ReadWrite).unwrap();
        enable_bus_master(&mut system, VF0);
        for round in 1..=6 {
            let data: Vec<u8> = (0..16384).map(|_| rng.random()).collect();
            assert!(memory.write(0, &data));
            let (len, from) = (rng.random_range(1..4000), rng.random_range(0..8000usize));
            start(&mut system, VF0, READ, 0x7_0000_0000 + from as u64, len as u32);
            assert!(system.settle(1_000_000), "seed {seed}");
            let to = rng.random_range(12000..12384usize);
            start(&mut system, VF0, WRITE, 0x7_0000_0000 + to as u64, len as u32);
            assert!(system.settle(1_000_000), "seed {seed}");
            assert_eq!(register(&mut system, VF0, ENDED), 2 * round, "seed {seed}");
            let mut got = vec![0; len];
            assert!(memory.read(to, &mut got));
            assert!(
                got == data[from..from + len],
                "seed {seed} round {round}: {len} bytes from {from} to {to}"
            );
        }
        assert_eq!(register(&mut system, VF0, FAILED), 0);
        no_violations(&system);
    }
}

#[test]
fn a_dma_outside_of_its_domain_faults_and_reaches_nothing() {
    let mut system = booted(Responder::new(), options(4));
    let mine = Arc::new(Memory::new("mine", 4096, false).unwrap());
    let other = Arc::new(Memory::new("other", 4096, false).unwrap());
    system.map(VF0, 0x1000, mine.clone(), Access::Read).unwrap();
    system.map(VF1, 0x2000, other.clone(), Access::ReadWrite).unwrap();
    enable_bus_master(&mut system, VF0);
    set(&mut system, VF0, BUFFER, &[0x55; 64]);
    // Another function's memory, read-only memory, and the end of a mapping.
    for (command, address) in
        [(READ, 0x2000u64), (WRITE, 0x2000), (WRITE, 0x1000), (WRITE, 0x1ff0), (READ, 0x1ffc)]
    {
        start(&mut system, VF0, command, address, 32);
        assert!(system.settle(100_000));
    }
    let counters = system.counters();
    let function = &counters.functions[usize::from(VF0)];
    // Two of them cross 4 KiB, so that a part of one read is legal.
    assert_eq!((function.faults, function.dma_read_bytes, function.dma_write_bytes), (6, 4, 0));
    assert_eq!(register(&mut system, VF0, FAILED), 2);
    for memory in [mine, other] {
        let mut bytes = [1; 4096];
        assert!(memory.read(0, &mut bytes));
        assert!(bytes.iter().all(|byte| *byte == 0));
    }
    no_violations(&system);
}

#[test]
fn after_unmap_no_dma_arrives_even_if_it_was_under_way() {
    let mut system = booted(Responder::new(), options(5));
    let memory = Arc::new(Memory::new("gone", 4096, false).unwrap());
    system.map(VF0, 0, memory.clone(), Access::ReadWrite).unwrap();
    enable_bus_master(&mut system, VF0);
    set(&mut system, VF0, BUFFER, &[0x77; 128]);
    start(&mut system, VF0, WRITE, 0, 128);
    while system.counters().up.tlps[0] == 0 {
        system.step();
    }
    system.unmap(VF0, 0, 4096).unwrap();
    assert!(system.settle(100_000));
    let mut bytes = [1; 128];
    assert!(memory.read(0, &mut bytes));
    assert_eq!(bytes, [0; 128]);
    assert_eq!(system.counters().functions[usize::from(VF0)].faults, 1);
}

#[test]
fn an_interrupt_arrives_after_the_data_it_announces() {
    let mut system = booted(Responder::new(), options(6));
    let memory = Arc::new(Memory::new("data", 4096, false).unwrap());
    system.map(PF2, 0x4000, memory.clone(), Access::ReadWrite).unwrap();
    enable_bus_master(&mut system, PF2);
    let ticket = system.config_write(PF2, 0x82, 2, 0x8000);
    system.wait(ticket).unwrap();
    let mut entry = MSI_WINDOW.start().to_le_bytes().to_vec();
    entry.extend([9, 0, 0, 0, 0, 0, 0, 0]);
    set(&mut system, PF2, TABLE + 16, &entry);
    set(&mut system, PF2, BUFFER, &[0x42; 128]);
    start(&mut system, PF2, WRITE | 1 << 8, 0x4000, 128);
    let interrupt = loop {
        system.step();
        if let Some(interrupt) = system.take_interrupt() {
            break interrupt;
        }
    };
    assert_eq!((interrupt.function, interrupt.data), (PF2, 9));
    let mut bytes = [0; 128];
    assert!(memory.read(0, &mut bytes));
    assert_eq!(bytes, [0x42; 128]);
}

#[test]
fn what_the_card_does_against_the_rules_is_a_violation() {
    let write = |address, length, requester| Kind::Memory {
        write: true,
        requester,
        tag: 0,
        first: 15,
        last: if length > 1 { 15 } else { 0 },
        address,
    };
    let id = u16::from(BUS) << 8 | u16::from(PF0);
    let header = |kind, length| Header::new(length, kind).emit();
    let mut wide = header(write(0x1_0000_0000, 1, id), 1);
    wide[2] = 0;
    let completion = Kind::Completion {
        data: false,
        completer: id,
        status: Status::Success,
        byte_count: 4,
        requester: 0,
        tag: 0x20,
        lower_address: 0,
    };
    let read = Kind::Memory { write: false, requester: id, tag: 0, first: 15, last: 15, address: 0 };
    let cases = [
        (wide, 4, "4-DW"),
        (header(write(0xffc, 2, id), 2), 8, "4 KiB"),
        (header(write(0x1000, 128, id), 128), 512, "Max_Payload_Size"),
        (header(write(0x1000, 2, id), 2), 64, "2 DWs of payload came in 2 beats"),
        (header(write(0x1000, 1, 0x700), 1), 4, "another bus"),
        (header(completion, 0), 0, "no request has"),
        (header(read, 1024), 0, "Max_Read_Request_Size"),
        (header(write(0xfee0_0000, 2, id), 2), 8, "interrupt message"),
        ([0x4200_0001, 0, 0, 0], 4, "unknown Fmt"),
    ];
    for (words, len, expected) in cases {
        let mut system = booted(Responder::new(), options(7));
        enable_bus_master(&mut system, PF0);
        for (n, word) in words.iter().enumerate() {
            set(&mut system, PF0, RAW + 4 * n as u64, &word.to_le_bytes());
        }
        start(&mut system, PF0, SEND, 0, len);
        assert!(system.settle(100_000));
        let found = system.violations();
        assert!(found.len() == 1 && found[0].what.contains(expected), "{expected}: {found:?}");
    }
}

#[test]
fn a_card_that_ignores_credits_is_found_out() {
    let link = LinkOptions { credits: [2, 2, 2], ..LinkOptions::default() };
    let mut system = System::new(Responder::greedy(), Options { link, ..options(8) }).unwrap();
    for _ in 0..20 {
        system.config_read(0, 0, 4);
    }
    assert!(system.settle(10_000_000));
    assert!(system.violations()[0].what.contains("without credit"), "{:?}", system.violations());
}

#[test]
fn a_request_that_is_not_answered_times_out_and_others_go_on() {
    let mut system = booted(Responder::new(), options(9));
    let before = system.counters();
    let orphan = system.request(nitride_sim::HostRequest::ConfigRead { function: 0, offset: 0, len: 5 });
    assert_eq!(system.wait(orphan), Err(Failure::Invalid));
    let tickets: Vec<_> = (0..600).map(|n| system.config_read(PF0, n % 64 * 4, 4)).collect();
    for ticket in tickets {
        assert!(system.wait(ticket).is_ok(), "more requests than tags are served in turn");
    }
    assert_eq!(system.counters().timeouts, before.timeouts);
    let mut deaf = booted(Responder::new(), options(9));
    enable_bus_master(&mut deaf, PF0);
    start(&mut deaf, PF0, DEAF, 0, 0);
    let ticket = deaf.config_read(PF0, 0, 4);
    assert_eq!(deaf.wait(ticket), Err(Failure::Timeout));
    assert_eq!(deaf.counters().timeouts, 1);
}

#[test]
fn an_idle_card_is_not_simulated_and_time_runs_on() {
    let mut system = booted(Responder::new(), options(10));
    assert!(system.settle(10_000));
    let before = system.counters();
    let ticket = system.config_read(PF0, 0, 4);
    system.wait(ticket).unwrap();
    assert!(system.settle(10_000));
    let after = system.counters();
    assert!(after.cycles - before.cycles >= 250, "latency counts");
    assert!(
        after.simulated - before.simulated < 60,
        "waiting is not simulated: {}",
        after.simulated - before.simulated
    );
    assert!(system.is_idle());
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let link = LinkOptions { stall_percent: 20, ..LinkOptions::default() };
        let mut system = booted(Responder::slow(), Options { link, ..options(seed) });
        let memory = Arc::new(Memory::new("seed", 8192, false).unwrap());
        system.map(VF0, 0, memory, Access::ReadWrite).unwrap();
        enable_bus_master(&mut system, VF0);
        start(&mut system, VF0, READ, 0, 3000);
        assert!(system.settle(1_000_000));
        system.counters()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn raw_tlps_reach_the_card_and_their_completions_come_back_as_they_are() {
    let mut system = booted(Responder::new(), options(11));
    let kind = Kind::Memory { write: false, requester: 0, tag: 0xf3, first: 15, last: 0, address: 0x5000 };
    system.inject(Tlp::new(&Header::new(1, kind), Vec::new()));
    assert!(system.settle(10_000));
    let completion = Header::parse(&system.take_raw_completion().unwrap().header).unwrap();
    assert!(matches!(
        completion.kind,
        Kind::Completion { status: Status::UnsupportedRequest, tag: 0xf3, .. }
    ));
    no_violations(&system);
}

#[test]
fn a_reset_function_comes_back_as_firmware_had_set_it() {
    let mut system = booted(Responder::new(), options(12));
    set(&mut system, PF2, BUFFER, &[1; 8]);
    set(&mut system, VF0, BUFFER, &[2; 8]);
    system.reset(VF0).unwrap();
    assert_eq!(register(&mut system, VF0, BUFFER), 0);
    assert_eq!(register(&mut system, PF2, BUFFER), 0x0101_0101);
    system.reset(PF2).unwrap();
    assert_eq!(register(&mut system, PF2, BUFFER), 0);
    assert_eq!(register(&mut system, VF1, BUFFER), 0, "its VFs are enabled again");
    no_violations(&system);
}

#[test]
fn the_log_holds_every_tlp_in_both_formats() {
    for name in ["log.txt", "log.pcapng"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let counters = {
            let system = booted(Responder::new(), Options { tlp_log: Some(path.clone()), ..options(13) });
            system.counters()
        };
        let tlps = counters.down.tlps.iter().chain(&counters.up.tlps).sum::<u64>() as usize;
        let bytes = std::fs::read(&path).unwrap();
        if name == "log.txt" {
            let text = String::from_utf8(bytes).unwrap();
            assert_eq!(text.lines().count(), tlps);
            assert!(text.lines().next().unwrap().contains("> CfgRd0 01:00 000"), "{text:.200}");
        } else {
            let mut reader = pcap_file::pcapng::PcapNgReader::new(&bytes[..]).unwrap();
            let mut packets = 0;
            while let Some(block) = reader.next_block() {
                packets += usize::from(block.unwrap().into_enhanced_packet().is_some());
            }
            assert_eq!(packets, tlps);
        }
    }
}
