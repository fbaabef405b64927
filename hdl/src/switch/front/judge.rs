//! What becomes of a frame.

use nitride_abi::card::DEVICES;
use nitride_abi::management::PortEvent as Event;
use nitride_lang::prelude::*;

use super::forward::Forward;
use super::records::{Key, PORTS, Verdict};
use crate::net::records::{
    FilterUpdate, ForwardAnswer, ForwardUpdate, GroupUpdate, NetworkNumber, Port, PortEvent, PortUpdate,
};

/// The shortest and the longest frame.
const SHORTEST: u64 = 14;
const LONGEST: u64 = nitride_abi::virtio::net::FRAME_BYTES as u64;
/// Verdicts that may wait.
const WAITING: u64 = 24;
/// EtherTypes as they lie in a frame, the first byte lowest.
const IPV4: u64 = 0x0008;
const ARP: u64 = 0x0608;
const IPV6: u64 = 0xdd86;
const VLAN: u64 = 0x0081;
const SERVICE_VLAN: u64 = 0xa888;
/// IPv4's protocol number.
const UDP: u64 = 17;

/// What a device wants to receive.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Filter {
    mac: Bits<48>,
    all_unicast: Bit,
    all_multicast: Bit,
}

/// A frame on its way through the stages.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Stage {
    valid: Bit,
    key: Key,
    port: Port,
}

/// The sender's IPv4 address of a frame without tags: of ARP as well as of IPv4. Others have none.
#[hdl_fn]
fn sender(start: Bits<256>) -> Bits<32> {
    if start.get_bits::<16>(96) == ARP { start.get_bits::<32>(224) } else { start.get_bits::<32>(208) }
}

/// Why a frame does not pass its port's checks; `Received` if it does.
#[hdl_fn]
fn fault(key: Key, port: Port) -> Bits<4> {
    let kind = key.start.get_bits::<16>(96);
    let source = key.start.get_bits::<48>(48);
    let arp = kind == ARP;
    let tagged = kind == VLAN || kind == SERVICE_VLAN;
    let short = arp && key.length < 42 || kind == IPV4 && key.length < 34;
    let wrong_mac = source != port.mac || (arp && key.start.get_bits::<48>(176) != port.mac);
    // 0.0.0.0 is how a host asks whether an address is in use (RFC 5227 §2.1), and, by UDP to all, for one (RFC 2131 §4.1).
    let address = sender(key.start);
    let asks = kind == IPV4 && key.start.get_bits::<8>(184) == UDP && key.start.get_bits::<16>(240).all();
    let unset = !address.any() && (arp || asks);
    let wrong_ipv4 = tagged || ((arp || kind == IPV4) && !unset && address != port.ipv4);
    if !port.enabled {
        bits::<4>(Event::Disabled as u64)
    } else if key.length < SHORTEST || key.length > LONGEST || short || source.get_bit(0) {
        bits::<4>(Event::Malformed as u64)
    } else if port.check_mac && wrong_mac {
        bits::<4>(Event::SourceMac as u64)
    } else if port.check_ipv4 && wrong_ipv4 {
        bits::<4>(Event::SourceIpv4 as u64)
    } else {
        bits::<4>(Event::Received as u64)
    }
}

/// Checks frames by their ingress port, and finds where they go.
///
/// - A port that is not enabled, and frames whose source is not the port's where that is checked (MAC and ARP sender; IPv4 and ARP sender), are stopped.
/// - A unicast frame goes where the forwarding table has its destination in the port's network; if it has not, it goes to all members of the network as
///   multicasts and broadcasts do. Never back, and never to a port that is not enabled, or of another network whatever the tables say, or a
///   device that does not want it.
/// - A device with two receive queues gets all frames of a flow in the same one: of a pair of MAC addresses, and of IPv4 or IPv6 hosts.
///
/// A frame a cycle; latency 4 cycles.
#[derive(LogicBlock, Default)]
pub struct Judge {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Ports.
    pub port: Signal<In, PortUpdate>,
    /// Members of networks.
    pub group: Signal<In, GroupUpdate>,
    /// Receive filters of devices.
    pub filter: Signal<In, FilterUpdate>,
    /// Changes of the forwarding table.
    pub forward: Sink<ForwardUpdate>,
    /// What came of them.
    pub answer: Source<ForwardAnswer>,
    /// Frames.
    pub key: Sink<Key>,
    /// Their ways, in order.
    pub verdict: Source<Verdict>,
    /// Frames that came in, and that were dropped.
    pub counted: [Signal<Out, PortEvent>; 2],
    /// Something is in here.
    pub busy: Signal<Out, Bit>,
    ports: Ram<Port, 5>,
    groups: Ram<Bits<PORTS>, 8>,
    places: Forward,
    enabled: Reg<Bits<PORTS>>,
    networks: [Reg<NetworkNumber>; PORTS],
    /// Ports of the network of the frame that is checked.
    near: Reg<Bits<PORTS>>,
    filters: [Reg<Filter>; DEVICES],
    asked: Reg<Stage>,
    checked: Reg<Stage>,
    cause: Reg<Bits<4>>,
    verdicts: Fifo<Verdict, 5>,
}

impl Logic for Judge {
    #[hdl]
    fn update(&mut self) {
        Source::<Verdict>::link(&mut self.verdict, &mut self.verdicts.source);
        Sink::<ForwardUpdate>::link(&mut self.forward, &mut self.places.change);
        Source::<ForwardAnswer>::link(&mut self.answer, &mut self.places.answer);
        let port = self.port.val();
        let one = bits::<PORTS>(1) << port.number;
        self.ports.write_address.next = port.number;
        self.ports.write_data.next = port.port;
        self.ports.write_enable.next = port.valid;
        if port.valid {
            self.enabled.d.next =
                if port.port.enabled { self.enabled.q.val() | one } else { self.enabled.q.val() & !one };
        }
        for i in 0..PORTS {
            if port.valid && port.number == i as u64 {
                self.networks[i].d.next = port.port.network;
            }
        }
        let group = self.group.val();
        self.groups.write_address.next = group.network;
        self.groups.write_data.next = group.members.get_bits::<PORTS>(0);
        self.groups.write_enable.next = group.valid;
        let filter = self.filter.val();
        for i in 0..DEVICES {
            if filter.valid && filter.device == i as u64 {
                self.filters[i].d.next = Filter {
                    mac: filter.mac,
                    all_unicast: filter.all_unicast,
                    all_multicast: filter.all_multicast,
                };
            }
        }

        // The ingress port is read.
        let key = self.key.data.val();
        let takes = self.key.valid.val() && self.verdicts.level.val() <= WAITING;
        self.key.ready.next = self.verdicts.level.val() <= WAITING;
        self.ports.read_address.next = key.ingress;
        self.asked.d.next = Stage { valid: takes, key: key, port: Port::default() };
        self.counted[0].next = PortEvent {
            valid: takes,
            port: key.ingress,
            event: bits::<4>(Event::Received as u64),
            bytes: key.length,
        };

        // It is checked, and the destination is looked up in its network.
        let asked = self.asked.q.val();
        let ingress = self.ports.read_data.val();
        self.groups.read_address.next = ingress.network;
        self.places.network.next = ingress.network;
        self.places.mac.next = asked.key.start.get_bits::<48>(0);
        self.cause.d.next = fault(asked.key, ingress);
        let mut near = bits::<PORTS>(0);
        for i in 0..PORTS {
            if self.networks[i].q.val() == ingress.network {
                near = near | (1u64 << i);
            }
        }
        self.near.d.next = near;
        self.checked.d.next = Stage { port: ingress, ..asked };

        // Where it goes.
        let checked = self.checked.q.val();
        let start = checked.key.start;
        let to = start.get_bits::<48>(0);
        let broadcast = to.all();
        let multicast = to.get_bit(0);
        let mut wanted = bits::<PORTS>(0x3_0000);
        for i in 0..DEVICES {
            let of_device = self.filters[i].q.val();
            let wants = if multicast {
                broadcast || of_device.all_multicast
            } else {
                of_device.all_unicast || of_device.mac == to
            };
            if wants {
                wanted = wanted | (1u64 << i);
            }
        }
        let known = self.places.hit.val() && !multicast;
        let members =
            if known { bits::<PORTS>(1) << self.places.port.val() } else { self.groups.read_data.val() };
        let back = bits::<PORTS>(1) << checked.key.ingress;
        let passes = self.cause.q.val() == Event::Received as u64;
        let open = members & self.enabled.q.val() & self.near.q.val() & wanted & !back;
        let ways = if passes { open } else { bits::<PORTS>(0) };
        let kind = start.get_bits::<16>(96);
        let hosts = (kind == IPV4 || kind == IPV6) && start.get_bits::<48>(208).xor();
        let flow = start.get_bits::<96>(0).xor() != hosts;
        self.verdicts.sink.valid.next = checked.valid;
        self.verdicts.sink.data.next = Verdict { to: ways, length: checked.key.length, second: flow };
        self.counted[1].next = PortEvent {
            valid: checked.valid && !ways.any(),
            port: checked.key.ingress,
            event: if passes { bits::<4>(Event::NoDestination as u64) } else { self.cause.q.val() },
            bytes: checked.key.length,
        };
        self.busy.next = self.key.valid.val()
            || asked.valid
            || checked.valid
            || self.verdicts.level.val().any()
            || self.places.busy.val();
    }
}
