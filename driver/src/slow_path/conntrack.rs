//! Connection tracking: which packets belong together, and how long they are remembered.
//!
//! TCP's states follow RFC 9293 §3.3.2 as far as somebody in the middle sees them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Flow;
use super::policy::protocol_number::TCP;

/// TCP flags as the header has them (RFC 9293 §3.1).
pub(super) mod tcp_flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
}

/// What one direction of a connection is told by. For ICMP echo both ports are the identifier; without ports both are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// The network's number.
    pub network: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
}

impl Tuple {
    /// The other direction.
    pub fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            ..self
        }
    }
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing has come back yet.
    New,
    /// Packets went both ways; for TCP, the handshake's first two.
    Established,
    /// TCP: one end has sent a FIN.
    Closing,
    /// TCP: both have, or one has sent RST.
    Closed,
}

impl State {
    /// How long a connection is remembered after its last packet.
    fn timeout(self, protocol: u8) -> Duration {
        Duration::from_secs(match (self, protocol == TCP) {
            (Self::New, true) => 60,
            (Self::New, false) => 30,
            // AWS and Linux have 5 days here.
            (Self::Established, true) => 432_000,
            (Self::Established, false) => 180,
            (Self::Closing, _) => 120,
            (Self::Closed, _) => 10,
        })
    }
}

/// Why packets of a connection go through software.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is not established yet.
    NotEstablished,
    /// It is being closed.
    Closing,
    /// No entry of the flow table that it could have is free.
    TableFull,
    /// Nobody knows the destination's port: its packets are flooded.
    UnknownDestination,
    /// Fragments have no ports, and are not told apart in hardware.
    Fragments,
}

/// A tracked connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its first packet's direction.
    pub tuple: Tuple,
    /// The switch port that it came in by.
    pub port: u8,
    /// How far it has come.
    pub state: State,
    /// When the last packet that software saw of it came.
    pub seen: Duration,
    /// Directions that have sent a FIN: as the first packet, the other.
    fins: [bool; 2],
    /// What hardware forwards of it: in its first packet's direction, and in the other.
    pub offloaded: [Option<Flow>; 2],
    /// Why the rest is not.
    pub reason: Option<Reason>,
}

/// Which way a packet of a connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// As its first.
    Original = 0,
    /// The other.
    Reply = 1,
}

/// All connections, found by either direction's tuple.
#[derive(Debug, Default)]
pub struct Connections {
    by_original: HashMap<Tuple, Connection>,
    /// Connections by the port of their first packet.
    per_port: HashMap<u8, usize>,
}

impl Connections {
    /// The connection of a packet, and which way it goes.
    pub fn find(&mut self, tuple: &Tuple) -> Option<(&mut Connection, Direction)> {
        let (key, direction) = if self.by_original.contains_key(tuple) {
            (*tuple, Direction::Original)
        } else {
            (tuple.reversed(), Direction::Reply)
        };
        self.by_original.get_mut(&key).map(|connection| (connection, direction))
    }

    /// Begins a connection with its first packet.
    pub fn begin(&mut self, tuple: Tuple, port: u8, now: Duration) -> &mut Connection {
        *self.per_port.entry(port).or_default() += 1;
        self.by_original.entry(tuple).or_insert(Connection {
            tuple,
            port,
            state: State::New,
            seen: now,
            fins: [false; 2],
            offloaded: [None; 2],
            reason: Some(Reason::NotEstablished),
        })
    }

    /// Forgets a connection.
    pub fn end(&mut self, tuple: &Tuple) -> Option<Connection> {
        let connection = self.by_original.remove(tuple)?;
        if let Some(count) = self.per_port.get_mut(&connection.port) {
            *count -= 1;
        }
        Some(connection)
    }

    /// Connections that began at a port.
    pub fn count(&self, port: u8) -> usize {
        self.per_port.get(&port).copied().unwrap_or(0)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.by_original.values()
    }

    /// The original tuples of those that nobody has seen for too long.
    pub fn expired(&self, now: Duration) -> Vec<Tuple> {
        let old = |c: &&Connection| now.saturating_sub(c.seen) >= c.state.timeout(c.tuple.protocol);
        self.iter().filter(old).map(|connection| connection.tuple).collect()
    }
}

impl Connection {
    /// Takes note of a packet.
    pub fn packet(&mut self, direction: Direction, flags: Option<u8>, now: Duration) {
        self.seen = now;
        let Some(flags) = flags else {
            if direction == Direction::Reply {
                self.state = State::Established;
            }
            return;
        };
        if flags & tcp_flags::RST != 0 {
            self.state = State::Closed;
            return;
        }
        let answers = flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN | tcp_flags::ACK;
        if self.state == State::New && direction == Direction::Reply && answers {
            self.state = State::Established;
        }
        if flags & tcp_flags::FIN != 0 {
            self.fins[direction as usize] = true;
            self.state = if self.fins == [true; 2] { State::Closed } else { State::Closing };
        }
    }

    /// Whether hardware may forward packets of this direction from now on.
    pub fn may_be_offloaded(&self, direction: Direction) -> bool {
        match self.state {
            State::Established => true,
            // A handshake is for software; other protocols have none.
            State::New => self.tuple.protocol != TCP && direction == Direction::Original,
            State::Closing | State::Closed => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::tcp_flags::*;
    use super::*;

    const T: Tuple = Tuple {
        network: 1,
        protocol: TCP,
        source: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
        destination: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)),
        source_port: 40000,
        destination_port: 80,
    };
    const SECOND: Duration = Duration::from_secs(1);

    fn states(packets: &[(Direction, u8)]) -> Vec<State> {
        let mut connections = Connections::default();
        let connection = connections.begin(T, 3, Duration::ZERO);
        let next = |(direction, flags): &(Direction, u8)| {
            connection.packet(*direction, Some(*flags), SECOND);
            connection.state
        };
        packets.iter().map(next).collect()
    }

    #[test]
    fn tcp_is_established_by_the_handshake_and_closed_by_both_fins_or_a_reset() {
        use Direction::*;
        use State::*;
        let life =
            [(Original, SYN), (Reply, SYN | ACK), (Original, ACK), (Reply, FIN | ACK), (Original, FIN | ACK)];
        assert_eq!(states(&life), [New, Established, Established, Closing, Closed]);
        assert_eq!(states(&[(Original, SYN), (Reply, RST | ACK)]), [New, Closed]);
        assert_eq!(states(&[(Original, SYN), (Reply, ACK)]), [New, New], "an ACK alone answers no SYN");
    }

    #[test]
    fn a_connection_is_found_from_both_sides_counted_and_forgotten_after_its_time() {
        let mut connections = Connections::default();
        connections.begin(T, 3, Duration::ZERO);
        assert_eq!(connections.find(&T).unwrap().1, Direction::Original);
        assert_eq!(connections.find(&T.reversed()).unwrap().1, Direction::Reply);
        assert!(connections.find(&Tuple { network: 2, ..T }).is_none(), "another network's");
        assert_eq!((connections.count(3), connections.count(4)), (1, 0));
        assert!(connections.expired(59 * SECOND).is_empty());
        assert_eq!(connections.expired(60 * SECOND), [T]);
        connections.end(&T);
        assert_eq!(connections.count(3), 0);
    }
}
