//! Frames on their way out of the packet memory.

use nitride_abi::management::PortEvent as Event;
use nitride_lang::prelude::*;

use super::records::{CELL_BITS, Cell, ETHERNET, Job, port_of};
use crate::net::records::{EgressBeat, PacketBeat, PortEvent};
use crate::profile::DATA_BITS;

/// Beats of an Ethernet port's FIFO, as a power of 2.
pub const PORT_BITS: usize = 10;

/// A row that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Reading {
    valid: Bit,
    job: Job,
    bytes: Bits<6>,
    last: Bit,
}

/// The packet memory, and the way out of it: frame after frame, a row a cycle. Each cell is free again with its last row.
///
/// Latency 2 cycles. A frame that is dropped takes as long as one that leaves.
#[derive(LogicBlock, Default)]
pub struct Reader {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// As [`Writer`](super::writer::Writer) has it: rows,
    pub write_row: Signal<In, Bits<{ CELL_BITS + 2 }>>,
    /// what is written to them,
    pub write_data: Signal<In, Bits<DATA_BITS>>,
    /// and when;
    pub write_enable: Signal<In, Bit>,
    /// cells,
    pub link_cell: Signal<In, Cell>,
    /// the cells after them,
    pub link_next: Signal<In, Cell>,
    /// and when that is known.
    pub link_enable: Signal<In, Bit>,
    /// Frames that leave.
    pub job: Sink<Job>,
    /// Cells that are free again; the receiver is always ready.
    pub freed: Source<Cell>,
    /// Frames for receive queues; the receiver is always ready.
    pub receive: Source<EgressBeat>,
    /// Frames for the Ethernet ports: no more than fit into their FIFOs.
    pub ethernet: [Source<PacketBeat>; 2],
    /// A beat left each FIFO.
    pub gone: [Signal<Out, Bit>; 2],
    /// Frames that left.
    pub counted: Signal<Out, PortEvent>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    rows: Ram<Bits<DATA_BITS>, { CELL_BITS + 2 }>,
    links: Ram<Cell, CELL_BITS>,
    jobs: RegFifo<Job, 2>,
    midway: Reg<Bit>,
    now: Reg<Cell>,
    row: Reg<Bits<2>>,
    left: Reg<Bits<14>>,
    reading: Reg<Reading>,
    ports: [Fifo<PacketBeat, PORT_BITS>; 2],
}

impl Logic for Reader {
    #[hdl]
    fn update(&mut self) {
        Sink::<Job>::link(&mut self.job, &mut self.jobs.sink);
        self.rows.write_address.next = self.write_row.val();
        self.rows.write_data.next = self.write_data.val();
        self.rows.write_enable.next = self.write_enable.val();
        self.links.write_address.next = self.link_cell.val();
        self.links.write_data.next = self.link_next.val();
        self.links.write_enable.next = self.link_enable.val();

        let job = self.jobs.source.data.val();
        let midway = self.midway.q.val();
        let go = self.jobs.source.valid.val();
        let row = self.row.q.val();
        let cell = if !midway {
            job.frame.cell
        } else if row == 0 {
            self.links.read_data.val()
        } else {
            self.now.q.val()
        };
        let left = if midway { self.left.q.val() } else { job.frame.length };
        let last = left <= 32;
        self.jobs.source.ready.next = last;
        self.rows.read_address.next = cat2::<CELL_BITS, 2, { CELL_BITS + 2 }>(cell, row);
        self.links.read_address.next = cell;
        self.reading.d.next = Reading {
            valid: go,
            job: job,
            bytes: if last { left.get_bits::<6>(0) } else { bits::<6>(32) },
            last: last,
        };
        if go {
            self.midway.d.next = !last;
            self.now.d.next = cell;
            self.row.d.next = if last { 0.into() } else { row + 1 };
            self.left.d.next = left - 32;
        }
        self.freed.valid.next = go && (last || row == 3);
        self.freed.data.next = cell;

        let reading = self.reading.q.val();
        let queue = reading.job.queue;
        let out = reading.valid && !reading.job.drop;
        self.receive.valid.next = out && queue < ETHERNET;
        self.receive.data.next = EgressBeat {
            data: self.rows.read_data.val(),
            bytes: reading.bytes,
            last: reading.last,
            queue: queue,
            length: reading.job.frame.length,
        };
        let mut full = false;
        for i in 0..2 {
            Source::<PacketBeat>::link(&mut self.ethernet[i], &mut self.ports[i].source);
            self.ports[i].sink.valid.next = out && queue == ETHERNET + i as u64;
            self.ports[i].sink.data.next = PacketBeat {
                data: self.rows.read_data.val(),
                bytes: reading.bytes,
                last: reading.last,
                port: port_of(queue),
            };
            self.gone[i].next = self.ports[i].source.valid.val() && self.ethernet[i].ready.val();
            full = full || self.ports[i].level.val().any();
        }
        self.counted.next = PortEvent {
            valid: out && reading.last,
            port: port_of(queue),
            event: bits::<4>(Event::Sent as u64),
            bytes: reading.job.frame.length,
        };
        self.busy.next = go || reading.valid || full;
    }
}
