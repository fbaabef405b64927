//! Frames that come in by an Ethernet port.

use nitride_abi::management::PortEvent as Event;
use nitride_abi::virtio::net::FRAME_BYTES;
use nitride_lang::prelude::*;

use crate::net::records::{PacketBeat, PortEvent};

/// Rows of the port's memory, as a power of 2.
const ROW_BITS: usize = 10;
const ROWS: u64 = 1 << ROW_BITS;
const SHORTEST: u64 = 14;
const LONGEST: u64 = FRAME_BYTES as u64;

/// Keeps frames until they are whole: 32 KiB. What has no room, is shorter than 14 or longer than 9,018 bytes is dropped whole.
///
/// A beat a cycle in and out; latency 4 cycles from a frame's last beat.
#[derive(LogicBlock)]
pub struct EthernetIn {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Frames from the MAC; always ready.
    pub rx: Sink<PacketBeat>,
    /// Frames that are whole, a beat a cycle.
    pub packet: Source<PacketBeat>,
    /// Frames that were dropped.
    pub counted: Signal<Out, PortEvent>,
    /// A frame that is whole has not left, or one has begun.
    pub busy: Signal<Out, Bit>,
    number: Constant<Bits<5>>,
    rows: Ram<PacketBeat, ROW_BITS>,
    /// The next row to write, the first row of the frame that is coming, the next row to read.
    next: Reg<Bits<{ ROW_BITS + 1 }>>,
    start: Reg<Bits<{ ROW_BITS + 1 }>>,
    oldest: Reg<Bits<{ ROW_BITS + 1 }>>,
    bytes: Reg<Bits<14>>,
    overflow: Reg<Bit>,
    /// The row that the RAM gives is valid.
    reading: Reg<Bit>,
    out: RegFifo<PacketBeat, 3>,
}

impl EthernetIn {
    /// The switch port of this number.
    #[must_use]
    pub fn new(number: u8) -> Self {
        Self {
            clock: Signal::default(),
            rx: Sink::default(),
            packet: Source::default(),
            counted: Signal::default(),
            busy: Signal::default(),
            number: Constant::new(u64::from(number).into()),
            rows: Ram::default(),
            next: Reg::default(),
            start: Reg::default(),
            oldest: Reg::default(),
            bytes: Reg::default(),
            overflow: Reg::default(),
            reading: Reg::default(),
            out: RegFifo::default(),
        }
    }
}

impl Logic for EthernetIn {
    #[hdl]
    fn update(&mut self) {
        Source::<PacketBeat>::link(&mut self.packet, &mut self.out.source);
        let beat = self.rx.data.val();
        let comes = self.rx.valid.val();
        let next = self.next.q.val();
        let start = self.start.q.val();
        let oldest = self.oldest.q.val();
        let full = next - oldest >= ROWS;
        let counted = self.bytes.q.val();
        // Beyond the longest frame it does not matter how much there is.
        let bytes = if counted > LONGEST { counted } else { counted + bit_cast::<14, 6>(beat.bytes) };
        let overflow = self.overflow.q.val() || full;
        let wrong = bytes < SHORTEST || bytes > LONGEST;
        let keeps = !overflow && !wrong;
        let ends = comes && beat.last;
        self.rx.ready.next = true;
        self.rows.write_address.next = next.get_bits::<ROW_BITS>(0);
        self.rows.write_data.next = PacketBeat { port: self.number.val(), ..beat };
        self.rows.write_enable.next = comes && !full;
        if comes {
            self.bytes.d.next = if beat.last { 0.into() } else { bytes };
            self.overflow.d.next = overflow && !beat.last;
        }
        if ends {
            self.next.d.next = if keeps { next + 1 } else { start };
            self.start.d.next = if keeps { next + 1 } else { start };
        } else if comes && !full {
            self.next.d.next = next + 1;
        }
        self.counted.next = PortEvent {
            valid: ends && !keeps,
            port: self.number.val(),
            event: if wrong {
                bits::<4>(Event::Malformed as u64)
            } else {
                bits::<4>(Event::IngressFull as u64)
            },
            bytes: bytes,
        };

        let places = self.out.level.val() + if self.reading.q.val() { bits::<8>(1) } else { bits::<8>(0) };
        let go = oldest != start && places < 3;
        self.rows.read_address.next = oldest.get_bits::<ROW_BITS>(0);
        if go {
            self.oldest.d.next = oldest + 1;
        }
        self.reading.d.next = go;
        self.out.sink.valid.next = self.reading.q.val();
        self.out.sink.data.next = self.rows.read_data.val();
        self.busy.next =
            comes || counted.any() || oldest != start || self.reading.q.val() || self.out.level.val().any();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use nitride_lang::testing::{Rng, differential, low, step};

    use super::*;

    #[test]
    fn the_verilog_is_the_same() {
        differential(
            "ethernet_in",
            || EthernetIn::new(16),
            |uut, rng| {
                uut.rx.valid.next = rng.chance(3, 4);
                uut.rx.data.next =
                    PacketBeat { bytes: (1 + rng.below(32)).into(), last: rng.chance(1, 20), ..rng.value() };
                uut.packet.ready.next = rng.chance(1, 2);
            },
            10_000,
        );
    }

    #[test]
    fn whole_frames_pass_and_others_are_counted() {
        let mut uut = EthernetIn::new(17);
        uut.connect_all();
        let mut rng = Rng::new(1);
        let mut frames: VecDeque<usize> =
            (0..60).map(|_| rng.pick(&[13usize, 14, 60, 64, 100, 1_514, 9_018, 9_019, 20_000])).collect();
        let (mut sent, mut index, mut expected) = (0, 0u64, VecDeque::new());
        let (mut passed, mut got, mut malformed, mut refused, mut given) = (0, 0, 0, 0, 0);
        let total = frames.len();
        for cycle in 0..40_000 {
            let length = frames.front().copied();
            let count = length.map_or(0, |length| (length - sent).min(32));
            uut.rx.valid.next = length.is_some() && rng.chance(3, 4);
            uut.rx.data.next = PacketBeat {
                data: index.into(),
                bytes: (count as u64).into(),
                last: length.is_some_and(|length| sent + count == length),
                port: rng.bits(),
            };
            // For a while nobody takes anything.
            uut.packet.ready.next = cycle > 6_000 && rng.chance(3, 4);
            low(&mut uut);
            assert!(uut.rx.ready.val());
            if uut.rx.valid.val() {
                index += 1;
                sent += count;
                if uut.rx.data.val().last {
                    let length = frames.pop_front().expect("it");
                    sent = 0;
                    let event = uut.counted.val();
                    if event.valid && event.event.to_u64() == Event::Malformed as u64 {
                        assert!(!(14..=9_018).contains(&length));
                        malformed += 1;
                    } else if event.valid {
                        refused += 1;
                    } else {
                        assert!((14..=9_018).contains(&length));
                        expected.push_back(length);
                        passed += 1;
                    }
                }
            }
            if uut.packet.valid.val() && uut.packet.ready.val() {
                let beat = uut.packet.data.val();
                assert_eq!(beat.port.to_u64(), 17);
                got += beat.bytes.to_u64() as usize;
                if beat.last {
                    assert_eq!(Some(std::mem::take(&mut got)), expected.pop_front());
                    given += 1;
                }
            }
            step(&mut uut);
        }
        assert_eq!((given, passed + malformed + refused), (passed, total));
        assert!(refused > 0 && malformed > 0 && !uut.busy.val());
    }
}
