//! Whole frames until they have left.

use nitride_lang::prelude::*;

use super::records::{BEAT, FRAME_ROWS, Frame};
use crate::net::lanes::{at_lane, first_bytes};
use crate::net::records::{PacketBeat, rows_of};
use crate::profile::DATA_BITS;

/// A row that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Reading {
    valid: Bit,
    index: Bits<9>,
    bytes: Bits<6>,
    last: Bit,
    frame: Frame,
}

/// The frame RAM: rows are written in order, and frames given in order once they are whole, with their checksums put in.
///
/// Latency 5 cycles from `sealed` to the first beat; a beat a cycle, also from frame to frame. What has become no frame costs a cycle.
/// Bytes of a beat beyond its frame are 0.
#[derive(LogicBlock, Default)]
pub struct Giver {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// A row is written at this edge.
    pub write: Signal<In, Bit>,
    /// Its bytes.
    pub data: Signal<In, Bits<DATA_BITS>>,
    /// The rows since the last frame are one.
    pub sealed: Signal<In, Bit>,
    /// What is to be known of it.
    pub frame: Signal<In, Frame>,
    /// Frames.
    pub packet: Source<PacketBeat>,
    /// There is room for 16 more rows and frames.
    pub room: Signal<Out, Bit>,
    /// A frame that is whole has not left.
    pub busy: Signal<Out, Bit>,
    rows: Ram<Bits<DATA_BITS>, FRAME_ROWS>,
    frames: Fifo<Frame, 8>,
    /// The next row to write, the next to read, rows in use.
    written: Reg<Bits<10>>,
    read: Reg<Bits<10>>,
    level: Reg<Bits<11>>,
    /// Beats of the frame that were read.
    index: Reg<Bits<9>>,
    reading: Reg<Reading>,
    out: RegFifo<PacketBeat, 3>,
}

impl Logic for Giver {
    #[hdl]
    fn update(&mut self) {
        Source::<PacketBeat>::link(&mut self.packet, &mut self.out.source);
        self.rows.write_address.next = self.written.q.val();
        self.rows.write_data.next = self.data.val();
        self.rows.write_enable.next = self.write.val();
        if self.write.val() {
            self.written.d.next = self.written.q.val() + 1;
        }
        self.frames.sink.data.next = self.frame.val();
        self.frames.sink.valid.next = self.sealed.val();

        // A row of the oldest frame, if there is a place for it to go to.
        let frame = self.frames.source.data.val();
        let rows = rows_of(frame.bytes);
        let index = self.index.q.val();
        let last = index + 1 == rows;
        let reading = self.reading.q.val();
        let places = self.out.level.val() + if reading.valid { bits::<8>(1) } else { bits::<8>(0) };
        let go = self.frames.source.valid.val() && frame.give && places < 3;
        let skip = self.frames.source.valid.val() && !frame.give;
        let rest = frame.bytes.get_bits::<5>(0);
        self.frames.source.ready.next = skip || (go && last);
        self.rows.read_address.next = self.read.q.val();
        self.reading.d.next = Reading {
            valid: go,
            index: index,
            bytes: if last && rest.any() { bit_cast::<6, 5>(rest) } else { bits::<6>(BEAT) },
            last: last,
            frame: frame,
        };
        let freed = if skip {
            rows
        } else if go {
            bits::<9>(1)
        } else {
            bits::<9>(0)
        };
        if go {
            self.index.d.next = if last { 0.into() } else { index + 1 };
        }
        self.read.d.next = self.read.q.val() + bit_cast::<10, 9>(freed);
        self.level.d.next = self.level.q.val() + if self.write.val() { bits::<11>(1) } else { bits::<11>(0) }
            - bit_cast::<11, 9>(freed);

        // The row is here; the checksum's bytes go in.
        let position = reading.frame.position;
        let second = position + 1;
        let patch = reading.frame.patch;
        let high = patch && position.get_bits::<9>(5) == reading.index;
        let low = patch && second.get_bits::<9>(5) == reading.index;
        let high_mask = at_lane(if high { bits::<8>(0xff) } else { bits::<8>(0) }, position.get_bits::<5>(0));
        let low_mask = at_lane(if low { bits::<8>(0xff) } else { bits::<8>(0) }, second.get_bits::<5>(0));
        let high_byte = at_lane(reading.frame.checksum.get_bits::<8>(8), position.get_bits::<5>(0));
        let low_byte = at_lane(reading.frame.checksum.get_bits::<8>(0), second.get_bits::<5>(0));
        let mask = high_mask | low_mask;
        let patched = (self.rows.read_data.val() & !mask) | (high_byte & high_mask) | (low_byte & low_mask);
        self.out.sink.valid.next = reading.valid;
        self.out.sink.data.next = PacketBeat {
            data: patched & first_bytes(reading.bytes),
            bytes: reading.bytes,
            last: reading.last,
            port: bit_cast::<5, 4>(reading.frame.device),
        };
        self.room.next = self.level.q.val() <= (1u64 << FRAME_ROWS) - 16 && self.frames.level.val() <= 240;
        self.busy.next = self.frames.level.val().any() || reading.valid || self.out.level.val().any();
    }
}
