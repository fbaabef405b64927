//! Network devices of the Verilated card: the user-space driver on both sides of the switch, and Ethernet ports.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nitride_abi::card::{DEVICES, PF_MANAGEMENT, PF_NETWORK, VF_NETWORK_FIRST, VFS, device_of};
use nitride_abi::management::PortEvent;
use nitride_abi::virtio::net::{FRAME_BYTES, feature};
use nitride_driver::management::{Assignment, Management, Port};
use nitride_driver::virtio_net::{Checksum, Interface, Net, Options as NetOptions};
use nitride_sim::{Card, Options, Simulator};
use nitride_tests::{frame, tcp};

const BROADCAST: [u8; 6] = [0xff; 6];
/// How long a frame may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn mac(device: u8) -> [u8; 6] {
    [2, 0x4e, 0x54, 0, 0, device]
}

struct Bed {
    simulator: Simulator,
    card: Management,
}

impl Bed {
    /// A card whose network devices are in the networks that `network` says, those of Ethernet ports included.
    fn new(network: impl Fn(u8) -> u8) -> Self {
        let simulator = Simulator::start(Box::new(Card::new()), Options::default()).unwrap();
        let card = Management::open(Arc::new(simulator.endpoint(PF_MANAGEMENT).unwrap())).unwrap();
        let ports: Vec<u8> = (0..=VFS).chain([16, 17]).collect();
        for port in &ports {
            let device = usize::from(*port) < DEVICES;
            let own = device.then(|| mac(*port));
            let settings = Port { enabled: true, network: network(*port), mac: own, ipv4: None };
            if device {
                let given = Assignment { mac: mac(*port), mtu: 1500, link_up: true, announce: false };
                card.place(*port, settings, given).unwrap();
            } else {
                card.set_port(*port, settings).unwrap();
            }
        }
        for number in ports.iter().map(|port| network(*port)) {
            let members = ports.iter().filter(|port| network(**port) == number).map(|port| 1 << port).sum();
            card.set_members(number, members).unwrap();
        }
        Self { simulator, card }
    }

    fn net(&self, function: u8, options: NetOptions) -> Net {
        Net::open(Arc::new(self.simulator.endpoint(function).unwrap()), options).unwrap()
    }

    fn count(&self, port: u8, event: PortEvent) -> u64 {
        let counters = self.card.port_counters(port).unwrap();
        counters.into_iter().find(|(counted, ..)| *counted == event).unwrap().1
    }

    /// No rule of the card's edge was broken.
    fn check_rules(&self) {
        let violations = self.simulator.with(|system| system.violations().to_vec()).unwrap();
        assert!(violations.is_empty(), "{violations:?}");
    }
}

fn receive(net: &mut Net) -> Vec<u8> {
    let (begin, mut frame) = (Instant::now(), Vec::new());
    while net.receive(0, &mut frame).unwrap().is_none() {
        assert!(begin.elapsed() < PATIENCE, "no frame came; needs reset: {:?}", net.needs_reset());
    }
    frame
}

#[test]
fn frames_of_all_sizes_pass_between_devices_whatever_features_are_agreed_on() {
    let bed = Bed::new(|_| 0);
    for without in [
        0,
        1 << nitride_abi::virtio::feature::EVENT_IDX,
        1 << feature::CTRL_VQ | 1 << feature::MQ | 1 << feature::CTRL_RX | 1 << feature::CTRL_MAC_ADDR,
    ] {
        let options = NetOptions { queue_entries: 32, without, ..NetOptions::default() };
        let mut alice = bed.net(VF_NETWORK_FIRST, options);
        let mut bob = bed.net(VF_NETWORK_FIRST + 1, options);
        assert_eq!((alice.mac(), bob.mac()), (mac(1), mac(2)));
        assert!(alice.link_up().unwrap());
        for (seed, len) in [14, 60, 61, 1514, 2035, 2036, 2037, 4096, FRAME_BYTES].into_iter().enumerate() {
            let sent = frame(mac(2), mac(1), len, seed as u8);
            assert!(alice.send(0, &sent, None).unwrap());
            alice.kick().unwrap();
            assert!(receive(&mut bob) == sent, "{len} bytes without {without:#x}");
        }
    }
    bed.check_rules();
}

#[test]
fn many_frames_both_ways_arrive_in_order_and_are_counted() {
    let bed = Bed::new(|_| 0);
    let mut alice = bed.net(VF_NETWORK_FIRST, NetOptions::default());
    let mut bob = bed.net(PF_NETWORK, NetOptions::default());
    let (mut sent, mut got) = ([0u32; 2], [0u32; 2]);
    let mut buffer = Vec::new();
    let begin = Instant::now();
    while got[0] < 500 || got[1] < 500 {
        for (i, (net, to, from)) in
            [(&mut alice, mac(0), mac(1)), (&mut bob, mac(1), mac(0))].into_iter().enumerate()
        {
            // As many as the other side has buffers for: a switch may drop what nobody takes.
            while sent[i] < 500 && sent[i] - got[1 - i] < 100 && net.has_room(0).unwrap() {
                let mut frame = frame(to, from, 60 + (sent[i] as usize * 37) % 1400, 0);
                frame[14..18].copy_from_slice(&sent[i].to_le_bytes());
                assert!(net.send(0, &frame, None).unwrap());
                sent[i] += 1;
            }
            net.kick().unwrap();
            while net.receive(0, &mut buffer).unwrap().is_some() {
                assert_eq!(buffer[14..18], got[i].to_le_bytes());
                assert_eq!(buffer.len(), 60 + (got[i] as usize * 37) % 1400);
                got[i] += 1;
            }
        }
        assert!(begin.elapsed() < PATIENCE, "{sent:?} sent, {got:?} received");
    }
    for device in [0, 1] {
        assert_eq!(bed.count(device, PortEvent::Received), 500);
        assert_eq!(bed.count(device, PortEvent::Sent), 500);
    }
    println!("{} cycles", bed.simulator.counters().unwrap().simulated);
    bed.check_rules();
}

#[test]
fn tcp_runs_through_the_card() {
    let bed = Bed::new(|_| 3);
    let mut alice = Interface::new(bed.net(VF_NETWORK_FIRST + 2, NetOptions::default())).unwrap();
    let mut bob = Interface::new(bed.net(VF_NETWORK_FIRST + 7, NetOptions::default())).unwrap();
    let report = tcp::transfer(&mut alice, &mut bob, 1 << 20, || {}).unwrap();
    println!("{report:?}, {} cycles", bed.simulator.counters().unwrap().simulated);
    bed.check_rules();
}

#[test]
fn networks_are_apart_and_sources_are_checked() {
    let bed = Bed::new(|port| u8::from(port >= 4));
    let mut alice = bed.net(VF_NETWORK_FIRST, NetOptions::default());
    let mut bob = bed.net(VF_NETWORK_FIRST + 1, NetOptions::default());
    let mut eve = bed.net(VF_NETWORK_FIRST + 5, NetOptions::default());
    let own = frame(BROADCAST, mac(1), 100, 1);
    let forged = frame(mac(2), mac(6), 100, 2);
    let across = frame(mac(6), mac(1), 100, 3);
    let last = frame(mac(2), mac(1), 100, 4);
    for frame in [&own, &forged, &across, &last] {
        assert!(alice.send(0, frame, None).unwrap());
    }
    alice.kick().unwrap();
    assert_eq!(receive(&mut bob), own);
    assert_eq!(receive(&mut bob), last);
    assert!(eve.receive(0, &mut Vec::new()).unwrap().is_none(), "something came from another network");
    assert_eq!(bed.count(1, PortEvent::SourceMac), 1);
    assert_eq!(bed.count(1, PortEvent::NoDestination), 1);
    bed.check_rules();
}

#[test]
fn ethernet_ports_and_devices_reach_each_other() {
    let bed = Bed::new(|_| 0);
    let mut alice = bed.net(VF_NETWORK_FIRST, NetOptions::default());
    let outside = [0x1e, 1, 2, 3, 4, 5];
    bed.card.forward(0, outside, Some(16)).unwrap();
    let out = frame(outside, mac(1), 1000, 1);
    assert!(alice.send(0, &out, None).unwrap());
    alice.kick().unwrap();
    let begin = Instant::now();
    let left = loop {
        if let Some(frame) = bed.simulator.with(|system| system.ethernet(0).take()).unwrap() {
            break frame;
        }
        assert!(begin.elapsed() < PATIENCE);
    };
    assert_eq!(left, out);
    let back = frame(mac(1), outside, 9000, 2);
    let sent = back.clone();
    bed.simulator.with(move |system| system.ethernet(0).send(&sent)).unwrap();
    assert_eq!(receive(&mut alice), back);
    assert_eq!(bed.count(16, PortEvent::Received), 1);
    bed.check_rules();
}

#[test]
fn control_commands_and_the_owner_change_a_device() {
    let bed = Bed::new(|_| 0);
    let function = VF_NETWORK_FIRST;
    let mut alice = bed.net(function, NetOptions { queue_pairs: 2, ..NetOptions::default() });
    let mut bob = bed.net(function + 1, NetOptions::default());
    assert_eq!(alice.queue_pairs(), 2);
    // What is not for bob comes when he asks for it.
    let stranger = [2, 9, 9, 9, 9, 9];
    bed.card.forward(0, stranger, Some(2)).unwrap();
    bob.set_promiscuous(true).unwrap();
    let sent = frame(stranger, mac(1), 80, 1);
    alice.send(1, &sent, None).unwrap();
    alice.kick().unwrap();
    assert_eq!(receive(&mut bob), sent);
    // A new address, first refused by the port's check, then allowed by the owner.
    let new = [2, 1, 1, 1, 1, 1];
    alice.set_mac(new).unwrap();
    let device = device_of(function, VFS).unwrap();
    bed.card.set_port(device, Port { enabled: true, network: 0, mac: Some(new), ipv4: None }).unwrap();
    let sent = frame(mac(2), new, 80, 2);
    alice.send(0, &sent, None).unwrap();
    alice.kick().unwrap();
    assert_eq!(receive(&mut bob), sent);
    let given = Assignment { mac: new, mtu: 9000, link_up: false, announce: false };
    bed.card.assign(device, given).unwrap();
    assert!(!alice.link_up().unwrap());
    assert_eq!(alice.mtu().unwrap(), Some(9000));
    bed.check_rules();
}

#[test]
fn checksums_are_filled_in() {
    let bed = Bed::new(|_| 0);
    let mut alice = bed.net(VF_NETWORK_FIRST, NetOptions::default());
    let mut bob = bed.net(VF_NETWORK_FIRST + 1, NetOptions::default());
    let mut sent = frame(mac(2), mac(1), 200, 9);
    sent[50..52].copy_from_slice(&[0x12, 0x34]);
    alice.send(0, &sent, Some(Checksum { start: 34, offset: 16 })).unwrap();
    alice.kick().unwrap();
    let got = receive(&mut bob);
    let sum = sent[34..].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = !((folded & 0xffff) + (folded >> 16)) as u16;
    assert_eq!(got[50..52], folded.to_be_bytes());
    bed.check_rules();
}
