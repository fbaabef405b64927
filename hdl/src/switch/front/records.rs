//! What travels inside of the switch's front.

use nitride_abi::card::DEVICES;
use nitride_lang::prelude::*;

use crate::net::records::{NetworkNumber, PortNumber};

/// Rows of the frame ring, as a power of 2.
pub const ROW_BITS: usize = 10;
/// Ports: those of network devices, then the Ethernet ports.
pub const PORTS: usize = DEVICES + 2;

/// Ports, a bit each.
pub type PortSet = Bits<PORTS>;

/// What the switch looks at in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Key {
    /// The port that it came in by.
    pub ingress: PortNumber,
    /// Its bytes.
    pub length: Bits<14>,
    /// Its first 32 bytes.
    pub start: Bits<256>,
}

/// A frame's way.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Verdict {
    /// Where it goes; nowhere: it is dropped.
    pub to: PortSet,
    /// Its bytes.
    pub length: Bits<14>,
    /// Which receive queue it goes to, where both are in use.
    pub second: Bit,
}

/// An entry of the forwarding table.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Entry {
    /// It is there.
    pub valid: Bit,
    /// The network.
    pub network: NetworkNumber,
    /// The MAC address.
    pub mac: Bits<48>,
    /// Where it is.
    pub port: PortNumber,
}
