//! Answers to those who ask for a station's MAC address: ARP suppression.

use std::net::{IpAddr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr,
};

use super::SlowPath;
use super::frame::{Frame, Transport};

/// Hop limit of neighbour discovery (RFC 4861 §7.1.1).
const HOP_LIMIT: u8 = 255;

impl SlowPath {
    /// The answer to an ARP request or a neighbour solicitation for somebody who is known and elsewhere.
    pub(super) fn answer(&self, port: u8, network: u32, frame: &Frame<'_>) -> Option<Vec<u8>> {
        let known = |address: IpAddr| {
            let mac = *self.neighbours.get(&(network, address))?;
            (self.stations.get(&(network, mac))?.port != port).then_some(mac)
        };
        if let Some(arp) = frame.arp() {
            let ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Request,
                source_hardware_addr,
                source_protocol_addr,
                target_protocol_addr,
                ..
            } = ArpRepr::parse(&ArpPacket::new_checked(arp).ok()?).ok()?
            else {
                return None;
            };
            // Asking for its own address, a station wants to know whether somebody else has it.
            if source_protocol_addr == target_protocol_addr {
                return None;
            }
            let mac = known(target_protocol_addr.into())?;
            let reply = ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Reply,
                source_hardware_addr: mac,
                source_protocol_addr: target_protocol_addr,
                target_hardware_addr: source_hardware_addr,
                target_protocol_addr: source_protocol_addr,
            };
            let emit = |buffer: &mut [u8]| reply.emit(&mut ArpPacket::new_unchecked(buffer));
            return Some(ethernet(mac, frame.source, EthernetProtocol::Arp, reply.buffer_len(), emit));
        }
        let (asker, target) = solicitation(network, frame)?;
        let mac = known(target.into())?;
        Some(advertisement(mac, target, frame.source, asker))
    }
}

/// Who asks for which address, by a neighbour solicitation that is not a duplicate address detection.
fn solicitation(network: u32, frame: &Frame<'_>) -> Option<(Ipv6Addr, Ipv6Addr)> {
    let tuple = frame.tuple(network)?;
    let (Transport::Icmp(icmp), IpAddr::V6(source)) = (frame.transport, tuple.source) else { return None };
    if !frame.is_neighbour_discovery() || source.is_unspecified() {
        return None;
    }
    match NdiscRepr::parse(&Icmpv6Packet::new_checked(icmp).ok()?).ok()? {
        NdiscRepr::NeighborSolicit { target_addr, .. } => Some((source, target_addr)),
        _ => None,
    }
}

fn advertisement(mac: EthernetAddress, target: Ipv6Addr, to: EthernetAddress, asker: Ipv6Addr) -> Vec<u8> {
    let icmp = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
        flags: NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE,
        target_addr: target,
        lladdr: Some(mac.into()),
    });
    let ip = Ipv6Repr {
        src_addr: target,
        dst_addr: asker,
        next_header: IpProtocol::Icmpv6,
        payload_len: icmp.buffer_len(),
        hop_limit: HOP_LIMIT,
    };
    let emit = |buffer: &mut [u8]| {
        let mut packet = Ipv6Packet::new_unchecked(buffer);
        ip.emit(&mut packet);
        let mut message = Icmpv6Packet::new_unchecked(packet.payload_mut());
        icmp.emit(&target, &asker, &mut message, &ChecksumCapabilities::default());
    };
    ethernet(mac, to, EthernetProtocol::Ipv6, ip.buffer_len() + icmp.buffer_len(), emit)
}

fn ethernet(
    from: EthernetAddress,
    to: EthernetAddress,
    ethertype: EthernetProtocol,
    payload: usize,
    emit: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let header = EthernetRepr { src_addr: from, dst_addr: to, ethertype };
    let mut frame = vec![0; header.buffer_len() + payload];
    header.emit(&mut EthernetFrame::new_unchecked(&mut frame));
    emit(&mut frame[header.buffer_len()..]);
    frame
}
