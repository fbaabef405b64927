//! The slow path on a switch of hash maps.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::Ipv6Addr;
use std::time::Duration;

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use smoltcp::wire::EthernetAddress;

use super::policy::Policy;
use super::*;

const POLICY: &str = r#"
    [[network]]
    name = "blue"
    id = 100
    vlan = 10
    [[network]]
    name = "red"
    id = 200

    [[port]]
    port = "net0"
    network = "blue"
    mac = "02:00:00:00:00:01"
    ipv4 = "10.0.0.1"
    ipv6 = "2001:db8::1"
    security_groups = ["web"]
    connections = 3
    [[port]]
    port = "net1"
    network = "blue"
    mac = "02:00:00:00:00:02"
    ipv4 = "10.0.0.2"
    ipv6 = "2001:db8::2"
    security_groups = ["web"]
    [[port]]
    port = "net2"
    network = "red"
    mac = "02:00:00:00:00:03"
    ipv4 = "10.0.0.2"
    [[port]]
    port = "ethernet0"
    trunk = ["blue"]

    [[security_group]]
    name = "web"
    [[security_group.ingress]]
    protocol = "tcp"
    ports = 80
    [[security_group.ingress]]
    protocol = "udp"
    ports = "5000-5010"
    group = "web"
    [[security_group.ingress]]
    protocol = "icmp"
"#;

/// Ports by their numbers in the switch.
const NET0: u8 = 1;
const NET1: u8 = 2;
const ETHERNET0: u8 = 16;
const A: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
const B: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
const OUTSIDE: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0x99]);
const A4: [u8; 4] = [10, 0, 0, 1];
const B4: [u8; 4] = [10, 0, 0, 2];
const START: Duration = Duration::ZERO;

#[derive(Default)]
struct Fake {
    sent: Vec<(u8, Vec<u8>)>,
    flows: HashMap<Flow, Egress>,
    used: HashSet<Flow>,
    stations: HashMap<(u32, EthernetAddress), Egress>,
    room: Option<usize>,
}

impl Switch for Fake {
    type Error = Infallible;

    fn output(&mut self, port: u8, frame: &[u8]) -> Result<(), Infallible> {
        self.sent.push((port, frame.to_vec()));
        Ok(())
    }

    fn add_flow(&mut self, flow: &Flow, to: Egress) -> Result<bool, Infallible> {
        let room = self.room.is_none_or(|room| self.flows.len() < room);
        if room {
            assert_eq!(self.flows.insert(*flow, to), None, "{flow:?} is there already");
        }
        Ok(room)
    }

    fn remove_flow(&mut self, flow: &Flow) -> Result<(), Infallible> {
        assert!(self.flows.remove(flow).is_some(), "{flow:?} is not there");
        Ok(())
    }

    fn was_used(&mut self, flow: &Flow) -> Result<bool, Infallible> {
        Ok(self.used.remove(flow))
    }

    fn set_station(
        &mut self,
        network: u32,
        station: EthernetAddress,
        at: Option<Egress>,
    ) -> Result<bool, Infallible> {
        match at {
            Some(at) => self.stations.insert((network, station), at),
            None => self.stations.remove(&(network, station)),
        };
        Ok(true)
    }
}

struct Bench {
    switch: Fake,
    slow_path: SlowPath,
}

impl Bench {
    fn new() -> Self {
        let mut switch = Fake::default();
        let policy: Policy = toml::from_str(POLICY).unwrap();
        let slow_path = SlowPath::new(policy, &mut switch).unwrap();
        Self { switch, slow_path }
    }

    /// What the slow path sends when a frame comes in.
    fn frame(&mut self, now: Duration, port: u8, frame: &[u8]) -> Vec<(u8, Vec<u8>)> {
        self.slow_path.frame(now, port, frame, &mut self.switch).unwrap();
        std::mem::take(&mut self.switch.sent)
    }

    /// The ports that it sends a frame out of, unchanged.
    fn ports(&mut self, port: u8, frame: &[u8]) -> Vec<u8> {
        let sent = self.frame(START, port, frame);
        assert!(sent.iter().all(|(to, sent)| *to == ETHERNET0 || sent == frame));
        sent.into_iter().map(|(port, _)| port).collect()
    }
}

/// From A to B, and from B to A.
fn ends(back: bool) -> (EthernetAddress, EthernetAddress, [u8; 4], [u8; 4]) {
    if back { (B, A, B4, A4) } else { (A, B, A4, B4) }
}

fn tcp(back: bool, ports: (u16, u16), flags: &str) -> Vec<u8> {
    let (from, to, source, destination) = ends(back);
    let mut builder =
        PacketBuilder::ethernet2(from.0, to.0).ipv4(source, destination, 64).tcp(ports.0, ports.1, 1, 1000);
    for flag in flags.chars() {
        builder = match flag {
            'S' => builder.syn(),
            'A' => builder.ack(1),
            'F' => builder.fin(),
            'R' => builder.rst(),
            _ => unreachable!(),
        };
    }
    write(builder, &[])
}

fn udp(back: bool, ports: (u16, u16)) -> Vec<u8> {
    let (from, to, source, destination) = ends(back);
    let builder = PacketBuilder::ethernet2(from.0, to.0).ipv4(source, destination, 64).udp(ports.0, ports.1);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, b"datagram").unwrap();
    bytes
}

fn write(builder: etherparse::PacketBuilderStep<etherparse::TcpHeader>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    bytes
}

#[test]
fn the_handshake_goes_through_software_and_the_connection_through_hardware() {
    let mut bench = Bench::new();
    assert_eq!(bench.ports(NET0, &tcp(false, (40000, 80), "S")), [NET1]);
    assert!(bench.switch.flows.is_empty(), "a SYN alone takes no room");
    assert_eq!(bench.slow_path.connections().next().unwrap().reason, Some(Reason::NotEstablished));
    assert_eq!(bench.ports(NET1, &tcp(true, (80, 40000), "SA")), [NET0]);
    let ports: HashMap<u8, u8> = bench.switch.flows.iter().map(|(flow, to)| (flow.port, to.port)).collect();
    assert_eq!(ports, [(NET0, NET1), (NET1, NET0)].into());
    assert_eq!(bench.slow_path.connections().next().unwrap().reason, None);
    assert_eq!(bench.ports(NET1, &tcp(true, (80, 40000), "FA")), [NET0]);
    assert!(bench.switch.flows.is_empty(), "a FIN takes it out of hardware");
    assert_eq!(bench.ports(NET0, &tcp(false, (40000, 80), "FA")), [NET1]);
    bench.slow_path.tick(Duration::from_secs(11), &mut bench.switch).unwrap();
    assert_eq!(bench.slow_path.connections().count(), 0);
}

#[test]
fn a_closed_port_is_unreachable_and_only_replies_come_back() {
    let mut bench = Bench::new();
    assert!(bench.ports(NET0, &tcp(false, (40000, 22), "S")).is_empty());
    assert!(bench.ports(NET1, &tcp(true, (80, 40000), "SA")).is_empty(), "no reply without a SYN");
    assert_eq!(bench.slow_path.counters(NET0).denied, 1);
    assert_eq!(bench.slow_path.counters(NET1).denied, 1);
    // A rule that names a group lets its members in, and nobody from outside.
    assert_eq!(bench.ports(NET0, &udp(false, (9, 5005))), [NET1]);
    assert!(bench.ports(NET0, &udp(false, (9, 5011))).is_empty());
    let outside = PacketBuilder::ethernet2(OUTSIDE.0, B.0)
        .vlan(etherparse::VlanHeader::Single(etherparse::SingleVlanHeader {
            vlan_id: 10.try_into().unwrap(),
            ..Default::default()
        }))
        .ipv4([10, 0, 0, 9], B4, 64)
        .udp(9, 5005);
    let mut bytes = Vec::new();
    outside.write(&mut bytes, b"datagram").unwrap();
    assert!(bench.frame(START, ETHERNET0, &bytes).is_empty());
    assert_eq!(bench.slow_path.counters(ETHERNET0).denied, 1);
}

#[test]
fn udp_is_offloaded_from_its_first_packet_on_each_way_by_itself() {
    let mut bench = Bench::new();
    bench.ports(NET0, &udp(false, (9, 5000)));
    assert_eq!(bench.switch.flows.len(), 1);
    bench.ports(NET1, &udp(true, (5000, 9)));
    assert_eq!(bench.switch.flows.len(), 2);
    // What hardware still sees packets of stays; else it goes after its time.
    let flow = *bench.switch.flows.keys().next().unwrap();
    bench.switch.used.insert(flow);
    bench.slow_path.tick(Duration::from_mins(3), &mut bench.switch).unwrap();
    assert_eq!(bench.switch.flows.len(), 2);
    bench.slow_path.tick(Duration::from_mins(6), &mut bench.switch).unwrap();
    assert!(bench.switch.flows.is_empty());
}

#[test]
fn another_networks_stations_are_nobody() {
    let mut bench = Bench::new();
    let mut to_red = udp(false, (9, 5000));
    to_red[..6].copy_from_slice(&[2, 0, 0, 0, 0, 3]);
    let sent = bench.frame(START, NET0, &to_red);
    assert!(sent.iter().all(|(port, _)| *port != 3), "{sent:?}");
    assert_eq!(bench.switch.stations[&(100, B)], Egress { port: NET1, vlan: None });
    assert!(!bench.switch.stations.contains_key(&(200, B)));
}

#[test]
fn connections_beyond_a_ports_limit_are_counted_and_refused() {
    let mut bench = Bench::new();
    for port in 0..5 {
        let reached = bench.ports(NET0, &tcp(false, (40000 + port, 80), "S"));
        assert_eq!(reached.len(), usize::from(port < 3));
    }
    let counters = bench.slow_path.counters(NET0);
    assert_eq!((counters.conntrack_exceeded, counters.conntrack_available), (2, 0));
    bench.slow_path.tick(Duration::from_mins(1), &mut bench.switch).unwrap();
    assert_eq!(bench.slow_path.counters(NET0).conntrack_available, 3);
}

#[test]
fn a_full_flow_table_is_on_record_and_packets_go_on_through_software() {
    let mut bench = Bench::new();
    bench.switch.room = Some(1);
    bench.ports(NET0, &tcp(false, (40000, 80), "S"));
    assert_eq!(bench.ports(NET1, &tcp(true, (80, 40000), "SA")), [NET0]);
    let connection = bench.slow_path.connections().next().unwrap();
    assert_eq!(connection.reason, Some(Reason::TableFull));
    assert_eq!(bench.ports(NET1, &tcp(true, (80, 40000), "A")), [NET0]);
}

#[test]
fn a_known_stations_address_is_told_and_unknown_ones_are_asked_for() {
    let mut bench = Bench::new();
    let request = |target: [u8; 4]| {
        let arp = etherparse::ArpPacket::new(
            etherparse::ArpHardwareId::ETHERNET,
            etherparse::EtherType::IPV4,
            etherparse::ArpOperation::REQUEST,
            &A.0,
            &A4,
            &[0; 6],
            &target,
        );
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2(A.0, [0xff; 6]).arp(arp.unwrap()).write(&mut bytes).unwrap();
        bytes
    };
    let sent = bench.frame(START, NET0, &request(B4));
    let [(NET0, answer)] = &sent[..] else { panic!("{sent:?}") };
    let packet = SlicedPacket::from_ethernet(answer).unwrap();
    let Some(etherparse::NetSlice::Arp(arp)) = &packet.net else { panic!("{packet:?}") };
    assert_eq!((arp.sender_hw_addr(), arp.sender_protocol_addr()), (&B.0[..], &B4[..]));
    assert_eq!((arp.operation(), &answer[..6]), (etherparse::ArpOperation::REPLY, &A.0[..]));
    // The one nobody knows goes to everybody in the network, with its tag on the trunk.
    let sent = bench.frame(START, NET0, &request([10, 0, 0, 77]));
    let ports: Vec<u8> = sent.iter().map(|(port, _)| *port).collect();
    assert_eq!(ports, [NET1, ETHERNET0]);
    assert_eq!(sent[1].1[12..16], [0x81, 0, 0, 10]);
}

#[test]
fn a_neighbour_solicitation_is_answered_for_a_known_station() {
    let mut bench = Bench::new();
    let (a6, b6): (Ipv6Addr, Ipv6Addr) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    let solicited: Ipv6Addr = "ff02::1:ff00:2".parse().unwrap();
    let mut body = b6.octets().to_vec();
    body.extend([1, 1]);
    body.extend(A.0);
    let builder = PacketBuilder::ethernet2(A.0, [0x33, 0x33, 0xff, 0, 0, 2])
        .ipv6(a6.octets(), solicited.octets(), 255)
        .icmpv6_raw(135, 0, [0; 4]);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, &body).unwrap();
    let sent = bench.frame(START, NET0, &bytes);
    let [(NET0, answer)] = &sent[..] else { panic!("{sent:?}") };
    let packet = SlicedPacket::from_ethernet(answer).unwrap();
    let Some(TransportSlice::Icmpv6(icmp)) = &packet.transport else { panic!("{packet:?}") };
    assert!(icmp.is_checksum_valid(b6.octets(), a6.octets()));
    assert_eq!((icmp.type_u8(), &icmp.payload()[..16]), (136, &b6.octets()[..]));
    assert_eq!(icmp.payload()[18..24], B.0);
}

#[test]
fn stations_behind_an_ethernet_port_are_learned_and_forgotten() {
    let mut bench = Bench::new();
    let mut bytes = Vec::new();
    let arp = etherparse::ArpPacket::new(
        etherparse::ArpHardwareId::ETHERNET,
        etherparse::EtherType::IPV4,
        etherparse::ArpOperation::REQUEST,
        &OUTSIDE.0,
        &[10, 0, 0, 99],
        &[0; 6],
        &B4,
    );
    PacketBuilder::ethernet2(OUTSIDE.0, [0xff; 6]).arp(arp.unwrap()).write(&mut bytes).unwrap();
    let sent = bench.frame(START, ETHERNET0, &super::frame::tagged(&bytes, 10));
    assert_eq!(sent.len(), 1, "answered for B");
    assert_eq!(sent[0].1[12..16], [0x81, 0, 0, 10]);
    assert_eq!(bench.switch.stations[&(100, OUTSIDE)], Egress { port: ETHERNET0, vlan: Some(10) });
    assert!(bench.frame(START, ETHERNET0, &bytes).is_empty(), "a frame without a tag is of no network here");
    assert_eq!(bench.slow_path.counters(ETHERNET0).malformed, 1);
    bench.slow_path.tick(STATION_AGE, &mut bench.switch).unwrap();
    assert!(!bench.switch.stations.contains_key(&(100, OUTSIDE)));
    assert!(bench.switch.stations.contains_key(&(100, B)), "the policy's stations stay");
}

#[test]
fn an_icmp_error_passes_if_it_is_about_a_connection() {
    let mut bench = Bench::new();
    bench.ports(NET0, &udp(false, (9, 5000)));
    let about = |ports| {
        let original = udp(false, ports);
        let mut bytes = Vec::new();
        let builder = PacketBuilder::ethernet2(B.0, A.0).ipv4(B4, A4, 64).icmpv4_raw(3, 3, [0; 4]);
        builder.write(&mut bytes, &original[14..14 + 28]).unwrap();
        bytes
    };
    assert_eq!(bench.ports(NET1, &about((9, 5000))), [NET0]);
    assert!(bench.ports(NET1, &about((9, 5001))).is_empty());
}

#[test]
fn fragments_share_the_fate_of_the_first() {
    let mut bench = Bench::new();
    let fragment = |ports, first: bool, identification: u16| {
        let mut bytes = udp(false, ports);
        bytes[18..20].copy_from_slice(&identification.to_be_bytes());
        // More Fragments; else an offset of 1 (RFC 791 §3.1).
        bytes[20..22].copy_from_slice(&if first { 0x2000u16 } else { 1 }.to_be_bytes());
        bytes
    };
    assert_eq!(bench.ports(NET0, &fragment((9, 5000), true, 1)), [NET1]);
    assert_eq!(bench.ports(NET0, &fragment((0, 0), false, 1)), [NET1]);
    assert!(bench.ports(NET0, &fragment((9, 6000), true, 2)).is_empty());
    assert!(bench.ports(NET0, &fragment((0, 0), false, 2)).is_empty());
    assert!(bench.ports(NET0, &fragment((0, 0), false, 3)).is_empty(), "without a first part");
    assert!(bench.switch.flows.is_empty(), "fragments stay in software");
}

#[test]
fn another_policy_keeps_what_it_allows_and_ends_the_rest() {
    let mut bench = Bench::new();
    for port in [80, 5000] {
        let frame = if port == 80 { tcp(false, (40000, 80), "S") } else { udp(false, (9, 5000)) };
        bench.ports(NET0, &frame);
    }
    bench.ports(NET1, &tcp(true, (80, 40000), "SA"));
    assert_eq!(bench.switch.flows.len(), 3);
    let without_udp: Policy = toml::from_str(&POLICY.replace("ports = \"5000-5010\"", "ports = 1")).unwrap();
    bench.slow_path.set_policy(without_udp, &mut bench.switch).unwrap();
    assert_eq!(bench.switch.flows.len(), 2, "the TCP connection's two");
    assert!(bench.ports(NET0, &udp(false, (9, 5000))).is_empty());
    assert_eq!(bench.ports(NET0, &tcp(false, (40000, 80), "A")), [NET1]);
}

#[test]
fn each_mistake_of_a_policy_is_named_in_one_line() {
    for (from, to, part) in [
        ("id = 200", "id = 100", "network red: id 100: another network has it"),
        ("network = \"red\"", "network = \"green\"", "port net2: no network is called green"),
        ("vlan = 10", "", "port ethernet0: network blue has no vlan"),
        ("trunk = [\"blue\"]", "", "port ethernet0: it has no network"),
        ("port = \"net1\"", "port = \"net0\"", "port net0: described twice"),
        ("02:00:00:00:00:02", "02:00:00:00:00:01", "net0 has it already"),
        ("02:00:00:00:00:02", "03:00:00:00:00:02", "not the address of a station"),
        ("group = \"web\"", "group = \"db\"", "security group web: no security group is called db"),
        ("protocol = \"tcp\"", "", "ports take a protocol"),
        ("id = 200", "id = 0", "use 1 to 16777215"),
        ("vlan = 10", "vlan = 4095", "use 1 to 4094"),
    ] {
        let policy: Policy = toml::from_str(&POLICY.replacen(from, to, 1)).unwrap();
        let error = policy.check().unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{to}: {error}");
    }
    for (from, to, part) in [
        ("\"5000-5010\"", "\"5010-5000\"", "write a port, or a range"),
        ("\"net1\"", "\"vf1\"", "use pf1, net0 to net7, or ethernet0 to ethernet1"),
        ("02:00:00:00:00:02", "2:0", "is no MAC address"),
    ] {
        let error = toml::from_str::<Policy>(&POLICY.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(part), "{to}: {error}");
    }
}

#[test]
fn random_frames_never_panic_and_never_leave_their_network() {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};
    let seed = 7;
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut bench = Bench::new();
    let frames = [tcp(false, (40000, 80), "S"), udp(true, (5000, 9)), tcp(true, (80, 40000), "SA")];
    for _ in 0..50_000 {
        let mut frame = frames[rng.random_range(0..frames.len())].clone();
        for _ in 0..rng.random_range(0..4) {
            let at = rng.random_range(0..frame.len());
            frame[at] = rng.random();
        }
        frame.truncate(rng.random_range(0..=frame.len() + 20).min(frame.len()));
        let port = [NET0, NET1, 3, ETHERNET0, 9][rng.random_range(0..5)];
        for (to, _) in bench.frame(START, port, &frame) {
            let together = |a: u8, b: u8| (a == 3) == (b == 3);
            assert!(to != 9 && together(port, to), "from {port} to {to}, seed {seed}");
        }
    }
}
