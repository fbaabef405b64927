//! Frames that wait to leave.
//!
//! [`Writer`] puts frames into the packet memory, if their queue may have more of it, [`Scheduler`] and [`Wires`] decide which leave next, to receive
//! queues and to Ethernet ports, and [`Reader`] gives them.

mod reader;
mod records;
mod scheduler;
mod wires;
mod writer;

use nitride_lang::prelude::*;

use self::reader::Reader;
use self::records::{CELL_BITS, Cell, Job};
use self::scheduler::Scheduler;
use self::wires::Wires;
use self::writer::Writer;
use crate::free_list::FreeList;
use crate::net::records::{EgressBeat, Offer, PacketBeat, PortEvent, Reply, Wake};

/// Queues of frames in a shared packet memory of 128 KiB, one for each receive queue and each Ethernet port.
///
/// - A frame is admitted whole or not at all: its queue may use as much memory as is free after it, and 128 frames. What is refused leaves no trace but its event.
/// - Queues take turns, frame by frame. A frame of a receive queue is offered first; a queue that has to wait sleeps until its `wake`. A frame for an
///   Ethernet port leaves when its FIFO of 32 KiB has room for it. So no queue waits for another one's consumer.
/// - A beat a cycle in, and a beat a cycle out. A frame for a receive queue takes about 6 cycles at least.
#[derive(LogicBlock, Default)]
pub struct Egress {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Frames; always ready.
    pub frame: Sink<EgressBeat>,
    /// Frames that would like to go to a receive queue.
    pub offer: Source<Offer>,
    /// Whether they may.
    pub reply: Sink<Reply>,
    /// Receive queues to ask again.
    pub wake: Signal<In, Wake>,
    /// Frames that were taken, in that order. The receiver is always ready.
    pub receive: Source<EgressBeat>,
    /// Frames for the Ethernet ports.
    pub ethernet: [Source<PacketBeat>; 2],
    /// Frames that were not admitted, that were dropped, and that left.
    pub counted: [Signal<Out, PortEvent>; 3],
    /// Something is in here.
    pub busy: Signal<Out, Bit>,
    free: FreeList<CELL_BITS>,
    writer: Writer,
    scheduler: Scheduler,
    wires: Wires,
    jobs: StreamArbiter<Job, 2>,
    reader: Reader,
}

impl Logic for Egress {
    #[hdl]
    fn update(&mut self) {
        Sink::<EgressBeat>::link(&mut self.frame, &mut self.writer.frame);
        Source::<Cell>::join(&mut self.free.take, &mut self.writer.free_cell);
        self.writer.out_queue.next = self.scheduler.out_queue.val();
        self.writer.out.next = self.scheduler.out.val();
        self.writer.out_valid.next = self.scheduler.out_valid.val();
        self.writer.freed.next = self.reader.freed.valid.val();

        self.scheduler.added.next = self.writer.added.val();
        self.scheduler.added_valid.next = self.writer.added_valid.val();
        self.scheduler.added_queue.next = self.writer.added_queue.val();
        self.wires.added.next = self.writer.added.val();
        self.wires.added_valid.next = self.writer.added_valid.val();
        self.wires.added_queue.next = self.writer.added_queue.val();
        self.scheduler.added_place.next = self.writer.added_place.val();
        Source::<Offer>::link(&mut self.offer, &mut self.scheduler.offer);
        Sink::<Reply>::link(&mut self.reply, &mut self.scheduler.reply);
        self.scheduler.wake.next = self.wake.val();
        Source::<Job>::join(&mut self.scheduler.job, &mut self.jobs.sink[0]);
        Source::<Job>::join(&mut self.wires.job, &mut self.jobs.sink[1]);
        self.jobs.last.next = bits::<2>(3);
        Source::<Job>::join(&mut self.jobs.source, &mut self.reader.job);

        self.reader.write_row.next = self.writer.row.val();
        self.reader.write_data.next = self.writer.data.val();
        self.reader.write_enable.next = self.writer.write.val();
        self.reader.link_cell.next = self.writer.link_cell.val();
        self.reader.link_next.next = self.writer.link_next.val();
        self.reader.link_enable.next = self.writer.link_enable.val();
        Source::<Cell>::join(&mut self.reader.freed, &mut self.free.give);
        Source::<EgressBeat>::link(&mut self.receive, &mut self.reader.receive);
        for i in 0..2 {
            Source::<PacketBeat>::link(&mut self.ethernet[i], &mut self.reader.ethernet[i]);
            self.wires.left[i].next = self.reader.gone[i].val();
            self.writer.ethernet_out[i].next = self.wires.out[i].val();
        }
        self.counted[0].next = self.writer.counted.val();
        self.counted[1].next = self.scheduler.counted.val();
        self.counted[2].next = self.reader.counted.val();
        self.busy.next = self.writer.busy.val()
            || self.scheduler.busy.val()
            || self.wires.busy.val()
            || self.reader.busy.val();
    }
}

#[cfg(test)]
mod tests;
