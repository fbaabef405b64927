//! The switch's slow path: what hardware does not decide.
//!
//! The switch sends a frame here that no flow, rule or station tells it what to do with. The slow path looks at the policy, sends
//! the frame on or drops it, and tells the switch what to do with the next of its kind: it learns stations, answers ARP and
//! neighbour solicitations for those that it knows, keeps track of connections, and puts established ones into the flow table.
//!
//! It is a state machine without a clock or a card of its own: time comes with every call, and a [`Switch`] carries out what it
//! decides.

mod answer;
mod conntrack;
mod frame;
pub mod policy;
mod switch;
#[cfg(test)]
mod tests;
mod track;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use smoltcp::wire::EthernetAddress;

use conntrack::Connections;
pub use conntrack::{Connection, Reason, State, Tuple};
use frame::Frame;
use policy::{Policy, PolicyError, Port};
pub use switch::{Egress, Flow, Switch};

/// How long a learned station is remembered (IEEE 802.1Q §8.8.3).
const STATION_AGE: Duration = Duration::from_mins(5);
/// Stations that are learned of a port at most: one port cannot fill the table.
const STATIONS_OF_PORT: usize = 256;
/// How long the parts of a fragmented packet belong together.
const FRAGMENT_AGE: Duration = Duration::from_secs(30);
/// Fragmented packets that are remembered.
const FRAGMENTS: usize = 4096;

/// Packets of a port that went through software, by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PortCounters {
    /// Sent on.
    pub forwarded: u64,
    /// Answered here: ARP and neighbour solicitations.
    pub answered: u64,
    /// Against a security group.
    pub denied: u64,
    /// Cannot be read, or of no network.
    pub malformed: u64,
    /// Beginning a connection beyond the port's limit.
    pub conntrack_exceeded: u64,
    /// Connections that the port may still begin.
    pub conntrack_available: u64,
}

/// A station that was learned.
#[derive(Debug, Clone, Copy)]
struct Station {
    port: u8,
    seen: Duration,
    /// It is the policy's, and stays.
    fixed: bool,
}

/// See the [module](self).
pub struct SlowPath {
    policy: Policy,
    stations: HashMap<(u32, EthernetAddress), Station>,
    /// Who has an address, from the policy and from what ARP and neighbour discovery say.
    neighbours: HashMap<(u32, IpAddr), EthernetAddress>,
    connections: Connections,
    /// Verdicts on packets that come in parts, by (network, source, destination, identification).
    fragments: HashMap<(u32, IpAddr, IpAddr, u32), (bool, Duration)>,
    counters: HashMap<u8, PortCounters>,
}

impl SlowPath {
    /// A slow path that knows nobody but the policy's stations. The switch has to have the policy's ports and networks.
    pub fn new<S: Switch>(policy: Policy, switch: &mut S) -> Result<Self, Setup<S::Error>> {
        let mut slow_path = Self {
            policy: Policy::default(),
            stations: HashMap::new(),
            neighbours: HashMap::new(),
            connections: Connections::default(),
            fragments: HashMap::new(),
            counters: HashMap::new(),
        };
        slow_path.set_policy(policy, switch)?;
        Ok(slow_path)
    }

    /// Takes another policy. Connections that it allows go on without a packet lost; all others are forgotten.
    pub fn set_policy<S: Switch>(&mut self, policy: Policy, switch: &mut S) -> Result<(), Setup<S::Error>> {
        policy.check().map_err(Setup::Policy)?;
        self.policy = policy;
        let gone = |station: &&(u32, EthernetAddress)| !self.is_station_of_policy(station);
        for key in self.stations.keys().filter(gone).copied().collect::<Vec<_>>() {
            self.stations.remove(&key);
            switch.set_station(key.0, key.1, None).map_err(Setup::Switch)?;
        }
        self.neighbours.clear();
        for port in self.policy.ports.clone() {
            let Some((mac, network)) = port.mac.zip(self.network_of(&port)) else { continue };
            for address in addresses(&port) {
                self.neighbours.insert((network, address), mac);
            }
            let station = Station { port: port.port.number(), seen: Duration::ZERO, fixed: true };
            self.stations.insert((network, mac), station);
            let at = self.egress(station.port, network);
            switch.set_station(network, mac, at).map_err(Setup::Switch)?;
        }
        let denied = |connection: &&Connection| !self.is_allowed(connection.port, &connection.tuple);
        for tuple in self.connections.iter().filter(denied).map(|c| c.tuple).collect::<Vec<_>>() {
            self.forget(&tuple, switch).map_err(Setup::Switch)?;
        }
        Ok(())
    }

    fn is_station_of_policy(&self, (network, mac): &(u32, EthernetAddress)) -> bool {
        self.policy.ports.iter().any(|port| port.mac == Some(*mac) && self.network_of(port) == Some(*network))
    }

    fn network_of(&self, port: &Port) -> Option<u32> {
        Some(self.policy.network(port.network.as_deref()?)?.id)
    }

    /// The policy's port that has an address in a network.
    fn port_of(&self, network: u32, address: IpAddr) -> Option<&Port> {
        let has =
            |port: &&Port| self.network_of(port) == Some(network) && addresses(port).any(|a| a == address);
        self.policy.ports.iter().find(has)
    }

    /// What of a port belongs to a network, if anything does: the port, and the tag that its frames have there.
    fn egress(&self, port: u8, network: u32) -> Option<Egress> {
        let known = self.policy.port(port)?;
        if self.network_of(known) == Some(network) {
            return Some(Egress { port, vlan: None });
        }
        let networks = known.trunk.iter().filter_map(|name| self.policy.network(name));
        networks
            .filter(|carried| carried.id == network)
            .map(|carried| Egress { port, vlan: carried.vlan })
            .next()
    }

    /// The network of a frame that came in by a port with that tag.
    fn ingress(&self, port: u8, vlan: Option<u16>) -> Option<u32> {
        let known = self.policy.port(port)?;
        let Some(vlan) = vlan else { return self.network_of(known) };
        let networks = known.trunk.iter().filter_map(|name| self.policy.network(name));
        networks.filter(|carried| carried.vlan == Some(vlan)).map(|carried| carried.id).next()
    }

    /// A frame that came in by `port` and that the switch does not know what to do with.
    pub fn frame<S: Switch>(
        &mut self,
        now: Duration,
        port: u8,
        bytes: &[u8],
        switch: &mut S,
    ) -> Result<(), S::Error> {
        let parsed = Frame::parse(bytes);
        let Some((frame, network)) =
            parsed.and_then(|frame| self.ingress(port, frame.vlan).map(|network| (frame, network)))
        else {
            self.count(port).malformed += 1;
            return Ok(());
        };
        self.learn(now, port, network, &frame, switch)?;
        if let Some(answer) = self.answer(port, network, &frame) {
            self.count(port).answered += 1;
            return send(self.egress(port, network), &answer, switch);
        }
        match frame.tuple(network) {
            Some(tuple) => self.packet(now, port, tuple, &frame, switch),
            None => self.other(port, network, &frame, switch),
        }
    }

    /// Remembers where a station is, and who has its address.
    fn learn<S: Switch>(
        &mut self,
        now: Duration,
        port: u8,
        network: u32,
        frame: &Frame<'_>,
        switch: &mut S,
    ) -> Result<(), S::Error> {
        let key = (network, frame.source);
        let of_port = |station: &&Station| station.port == port && !station.fixed;
        let full = || self.stations.values().filter(of_port).count() >= STATIONS_OF_PORT;
        match self.stations.get(&key) {
            Some(station) if station.fixed => {}
            Some(station) if station.port == port => {
                self.stations.insert(key, Station { seen: now, ..*station });
            }
            _ if !frame.source.is_unicast() || full() => {}
            _ => {
                self.stations.insert(key, Station { port, seen: now, fixed: false });
                // Without room in the table its frames keep coming here.
                switch.set_station(network, frame.source, self.egress(port, network))?;
            }
        }
        if let Some(address) = frame.announces()
            && self.port_of(network, address).is_none()
        {
            self.neighbours.insert((network, address), frame.source);
        }
        Ok(())
    }

    /// A packet of IP.
    fn packet<S: Switch>(
        &mut self,
        now: Duration,
        port: u8,
        tuple: Tuple,
        frame: &Frame<'_>,
        switch: &mut S,
    ) -> Result<(), S::Error> {
        if let Some(part) = &frame.fragment {
            let key = (tuple.network, tuple.source, tuple.destination, part.identification);
            if !part.first {
                let known = self
                    .fragments
                    .get(&key)
                    .is_some_and(|(allowed, seen)| *allowed && now.saturating_sub(*seen) < FRAGMENT_AGE);
                if known {
                    return self.forward(port, &tuple, frame, switch);
                }
                self.count(port).denied += 1;
                return Ok(());
            }
            let allowed = self.track(now, port, &tuple, frame, switch)?;
            if self.fragments.len() >= FRAGMENTS {
                self.fragments.retain(|_, (_, seen)| now.saturating_sub(*seen) < FRAGMENT_AGE);
            }
            if self.fragments.len() < FRAGMENTS {
                self.fragments.insert(key, (allowed, now));
            }
            return if allowed { self.forward(port, &tuple, frame, switch) } else { Ok(()) };
        }
        if self.track(now, port, &tuple, frame, switch)? {
            return self.forward(port, &tuple, frame, switch);
        }
        Ok(())
    }

    /// Where a network's address is.
    fn place(&self, network: u32, address: IpAddr) -> Option<Egress> {
        let mac = self.neighbours.get(&(network, address))?;
        self.egress(self.stations.get(&(network, *mac))?.port, network)
    }

    /// Sends an allowed packet of IP on.
    fn forward<S: Switch>(
        &mut self,
        port: u8,
        tuple: &Tuple,
        frame: &Frame<'_>,
        switch: &mut S,
    ) -> Result<(), S::Error> {
        let free = frame.is_neighbour_discovery();
        let receives = |slow_path: &Self, to: &Port| {
            let from = slow_path.policy.port(port);
            free || from.is_some_and(|from| slow_path.may_receive(to, tuple, from))
        };
        let group = frame.is_multicast();
        let sends =
            free || !group || self.policy.port(port).is_some_and(|from| self.may_send(from, tuple, None));
        if !sends {
            self.count(port).denied += 1;
            return Ok(());
        }
        self.deliver(port, tuple.network, frame, switch, |slow_path, to| !group || receives(slow_path, to))
    }

    /// A frame that is not of IP. Security groups know nothing else, so ports that have some get none but ARP.
    fn other<S: Switch>(
        &mut self,
        port: u8,
        network: u32,
        frame: &Frame<'_>,
        switch: &mut S,
    ) -> Result<(), S::Error> {
        let open = |port: &Port| port.security_groups.is_empty();
        if !frame.is_arp() && !self.policy.port(port).is_some_and(open) {
            self.count(port).denied += 1;
            return Ok(());
        }
        let arp = frame.is_arp();
        self.deliver(port, network, frame, switch, |_, to| arp || open(to))
    }

    /// Sends a frame to its station, or to all ports of the network that `wants` admits.
    fn deliver<S: Switch>(
        &mut self,
        port: u8,
        network: u32,
        frame: &Frame<'_>,
        switch: &mut S,
        wants: impl Fn(&Self, &Port) -> bool,
    ) -> Result<(), S::Error> {
        let station = self.stations.get(&(network, frame.destination)).map(|station| station.port);
        let ports = self.policy.ports.iter().filter(|to| {
            let number = to.port.number();
            number != port && station.is_none_or(|at| at == number) && wants(self, to)
        });
        let ways: Vec<_> = ports.map(|to| self.egress(to.port.number(), network)).collect();
        for way in ways {
            send(way, frame.untagged().as_ref(), switch)?;
        }
        self.count(port).forwarded += 1;
        Ok(())
    }

    fn count(&mut self, port: u8) -> &mut PortCounters {
        self.counters.entry(port).or_default()
    }

    /// Forgets what is too old. To be called every second or so.
    pub fn tick<S: Switch>(&mut self, now: Duration, switch: &mut S) -> Result<(), S::Error> {
        for original in self.connections.expired(now) {
            let Some((connection, _)) = self.connections.find(&original) else { continue };
            let mut used = false;
            for flow in connection.offloaded.into_iter().flatten() {
                used |= switch.was_used(&flow)?;
            }
            match self.connections.find(&original) {
                Some((connection, _)) if used => connection.seen = now,
                _ => self.forget(&original, switch)?,
            }
        }
        let old = |station: &Station| !station.fixed && now.saturating_sub(station.seen) >= STATION_AGE;
        let gone: Vec<_> =
            self.stations.iter().filter(|(_, station)| old(station)).map(|(key, _)| *key).collect();
        for (network, mac) in gone {
            self.stations.remove(&(network, mac));
            self.neighbours.retain(|(of, _), neighbour| *of != network || *neighbour != mac);
            switch.set_station(network, mac, None)?;
        }
        Ok(())
    }

    /// What became of a port's packets.
    pub fn counters(&self, port: u8) -> PortCounters {
        let limit = self.policy.port(port).map_or(0, |port| port.connections);
        PortCounters {
            conntrack_available: limit.saturating_sub(self.connections.count(port)) as u64,
            ..self.counters.get(&port).copied().unwrap_or_default()
        }
    }

    /// The connections that are tracked.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter()
    }
}

/// Why a policy is not in force.
#[derive(Debug, thiserror::Error)]
pub enum Setup<E> {
    /// The policy.
    #[error(transparent)]
    Policy(PolicyError),
    /// The switch.
    #[error("the switch: {0}")]
    Switch(E),
}

/// Sends a frame out of a port, with the tag that it has there.
fn send<S: Switch>(to: Option<Egress>, untagged: &[u8], switch: &mut S) -> Result<(), S::Error> {
    match to {
        None => Ok(()),
        Some(Egress { port, vlan: None }) => switch.output(port, untagged),
        Some(Egress { port, vlan: Some(vlan) }) => switch.output(port, &frame::tagged(untagged, vlan)),
    }
}

/// The addresses of a port's station.
fn addresses(port: &Port) -> impl Iterator<Item = IpAddr> {
    let own = [port.ipv4.map(IpAddr::V4), port.ipv6.map(IpAddr::V6)];
    own.into_iter().flatten().chain(port.mac.map(|mac| IpAddr::V6(frame::link_local(mac))))
}
