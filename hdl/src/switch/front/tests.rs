use std::collections::{HashMap, VecDeque};

use nitride_abi::management::PortEvent as Event;
use nitride_lang::testing::{Rng, differential, low, step};

use super::*;
use crate::net::records::{DeviceSettings, Port, Virtqueue};

/// MAC and IPv4 addresses that frames and ports use.
const ADDRESSES: u64 = 8;

fn mac(number: u64) -> [u8; 6] {
    [2, 0, 0, 0, 0, number as u8]
}
fn ipv4(number: u64) -> [u8; 4] {
    [10, 0, 0, number as u8]
}
fn bits_of<const N: usize>(bytes: &[u8]) -> Bits<N> {
    bytes.iter().rev().fold(Bits::<N>::default(), |all, byte| (all << 8) | Bits::from(u64::from(*byte)))
}

/// The switch as its description has it.
#[derive(Default)]
struct Model {
    ports: HashMap<u64, Port>,
    groups: HashMap<u64, u64>,
    table: HashMap<(u64, [u8; 6]), u64>,
    filters: HashMap<u64, ([u8; 6], bool, bool)>,
    both: HashMap<u64, bool>,
}

impl Model {
    fn judge(&self, ingress: u64, frame: &[u8]) -> Result<Vec<u64>, Event> {
        let port = self.ports.get(&ingress).copied().unwrap_or_default();
        if !port.enabled {
            return Err(Event::Disabled);
        }
        let kind = frame.get(12..14).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        let short = match kind {
            Some(0x0806) => frame.len() < 42,
            Some(0x0800) => frame.len() < 34,
            other => other.is_none(),
        };
        if short || frame.len() > 9_018 || frame[6] & 1 == 1 {
            return Err(Event::Malformed);
        }
        let arp = kind == Some(0x0806);
        if port.check_mac {
            let own = bits_of::<48>(&frame[6..12]) == port.mac;
            if !own || (arp && bits_of::<48>(&frame[22..28]) != port.mac) {
                return Err(Event::SourceMac);
            }
        }
        if port.check_ipv4 {
            let sender = match kind {
                Some(0x0806) => Some(&frame[28..32]),
                Some(0x0800) => Some(&frame[26..30]),
                _ => None,
            };
            let tagged = matches!(kind, Some(0x8100 | 0x88a8));
            // An ARP probe, and a DHCP client's broadcast.
            let asks = arp || kind == Some(0x0800) && frame[23] == 17 && frame[30..32] == [0xff; 2];
            let wrong = sender.is_some_and(|ip| !(*ip == [0; 4] && asks) && bits_of::<32>(ip) != port.ipv4);
            if tagged || wrong {
                return Err(Event::SourceIpv4);
            }
        }
        let to: [u8; 6] = frame[..6].try_into().expect("6 bytes");
        let network = port.network.to_u64();
        let members = match self.table.get(&(network, to)) {
            Some(port) if to[0] & 1 == 0 => 1 << port,
            _ => self.groups.get(&network).copied().unwrap_or_default(),
        };
        let ways: Vec<u64> = (0..18)
            .filter(|to_port| members >> to_port & 1 == 1 && *to_port != ingress)
            .filter(|to_port| {
                self.ports.get(to_port).is_some_and(|to| to.enabled && to.network == port.network)
            })
            .filter(|to_port| {
                let (mac, unicast, multicast) = self.filters.get(to_port).copied().unwrap_or_default();
                *to_port >= 16
                    || if to[0] & 1 == 1 { to == [0xff; 6] || multicast } else { unicast || to == mac }
            })
            .collect();
        if ways.is_empty() { Err(Event::NoDestination) } else { Ok(ways) }
    }
}

struct Bench {
    uut: Front,
    rng: Rng,
    model: Model,
    sources: [VecDeque<Vec<PacketBeat>>; 3],
    at: [usize; 3],
    /// Copies that are to come, in order of the merged frames.
    expected: VecDeque<(u64, Vec<u8>)>,
    drops: HashMap<(u64, u64), usize>,
    copy: Vec<u8>,
    copies: usize,
    /// Copies to first and second receive queues.
    queues: [usize; 2],
    ends: Vec<usize>,
    cycle: usize,
    gaps: bool,
}

impl Bench {
    fn new(seed: u64) -> Self {
        println!("seed {seed}");
        let mut uut = Front::default();
        uut.connect_all();
        Self {
            uut,
            rng: Rng::new(seed),
            model: Model::default(),
            sources: Default::default(),
            at: [0; 3],
            expected: VecDeque::new(),
            drops: HashMap::new(),
            copy: vec![],
            copies: 0,
            queues: [0; 2],
            ends: vec![],
            cycle: 0,
            gaps: true,
        }
    }

    fn port(&mut self, number: u64, port: Port) {
        self.uut.port.next = PortUpdate { valid: true, number: number.into(), port };
        self.model.ports.insert(number, port);
        self.step();
        self.uut.port.next = PortUpdate::default();
    }
    fn group(&mut self, network: u64, members: u64) {
        self.uut.group.next = GroupUpdate { valid: true, network: network.into(), members: members.into() };
        self.model.groups.insert(network, members);
        self.step();
        self.uut.group.next = GroupUpdate::default();
    }
    fn filter(&mut self, device: u64, mac: [u8; 6], all_unicast: bool, all_multicast: bool) {
        self.uut.filter.next = FilterUpdate {
            valid: true,
            device: device.into(),
            mac: bits_of(&mac),
            all_unicast,
            all_multicast,
        };
        self.model.filters.insert(device, (mac, all_unicast, all_multicast));
        self.step();
        self.uut.filter.next = FilterUpdate::default();
    }
    fn both(&mut self, device: u64, both: bool) {
        self.uut.update.next = VirtqueueUpdate {
            valid: true,
            index: (device << 3).into(),
            queue: Virtqueue { enabled: true, ..Virtqueue::default() },
            settings: DeviceSettings { both_pairs: both, ..DeviceSettings::default() },
        };
        self.model.both.insert(device, both);
        self.step();
        self.uut.update.next = VirtqueueUpdate::default();
    }
    /// Changes the forwarding table; whether there was room.
    fn forward(&mut self, network: u64, mac: [u8; 6], port: Option<u64>) -> bool {
        self.uut.forward.valid.next = true;
        self.uut.forward.data.next = ForwardUpdate {
            present: port.is_some(),
            network: network.into(),
            mac: bits_of(&mac),
            port: port.unwrap_or(0).into(),
        };
        self.uut.answer.ready.next = true;
        loop {
            low(&mut self.uut);
            let taken = self.uut.forward.ready.val();
            let answer = self.uut.answer.valid.val().then(|| self.uut.answer.data.val().ok);
            self.step();
            if taken {
                self.uut.forward.valid.next = false;
            }
            if let Some(ok) = answer {
                if ok {
                    match port {
                        Some(port) => self.model.table.insert((network, mac), port),
                        None => self.model.table.remove(&(network, mac)),
                    };
                }
                return ok;
            }
        }
    }

    fn send(&mut self, port: u64, frame: &[u8]) {
        let source = if port < 16 { 0 } else { port as usize - 15 };
        let beats = frame
            .chunks(32)
            .enumerate()
            .map(|(i, bytes)| PacketBeat {
                data: bits_of(bytes),
                bytes: (bytes.len() as u64).into(),
                last: 32 * (i + 1) >= frame.len(),
                port: port.into(),
            })
            .collect();
        self.sources[source].push_back(beats);
    }

    fn random_frame(&mut self) -> Vec<u8> {
        let length = match self.rng.below(10) {
            0 => 1 + self.rng.below(50),
            1 => 2_000 + self.rng.below(7_100),
            _ => 60 + self.rng.below(200),
        };
        let mut frame: Vec<u8> = (0..length).map(|_| self.rng.below(256) as u8).collect();
        let to = match self.rng.below(5) {
            0 => [0xff; 6],
            1 => [1, 0, 0x5e, 0, 0, 1],
            _ => mac(self.rng.below(ADDRESSES)),
        };
        let from = if self.rng.chance(1, 30) { [3; 6] } else { mac(self.rng.below(ADDRESSES)) };
        let kind = self.rng.pick(&[0x0800u16, 0x0806, 0x86dd, 0x8100, 0x88a8, 0x88b5]).to_be_bytes();
        let sender = if self.rng.chance(1, 8) { [0; 4] } else { ipv4(self.rng.below(ADDRESSES)) };
        let mut parts = vec![(0, to.to_vec()), (6, from.to_vec()), (12, kind.to_vec())];
        if kind == [8, 6] {
            let claimed = if self.rng.chance(1, 4) { mac(1) } else { from };
            parts.extend([(22, claimed.to_vec()), (28, sender.to_vec())]);
        } else {
            let (protocol, all) = (self.rng.pick(&[6, 17]), self.rng.pick(&[0xff, 0x7f]));
            parts.extend([(23, vec![protocol]), (26, sender.to_vec()), (30, vec![all; 2])]);
        }
        for (start, bytes) in parts {
            frame.iter_mut().skip(start).zip(bytes).for_each(|(place, byte)| *place = byte);
        }
        frame
    }

    fn step(&mut self) {
        for i in 0..3 {
            let beat = self.sources[i].front().map(|beats| beats[self.at[i]]);
            self.uut.packet[i].valid.next =
                beat.is_some() && (!self.gaps || self.at[i] > 0 || self.rng.bit());
            self.uut.packet[i].data.next = beat.unwrap_or_else(|| self.rng.value());
        }
        low(&mut self.uut);
        for i in 0..3 {
            if self.uut.packet[i].valid.val() && self.uut.packet[i].ready.val() {
                self.at[i] += 1;
                if self.at[i] == self.sources[i][0].len() {
                    let beats = self.sources[i].pop_front().expect("it");
                    self.at[i] = 0;
                    self.merged(&beats);
                }
            }
        }
        if self.uut.frame.valid.val() {
            let beat = self.uut.frame.data.val();
            let bytes = beat.bytes.to_u64() as usize;
            self.copy.extend((0..bytes).map(|i| beat.data.get_bits::<8>(8 * i).to_u64() as u8));
            assert!(bytes == 32 || beat.last);
            if beat.last {
                let copy = std::mem::take(&mut self.copy);
                let (port, frame) = self.expected.pop_front().expect("a copy that is not to be");
                let queue = beat.queue.to_u64();
                let to = if queue < 32 { queue >> 1 } else { queue - 16 };
                assert!(queue & 1 == 0 || queue >= 32 || self.model.both[&to]);
                assert_eq!((to, &copy), (port, &frame));
                assert_eq!(beat.length.to_u64() as usize, frame.len());
                self.copies += 1;
                self.queues[(queue & 1) as usize] += 1;
                self.ends.push(self.cycle);
            }
        }
        let dropped = self.uut.counted[1].val();
        if dropped.valid {
            let left = self.drops.get_mut(&(dropped.port.to_u64(), dropped.event.to_u64()));
            *left.expect("a drop without its cause") -= 1;
        }
        step(&mut self.uut);
        self.cycle += 1;
    }

    /// What is to become of the next frame.
    fn merged(&mut self, beats: &[PacketBeat]) {
        let frame: Vec<u8> = beats
            .iter()
            .flat_map(|beat| {
                (0..beat.bytes.to_u64() as usize).map(|i| beat.data.get_bits::<8>(8 * i).to_u64() as u8)
            })
            .collect();
        let port = beats[0].port.to_u64();
        match self.model.judge(port, &frame) {
            Ok(ways) => ways.iter().for_each(|to| self.expected.push_back((*to, frame.clone()))),
            Err(cause) => *self.drops.entry((port, cause as u64)).or_default() += 1,
        }
    }

    fn settle(&mut self) {
        let limit = self.cycle + 20_000;
        let mut rest = 0;
        while rest < 10 {
            self.step();
            let idle = self.sources.iter().all(VecDeque::is_empty) && !self.uut.busy.val();
            rest = if idle { rest + 1 } else { 0 };
            assert!(self.cycle < limit, "it hangs");
        }
        assert!(self.expected.is_empty(), "{} copies are missing", self.expected.len());
        assert!(self.drops.values().all(|left| *left == 0), "{:?}", self.drops);
    }
}

#[test]
fn frames_go_where_the_model_says() {
    for seed in 1..4 {
        let mut bench = Bench::new(seed);
        for _ in 0..8 {
            for number in 0..18 {
                let port = Port {
                    enabled: bench.rng.chance(7, 8),
                    network: bench.rng.below(2).into(),
                    check_mac: bench.rng.chance(1, 2),
                    check_ipv4: bench.rng.chance(1, 3),
                    mac: bits_of(&mac(number % ADDRESSES)),
                    ipv4: bits_of(&ipv4(number % ADDRESSES)),
                };
                bench.port(number, port);
            }
            for network in 0..2 {
                let members = bench.rng.below(1 << 18);
                bench.group(network, members);
                for number in 0..ADDRESSES {
                    let port = bench.rng.chance(2, 3).then(|| bench.rng.below(18));
                    bench.forward(network, mac(number), port);
                }
            }
            for device in 0..16 {
                let (own, unicast, multicast) =
                    (bench.rng.below(ADDRESSES), bench.rng.chance(1, 3), bench.rng.bit());
                bench.filter(device, mac(own), unicast, multicast);
                let both = bench.rng.bit();
                bench.both(device, both);
            }
            for _ in 0..100 {
                let frame = bench.random_frame();
                let port = bench.rng.pick(&[0u64, 1, 2, 7, 8, 15, 16, 17]);
                bench.send(port, &frame);
            }
            bench.settle();
        }
        assert!(bench.copies > 300, "{} copies", bench.copies);
    }
}

#[test]
fn frames_of_a_flow_go_to_one_receive_queue_whatever_else_is_in_them() {
    let mut bench = Bench::new(1);
    for number in 0..2 {
        bench.port(number, Port { enabled: true, ..Port::default() });
    }
    bench.filter(1, mac(1), false, false);
    bench.forward(0, mac(1), Some(1));
    bench.both(1, true);
    let mut used = [0; 2];
    for kind in [0x0800u16, 0x86dd, 0x8100, 0x88a8, 0x88b5, 0x0806] {
        for flow in 0..8 {
            let before = bench.queues;
            for _ in 0..4 {
                let mut frame: Vec<u8> = (0..80).map(|_| bench.rng.below(256) as u8).collect();
                frame[..6].copy_from_slice(&mac(1));
                frame[6..12].copy_from_slice(&mac(2 + flow % 2));
                frame[12..14].copy_from_slice(&kind.to_be_bytes());
                if [0x0800, 0x86dd].contains(&kind) {
                    frame[22..38].fill(flow as u8);
                }
                bench.send(0, &frame);
            }
            bench.settle();
            let taken = [0, 1].map(|i| bench.queues[i] - before[i]);
            assert!(taken.contains(&4), "{kind:#x}: {taken:?}");
            used[usize::from(taken[1] == 4)] += 1;
        }
    }
    assert!(used.iter().all(|flows| *flows > 8), "{used:?}");
}

#[test]
fn the_table_takes_what_there_is_room_for_and_forgets_what_is_removed() {
    let mut bench = Bench::new(1);
    let mut refused = 0;
    let mut present = vec![];
    for number in 0..900u64 {
        let address = [2, 0, 0, (number % 7) as u8, (number >> 8) as u8, number as u8];
        if bench.forward(5, address, Some(3)) { present.push(address) } else { refused += 1 }
    }
    println!("{refused} of 900 refused");
    assert!(present.len() > 700);
    let victim = present[0];
    assert!(
        bench.forward(5, victim, None) && bench.forward(5, victim, None) && bench.forward(5, victim, Some(4))
    );
    assert!(bench.forward(5, victim, Some(3)), "it moves");
    bench.port(3, Port { enabled: true, network: 5.into(), ..Port::default() });
    bench.port(16, Port { enabled: true, network: 5.into(), ..Port::default() });
    bench.filter(3, [0; 6], true, false);
    for address in present.iter().take(100) {
        let mut frame = [0; 60];
        frame[..6].copy_from_slice(address);
        bench.send(16, &frame);
    }
    bench.settle();
    assert_eq!(bench.copies, 100);
}

#[test]
fn frames_of_64_bytes_take_2_cycles() {
    let mut bench = Bench::new(1);
    bench.gaps = false;
    bench.port(16, Port { enabled: true, ..Port::default() });
    bench.port(17, Port { enabled: true, ..Port::default() });
    bench.forward(0, mac(1), Some(17));
    let mut frame = [7; 64];
    frame[..6].copy_from_slice(&mac(1));
    frame[6] = 2;
    (0..100).for_each(|_| bench.send(16, &frame));
    bench.settle();
    assert_eq!(bench.ends[90] - bench.ends[10], 160);
}

#[test]
fn the_verilog_is_the_same() {
    differential(
        "switch_front",
        || {
            let mut uut = Front::default();
            uut.connect_all();
            uut
        },
        {
            let mut left = [0u64; 3];
            let mut port = [0u64; 3];
            move |uut: &mut Front, rng: &mut Rng| {
                for i in 0..3 {
                    let taken = uut.packet[i].valid.val() && uut.packet[i].ready.val();
                    left[i] -= u64::from(taken && left[i] > 0);
                    if left[i] == 0 {
                        left[i] = 1 + rng.below(8);
                        port[i] = if i == 0 { rng.below(4) } else { 15 + i as u64 };
                    }
                    uut.packet[i].valid.next = rng.bit();
                    uut.packet[i].data.next = PacketBeat {
                        bytes: if left[i] == 1 { (1 + rng.below(32)).into() } else { 32.into() },
                        last: left[i] == 1,
                        port: port[i].into(),
                        ..rng.value()
                    };
                }
                uut.update.next = VirtqueueUpdate { valid: rng.chance(1, 20), ..rng.value() };
                let mut update: PortUpdate = rng.value();
                update.valid = rng.chance(1, 8);
                update.number = rng.pick(&[0u64, 1, 2, 3, 16, 17]).into();
                update.port.network = rng.below(2).into();
                uut.port.next = update;
                uut.group.next =
                    GroupUpdate { valid: rng.chance(1, 8), network: rng.below(2).into(), ..rng.value() };
                uut.filter.next = FilterUpdate { valid: rng.chance(1, 8), ..rng.value() };
                uut.forward.valid.next = rng.chance(1, 6);
                uut.forward.data.next = rng.value();
                uut.answer.ready.next = rng.bit();
                uut.frame.ready.next = true;
            }
        },
        10_000,
    );
}
