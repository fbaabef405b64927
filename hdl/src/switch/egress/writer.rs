//! Frames on their way into the packet memory.

use nitride_abi::management::PortEvent as Event;
use nitride_lang::prelude::*;

use super::records::{CELL_BITS, Cell, ETHERNET, Frame, PLACE_BITS, Tally, cells_of, port_of};
use crate::net::records::{EgressBeat, EgressQueue, PortEvent};
use crate::profile::DATA_BITS;

/// Cells.
const CELLS: u64 = 1 << CELL_BITS;
/// Cells that are counted as free and that the list does not have yet, at most.
const ON_THEIR_WAY: u64 = 4;
/// Frames of a queue.
const FRAMES: u64 = 1 << PLACE_BITS;

/// The last frame that was added to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Added {
    valid: Bit,
    queue: EgressQueue,
    tally: Tally,
}

/// Admits frames, and writes them to cells.
///
/// A beat a cycle; a frame is added to its queue 2 cycles after its last beat came.
#[derive(LogicBlock, Default)]
pub struct Writer {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Frames; always ready.
    pub frame: Sink<EgressBeat>,
    /// A free cell.
    pub free_cell: Sink<Cell>,
    /// A cell is free again.
    pub freed: Signal<In, Bit>,
    /// A frame left this receive queue,
    pub out_queue: Signal<In, EgressQueue>,
    /// and this is what left it so far.
    pub out: Signal<In, Tally>,
    /// It did in this cycle.
    pub out_valid: Signal<In, Bit>,
    /// What left the queues of the Ethernet ports so far.
    pub ethernet_out: [Signal<In, Tally>; 2],
    /// The row that is written.
    pub row: Signal<Out, Bits<{ CELL_BITS + 2 }>>,
    /// What is written.
    pub data: Signal<Out, Bits<DATA_BITS>>,
    /// It is, at this edge.
    pub write: Signal<Out, Bit>,
    /// The cell after which another one comes,
    pub link_cell: Signal<Out, Cell>,
    /// which one,
    pub link_next: Signal<Out, Cell>,
    /// from this edge on.
    pub link_enable: Signal<Out, Bit>,
    /// A frame that is whole,
    pub added: Signal<Out, Frame>,
    /// in this cycle,
    pub added_valid: Signal<Out, Bit>,
    /// its queue,
    pub added_queue: Signal<Out, EgressQueue>,
    /// and its place in it.
    pub added_place: Signal<Out, Bits<PLACE_BITS>>,
    /// Frames that were not admitted.
    pub counted: Signal<Out, PortEvent>,
    /// A frame has begun.
    pub busy: Signal<Out, Bit>,
    ins: Ram<Tally, 6>,
    outs: Ram<Tally, 6>,
    held: Reg<EgressBeat>,
    full: Reg<Bit>,
    last_added: Reg<Added>,
    /// The beat in `held` is not its frame's first.
    midway: Reg<Bit>,
    admitted: Reg<Bit>,
    frame_cell: Reg<Cell>,
    now: Reg<Cell>,
    row_in_cell: Reg<Bits<2>>,
    tally: Reg<Tally>,
    /// Cells of frames that were admitted and have not left.
    used: Reg<Bits<{ CELL_BITS + 1 }>>,
}

impl Logic for Writer {
    #[hdl]
    fn update(&mut self) {
        // A beat waits here for what the RAMs know of its queue.
        let offered = self.frame.data.val();
        self.frame.ready.next = true;
        self.held.d.next = offered;
        self.full.d.next = self.frame.valid.val();
        self.ins.read_address.next = offered.queue;
        self.outs.read_address.next = offered.queue;
        self.outs.write_address.next = self.out_queue.val();
        self.outs.write_data.next = self.out.val();
        self.outs.write_enable.next = self.out_valid.val();

        let beat = self.held.q.val();
        let here = self.full.q.val();
        let first = !self.midway.q.val();
        let recent = self.last_added.q.val();
        let came =
            if recent.valid && recent.queue == beat.queue { recent.tally } else { self.ins.read_data.val() };
        let went = if beat.queue < ETHERNET {
            self.outs.read_data.val()
        } else if beat.queue.get_bit(0) {
            self.ethernet_out[1].val()
        } else {
            self.ethernet_out[0].val()
        };
        let need = cells_of(beat.length);
        let after = came.cells - went.cells + need;
        let free = bits::<11>(CELLS) - self.used.q.val();
        let fits = need + ON_THEIR_WAY <= free && after <= free - need;
        let may = fits && came.frames - went.frames < FRAMES;
        let admitted = if first { may } else { self.admitted.q.val() };
        let opens = first || self.row_in_cell.q.val() == 0;
        let writes = here && admitted;
        let cell = if opens { self.free_cell.data.val() } else { self.now.q.val() };
        let row = if first { bits::<2>(0) } else { self.row_in_cell.q.val() };
        self.free_cell.ready.next = writes && opens;
        self.row.next = cat2::<CELL_BITS, 2, { CELL_BITS + 2 }>(cell, row);
        self.data.next = beat.data;
        self.write.next = writes;
        self.link_cell.next = self.now.q.val();
        self.link_next.next = cell;
        self.link_enable.next = writes && opens && !first;

        let tally = if first {
            Tally { frames: came.frames + 1, cells: came.cells + need }
        } else {
            self.tally.q.val()
        };
        let start = if first { cell } else { self.frame_cell.q.val() };
        let adds = writes && beat.last;
        if here {
            self.midway.d.next = !beat.last;
            self.admitted.d.next = admitted;
            self.frame_cell.d.next = start;
            self.now.d.next = cell;
            self.row_in_cell.d.next = row + 1;
            self.tally.d.next = tally;
        }
        self.ins.write_address.next = beat.queue;
        self.ins.write_data.next = tally;
        self.ins.write_enable.next = adds;
        // What was written at the edge at which the RAM was read.
        self.last_added.d.next = Added { valid: adds, queue: beat.queue, tally: tally };
        self.added.next = Frame { cell: start, length: beat.length };
        self.added_valid.next = adds;
        self.added_queue.next = beat.queue;
        self.added_place.next = (tally.frames - 1).get_bits::<PLACE_BITS>(0);
        self.counted.next = PortEvent {
            valid: here && first && !may,
            port: port_of(beat.queue),
            event: bits::<4>(Event::EgressFull as u64),
            bytes: beat.length,
        };
        let taken = if here && first && may { need } else { bits::<11>(0) };
        let given = if self.freed.val() { bits::<11>(1) } else { bits::<11>(0) };
        self.used.d.next = self.used.q.val() + taken - given;
        self.busy.next = here || !first;
    }
}
