use nitride_abi::virtio::ring::{DESC_INDIRECT, DESC_NEXT};

use super::bench::{Bench, Buffer, Options};
use crate::bus::Landing;
use crate::net::records::{ROOM, RingReader};

type Sender = Bench<false, { Landing::TRANSMIT_CHAINS }, { RingReader::TRANSMIT }>;
type Receiver = Bench<true, { Landing::RECEIVE_CHAINS }, { RingReader::RECEIVE }>;

/// receiveq1, transmitq1, transmitq2 and the control queue of a device.
const RX: u8 = 0x18;
const TX: u8 = 0x19;
const TX2: u8 = 0x1b;
const CONTROL: u8 = 0x1c;

fn sender(options: Options) -> Sender {
    let mut bench = Sender::new(1, options);
    bench.enable(TX, 64);
    bench.run(20);
    bench
}

fn buffer(address: u64, write: bool) -> Buffer {
    Buffer { address, length: 100, write }
}

#[test]
fn a_queue_rests_after_it_asked_for_a_notification() {
    let mut bench = sender(Options::SMOOTH);
    bench.settle();
    let polls = bench.polls;
    let buffers = bench.buffers(3);
    assert!(bench.chain(TX, &buffers, 0));
    bench.run(2_000);
    assert_eq!((bench.polls, bench.given.len()), (polls, 0), "nobody notified");
    bench.kick(TX);
    bench.settle();
    assert_eq!(bench.given.len(), 1);
    let polls = bench.polls;
    assert!(polls <= 6, "{polls} polls for one chain");
    bench.run(2_000);
    assert_eq!(bench.polls, polls);
}

#[test]
fn chains_of_all_shapes_come_in_order() {
    let mut bench = sender(Options::ROUGH);
    for (count, indirect) in [(1, 0), (2, 0), (1, 1), (5, 3), (64, 0), (64, 64), (64, 1), (40, 39), (3, 3)] {
        let buffers = bench.buffers(count);
        assert!(bench.chain(TX, &buffers, indirect));
        bench.kick(TX);
        bench.settle();
    }
    assert_eq!(bench.given.len(), 9);
    assert_eq!(bench.queues[&TX].broken, 0);
}

/// Drivers of several queues for a while; all that they made available comes, once.
fn traffic<const RECEIVE: bool, const CHAINS: u64, const READER: u64>(
    bench: &mut Bench<RECEIVE, CHAINS, READER>,
    queues: &[(u8, u16)],
    cycles: u64,
) -> usize {
    let mut made = 0;
    for (index, size) in queues {
        bench.enable(*index, *size);
    }
    let end = bench.cycle + cycles;
    while bench.cycle < end {
        let index = bench.rng.pick(queues).0;
        for _ in 0..bench.rng.below(20) {
            let count = if bench.rng.chance(1, 8) { 1 + bench.rng.below(20) } else { 1 + bench.rng.below(2) };
            let indirect = if bench.rng.chance(1, 4) { 1 + bench.rng.below(count) } else { 0 };
            let buffers = bench.buffers(count as usize);
            made += usize::from(bench.chain(index, &buffers, indirect as usize));
        }
        bench.kick(index);
        let pause = bench.rng.below(300);
        bench.run(pause);
    }
    bench.settle();
    made
}

#[test]
fn all_chains_of_many_transmit_queues_come_once() {
    for seed in 1..3 {
        let mut bench = Sender::new(seed, Options::ROUGH);
        let queues = [(TX, 64), (TX2, 1024), (CONTROL, 32), (0x21, 2), (0x79, 256)];
        let made = traffic(&mut bench, &queues, 15_000);
        assert_eq!(bench.given.len(), made);
        assert!(made > 150, "{made} chains");
    }
}

#[test]
fn all_chains_of_many_receive_queues_come_once() {
    for seed in 1..3 {
        let mut bench = Receiver::new(seed, Options::ROUGH);
        let made = traffic(&mut bench, &[(RX, 64), (0x1a, 1024), (0x20, 4), (0x78, 256)], 15_000);
        assert_eq!(bench.given.len(), made);
    }
}

#[test]
fn no_more_is_given_than_there_is_room_for_and_others_go_on() {
    let mut bench = Receiver::new(1, Options::SMOOTH);
    bench.enable(RX, 256);
    bench.enable(0x20, 256);
    bench.generous = false;
    for _ in 0..200 {
        let buffers = bench.buffers(1);
        bench.chain(RX, &buffers, 0);
    }
    bench.kick(RX);
    bench.run(20_000);
    assert_eq!(bench.given.len() as u64, ROOM);
    for _ in 0..3 {
        let buffers = bench.buffers(40);
        bench.chain(0x20, &buffers, 0);
        bench.kick(0x20);
    }
    bench.run(20_000 * 3);
    assert_eq!(bench.given.iter().filter(|(queue, _)| *queue == 0x20).count(), 3, "120 of {ROOM} segments");
    bench.credits.push_back((RX, 1));
    bench.run(3_000);
    assert_eq!(bench.given.iter().filter(|(queue, _)| *queue == RX).count() as u64, ROOM + 1);
    bench.generous = true;
    for index in [RX, 0x20] {
        let out = bench.queues[&index].out;
        (0..out).for_each(|_| bench.credits.push_back((index, 1)));
    }
    bench.settle();
    assert_eq!(bench.given.len(), 203);
}

#[test]
fn a_queue_that_is_drained_gives_its_token_last_and_begins_afresh() {
    let mut bench = Sender::new(1, Options::ROUGH);
    for round in 0..12 {
        bench.enable(TX, 64);
        bench.enable(TX2, 64);
        bench.run(20);
        for index in [TX, TX2] {
            for _ in 0..20 {
                let buffers = bench.buffers(2);
                bench.chain(index, &buffers, 0);
            }
            bench.kick(index);
        }
        bench.run(20 * round);
        bench.drain(TX);
        bench.settle();
        assert!(bench.queues[&TX].drained && !bench.queues[&TX2].drained);
        assert!(bench.queues[&TX2].expected.is_empty(), "the other queue went on");
        bench.drain(TX2);
        bench.settle();
    }
}

#[test]
fn a_receive_queue_that_waits_for_room_can_be_drained() {
    let mut bench = Receiver::new(1, Options::SMOOTH);
    bench.generous = false;
    bench.enable(RX, 1024);
    for _ in 0..10 {
        let buffers = bench.buffers(60);
        bench.chain(RX, &buffers, 0);
    }
    bench.kick(RX);
    bench.run(40_000);
    assert_eq!(bench.given.len(), 2);
    bench.queues.get_mut(&RX).expect("it").limited = false;
    bench.drain(RX);
    bench.settle();
    assert!(bench.queues[&RX].drained);
}

/// What breaks a queue; each leaves another queue alone.
#[test]
fn a_broken_ring_stops_its_queue_alone() {
    type Mischief = fn(&mut Sender, u64);
    let cases: [(&str, Mischief); 14] = [
        ("index too far ahead", |bench, _| bench.set_index(TX, 65)),
        ("index behind", |bench, _| bench.set_index(TX, 0xffff)),
        ("head outside", |bench, _| bench.publish(TX, 64)),
        ("next outside", |bench, table| {
            bench.descriptor(table, 0, buffer(1, false), DESC_NEXT, 64);
            bench.publish(TX, 0);
        }),
        ("loop", |bench, table| {
            bench.descriptor(table, 0, buffer(1, false), DESC_NEXT, 0);
            bench.publish(TX, 0);
        }),
        ("readable after writable", |bench, table| {
            bench.descriptor(table, 0, buffer(1, true), DESC_NEXT, 1);
            bench.descriptor(table, 1, buffer(1, false), 0, 0);
            bench.publish(TX, 0);
        }),
        ("table of no descriptors", |bench, table| {
            bench.descriptor(table, 0, Buffer { address: 64, length: 0, write: false }, DESC_INDIRECT, 0);
            bench.publish(TX, 0);
        }),
        ("table of 65", |bench, table| {
            bench.descriptor(
                table,
                0,
                Buffer { address: 64, length: 65 * 16, write: false },
                DESC_INDIRECT,
                0,
            );
            bench.publish(TX, 0);
        }),
        ("a part of a descriptor", |bench, table| {
            bench.descriptor(table, 0, Buffer { address: 64, length: 24, write: false }, DESC_INDIRECT, 0);
            bench.publish(TX, 0);
        }),
        ("table and next", |bench, table| {
            let at = bench.allocate(32, 0);
            bench.descriptor(at, 0, buffer(1, false), 0, 0);
            let table_of_one = Buffer { address: at, length: 16, write: false };
            bench.descriptor(table, 0, table_of_one, DESC_INDIRECT | DESC_NEXT, 1);
            bench.publish(TX, 0);
        }),
        ("table in a table", |bench, table| {
            let at = bench.allocate(32, 0);
            bench.descriptor(at, 0, Buffer { address: at, length: 16, write: false }, DESC_INDIRECT, 0);
            bench.descriptor(table, 0, Buffer { address: at, length: 16, write: false }, DESC_INDIRECT, 0);
            bench.publish(TX, 0);
        }),
        ("next outside of the table", |bench, table| {
            let at = bench.allocate(32, 0);
            bench.descriptor(at, 0, buffer(1, false), DESC_NEXT, 2);
            bench.descriptor(table, 0, Buffer { address: at, length: 32, write: false }, DESC_INDIRECT, 0);
            bench.publish(TX, 0);
        }),
        ("loop in a table", |bench, table| {
            let at = bench.allocate(32, 0);
            bench.descriptor(at, 0, buffer(1, false), DESC_NEXT, 0);
            bench.descriptor(table, 0, Buffer { address: at, length: 32, write: false }, DESC_INDIRECT, 0);
            bench.publish(TX, 0);
        }),
        ("table at an odd address", |bench, table| {
            bench.descriptor(table, 0, Buffer { address: 66, length: 16, write: false }, DESC_INDIRECT, 0);
            bench.publish(TX, 0);
        }),
    ];
    for (name, mischief) in cases {
        let mut bench = sender(Options::SMOOTH);
        bench.enable(TX2, 64);
        let buffers = bench.buffers(2);
        assert!(bench.chain(TX2, &buffers, 0));
        bench.settle();
        let table = bench.table(TX);
        mischief(&mut bench, table);
        bench.notify(TX);
        bench.notify(TX2);
        bench.settle();
        assert_eq!(bench.queues[&TX].broken, 1, "{name}");
        assert_eq!((bench.queues[&TX2].broken, bench.given.len()), (0, 1), "{name}");
        // Afterwards it begins afresh.
        bench.drain(TX);
        bench.settle();
        bench.enable(TX, 64);
        let buffers = bench.buffers(2);
        bench.run(10);
        assert!(bench.chain(TX, &buffers, 1));
        bench.kick(TX);
        bench.settle();
        assert_eq!((bench.queues[&TX].broken, bench.given.len()), (0, 2), "{name}");
    }
}

#[test]
fn a_read_that_fails_breaks_the_queue_and_nothing_hangs() {
    for seed in 1..3 {
        let mut bench = Sender::new(seed, Options { fail: 300, ..Options::ROUGH });
        bench.enable(TX, 64);
        let mut broken = 0;
        for _ in 0..6 {
            for _ in 0..5 {
                // What a chain that broke left behind does not come any more.
                bench.queues.get_mut(&TX).expect("it").expected.clear();
                bench.chain(TX, &[buffer(0x1234, false)], 0);
                bench.notify(TX);
                bench.settle();
            }
            broken += bench.queues[&TX].broken;
            bench.drain(TX);
            bench.settle();
            assert!(bench.queues[&TX].drained);
            bench.enable(TX, 64);
        }
        assert!(broken > 0, "no read failed");
    }
}

#[test]
fn queues_of_others_are_not_looked_at() {
    let mut bench = Receiver::new(1, Options::SMOOTH);
    bench.enable(TX, 64);
    bench.enable(CONTROL, 64);
    bench.notify(TX);
    bench.notify(CONTROL);
    bench.run(2_000);
    assert_eq!(bench.reads, 0);
}
