//! What becomes of a packet's connection.

use std::time::Duration;

use super::conntrack::{Direction, Reason, Tuple};
use super::frame::{Frame, Transport};
use super::policy::{Port, Rule, protocol_number};
use super::{Flow, SlowPath, State, Switch};

impl SlowPath {
    /// Whether the policy allows a connection that begins at a port.
    pub(super) fn is_allowed(&self, port: u8, tuple: &Tuple) -> bool {
        let to = self.port_of(tuple.network, tuple.destination);
        self.policy.port(port).is_some_and(|from| {
            self.may_send(from, tuple, to) && to.is_none_or(|to| self.may_receive(to, tuple, from))
        })
    }

    /// Finds or begins a packet's connection, and gives it to hardware as soon as that may be; whether the packet is allowed.
    pub(super) fn track<S: Switch>(
        &mut self,
        now: Duration,
        port: u8,
        tuple: &Tuple,
        frame: &Frame<'_>,
        switch: &mut S,
    ) -> Result<bool, S::Error> {
        if frame.is_multicast() || frame.is_neighbour_discovery() {
            // It has no replies to be told by: each receiver's groups decide.
            return Ok(true);
        }
        if let Some(cause) = frame.caused_by(tuple.network) {
            // An ICMP error belongs to the connection of the packet that it is about.
            let known = self.connections.find(&cause).is_some();
            if !known {
                self.count(port).denied += 1;
            }
            return Ok(known);
        }
        if self.connections.find(tuple).is_none() && !self.begin(now, port, tuple) {
            return Ok(false);
        }
        let flags = match frame.transport {
            Transport::Tcp { flags } => Some(flags),
            _ => None,
        };
        let Some((connection, direction)) = self.connections.find(tuple) else { return Ok(false) };
        let original = connection.tuple;
        if frame.fragment.is_some() {
            (connection.seen, connection.reason) = (now, Some(Reason::Fragments));
            return Ok(true);
        }
        connection.packet(direction, flags, now);
        match connection.state {
            State::Closing | State::Closed => self.withdraw(&original, Reason::Closing, switch)?,
            _ => self.offload(&original, direction, switch)?,
        }
        Ok(true)
    }

    /// Begins a connection if the policy allows it.
    fn begin(&mut self, now: Duration, port: u8, tuple: &Tuple) -> bool {
        if !self.is_allowed(port, tuple) {
            self.count(port).denied += 1;
            return false;
        }
        let limit = self.policy.port(port).map_or(0, |port| port.connections);
        if self.connections.count(port) >= limit {
            self.count(port).conntrack_exceeded += 1;
            return false;
        }
        self.connections.begin(*tuple, port, now);
        true
    }

    pub(super) fn may_send(&self, from: &Port, tuple: &Tuple, to: Option<&Port>) -> bool {
        let groups = to.map_or(&[][..], |port| &port.security_groups);
        let mut of_port = self.policy.groups(from).peekable();
        let matches =
            |rule: &Rule| rule.matches(tuple.protocol, tuple.destination_port, tuple.destination, groups);
        of_port.peek().is_none()
            || of_port.any(|group| group.egress.as_ref().is_none_or(|rules| rules.iter().any(matches)))
    }

    pub(super) fn may_receive(&self, to: &Port, tuple: &Tuple, from: &Port) -> bool {
        let mut of_port = self.policy.groups(to).peekable();
        let groups = &from.security_groups;
        let matches =
            |rule: &Rule| rule.matches(tuple.protocol, tuple.destination_port, tuple.source, groups);
        of_port.peek().is_none() || of_port.any(|group| group.ingress.iter().any(matches))
    }

    /// Puts a direction of a connection into the flow table.
    fn offload<S: Switch>(
        &mut self,
        original: &Tuple,
        direction: Direction,
        switch: &mut S,
    ) -> Result<(), S::Error> {
        for way in [Direction::Original, Direction::Reply] {
            let Some((connection, _)) = self.connections.find(original) else { return Ok(()) };
            // The handshake's second packet shows that both ways are in use; without one, each shows its own.
            let shown = way == direction || connection.tuple.protocol == protocol_number::TCP;
            if connection.offloaded[way as usize].is_some() || !connection.may_be_offloaded(way) || !shown {
                continue;
            }
            let tuple = if way == Direction::Original { *original } else { original.reversed() };
            let ports =
                (self.place(tuple.network, tuple.source), self.place(tuple.network, tuple.destination));
            let (flow, reason) = match ports {
                (Some(from), Some(to)) => {
                    let flow = Flow { port: from.port, tuple };
                    let added = switch.add_flow(&flow, to)?;
                    (added.then_some(flow), (!added).then_some(Reason::TableFull))
                }
                _ => (None, Some(Reason::UnknownDestination)),
            };
            if let Some((connection, _)) = self.connections.find(original) {
                connection.offloaded[way as usize] = flow;
                connection.reason = reason;
            }
        }
        Ok(())
    }

    /// Takes a connection out of the flow table.
    pub(super) fn withdraw<S: Switch>(
        &mut self,
        original: &Tuple,
        reason: Reason,
        switch: &mut S,
    ) -> Result<(), S::Error> {
        let Some((connection, _)) = self.connections.find(original) else { return Ok(()) };
        connection.reason = Some(reason);
        for flow in std::mem::take(&mut connection.offloaded).into_iter().flatten() {
            switch.remove_flow(&flow)?;
        }
        Ok(())
    }

    pub(super) fn forget<S: Switch>(&mut self, original: &Tuple, switch: &mut S) -> Result<(), S::Error> {
        self.withdraw(original, Reason::Closing, switch)?;
        self.connections.end(original);
        Ok(())
    }
}
