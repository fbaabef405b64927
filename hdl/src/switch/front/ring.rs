//! Frames between their coming in and their way out.

use nitride_lang::prelude::*;

use super::records::{Key, PORTS, ROW_BITS, Verdict};
use crate::net::records::{EgressBeat, PacketBeat, VirtqueueUpdate, rows_of};
use crate::profile::DATA_BITS;

/// Rows.
const ROWS: u64 = 1 << ROW_BITS;
/// The first Ethernet port.
const ETHERNET: u64 = PORTS as u64 - 2;

/// A row that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Reading {
    valid: Bit,
    beat: EgressBeat,
}

/// Keeps frames in a ring of 32 KiB while it is decided on them, and gives a copy of the oldest to each port that it goes to.
///
/// A beat a cycle in, and a beat a cycle out; what goes nowhere costs a cycle. Latency 1 cycle from a verdict to the first beat.
#[derive(LogicBlock, Default)]
pub struct Ring {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Which devices use both receive queues.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Frames.
    pub packet: Sink<PacketBeat>,
    /// What is to be looked at of each, when it is whole.
    pub key: Source<Key>,
    /// Where each goes, in order.
    pub verdict: Sink<Verdict>,
    /// Copies; the receiver is always ready.
    pub frame: Source<EgressBeat>,
    /// Something is in here.
    pub busy: Signal<Out, Bit>,
    rows: Ram<Bits<DATA_BITS>, ROW_BITS>,
    keys: RegFifo<Key, 2>,
    written: Reg<Bits<ROW_BITS>>,
    oldest: Reg<Bits<ROW_BITS>>,
    level: Reg<Bits<11>>,
    /// The frame that is coming: its first row, and bytes before the present beat.
    start: Reg<Bits<DATA_BITS>>,
    length: Reg<Bits<14>>,
    /// The copy that is going: rows before the present one, and ports that have theirs.
    index: Reg<Bits<9>>,
    served: Reg<Bits<PORTS>>,
    both: Reg<Bits<16>>,
    reading: Reg<Reading>,
}

impl Logic for Ring {
    #[hdl]
    fn update(&mut self) {
        Source::<Key>::link(&mut self.key, &mut self.keys.source);
        let update = self.update.val();
        let device = bits::<16>(1) << update.index.get_bits::<4>(3);
        if update.valid && update.queue.enabled {
            self.both.d.next = if update.settings.both_pairs {
                self.both.q.val() | device
            } else {
                self.both.q.val() & !device
            };
        }

        let beat = self.packet.data.val();
        let ready = self.level.q.val() < ROWS && self.keys.sink.ready.val();
        let comes = self.packet.valid.val() && ready;
        let first = !self.length.q.val().any();
        let start = if first { beat.data } else { self.start.q.val() };
        let length = self.length.q.val() + bit_cast::<14, 6>(beat.bytes);
        self.packet.ready.next = ready;
        self.rows.write_address.next = self.written.q.val();
        self.rows.write_data.next = beat.data;
        self.rows.write_enable.next = comes;
        self.keys.sink.valid.next = comes && beat.last;
        self.keys.sink.data.next = Key { ingress: beat.port, length: length, start: start };
        if comes {
            self.written.d.next = self.written.q.val() + 1;
            self.start.d.next = start;
            self.length.d.next = if beat.last { 0.into() } else { length };
        }

        let verdict = self.verdict.data.val();
        let there = self.verdict.valid.val();
        let index = self.index.q.val();
        let rows = rows_of(verdict.length);
        let left = verdict.to & !self.served.q.val();
        let now = lowest_one::<PORTS>(left);
        let port = one_hot_index::<PORTS, 5>(now);
        let last = index + 1 == rows;
        let final_copy = !(left & !now).any();
        let over = there && final_copy && (last || !left.any());
        let second = verdict.second && self.both.q.val().get_bit(port.get_bits::<4>(0).index());
        let rest = verdict.length.get_bits::<5>(0);
        self.verdict.ready.next = over;
        self.rows.read_address.next = self.oldest.q.val() + bit_cast::<ROW_BITS, 9>(index);
        self.reading.d.next = Reading {
            valid: there && left.any(),
            beat: EgressBeat {
                data: bits::<DATA_BITS>(0),
                bytes: if last && rest.any() { bit_cast::<6, 5>(rest) } else { bits::<6>(32) },
                last: last,
                queue: if port < ETHERNET {
                    cat2::<5, 1, 6>(cat2::<1, 4, 5>(bits::<1>(0), port.get_bits::<4>(0)), second.into())
                } else {
                    cat2::<5, 1, 6>(bits::<5>(16), port.get_bits::<1>(0))
                },
                length: verdict.length,
            },
        };
        if there && left.any() {
            self.index.d.next = if last { 0.into() } else { index + 1 };
            self.served.d.next = if !last {
                self.served.q.val()
            } else if final_copy {
                0.into()
            } else {
                self.served.q.val() | now
            };
        }
        let came = if comes { bits::<11>(1) } else { bits::<11>(0) };
        let went = if over { bit_cast::<11, 9>(rows) } else { bits::<11>(0) };
        self.level.d.next = self.level.q.val() + came - went;
        self.oldest.d.next = self.oldest.q.val() + went.get_bits::<ROW_BITS>(0);

        let reading = self.reading.q.val();
        self.frame.valid.next = reading.valid;
        self.frame.data.next = EgressBeat { data: self.rows.read_data.val(), ..reading.beat };
        self.busy.next = self.level.q.val().any() || reading.valid;
    }
}
