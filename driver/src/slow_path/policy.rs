//! What tenants may do: networks, ports, security groups. Part of the card's TOML file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use nitride_abi::card::{DEVICES, ETHERNET_PORTS, VFS};
use serde::{Deserialize, Serialize};
use smoltcp::wire::EthernetAddress;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The networks. A frame never leaves the one it is of.
    #[serde(rename = "network")]
    pub networks: Vec<Network>,
    /// The switch's ports. One that is not here is off.
    #[serde(rename = "port")]
    pub ports: Vec<Port>,
    /// The security groups.
    #[serde(rename = "security_group")]
    pub security_groups: Vec<SecurityGroup>,
}

/// A layer 2 network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// How the rest of the policy calls it.
    pub name: String,
    /// Its number on the card, 1 to 2^24 - 1.
    pub id: u32,
    /// The VLAN ID of its frames on trunk ports, 1 to 4094.
    #[serde(default)]
    pub vlan: Option<u16>,
}

/// A port of the switch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Which one.
    pub port: PortName,
    /// The network of its frames without a tag.
    #[serde(default)]
    pub network: Option<String>,
    /// The networks of which it carries tagged frames.
    #[serde(default)]
    pub trunk: Vec<String>,
    /// The only MAC address of its station. Left out: any, and they are learned.
    #[serde(default, with = "mac")]
    pub mac: Option<EthernetAddress>,
    /// The only IPv4 address of its station.
    #[serde(default)]
    pub ipv4: Option<Ipv4Addr>,
    /// The only IPv6 address of its station beside the link-local one that follows from its MAC address.
    #[serde(default)]
    pub ipv6: Option<Ipv6Addr>,
    /// Its security groups. Without any, everything is allowed.
    #[serde(default)]
    pub security_groups: Vec<String>,
    /// Connections that may be tracked for it at a time.
    #[serde(default = "connections")]
    pub connections: usize,
}

fn connections() -> usize {
    1024
}

/// What the stations of some ports may send and receive. Replies to what is allowed are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityGroup {
    /// How ports and rules call it.
    pub name: String,
    /// What may reach them; nothing, if left out.
    #[serde(default)]
    pub ingress: Vec<Rule>,
    /// What they may send; everything, if left out.
    #[serde(default)]
    pub egress: Option<Vec<Rule>>,
}

/// Packets that a security group lets through. What is left out may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// The protocol.
    pub protocol: Option<Protocol>,
    /// Destination ports of TCP or UDP.
    pub ports: Option<Ports>,
    /// The other end's addresses: source of ingress, destination of egress.
    pub address: Option<IpNet>,
    /// The other end's security group.
    pub group: Option<String>,
}

/// A protocol of a [`Rule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP, and ICMPv6.
    Icmp,
}

/// One port number, or a range: `80`, `"80"` or `"8000-8080"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "PortsText", into = "String")]
pub struct Ports(pub RangeInclusive<u16>);

#[derive(Deserialize)]
#[serde(untagged)]
enum PortsText {
    Number(u16),
    Text(String),
}

impl TryFrom<PortsText> for Ports {
    type Error = String;

    fn try_from(text: PortsText) -> Result<Self, String> {
        let text = match text {
            PortsText::Number(number) => return Ok(Self(number..=number)),
            PortsText::Text(text) => text,
        };
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self(first..=last)),
            _ => Err(format!("ports {text:?}: write a port, or a range as \"8000-8080\"")),
        }
    }
}

impl From<Ports> for String {
    fn from(Ports(range): Ports) -> Self {
        if range.start() == range.end() {
            range.start().to_string()
        } else {
            format!("{}-{}", range.start(), range.end())
        }
    }
}

/// A port of the switch as users call it: `pf1`, `net0` to `net7` for PF1's VFs, `ethernet0` and `ethernet1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortName(u8);

impl PortName {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=VFS).chain(DEVICES as u8..(DEVICES + ETHERNET_PORTS) as u8).map(Self)
    }

    /// Its number in the switch.
    pub fn number(self) -> u8 {
        self.0
    }

    /// It is an Ethernet port; else a network device.
    pub fn is_ethernet(self) -> bool {
        usize::from(self.0) >= DEVICES
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("pf1"),
            port if self.is_ethernet() => write!(f, "ethernet{}", usize::from(port) - DEVICES),
            vf => write!(f, "net{}", vf - 1),
        }
    }
}

impl TryFrom<String> for PortName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::all().find(|port| port.to_string() == text).ok_or_else(|| {
            let (vfs, ports) = (VFS - 1, ETHERNET_PORTS - 1);
            format!("port {text:?}: use pf1, net0 to net{vfs}, or ethernet0 to ethernet{ports}")
        })
    }
}

impl From<PortName> for String {
    fn from(port: PortName) -> Self {
        port.to_string()
    }
}

/// What is wrong with a policy: one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject}: {detail}")]
pub struct PolicyError {
    subject: String,
    detail: String,
}

impl Policy {
    /// Checks that it means something: every name is there once, every number fits.
    pub fn check(&self) -> Result<(), PolicyError> {
        let wrong = |subject: String, detail: String| Err(PolicyError { subject, detail });
        let mut seen = BTreeSet::new();
        let (mut ids, mut vlans) = (BTreeSet::new(), BTreeSet::new());
        for network in &self.networks {
            let subject = format!("network {}", network.name);
            if !seen.insert(&network.name) {
                return wrong(subject, "another network has the same name".into());
            }
            if !(1..1 << 24).contains(&network.id) {
                return wrong(subject, format!("id {}: use 1 to 16777215", network.id));
            }
            if !ids.insert(network.id) {
                return wrong(subject, format!("id {}: another network has it", network.id));
            }
            if let Some(vlan) = network.vlan {
                if !(1..4095).contains(&vlan) {
                    return wrong(subject, format!("vlan {vlan}: use 1 to 4094"));
                }
                if !vlans.insert(vlan) {
                    return wrong(subject, format!("vlan {vlan}: another network has it"));
                }
            }
        }
        let mut groups = BTreeSet::new();
        for group in &self.security_groups {
            if !groups.insert(&group.name) {
                return wrong(
                    format!("security group {}", group.name),
                    "another group has the same name".into(),
                );
            }
        }
        for group in &self.security_groups {
            for rule in group.ingress.iter().chain(group.egress.iter().flatten()) {
                let subject = || format!("security group {}", group.name);
                if let Some(other) = &rule.group
                    && !groups.contains(other)
                {
                    return wrong(subject(), format!("no security group is called {other}"));
                }
                if rule.ports.is_some() && !matches!(rule.protocol, Some(Protocol::Tcp | Protocol::Udp)) {
                    return wrong(subject(), "ports take a protocol, tcp or udp".into());
                }
            }
        }
        let (mut ports, mut stations) = (BTreeSet::new(), BTreeMap::new());
        for port in &self.ports {
            let subject = || format!("port {}", port.port);
            if !ports.insert(port.port) {
                return wrong(subject(), "described twice".into());
            }
            if port.network.is_none() && port.trunk.is_empty() {
                return wrong(subject(), "it has no network: give it one, or a trunk of some".into());
            }
            for name in port.network.iter().chain(&port.trunk) {
                if !seen.contains(name) {
                    return wrong(subject(), format!("no network is called {name}"));
                }
            }
            for name in &port.trunk {
                if self.networks.iter().any(|network| network.name == *name && network.vlan.is_none()) {
                    return wrong(subject(), format!("network {name} has no vlan, which a trunk needs"));
                }
            }
            for name in &port.security_groups {
                if !groups.contains(name) {
                    return wrong(subject(), format!("no security group is called {name}"));
                }
            }
            if !port.security_groups.is_empty() && (port.ipv4, port.ipv6) == (None, None) {
                return wrong(
                    subject(),
                    "security groups take an ipv4 or ipv6 address, so that its packets can be told".into(),
                );
            }
            if let (Some(mac), Some(network)) = (port.mac, &port.network) {
                if !mac.is_unicast() {
                    return wrong(subject(), format!("mac {mac}: not the address of a station"));
                }
                if let Some(other) = stations.insert((network, mac.0), port.port) {
                    return wrong(subject(), format!("mac {mac}: {other} has it already"));
                }
            }
        }
        Ok(())
    }

    /// What is known of a port.
    pub fn port(&self, number: u8) -> Option<&Port> {
        self.ports.iter().find(|port| port.port.number() == number)
    }

    /// A network by its name.
    pub fn network(&self, name: &str) -> Option<&Network> {
        self.networks.iter().find(|network| network.name == name)
    }

    /// The groups of a port.
    pub(super) fn groups<'a>(&'a self, port: &'a Port) -> impl Iterator<Item = &'a SecurityGroup> {
        self.security_groups.iter().filter(|group| port.security_groups.contains(&group.name))
    }
}

impl Rule {
    /// Whether it lets a packet through whose other end has `address` and is in `groups`.
    pub(super) fn matches(
        &self,
        protocol: u8,
        destination_port: u16,
        address: IpAddr,
        groups: &[String],
    ) -> bool {
        let number = |protocol| match protocol {
            Protocol::Tcp => protocol_number::TCP,
            Protocol::Udp => protocol_number::UDP,
            Protocol::Icmp if address.is_ipv4() => protocol_number::ICMP,
            Protocol::Icmp => protocol_number::ICMPV6,
        };
        self.protocol.is_none_or(|wanted| number(wanted) == protocol)
            && self.ports.as_ref().is_none_or(|Ports(range)| range.contains(&destination_port))
            && self.address.is_none_or(|network| network.contains(&address))
            && self.group.as_ref().is_none_or(|group| groups.contains(group))
    }
}

/// IP protocol numbers (IANA).
pub(super) mod protocol_number {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ICMPV6: u8 = 58;
}

/// MAC addresses as text.
mod mac {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use smoltcp::wire::EthernetAddress;

    // Serde gives a reference to the field.
    #[allow(clippy::ref_option)]
    pub fn serialize<S: Serializer>(mac: &Option<EthernetAddress>, to: S) -> Result<S::Ok, S::Error> {
        match mac {
            Some(mac) => to.collect_str(mac),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<EthernetAddress>, D::Error> {
        let text = String::deserialize(from)?;
        text.parse()
            .map(Some)
            .map_err(|()| D::Error::custom(format!("{text:?} is no MAC address as 02:00:00:00:00:01")))
    }
}
