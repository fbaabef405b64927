//! §5.1: the network device.

use nitride_abi::virtio::net::{config, control, feature, header};
use nitride_abi::virtio::pci::capability;
use nitride_abi::virtio::ring;
use nitride_driver::management::Assignment;
use nitride_driver::virtio_net::Net;

use super::raw::{BASE, Bed, CONTROL, Device, OWN, PEER, Ring, command, frame, packet, wait, working};

const BROADCAST: [u8; 6] = [0xff; 6];
const MULTICAST: [u8; 6] = [1, 0, 0x5e, 0, 0, 1];
const STRANGER: [u8; 6] = [2, 9, 9, 9, 9, 9];

fn send(peer: &mut Net, to: [u8; 6]) {
    assert!(peer.send(0, &frame(to, PEER, 80), None).unwrap());
    peer.kick().unwrap();
}

/// A device that is at work, with a control queue.
fn controlled(bed: &Bed, features: u64) -> (Device, Ring, Ring) {
    let device = bed.device();
    assert!(device.agrees(BASE | 1 << feature::CTRL_VQ | features));
    let (receive, control) = (Ring::new(&device, 0, 0), Ring::new(&device, CONTROL, 0));
    device.go();
    (device, receive, control)
}

/// Whether a frame to that address comes in: one to the device's own address is sent behind it and comes in any case.
fn comes(device: &Device, receive: &mut Ring, peer: &mut Net, to: [u8; 6], own: [u8; 6]) -> bool {
    let before = receive.used();
    receive.offer_room(0);
    receive.offer_room(1);
    receive.notify(device);
    send(peer, to);
    send(peer, own);
    let first = wait("a frame", || {
        let came = receive.used().wrapping_sub(before);
        (came > 0).then_some(())?;
        let (head, _) = receive.element(before);
        Some(receive.contents(head as u16, 18)[12..] == to)
    });
    let wanted = if first { 2 } else { 1 };
    wait("the last frame", || (receive.used().wrapping_sub(before) == wanted).then_some(()));
    if !first {
        // The room that was not used.
        send(peer, own);
        wait("one more frame", || (receive.used().wrapping_sub(before) == 2).then_some(()));
    }
    first
}

/// §5.1.6.2.2: the device MUST ignore flags that it does not know, and MUST NOT use csum_start and csum_offset without NEEDS_CSUM.
#[test]
fn unknown_flags_and_unasked_checksums_are_ignored() {
    let bed = Bed::new();
    let mut peer = bed.peer();
    let (device, _receive, mut transmit) = working(&bed, 1 << feature::CSUM);
    let sent = frame(PEER, OWN, 200);
    let mut bytes = packet(&sent);
    bytes[header::FLAGS] = 0xfe;
    bytes[header::CSUM_START] = 40;
    bytes[header::CSUM_OFFSET] = 16;
    transmit.offer_bytes(0, &bytes);
    transmit.notify(&device);
    let mut got = vec![];
    wait("the frame", || peer.receive(0, &mut got).unwrap());
    assert_eq!(got, sent);
}

/// §5.1.6.4.1: num_buffers MUST be 1, and §5.1.6.3.2: only a single descriptor MUST be used, without MRG_RXBUF; §5.1.6.4.1: flags MUST be zero without
/// GUEST_CSUM, and gso_type NONE without the GUEST_TSO features.
#[test]
fn a_frame_is_in_one_buffer_behind_a_plain_header() {
    let bed = Bed::new();
    let mut peer = bed.peer();
    let (device, mut receive, transmit) = working(&bed, 0);
    // One whose buffer is too small is not spread over two.
    for number in 0..2 {
        receive.describe(number, receive.buffer(number), 60, ring::DESC_WRITE, 0);
        receive.offer(number);
    }
    receive.notify(&device);
    send(&mut peer, OWN);
    bed.pass(5000);
    assert!(receive.used() <= 1);
    device.reset();
    drop((receive, transmit));
    let (device, mut receive, _transmit) = working(&bed, 0);
    receive.offer_room(3);
    receive.notify(&device);
    send(&mut peer, OWN);
    receive.wait(1);
    let head = receive.contents(3, header::BYTES);
    assert_eq!((head[header::FLAGS], head[header::GSO_TYPE]), (0, 0));
    assert_eq!(head[header::NUM_BUFFERS..][..2], [1, 0]);
}

/// §5.1.6.3.2: with MRG_RXBUF the device MUST set num_buffers to the number of descriptors (chains) that it used; §5.1.6.4.1: it fills each but the last.
#[test]
fn merged_buffers_are_counted() {
    let bed = Bed::new();
    let mut peer = bed.peer();
    let (device, mut receive, _transmit) = working(&bed, 1 << feature::MRG_RXBUF);
    for number in 0..8 {
        receive.describe(number, receive.buffer(number), 256, ring::DESC_WRITE, 0);
        receive.offer(number);
    }
    receive.notify(&device);
    let sent = frame(OWN, PEER, 1000);
    assert!(peer.send(0, &sent, None).unwrap());
    peer.kick().unwrap();
    receive.wait(4);
    assert_eq!(receive.contents(0, 12)[header::NUM_BUFFERS..], [4, 0]);
    assert_eq!([0, 1, 2, 3].map(|n| receive.element(n).1), [256, 256, 256, 244]);
    let got: Vec<u8> = (0..4).flat_map(|n| receive.contents(n, receive.element(n).1 as usize)).collect();
    assert_eq!(got[12..], sent);
}

/// §5.1.4.1: packets of up to mtu, and the Ethernet header, MUST be forwarded whole.
#[test]
fn frames_of_the_mtu_are_forwarded() {
    let bed = Bed::new();
    let mut peer = bed.peer();
    let (device, mut receive, mut transmit) = working(&bed, 1 << feature::MTU);
    let sent = frame(PEER, OWN, 1514);
    transmit.offer_bytes(0, &packet(&sent));
    transmit.notify(&device);
    let mut got = vec![];
    wait("the frame", || peer.receive(0, &mut got).unwrap());
    assert_eq!(got, sent);
    receive.offer_room(0);
    receive.notify(&device);
    assert!(peer.send(0, &frame(OWN, PEER, 1514), None).unwrap());
    peer.kick().unwrap();
    receive.wait(1);
    assert_eq!(receive.element(0).1, 1526);
}

/// §5.1.6.5.1.1: with CTRL_RX the device MUST support PROMISC and ALLMULTI.
#[test]
fn promiscuous_and_all_multicast_are_turned_on_and_off() {
    let bed = Bed::new();
    let mut peer = bed.peer();
    bed.card.forward(0, STRANGER, Some(1)).unwrap();
    let (device, mut receive, mut control) = controlled(&bed, 1 << feature::CTRL_RX);
    for (code, to) in [(control::RX_PROMISC, STRANGER), (control::RX_ALLMULTI, MULTICAST)] {
        for on in [1, 0, 1, 0] {
            assert_eq!(command(&device, &mut control, control::RX, code, &[on]), control::OK);
            assert_eq!(comes(&device, &mut receive, &mut peer, to, OWN), on == 1, "command {code}, {on}");
        }
    }
    assert!(comes(&device, &mut receive, &mut peer, BROADCAST, OWN));
}

/// §5.1.6.5.2.1: the MAC filtering table MUST be empty on reset, and up to date before TABLE_SET is consumed; other destinations SHOULD be dropped.
#[test]
fn the_mac_filtering_table_lets_in_what_it_has() {
    let bed = Bed::new();
    let mut peer = bed.peer();
    for _ in 0..2 {
        let (device, mut receive, mut control) = controlled(&bed, 1 << feature::CTRL_RX);
        assert!(!comes(&device, &mut receive, &mut peer, MULTICAST, OWN), "at first");
        let table = [&[0, 0, 0, 0, 1, 0, 0, 0][..], &MULTICAST].concat();
        assert_eq!(command(&device, &mut control, control::MAC, control::MAC_TABLE_SET, &table), control::OK);
        assert!(comes(&device, &mut receive, &mut peer, MULTICAST, OWN));
        device.reset();
    }
}

/// §5.1.6.5.2.1: mac in the configuration MUST be updated before ADDR_SET is consumed.
#[test]
fn the_mac_address_is_changed_before_the_command_is_over() {
    let bed = Bed::new();
    let mut peer = bed.peer();
    bed.card.forward(0, STRANGER, Some(1)).unwrap();
    let (device, mut receive, mut control) = controlled(&bed, 1 << feature::CTRL_MAC_ADDR);
    assert_eq!(command(&device, &mut control, control::MAC, control::MAC_ADDR_SET, &STRANGER), control::OK);
    let byte = |at: u16| device.read::<1>(capability::DEVICE, config::MAC + at) as u8;
    assert_eq!([0, 1, 2, 3, 4, 5].map(byte), STRANGER);
    assert!(comes(&device, &mut receive, &mut peer, STRANGER, STRANGER));
}

/// §5.1.6.5.6.2: the device MUST NOT use receive queues beyond virtqueue_pairs once the command is used; one pair is in use by default.
#[test]
fn one_pair_is_used_until_more_are_asked_for() {
    let bed = Bed::new();
    let mut peer = bed.peer();
    let device = bed.device();
    assert!(device.agrees(BASE | 1 << feature::CTRL_VQ | 1 << feature::MQ));
    let mut receives = [Ring::new(&device, 0, 0), Ring::new(&device, 2, 0)];
    let mut control = Ring::new(&device, CONTROL, 0);
    device.go();
    let mut sent = 0;
    for pairs in [0, 2, 1] {
        if pairs > 0 {
            let set = control::MQ_PAIRS_SET;
            assert_eq!(command(&device, &mut control, control::MQ, set, &[pairs, 0]), control::OK);
        }
        let before = [receives[0].used(), receives[1].used()];
        for flow in 0..6 {
            for receive in &mut receives {
                receive.offer_room(receive.offered % 16);
                receive.notify(&device);
            }
            let mut frame = frame(OWN, PEER, 80);
            frame[12..14].copy_from_slice(&[8, 0]);
            frame[26..34].copy_from_slice(&[10, 0, 0, flow, 10, 0, 0, 99]);
            assert!(peer.send(0, &frame, None).unwrap());
            peer.kick().unwrap();
            sent += 1;
            wait("the frame", || (receives[0].used() + receives[1].used() == sent).then_some(()));
        }
        let second = receives[1].used() - before[1];
        assert_eq!(second > 0, pairs == 2, "{pairs} pairs: {second} frames on the second queue");
    }
    for wrong in [0, 3] {
        let set = control::MQ_PAIRS_SET;
        assert_eq!(command(&device, &mut control, control::MQ, set, &[wrong, 0]), control::ERR);
    }
}

/// §5.1.6.5: a command that the device does not know is answered with VIRTIO_NET_ERR.
#[test]
fn unknown_commands_are_refused() {
    let bed = Bed::new();
    let (device, _receive, mut control) = controlled(&bed, 1 << feature::CTRL_RX);
    for (class, code) in [(control::RX, 9), (control::MAC, 7), (control::VLAN, 0), (77, 0)] {
        assert_eq!(command(&device, &mut control, class, code, &[0; 8]), control::ERR, "{class} {code}");
    }
}

/// §5.1.6.5.4.2: the device MUST clear VIRTIO_NET_S_ANNOUNCE when it is acknowledged.
#[test]
fn an_announcement_is_asked_for_and_acknowledged() {
    let bed = Bed::new();
    let (device, _receive, mut control) =
        controlled(&bed, 1 << feature::GUEST_ANNOUNCE | 1 << feature::STATUS);
    let status = || device.read::<2>(capability::DEVICE, config::STATUS) as u16;
    assert_eq!(status() & config::ANNOUNCE, 0);
    bed.card.assign(1, Assignment { mac: OWN, mtu: 1500, link_up: true, announce: true }).unwrap();
    wait("the announcement", || (status() & config::ANNOUNCE != 0).then_some(()));
    assert_eq!(command(&device, &mut control, control::ANNOUNCE, control::ANNOUNCE_ACK, &[]), control::OK);
    assert_eq!(status() & config::ANNOUNCE, 0);
}
