//! A tenant that writes whatever it likes into its rings, beside two others whose frames must arrive as they were sent.

#[allow(dead_code)]
#[path = "virtio_conformance/raw.rs"]
mod raw;

use std::sync::Arc;
use std::time::{Duration, Instant};

use nitride_abi::card::{PF_NETWORK, VF_NETWORK_FIRST};
use nitride_abi::virtio::{feature, net, ring, status};
use nitride_driver::management::{Assignment, Port};
use nitride_driver::virtio_net::{Net, Options as NetOptions};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use raw::{BASE, Bed, CONTROL, Device, PEER, Ring, SIZE, frame};

/// States that its rings are put into, for each seed; NITRIDE_STATES overrides it.
const STATES: u32 = 2000;
/// How long a frame of the others may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The PF's address; it is a tenant as the VFs are.
const OTHER: [u8; 6] = [2, 0x4e, 0x54, 0, 0, 0xfe];

/// Frames between two devices, each of which has a number and its own contents.
struct Pair {
    ends: [Net; 2],
    sent: [u64; 2],
    got: [u64; 2],
    buffer: Vec<u8>,
}

impl Pair {
    fn frame(from: usize, number: u64) -> Vec<u8> {
        let addresses = [OTHER, PEER];
        let mut frame = frame(addresses[1 - from], addresses[from], 60 + (number as usize * 53) % 900);
        frame[14..22].copy_from_slice(&number.to_le_bytes());
        frame
    }

    /// Sends a frame each way.
    fn send(&mut self) {
        for end in 0..2 {
            if self.sent[end] - self.got[1 - end] < 20 {
                assert!(self.ends[end].send(0, &Self::frame(end, self.sent[end]), None).unwrap());
                self.ends[end].kick().unwrap();
                self.sent[end] += 1;
            }
        }
    }

    /// Takes what has come: nothing but the next frames of the other end.
    fn receive(&mut self) {
        for end in 0..2 {
            while self.ends[end].receive(0, &mut self.buffer).unwrap().is_some() {
                assert!(
                    self.buffer == Self::frame(1 - end, self.got[end]),
                    "frame {} to {end}",
                    self.got[end]
                );
                self.got[end] += 1;
            }
        }
    }

    fn settle(&mut self) {
        let begin = Instant::now();
        while self.got != [self.sent[1], self.sent[0]] {
            self.receive();
            assert!(begin.elapsed() < PATIENCE, "{:?} sent, {:?} arrived", self.sent, self.got);
        }
    }
}

/// The tenant's three queues.
fn rings(device: &Device, rng: &mut StdRng) -> Vec<Ring> {
    device.reset();
    let mut features = BASE | 1 << net::feature::CTRL_VQ;
    for optional in [
        feature::EVENT_IDX,
        feature::INDIRECT_DESC,
        feature::RING_RESET,
        net::feature::MRG_RXBUF,
        net::feature::CSUM,
    ] {
        features |= u64::from(rng.random::<bool>()) << optional;
    }
    assert!(device.agrees(features));
    let rings = [0, 1, CONTROL].map(|index| Ring::new(device, index, 0xffff)).into();
    device.go();
    rings
}

/// One descriptor: what a driver could write, and what it must not.
fn descriptor(ring: &Ring, rng: &mut StdRng) -> [u8; 16] {
    let inside = ring.buffer(rng.random_range(0..SIZE)) + rng.random_range(0..64);
    let address = *[
        inside,
        inside,
        inside,
        ring.table.iova(),
        ring.used.iova(),
        0,
        u64::MAX - 100,
        1 << 63,
        rng.random(),
    ]
    .choose(rng)
    .unwrap();
    let len = *[12, 60, 76, 1526, 4096, 0, 1, 11, 16, 48, 9100, u32::MAX, rng.random()].choose(rng).unwrap();
    let flags = *[0, 0, 1, 1, 2, 3, 4, 5, 6, 7, rng.random()].choose(rng).unwrap();
    let next = if rng.random_ratio(1, 8) { rng.random() } else { rng.random_range(0..SIZE) };
    raw::descriptor(address, len, flags, next)
}

/// Puts a queue into some state, and tells the device.
fn attack(device: &Device, target: &mut Ring, rng: &mut StdRng) {
    for number in 0..SIZE {
        if rng.random::<bool>() {
            target.table.write(16 * usize::from(number), &descriptor(target, rng)).unwrap();
        }
        // Buffers may be tables of descriptors, or headers with anything in them.
        if rng.random_ratio(1, 4) {
            let table: Vec<u8> = (0..4).flat_map(|_| descriptor(target, rng)).collect();
            target.fill(number, &table);
        }
    }
    for _ in 0..rng.random_range(0..6) {
        let head = if rng.random_ratio(1, 20) { rng.random() } else { rng.random_range(0..SIZE) };
        target.offer(head);
    }
    if rng.random_ratio(1, 30) {
        target.offered = rng.random();
        target.available.write(ring::AVAIL_INDEX as usize, &target.offered.to_le_bytes()).unwrap();
    }
    target.set_available_flags(rng.random());
    target.set_used_event(rng.random());
    target.notify(device);
}

#[test]
fn hostile_rings_harm_no_other_tenant() {
    let states = std::env::var("NITRIDE_STATES").map_or(STATES, |states| states.parse().unwrap());
    for seed in 1..3 {
        campaign(seed, states);
    }
}

fn campaign(seed: u64, states: u32) {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let bed = Bed::new();
    // The hostile device is in a network of its own, and its frames may claim any source.
    bed.card.set_port(1, Port { enabled: true, network: 7, ..Port::default() }).unwrap();
    bed.card.set_members(7, 0b10).unwrap();
    let given = Assignment { mac: OTHER, mtu: 1500, link_up: true, announce: false };
    bed.card.place(0, Port { enabled: true, ..Port::default() }, given).unwrap();
    bed.card.set_members(0, 0b101).unwrap();
    let open = |function| {
        let function = Arc::new(bed.simulator.endpoint(function).unwrap());
        Net::open(function, NetOptions { queue_entries: 64, ..NetOptions::default() }).unwrap()
    };
    let ends = [open(PF_NETWORK), open(VF_NETWORK_FIRST + 1)];
    let mut pair = Pair { ends, sent: [0; 2], got: [0; 2], buffer: vec![] };

    let device = bed.device();
    let mut hostile = rings(&device, &mut rng);
    let mut resets = 0;
    for _ in 0..states {
        let target = rng.random_range(0..hostile.len());
        attack(&device, &mut hostile[target], &mut rng);
        pair.send();
        pair.receive();
        if device.status() & status::NEEDS_RESET != 0 || rng.random_ratio(1, 200) {
            resets += 1;
            hostile = rings(&device, &mut rng);
        }
    }
    device.reset();
    pair.settle();
    println!("{resets} resets, {:?} frames arrived beside them", pair.got);
    assert!(resets > 100 && pair.got.iter().all(|frames| *frames > 200));
    let violations = bed.simulator.with(|system| system.violations().to_vec()).unwrap();
    assert!(violations.is_empty(), "{violations:?}");
}
