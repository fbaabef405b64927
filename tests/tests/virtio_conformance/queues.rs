//! §2.7: split virtqueues.

use nitride_abi::virtio::{feature, ring};

use super::raw::{Bed, OWN, PEER, Ring, descriptor, frame, packet, start, wait, working};

/// §2.7.5.1: the device MUST NOT write to a device-readable buffer, or to the descriptor table.
#[test]
fn neither_descriptors_nor_readable_buffers_are_written() {
    let bed = Bed::new();
    let (device, _receive, mut transmit) = working(&bed, 0);
    let sent = packet(&frame(PEER, OWN, 300));
    transmit.offer_bytes(2, &sent);
    let table = |ring: &Ring| {
        let mut bytes = [0; 256];
        ring.table.read(0, &mut bytes).unwrap();
        bytes
    };
    let before = table(&transmit);
    transmit.notify(&device);
    transmit.wait(1);
    assert_eq!(table(&transmit), before);
    assert_eq!(transmit.contents(2, sent.len()), sent);
}

/// §2.7.5.3.2: the device MUST ignore the write-only flag of a descriptor that refers to an indirect table, and MUST handle chained descriptors that end
/// with such a one.
#[test]
fn indirect_tables_follow_chained_descriptors_and_their_write_flag_is_ignored() {
    let bed = Bed::new();
    let mut peer = bed.peer();
    let (device, _receive, mut transmit) = working(&bed, 1 << feature::INDIRECT_DESC);
    let sent = frame(PEER, OWN, 200);
    let bytes = packet(&sent);
    for (count, flags) in [(1, 0), (2, ring::DESC_WRITE)] {
        // Header and addresses in two descriptors of the table, the rest in two of an indirect one.
        for (number, part) in
            [(0, &bytes[..12]), (1, &bytes[12..30]), (5, &bytes[30..100]), (6, &bytes[100..])]
        {
            transmit.fill(number, part);
        }
        let table = [
            descriptor(transmit.buffer(5), 70, ring::DESC_NEXT, 1),
            descriptor(transmit.buffer(6), bytes.len() as u32 - 100, 0, 0),
        ]
        .concat();
        transmit.fill(7, &table);
        transmit.describe(0, transmit.buffer(0), 12, ring::DESC_NEXT, 1);
        transmit.describe(1, transmit.buffer(1), 18, ring::DESC_NEXT, 2);
        transmit.describe(2, transmit.buffer(7), 32, ring::DESC_INDIRECT | flags, 0);
        transmit.offer(0);
        transmit.notify(&device);
        transmit.wait(count);
        let mut got = vec![];
        wait("the frame", || peer.receive(0, &mut got).unwrap());
        assert_eq!(got, sent);
    }
}

/// §2.7.7.2: without EVENT_IDX the device MUST ignore used_event and MUST notify if the available ring's flags are 0; if they are 1 it SHOULD NOT.
#[test]
fn used_buffers_are_told_by_the_flags() {
    let bed = Bed::new();
    let mut device = bed.device();
    device.enable_interrupts(3);
    let (_receive, mut transmit) = start(&device, 0);
    let mut count = 0;
    for (flags, event) in [(0, 100), (ring::AVAIL_NO_INTERRUPT, 1), (0, 7), (ring::AVAIL_NO_INTERRUPT, 3)] {
        transmit.set_available_flags(flags);
        transmit.set_used_event(event);
        transmit.offer_bytes(count, &packet(&frame(PEER, OWN, 60)));
        transmit.notify(&device);
        count += 1;
        transmit.wait(count);
        if flags == 0 {
            wait("an interrupt", || device.interrupted(2).then_some(()));
        } else {
            bed.pass(3000);
            assert!(!device.interrupted(2), "flags {flags}");
        }
        assert!(transmit.used_flags() <= 1, "§2.7.10.2: flags MUST be 0 or 1");
    }
}

/// §2.7.7.2: with EVENT_IDX the device MUST ignore the flags' lower bit, and MUST notify when the index at which it wrote was used_event; otherwise it SHOULD
/// NOT. §2.7.10.2: it MUST set its own flags to 0.
#[test]
fn used_buffers_are_told_by_the_event_index() {
    let bed = Bed::new();
    let mut device = bed.device();
    device.enable_interrupts(3);
    let (_receive, mut transmit) = start(&device, 1 << feature::EVENT_IDX);
    for count in 0..8u16 {
        transmit.set_available_flags(count & 1);
        let told = count % 3 == 0;
        transmit.set_used_event(if told { count } else { count + 5 });
        transmit.offer_bytes(count, &packet(&frame(PEER, OWN, 60)));
        transmit.notify(&device);
        transmit.wait(count + 1);
        if told {
            wait("an interrupt", || device.interrupted(2).then_some(()));
        } else {
            bed.pass(3000);
            assert!(!device.interrupted(2), "index {count}");
        }
        assert_eq!(transmit.used_flags(), 0);
    }
}

/// §2.7.10.2: with EVENT_IDX a driver that notifies when it passes avail_event, and only then, is served.
#[test]
fn a_driver_that_notifies_at_the_event_index_alone_is_served() {
    let bed = Bed::new();
    let (device, _receive, mut transmit) = working(&bed, 1 << feature::EVENT_IDX);
    for count in 0..40u16 {
        let number = count % 16;
        transmit.offer_bytes(number, &packet(&frame(PEER, OWN, 60)));
        let mut event = [0; 2];
        transmit.used.read(ring::avail_event(16) as usize, &mut event).unwrap();
        if u16::from_le_bytes(event) == count {
            transmit.notify(&device);
        }
        transmit.wait(count + 1);
    }
}

/// §2.7.8.2: the device MUST set len, and write at least len bytes, before it updates the used index; an element has the chain's head.
#[test]
fn used_elements_have_the_head_and_what_was_written() {
    let bed = Bed::new();
    let mut peer = bed.peer();
    let (device, mut receive, mut transmit) = working(&bed, 0);
    for (turn, len) in [60usize, 61, 1000, 1514].into_iter().enumerate() {
        let turn = turn as u16;
        receive.offer_room(15 - turn);
        receive.notify(&device);
        let sent = frame(OWN, PEER, len);
        assert!(peer.send(0, &sent, None).unwrap());
        peer.kick().unwrap();
        receive.wait(turn + 1);
        assert_eq!(receive.element(turn), (u32::from(15 - turn), 12 + len as u32));
        assert_eq!(receive.contents(15 - turn, 12 + len)[12..], sent);
    }
    transmit.offer_bytes(9, &packet(&frame(PEER, OWN, 60)));
    transmit.notify(&device);
    transmit.wait(1);
    assert_eq!(transmit.element(0), (9, 0));
}
