//! The virtio-net driver on the model: every feature on and off, frames of all sizes, control commands, TCP by smoltcp.

use std::sync::Arc;

use nitride_abi::virtio::net::{FRAME_BYTES, feature};
use nitride_abi::virtio::{self};
use nitride_driver::virtio_net::{Checksum, Error, Interface, Net, Options};
use nitride_tests::tcp;
use nitride_tests::virtio_net_model::NetFunction;

const ALICE: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const BOB: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

fn functions() -> [Arc<NetFunction>; 2] {
    [Arc::new(NetFunction::new("alice", ALICE)), Arc::new(NetFunction::new("bob", BOB))]
}

/// Carries all frames that were sent to the other side.
fn carry([alice, bob]: &[Arc<NetFunction>; 2]) {
    while let Some(frame) = alice.take_sent() {
        bob.deliver(frame);
    }
    while let Some(frame) = bob.take_sent() {
        alice.deliver(frame);
    }
}

fn frame(len: usize, seed: u8) -> Vec<u8> {
    let mut frame = [&BOB[..], &ALICE, &[0x88, 0xb5]].concat();
    frame.extend((frame.len()..len).map(|at| (at as u8).wrapping_mul(7).wrapping_add(seed)));
    frame
}

#[test]
fn frames_of_all_sizes_arrive_whole_whatever_features_are_agreed_on() {
    let without = [
        0,
        1 << virtio::feature::EVENT_IDX,
        1 << feature::MQ,
        1 << feature::CTRL_VQ
            | 1 << feature::MQ
            | 1 << feature::CTRL_RX
            | 1 << feature::CTRL_VLAN
            | 1 << feature::CTRL_MAC_ADDR,
    ];
    for without in without {
        let functions = functions();
        let options = Options { queue_entries: 16, without, ..Options::default() };
        let mut nets = functions.clone().map(|function| Net::open(function, options).unwrap());
        assert_eq!(nets[0].features() & without, 0);
        assert_eq!(nets[0].mac(), ALICE);
        let mut received = Vec::new();
        for (seed, len) in
            [14, 60, 61, 1514, 2035, 2036, 2037, 4096, FRAME_BYTES].into_iter().cycle().take(100).enumerate()
        {
            let sent = frame(len, seed as u8);
            assert!(nets[0].send(0, &sent, None).unwrap(), "room for frame {seed}");
            nets[0].kick().unwrap();
            carry(&functions);
            let got = nets[1].receive(0, &mut received).unwrap();
            assert!(got.is_some(), "frame {seed} of {len} bytes, without {without:#x}");
            assert_eq!(received, sent);
        }
        assert!(nets[1].receive(0, &mut received).unwrap().is_none());
    }
}

#[test]
fn without_mergeable_buffers_what_does_not_fit_one_is_not_received() {
    let functions = functions();
    let options = Options { without: 1 << feature::MRG_RXBUF, ..Options::default() };
    let mut nets = functions.clone().map(|function| Net::open(function, options).unwrap());
    nets[0].send(0, &frame(1514, 1), None).unwrap();
    nets[0].send(0, &frame(4000, 2), None).unwrap();
    nets[0].kick().unwrap();
    carry(&functions);
    let mut received = Vec::new();
    assert!(nets[1].receive(0, &mut received).unwrap().is_some());
    assert_eq!(received, frame(1514, 1));
    assert!(nets[1].receive(0, &mut received).unwrap().is_none());
}

#[test]
fn the_device_fills_in_the_checksum_that_it_is_asked_for() {
    let functions = functions();
    let mut net = Net::open(functions[0].clone(), Options::default()).unwrap();
    let mut sent = frame(61, 3);
    sent[50..52].fill(0);
    net.send(0, &sent, Some(Checksum { start: 34, offset: 16 })).unwrap();
    net.kick().unwrap();
    let got = functions[0].take_sent().unwrap();
    // RFC 1071, by hand: the sum over all with the checksum in place is all ones.
    let sum = got[34..].chunks(2).fold(0u32, |sum, word| {
        let sum = sum + (u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
        (sum & 0xffff) + (sum >> 16)
    });
    assert_eq!(sum, 0xffff);
    assert_eq!(got[..50], sent[..50]);
    assert_eq!(got[52..], sent[52..]);
}

#[test]
fn a_full_queue_says_so_and_takes_more_when_the_device_has_sent() {
    let functions = functions();
    let options = Options { queue_entries: 8, ..Options::default() };
    let mut net = Net::open(functions[0].clone(), options).unwrap();
    for _ in 0..8 {
        assert!(net.send(0, &frame(60, 0), None).unwrap());
    }
    assert!(!net.send(0, &frame(60, 0), None).unwrap());
    net.kick().unwrap();
    assert_eq!(net.unsent(0).unwrap(), 0);
    assert!(net.send(0, &frame(60, 0), None).unwrap());
}

#[test]
fn control_commands_are_answered_and_a_refusal_is_an_error() {
    let functions = functions();
    let options = Options { queue_pairs: 8, ..Options::default() };
    let mut net = Net::open(functions[0].clone(), options).unwrap();
    assert_eq!(net.queue_pairs(), 2);
    net.set_mac(BOB).unwrap();
    net.set_promiscuous(true).unwrap();
    let refused = net.command("VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET", 4, 0, &[9, 0]);
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    drop(net);
    let net = Net::open(functions[0].clone(), Options::default()).unwrap();
    assert_eq!(net.mac(), BOB);
    assert_eq!(net.mtu().unwrap(), Some(1500));
    assert!(net.link_up().unwrap());
}

#[test]
fn two_stacks_talk_tcp() {
    let functions = functions();
    let mut devices = functions
        .clone()
        .map(|function| Interface::new(Net::open(function, Options::default()).unwrap()).unwrap());
    let [alice, bob] = &mut devices;
    let report = tcp::transfer(alice, bob, 1 << 20, || carry(&functions)).unwrap();
    assert_eq!(report.bytes, 1 << 20);
    assert!(alice.error().is_none() && bob.error().is_none());
}
