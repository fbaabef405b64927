//! What the slow path reads in a frame.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use etherparse::{
    ArpPacketSlice, Ipv6ExtensionSlice, LaxIpSlice, LinkExtSlice, LinkSlice, NetSlice, SlicedPacket,
    TransportSlice,
};
use smoltcp::wire::EthernetAddress;

use super::conntrack::{Tuple, tcp_flags};
use super::policy::protocol_number::{ICMP, ICMPV6, TCP, UDP};

/// Bytes of the two MAC addresses, behind which a VLAN tag stands.
const ADDRESSES: usize = 12;
/// Bytes of a VLAN tag.
const TAG: usize = 4;
/// TPID of a VLAN tag (IEEE 802.1Q §9.6).
const TPID: u16 = 0x8100;

/// ICMPv6 types of neighbour discovery and multicast listener discovery (RFC 4861 §4, RFC 2710 §3, RFC 3810 §5).
const DISCOVERY: [std::ops::RangeInclusive<u8>; 3] = [130..=132, 133..=137, 143..=143];
/// ICMP types that are errors about another packet (RFC 792).
const ERRORS: [u8; 4] = [3, 5, 11, 12];
/// ICMPv6 types below this are errors (RFC 4443 §2.1).
const ERRORS_V6: u8 = 128;
/// Bytes of ICMP's header, in front of the packet that an error is about.
const ICMP_HEADER: usize = 8;

/// What comes after IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport<'a> {
    /// TCP, with its flags.
    Tcp { flags: u8 },
    /// UDP.
    Udp,
    /// ICMP or ICMPv6, from its type on.
    Icmp(&'a [u8]),
    /// Anything else, or not to be seen.
    Other,
}

/// A part of a packet of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fragment {
    /// What all parts have in common.
    pub identification: u32,
    /// It has the header of what comes after IP.
    pub first: bool,
}

/// A frame, read.
#[derive(Debug, Clone)]
pub(super) struct Frame<'a> {
    bytes: &'a [u8],
    pub destination: EthernetAddress,
    pub source: EthernetAddress,
    /// Its VLAN ID.
    pub vlan: Option<u16>,
    net: Option<NetSlice<'a>>,
    pub transport: Transport<'a>,
    ports: (u16, u16),
    pub fragment: Option<Fragment>,
}

impl<'a> Frame<'a> {
    /// `None` if it is malformed.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(bytes).ok()?;
        let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link else { return None };
        let vlan = match packet.link_exts.first() {
            Some(LinkExtSlice::Vlan(tag)) => Some(tag.vlan_identifier().value()),
            _ => None,
        };
        let (transport, ports) = match &packet.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                let flag = |set, flag| if set { flag } else { 0 };
                let flags = flag(tcp.fin(), tcp_flags::FIN)
                    | flag(tcp.syn(), tcp_flags::SYN)
                    | flag(tcp.rst(), tcp_flags::RST)
                    | flag(tcp.ack(), tcp_flags::ACK);
                (Transport::Tcp { flags }, (tcp.source_port(), tcp.destination_port()))
            }
            Some(TransportSlice::Udp(udp)) => (Transport::Udp, (udp.source_port(), udp.destination_port())),
            Some(TransportSlice::Icmpv4(icmp)) => (Transport::Icmp(icmp.slice()), (0, 0)),
            Some(TransportSlice::Icmpv6(icmp)) => (Transport::Icmp(icmp.slice()), (0, 0)),
            _ => (Transport::Other, (0, 0)),
        };
        let fragment = packet.net.as_ref().and_then(fragment);
        let ports = match (fragment, packet.net.as_ref().and_then(NetSlice::ip_payload_ref)) {
            // The library reads nothing behind IP in a part of a packet; the first has the ports.
            (Some(Fragment { first: true, .. }), Some(payload)) => {
                first_ports(payload.ip_number.0, payload.payload)
            }
            _ => ports,
        };
        Some(Self {
            bytes,
            destination: EthernetAddress(ethernet.destination()),
            source: EthernetAddress(ethernet.source()),
            vlan,
            fragment,
            net: packet.net,
            transport,
            ports,
        })
    }

    /// What tells its connection, if it is a packet of IP.
    pub fn tuple(&self, network: u32) -> Option<Tuple> {
        let (source, destination, protocol) = match self.net.as_ref()? {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), ip.payload_ip_number().0)
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), ip.payload().ip_number.0)
            }
            NetSlice::Arp(_) => return None,
        };
        let (source_port, destination_port) = match self.transport {
            Transport::Icmp(icmp) => echo(protocol, icmp),
            _ => self.ports,
        };
        Some(Tuple { network, protocol, source, destination, source_port, destination_port })
    }

    /// The tuple of the packet that it, an ICMP error, is about.
    pub fn caused_by(&self, network: u32) -> Option<Tuple> {
        let Transport::Icmp(icmp) = self.transport else { return None };
        let about = icmp.get(ICMP_HEADER..)?;
        let error = match self.net.as_ref()? {
            NetSlice::Ipv4(_) => ERRORS.contains(icmp.first()?),
            NetSlice::Ipv6(_) => *icmp.first()? < ERRORS_V6,
            NetSlice::Arp(_) => false,
        };
        if !error {
            return None;
        }
        // Of the packet there is the beginning only: 8 bytes behind IP's header are sure, and have the ports.
        let (ip, _) = LaxIpSlice::from_slice(about).ok()?;
        let (protocol, rest) = (ip.payload().ip_number.0, ip.payload().payload);
        let (source_port, destination_port) = match protocol {
            ICMP | ICMPV6 => echo(protocol, rest),
            _ => first_ports(protocol, rest),
        };
        let (source, destination) = (ip.source_addr(), ip.destination_addr());
        Some(Tuple { network, protocol, source, destination, source_port, destination_port })
    }

    pub fn is_multicast(&self) -> bool {
        !self.destination.is_unicast()
    }

    pub fn is_arp(&self) -> bool {
        matches!(self.net, Some(NetSlice::Arp(_)))
    }

    /// What ARP says, without its Ethernet header.
    pub fn arp(&self) -> Option<&[u8]> {
        self.net.as_ref()?.arp_ref().map(ArpPacketSlice::slice)
    }

    /// Neighbour or multicast listener discovery: what stations need to be stations at all.
    pub fn is_neighbour_discovery(&self) -> bool {
        let v6 = matches!(self.net, Some(NetSlice::Ipv6(_)));
        let kind = match self.transport {
            Transport::Icmp(icmp) => icmp.first(),
            _ => None,
        };
        v6 && kind.is_some_and(|kind| DISCOVERY.iter().any(|range| range.contains(kind)))
    }

    /// The address that its sender says to have: an ARP sender, or a neighbour advertisement's target.
    pub fn announces(&self) -> Option<IpAddr> {
        /// Neighbour advertisement, and where its target is (RFC 4861 §4.4).
        const ADVERTISEMENT: u8 = 136;
        match self.net.as_ref()? {
            NetSlice::Arp(arp) if arp.sender_hw_addr() == self.source.0 => {
                let address: [u8; 4] = arp.sender_protocol_addr().try_into().ok()?;
                (address != [0; 4]).then_some(IpAddr::from(address))
            }
            NetSlice::Ipv6(_) => match self.transport {
                Transport::Icmp(icmp) if icmp[0] == ADVERTISEMENT => {
                    let target: [u8; 16] = icmp.get(8..24)?.try_into().ok()?;
                    Some(IpAddr::from(target))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The frame without its outer VLAN tag.
    pub fn untagged(&self) -> Cow<'a, [u8]> {
        if self.vlan.is_none() {
            return Cow::Borrowed(self.bytes);
        }
        Cow::Owned([&self.bytes[..ADDRESSES], &self.bytes[ADDRESSES + TAG..]].concat())
    }
}

/// The frame with a VLAN tag of priority 0.
pub(super) fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(ADDRESSES.min(frame.len()));
    [addresses, &TPID.to_be_bytes(), &vlan.to_be_bytes(), rest].concat()
}

/// The ports of TCP and UDP, where they are whole.
fn first_ports(protocol: u8, transport: &[u8]) -> (u16, u16) {
    match (protocol, transport) {
        (TCP | UDP, [a, b, c, d, ..]) => (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])),
        _ => (0, 0),
    }
}

/// The identifier of an echo request or reply, as both ports.
fn echo(protocol: u8, icmp: &[u8]) -> (u16, u16) {
    // Echo request and reply (RFC 792, RFC 4443 §4).
    let kinds: &[u8] = if protocol == ICMP { &[8, 0] } else { &[128, 129] };
    match icmp {
        [kind, _, _, _, high, low, ..] if kinds.contains(kind) => {
            let identifier = u16::from_be_bytes([*high, *low]);
            (identifier, identifier)
        }
        _ => (0, 0),
    }
}

fn fragment(net: &NetSlice<'_>) -> Option<Fragment> {
    match net {
        NetSlice::Ipv4(ip) if ip.is_payload_fragmented() => Some(Fragment {
            identification: ip.header().identification().into(),
            first: ip.header().fragments_offset().value() == 0,
        }),
        NetSlice::Ipv6(ip) if ip.is_payload_fragmented() => {
            ip.extensions().clone().into_iter().find_map(|extension| match extension {
                Ipv6ExtensionSlice::Fragment(part) => Some(Fragment {
                    identification: part.identification(),
                    first: part.fragment_offset().value() == 0,
                }),
                _ => None,
            })
        }
        _ => None,
    }
}

/// The link-local address that follows from a MAC address (RFC 4291 Appendix A).
pub(super) fn link_local(mac: EthernetAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}
