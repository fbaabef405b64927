//! Counters of ports.

use nitride_lang::prelude::*;

use crate::net::records::PortEvent;

/// Sources of events.
pub const SOURCES: usize = 8;

/// A counter's value at its number.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Latest {
    valid: Bit,
    index: Bits<9>,
    packets: Bits<64>,
    bytes: Bits<64>,
}

/// Counts packets and bytes of each port's events in RAM.
///
/// An event a cycle of all sources together; each may be 16 ahead. A counter can be read in every cycle: `value` is the one that was asked for a cycle ago.
#[derive(LogicBlock, Default)]
pub struct PortCounters {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Events.
    pub counted: [Signal<In, PortEvent>; SOURCES],
    /// Which counter to read: `{port (5), event (4), bytes (1)}`.
    pub index: Signal<In, Bits<10>>,
    /// The counter that was asked for.
    pub value: Signal<Out, Bits<64>>,
    /// Events have not arrived in their counters yet.
    pub busy: Signal<Out, Bit>,
    events: [Fifo<PortEvent, 4>; SOURCES],
    turns: StreamArbiter<PortEvent, SOURCES>,
    packets: Ram2<Bits<64>, 9>,
    bytes: Ram2<Bits<64>, 9>,
    now: Reg<PortEvent>,
    latest: Reg<Latest>,
    asked_bytes: Reg<Bit>,
}

impl Logic for PortCounters {
    #[hdl]
    fn update(&mut self) {
        let mut waits = false;
        for i in 0..SOURCES {
            let event = self.counted[i].val();
            self.events[i].sink.data.next = event;
            self.events[i].sink.valid.next = event.valid;
            waits = waits || self.events[i].level.val().any();
            Source::<PortEvent>::join(&mut self.events[i].source, &mut self.turns.sink[i]);
        }
        self.turns.last.next = !bits::<SOURCES>(0);
        self.turns.source.ready.next = true;
        let next = self.turns.source.data.val();
        let place = cat2::<5, 4, 9>(next.port, next.event);
        self.now.d.next = PortEvent { valid: self.turns.source.valid.val(), ..next };

        // What was written at the edge at which the RAM was read is not in what it gives.
        let now = self.now.q.val();
        let index = cat2::<5, 4, 9>(now.port, now.event);
        let latest = self.latest.q.val();
        let fresh = latest.valid && latest.index == index;
        let packets = if fresh { latest.packets } else { self.packets.read_data[0].val() } + 1;
        let bytes =
            if fresh { latest.bytes } else { self.bytes.read_data[0].val() } + bit_cast::<64, 14>(now.bytes);
        self.latest.d.next = Latest { valid: now.valid, index: index, packets: packets, bytes: bytes };
        self.packets.read_address[0].next = place;
        self.packets.read_address[1].next = self.index.val().get_bits::<9>(1);
        self.packets.write_address.next = index;
        self.packets.write_data.next = packets;
        self.packets.write_enable.next = now.valid;
        self.bytes.read_address[0].next = place;
        self.bytes.read_address[1].next = self.index.val().get_bits::<9>(1);
        self.bytes.write_address.next = index;
        self.bytes.write_data.next = bytes;
        self.bytes.write_enable.next = now.valid;
        self.asked_bytes.d.next = self.index.val().get_bit(0);
        self.value.next = if self.asked_bytes.q.val() {
            self.bytes.read_data[1].val()
        } else {
            self.packets.read_data[1].val()
        };
        self.busy.next = waits || now.valid;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use nitride_lang::testing::{Rng, differential, step};

    use super::*;

    fn event(rng: &mut Rng, valid: bool) -> PortEvent {
        PortEvent { valid, port: rng.below(3).into(), event: rng.below(2).into(), bytes: rng.bits() }
    }

    #[test]
    fn no_event_is_lost() {
        let mut uut = PortCounters::default();
        uut.connect_all();
        let mut rng = Rng::new(1);
        let mut expected: HashMap<(u64, u64), (u64, u64)> = HashMap::new();
        for cycle in 0..2_000 {
            for i in 0..SOURCES {
                let valid = cycle % 40 < 14 && rng.chance(1, 3);
                let event = event(&mut rng, valid);
                uut.counted[i].next = event;
                if valid {
                    let sum = expected.entry((event.port.to_u64(), event.event.to_u64())).or_default();
                    *sum = (sum.0 + 1, sum.1 + event.bytes.to_u64());
                }
            }
            step(&mut uut);
        }
        (0..SOURCES).for_each(|i| uut.counted[i].next = PortEvent::default());
        (0..200).for_each(|_| step(&mut uut));
        assert!(!uut.busy.val());
        for ((port, event), (packets, bytes)) in expected {
            for (at, value) in [(0, packets), (1, bytes)] {
                uut.index.next = (port << 5 | event << 1 | at).into();
                step(&mut uut);
                assert_eq!(uut.value.val().to_u64(), value);
            }
        }
    }

    #[test]
    fn the_verilog_is_the_same() {
        differential(
            "port_counters",
            PortCounters::default,
            |uut, rng| {
                for i in 0..SOURCES {
                    let valid = rng.chance(1, 8);
                    uut.counted[i].next = event(rng, valid);
                }
                uut.index.next = rng.bits();
            },
            10_000,
        );
    }
}
