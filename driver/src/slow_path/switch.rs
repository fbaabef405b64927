//! The switch, as the slow path sees it.

use smoltcp::wire::EthernetAddress;

use super::conntrack::Tuple;

/// One direction of a connection, as the flow table has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The port that its packets come in by.
    pub port: u8,
    /// What they are told by.
    pub tuple: Tuple,
}

/// A switch port, and the VLAN ID that frames get on the way out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Egress {
    /// The port.
    pub port: u8,
    /// VLAN ID to push.
    pub vlan: Option<u16>,
}

/// What the slow path does to the switch.
pub trait Switch {
    /// What can go wrong.
    type Error;

    /// Sends a frame out of a port.
    fn output(&mut self, port: u8, frame: &[u8]) -> Result<(), Self::Error>;

    /// Forwards packets of a flow from now on; `false` if there is no room for it. Of TCP, the switch goes on sending copies of
    /// packets with FIN or RST here.
    fn add_flow(&mut self, flow: &Flow, to: Egress) -> Result<bool, Self::Error>;

    /// Sends packets of a flow here again.
    fn remove_flow(&mut self, flow: &Flow) -> Result<(), Self::Error>;

    /// Whether a flow had packets since it was asked last.
    fn was_used(&mut self, flow: &Flow) -> Result<bool, Self::Error>;

    /// Frames for a station go to a port from now on, or to nobody; `false` if there is no room for it.
    fn set_station(
        &mut self,
        network: u32,
        station: EthernetAddress,
        at: Option<Egress>,
    ) -> Result<bool, Self::Error>;
}
