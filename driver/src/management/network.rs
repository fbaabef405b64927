//! The switch's tables, what network devices are given, and the counters of ports.

use std::sync::PoisonError;

use nitride_abi::card::{DEVICES, ETHERNET_PORTS};
use nitride_abi::management::{self as registers, PORTS, PortEvent};

use super::{Error, Management, Result, read};

/// What a port of the switch may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Port {
    /// Frames pass.
    pub enabled: bool,
    /// The network it belongs to.
    pub network: u8,
    /// The one source MAC address of frames that come in, if that is checked.
    pub mac: Option<[u8; 6]>,
    /// The one IPv4 address of senders, if that is checked.
    pub ipv4: Option<[u8; 4]>,
}

/// What a network device is given. Its driver is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// MAC address.
    pub mac: [u8; 6],
    /// MTU in bytes.
    pub mtu: u16,
    /// Its link is up.
    pub link_up: bool,
    /// Its driver shall announce itself in its network.
    pub announce: bool,
}

/// A MAC address as registers hold it: the first byte lowest.
fn encode(mac: [u8; 6]) -> u64 {
    mac.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl Management {
    /// Sets a port: those below 16 are the network devices', from there on the Ethernet ports.
    pub fn set_port(&self, number: u8, port: Port) -> Result<()> {
        Self::check_port("a port of the switch", number)?;
        let _window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let flags = flag(port.enabled, registers::PORT_ENABLED)
            | flag(port.mac.is_some(), registers::PORT_CHECK_MAC)
            | flag(port.ipv4.is_some(), registers::PORT_CHECK_IPV4)
            | u64::from(port.network) << registers::PORT_NETWORK_SHIFT;
        self.write(registers::PORT_INDEX, number.into())?;
        self.write(registers::PORT_FLAGS, flags)?;
        self.write(registers::PORT_MAC, port.mac.map_or(0, encode))?;
        let ipv4 = port.ipv4.map_or(0, |address| u32::from_le_bytes(address).into());
        self.write(registers::PORT_IPV4, ipv4)?;
        self.write(registers::PORT_COMMIT, 0)
    }

    /// Makes a set of ports, a bit each, a network's members.
    pub fn set_members(&self, network: u8, members: u32) -> Result<()> {
        if members >> PORTS != 0 {
            let detail = format!("ports {members:#x}: the switch has {PORTS}");
            return Err(Error::Network { what: "members of a network", detail });
        }
        let _window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(registers::GROUP_NETWORK, network.into())?;
        self.write(registers::GROUP_MEMBERS, members.into())
    }

    /// Says by which port a MAC address of a network is reached, or that it is not known any more.
    pub fn forward(&self, network: u8, mac: [u8; 6], port: Option<u8>) -> Result<()> {
        let what = "an entry of the forwarding table";
        if let Some(port) = port {
            Self::check_port(what, port)?;
        }
        let _window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let key = encode(mac) | u64::from(network) << registers::FORWARD_NETWORK_SHIFT;
        self.write(registers::FORWARD_KEY, key)?;
        self.write(registers::FORWARD_PORT, port.unwrap_or(0).into())?;
        self.write(registers::FORWARD_COMMAND, port.is_some().into())?;
        if read(&*self.function, registers::FORWARD_COMMAND)? == 0 {
            let detail =
                format!("no room for another address at the place of {mac:02x?} in network {network}");
            return Err(Error::Network { what, detail });
        }
        Ok(())
    }

    /// Gives a network device its MAC address, MTU and link.
    pub fn assign(&self, device: u8, assignment: Assignment) -> Result<()> {
        if usize::from(device) >= DEVICES {
            let detail = format!("device {device}: there are {DEVICES}");
            return Err(Error::Network { what: "an assignment", detail });
        }
        let _window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        self.write(registers::ASSIGNMENT_DEVICE, device.into())?;
        self.write(registers::ASSIGNMENT_MAC, encode(assignment.mac))?;
        let value = u64::from(assignment.mtu)
            | flag(assignment.link_up, registers::ASSIGNMENT_LINK_UP)
            | flag(assignment.announce, registers::ASSIGNMENT_ANNOUNCE);
        self.write(registers::ASSIGNMENT_COMMIT, value)
    }

    /// Puts a network device behind its port: the port's settings, where its MAC address is, and what the device is given.
    pub fn place(&self, device: u8, port: Port, assignment: Assignment) -> Result<()> {
        self.set_port(device, port)?;
        self.forward(port.network, assignment.mac, Some(device))?;
        self.assign(device, assignment)
    }

    /// What was counted at a port: event, packets, bytes.
    pub fn port_counters(&self, number: u8) -> Result<Vec<(PortEvent, u64, u64)>> {
        Self::check_port("counters of a port", number)?;
        let _window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(registers::PORT_INDEX, number.into())?;
        let count = |event: PortEvent| {
            let packets = read(&*self.function, event.packets_offset())?;
            // Each read is a round trip to the card.
            let bytes = if packets > 0 { read(&*self.function, event.bytes_offset())? } else { 0 };
            Ok((event, packets, bytes))
        };
        PortEvent::ALL.into_iter().map(count).collect()
    }

    fn check_port(what: &'static str, number: u8) -> Result<()> {
        if usize::from(number) < PORTS {
            return Ok(());
        }
        let detail = format!(
            "port {number}: there are {DEVICES} of network devices and {ETHERNET_PORTS} for Ethernet"
        );
        Err(Error::Network { what, detail })
    }
}
