//! Requests of every shape, from the link's side.

use nitride_abi::management::{Counter, MAGIC};
use nitride_abi::pci;
use nitride_abi::tlp::{self, Header, Kind, Status};

use super::host::{Answer, BUS, HOST, Host, pattern, tlp_of};

fn memory(write: bool, address: u64, length: u16, first: u8, last: u8, tag: u8) -> [u32; 4] {
    Header::new(length, Kind::Memory { write, requester: HOST, tag, first, last, address }).emit()
}

/// Sets a field of a header in a way in which `Header::emit` would not.
fn with(mut words: [u32; 4], field: tlp::Field, value: u32) -> [u32; 4] {
    field.set(&mut words, value);
    words
}

fn count(host: &Host, counter: Counter) -> u64 {
    host.events[counter.bit()]
}

#[test]
fn reads_of_every_byte_pattern_are_completed_right() {
    let mut host = Host::new();
    let bar = host.boot()[1];
    let whole = pattern(2, 0x28);
    for upper in [0, 4] {
        for first in 0..16 {
            host.send(&memory(false, bar + 0x28 + upper, 1, first, 0, 7), &[]);
            // Tables 2-37 to 2-39 of PCIe 4.0 §2.3.1.1.
            let start = if first == 0 { 0 } else { first.trailing_zeros() as u8 };
            let count = match first {
                0b1001 | 0b1011 | 0b1101 | 0b1111 => 4,
                0b0101 | 0b0111 | 0b1010 | 0b1110 => 3,
                0b0011 | 0b0110 | 0b1100 => 2,
                _ => 1,
            };
            let expected = Answer {
                status: Status::Success,
                data: whole >> (8 * upper) & 0xffff_ffff,
                byte_count: count,
                lower_address: 0x28 + upper as u8 + start,
                completer: BUS << 8 | 2,
            };
            assert_eq!(host.answer(7), expected, "{first:04b}");
        }
    }
    for first in 1..16u8 {
        for last in 1..16u8 {
            host.send(&memory(false, bar + 0x28, 2, first, last, 8), &[]);
            let start = first.trailing_zeros() as u16;
            let end = 4 + 8 - last.leading_zeros() as u16;
            let answer = host.answer(8);
            assert_eq!((answer.status, answer.data), (Status::Success, whole));
            assert_eq!((answer.byte_count, answer.lower_address), (end - start, 0x28 + start as u8));
        }
    }
}

#[test]
fn requests_keep_their_tag_class_and_attributes() {
    let mut host = Host::new();
    let bar = host.boot()[0];
    let mut words = memory(false, bar, 1, 0xf, 0, 0x5a);
    for (field, value) in
        [(tlp::TAG_9, 1), (tlp::TAG_8, 0), (tlp::TRAFFIC_CLASS, 5), (tlp::ATTR_IDO, 1), (tlp::ATTR, 2)]
    {
        words = with(words, field, value);
    }
    host.send(&words, &[]);
    host.run(40);
    let tlp = host.completer.pop_front().expect("a completion");
    for (field, value) in [
        (tlp::TAG_9, 1),
        (tlp::TAG_8, 0),
        (tlp::COMPLETION_TAG, 0x5a),
        (tlp::TRAFFIC_CLASS, 5),
        (tlp::ATTR_IDO, 1),
        (tlp::ATTR, 2),
        (tlp::COMPLETER, u32::from(BUS) << 8),
        (tlp::COMPLETION_REQUESTER, u32::from(HOST)),
    ] {
        assert_eq!(field.get(&tlp.words), value, "{field:?}");
    }
    assert_eq!(tlp.data, [MAGIC as u32]);
}

#[test]
fn writes_land_in_their_byte_lanes() {
    let mut host = Host::new();
    let bar = host.boot()[2] + 2 * 0x4000;
    for (address, len, data, enable) in [
        (0x1000u64, 4usize, 0xaabb_ccddu64, 0x0fu64),
        (0x1004, 4, 0xaabb_ccdd, 0xf0),
        (0x0028, 8, 0x1122_3344_5566_7788, 0xff),
        (0x100e, 2, 0x1234, 0xc0),
        (0x1001, 1, 0x99, 0x02),
        (0x1002, 4, 0x1234_5678, 0x3c),
    ] {
        host.nvme_writes.clear();
        host.write(bar + address, data, len);
        host.run(20);
        let [got] = host.nvme_writes[..] else { panic!("{:?}", host.nvme_writes) };
        assert!(got.write);
        assert_eq!((got.function.to_u64(), got.offset.to_u64()), (18, address & !7));
        assert_eq!(got.enable.to_u64(), enable);
        let mask = (0..8).filter(|i| enable >> i & 1 == 1).fold(0u64, |m, i| m | 0xff << (8 * i));
        assert_eq!(got.data.to_u64() & mask, data << (8 * (address % 8)));
    }
}

#[test]
fn doorbells_come_through_every_eighth_cycle_or_faster() {
    let mut host = Host::new();
    let bar = host.boot()[2];
    host.settle();
    let start = host.cycle;
    for i in 0..50 {
        host.write(bar + 0x1000 + 8 * (i % 8), i, 4);
    }
    while host.nvme_writes.len() < 50 {
        host.step();
    }
    let cycles = host.cycle - start;
    println!("{:.1} cycles a doorbell", cycles as f64 / 50.0);
    assert!(cycles <= 50 * 8, "{cycles} cycles");
    for (i, write) in host.nvme_writes.iter().enumerate() {
        assert_eq!(write.data.to_u64() & 0xffff_ffff, i as u64);
    }
}

#[test]
fn what_the_registers_cannot_serve_is_aborted_or_dropped() {
    let mut host = Host::new();
    let bar = host.boot()[1];
    for (address, length, first, last) in [(bar + 4, 2, 0xf, 0xf), (bar, 3, 0xf, 0xf), (bar, 1024, 0xf, 0xf)]
    {
        host.send(&memory(false, address, length, first, last, 3), &[]);
        let answer = host.answer(3);
        assert_eq!(answer.status, Status::CompleterAbort);
        assert_eq!((answer.byte_count, answer.lower_address), (4 * length, address as u8 & 0x7f));
    }
    host.settle();
    assert_eq!(host.config_read(2, pci::COMMAND) >> 27 & 1, 1, "Signaled Target Abort");
    assert_eq!(host.config_read(2, pci::DEVICE_CONTROL) >> 16, 1, "an advisory error");
    assert_eq!(host.config_read(2, pci::AER_CORRECTABLE), 1 << 13);
    assert_eq!(host.config_read(0, pci::DEVICE_CONTROL) >> 16, 0, "PF0 has nothing to do with it");

    host.send(&memory(true, bar + 4, 2, 0xf, 0xf, 0), &[1, 2]);
    host.send(&memory(true, bar, 64, 0xf, 0xf, 0), &[9; 64]);
    assert_eq!(host.read(bar, 8), pattern(2, 0));
    assert_eq!(host.nvme_writes, []);
    assert_eq!(count(&host, Counter::Aborted), 5);
    // A write of nothing is one.
    host.send(&memory(true, bar, 1, 0, 0, 0), &[5]);
    host.settle();
    assert_eq!(host.nvme_writes.len(), 1);
    assert_eq!(host.nvme_writes[0].enable.to_u64(), 0);
}

#[test]
fn requests_for_nobody_are_unsupported_and_logged_by_all_pfs() {
    let mut host = Host::new();
    let answer = host.try_read(0x5000_0000, 8);
    assert_eq!((answer.status, answer.completer), (Status::UnsupportedRequest, 0));
    assert_eq!(answer.byte_count, 8);
    host.settle();
    for pf in [0, 2] {
        assert_eq!(host.config_read(pf, pci::DEVICE_CONTROL) >> 16, 0b1001);
        assert_eq!(host.config_read(pf, pci::AER_CORRECTABLE), 1 << 13);
        host.config_write(pf, pci::DEVICE_CONTROL, 0x000f_0000);
        assert_eq!(host.config_read(pf, pci::DEVICE_CONTROL) >> 16, 0);
    }
    host.write(0x5000_0000, 1, 4);
    host.settle();
    for pf in [0, 2] {
        assert_eq!(host.config_read(pf, pci::DEVICE_CONTROL) >> 16, 0b1010);
        assert_eq!(host.config_read(pf, pci::AER_UNCORRECTABLE), 1 << 20);
    }
    assert_eq!(count(&host, Counter::Unsupported), 2);

    // Disabled memory space, and other kinds of non-posted requests.
    let bar = host.boot()[0];
    host.config_write_16(0, pci::COMMAND, 4);
    assert_eq!(host.try_read(bar, 4).status, Status::UnsupportedRequest);
    let base = memory(false, 0x1000, 1, 0xf, 0, 4);
    let data = memory(true, 0x1000, 1, 0xf, 0, 4);
    for (name, words, payload) in [
        ("I/O read", with(base, tlp::TYPE, 2), vec![]),
        ("I/O write", with(data, tlp::TYPE, 2), vec![1]),
        ("locked read", with(base, tlp::TYPE, 1), vec![]),
        ("FetchAdd", with(data, tlp::TYPE, 0xc), vec![1]),
        ("configuration type 1", with(base, tlp::TYPE, 5), vec![]),
    ] {
        host.send(&words, &payload);
        assert_eq!(host.answer(4).status, Status::UnsupportedRequest, "{name}");
    }
}

#[test]
fn malformed_tlps_are_dropped_and_counted() {
    let mut host = Host::new();
    let bar = host.boot()[1];
    let (read, write) = (memory(false, bar, 1, 0xf, 0, 9), memory(true, bar, 1, 0xf, 0, 9));
    let config = Kind::Config {
        write: false,
        forwarded: false,
        requester: HOST,
        tag: 1,
        first: 15,
        target: 0,
        offset: 0,
    };
    let config = Header::new(1, config).emit();
    let bad: Vec<([u32; 4], Vec<u32>)> = vec![
        (with(read, tlp::TYPE, 0b00110), vec![]),
        (with(read, tlp::TYPE, 0b11111), vec![]),
        (with(read, tlp::FMT, 0b100), vec![]),
        (with(read, tlp::DIGEST, 1), vec![]),
        (with(read, tlp::ADDRESS_TYPE, 1), vec![]),
        (with(read, tlp::LAST_BE, 0xf), vec![]),
        (with(with(read, tlp::LENGTH, 2), tlp::FIRST_BE, 0), vec![]),
        (with(config, tlp::LENGTH, 2), vec![]),
        (with(config, tlp::FMT, 1), vec![]),
    ];
    for (words, data) in &bad {
        host.send(words, data);
    }
    // Length and beats disagree: too short, too long.
    host.send_beat(&with(with(write, tlp::LENGTH, 9), tlp::LAST_BE, 15), &[1; 8], true);
    host.send_beat(&write, &[1], false);
    host.send_beat(&write, &[1], false);
    host.send_beat(&write, &[1], true);
    assert_eq!(host.read(bar, 8), pattern(2, 0), "the next request is served");
    host.settle();
    assert_eq!(count(&host, Counter::Malformed), bad.len() as u64 + 2);
    assert_eq!((host.nvme_writes.len(), host.completer.len()), (0, 0));
    assert_eq!(host.config_read(0, pci::DEVICE_CONTROL) >> 18 & 1, 1, "a fatal error");
    assert_eq!(host.config_read(2, pci::AER_UNCORRECTABLE), 1 << 18);
}

#[test]
fn poisoned_requests_change_nothing() {
    let mut host = Host::new();
    let bar = host.boot()[1];
    host.send(&with(memory(true, bar, 1, 0xf, 0, 0), tlp::POISONED, 1), &[1]);
    let kind = Kind::Config {
        write: true,
        forwarded: false,
        requester: HOST,
        tag: 6,
        first: 15,
        target: BUS << 8,
        offset: 0x3c,
    };
    host.send(&with(Header::new(1, kind).emit(), tlp::POISONED, 1), &[0x55]);
    assert_eq!(host.answer(6).status, Status::UnsupportedRequest);
    host.settle();
    assert_eq!(host.config_read(0, 0x3c), 0);
    assert_eq!(host.nvme_writes, []);
    assert_eq!(count(&host, Counter::Poisoned), 2);
    assert_eq!(host.config_read(2, pci::COMMAND) >> 31, 1, "Detected Parity Error");
    assert_eq!(host.config_read(0, pci::COMMAND) >> 31, 0, "PF0 did not receive it");
    assert_eq!(host.config_read(2, pci::AER_UNCORRECTABLE), 1 << 12);
}

#[test]
fn messages_are_ignored() {
    let mut host = Host::new();
    let message = |data| Kind::Message { data, routing: 4, requester: 0, tag: 0, code: 0x50, rest: [0; 2] };
    host.send(&Header::new(1, message(true)).emit(), &[100]);
    host.send(&Header::new(0, message(false)).emit(), &[]);
    host.settle();
    assert_eq!(host.config_read(0, 0), 0x0001_4e54);
    assert_eq!(host.events.iter().sum::<u64>(), 1, "only the read was counted");
}

#[test]
fn completions_pass_whole_at_a_beat_a_cycle() {
    let mut host = Host::new();
    let completion = |length: u16| {
        let kind = Kind::Completion {
            data: true,
            completer: HOST,
            status: Status::Success,
            byte_count: 4 * length,
            requester: BUS << 8 | 2,
            tag: 5,
            lower_address: 0,
        };
        Header::new(length, kind).emit()
    };
    let payload: Vec<u32> = (0..64).collect();
    for _ in 0..3 {
        host.send(&completion(64), &payload);
    }
    host.settle();
    let beats = std::mem::take(&mut host.completions);
    assert_eq!(beats.len(), 24);
    assert_eq!(beats[23].1 - beats[0].1, 23, "no gap");
    for (i, (beat, _)) in beats.iter().enumerate() {
        let first = 8 * (i % 8);
        assert_eq!(tlp_of(*beat).data, payload[first..first + 8]);
        assert_eq!(beat.last, i % 8 == 7);
    }
    // Too long: cut. Too short: ends early. Wrong from the first beat: dropped. Each is counted, and what follows is whole.
    for i in 0..5 {
        host.send_beat(&completion(16), &[i; 8], i == 4);
    }
    for i in 0..3 {
        host.send_beat(&completion(64), &[i; 8], i == 2);
    }
    host.send_beat(&completion(9), &[1; 8], true);
    host.send(&completion(2), &[1, 2]);
    host.settle();
    let lasts: Vec<bool> = host.completions.iter().map(|(beat, _)| beat.last).collect();
    assert_eq!(lasts, [false, true, false, false, true, true]);
    assert_eq!(count(&host, Counter::Malformed), 3);
}

#[test]
fn a_closed_link_stops_requests_only_after_many_completions() {
    let mut host = Host::new();
    let bar = host.boot()[1];
    host.settle();
    host.link_open = false;
    for i in 0..32 {
        host.send(&memory(false, bar + 8, 1, 0xf, 0, i), &[]);
    }
    for i in 0..40 {
        host.write(bar + 0x1000, i, 4);
    }
    host.run(200);
    assert_eq!(host.nvme_writes.len(), 40, "posted writes do not wait for completions");
    host.link_open = true;
    host.settle();
    let tags: Vec<u32> = host.completer.iter().map(|t| tlp::COMPLETION_TAG.get(&t.words)).collect();
    assert_eq!(tags, (0..32).collect::<Vec<_>>());
}
