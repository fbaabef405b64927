//! What drivers send: from descriptor chains to frames (virtio 1.2 §5.1.6.2).
//!
//! Segments are judged by [`Intake`], read into a ring of the landing RAM by [`Asker`], put into order by [`Arrivals`], walked through by
//! [`Cursor`], joined to beats by [`Joiner`], summed and judged by [`Sealer`], and given by [`Giver`].

mod arrivals;
mod asker;
mod cursor;
mod giver;
mod intake;
mod joiner;
mod records;
mod sealer;
mod summer;

use nitride_lang::prelude::*;

use self::arrivals::Arrivals;
use self::asker::Asker;
use self::cursor::Cursor;
use self::giver::Giver;
use self::intake::Intake;
use self::joiner::Joiner;
use self::records::LANDING_ROWS;
use self::sealer::Sealer;
use super::records::{Notification, PacketBeat, QueueIndex, Segment, Used, VirtqueueUpdate};
use crate::bus::{DmaDone, DmaReadRequest, Landing, LandingWrite};
use crate::dma::LandingRam;

/// Makes frames of the chains of transmit queues.
///
/// - All that fits into the ring of 32 KiB is read at once, 256 reads at most; reads may end in any order. A row of 32 bytes is copied
///   a cycle; each chain costs a cycle for each row that it has bytes in and at most one more.
/// - A frame leaves when all of it is here, in the order of the segments, a beat a cycle. It is of 14 to 9,018 bytes and has the
///   checksum that its driver left to the device.
/// - A chain goes back when its bytes are copied, whatever becomes of them. It breaks its queue if a DMA failed, a segment is
///   device-writable, the header is not whole or asks for what was not agreed on, or its checksum is outside of the frame.
/// - A token waits until all frames and broken queues before it have left.
#[derive(LogicBlock, Default)]
pub struct Transmit {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// What drivers set up.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Chains of transmit queues, whole, and tokens.
    pub segments: Sink<Segment>,
    /// Reads of buffers.
    pub read: Source<DmaReadRequest>,
    /// Their ends; always ready.
    pub read_done: Sink<DmaDone>,
    /// Their bytes.
    pub landing: Signal<In, LandingWrite>,
    /// Frames, without the header; the port is the device's.
    pub packet: Source<PacketBeat>,
    /// Chains that go back, and tokens, in the order of the segments.
    pub used: Source<Used>,
    /// Queues that are broken: one for each broken chain.
    pub broken: Source<QueueIndex>,
    /// A frame was dropped, since it is too short or too long or its queue is disabled.
    pub dropped: Signal<Out, Notification>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    intake: Intake,
    asker: Asker,
    arrivals: Arrivals,
    ring: LandingRam<{ Landing::FRAMES }, LANDING_ROWS>,
    cursor: Cursor,
    joiner: Joiner,
    sealer: Sealer,
    giver: Giver,
}

impl Logic for Transmit {
    #[hdl]
    fn update(&mut self) {
        self.intake.update.next = self.update.val();
        Sink::<Segment>::link(&mut self.segments, &mut self.intake.segments);
        self.intake.portion.join(&mut self.asker.portion);

        self.asker.next_context.next = self.arrivals.next_context.val();
        self.asker.freed.next = self.cursor.freed.val();
        self.asker.piece.join(&mut self.arrivals.piece);
        Source::<DmaReadRequest>::link(&mut self.read, &mut self.asker.read);
        Sink::<DmaDone>::link(&mut self.read_done, &mut self.arrivals.read_done);
        self.ring.write.next = self.landing.val();

        self.arrivals.arrived.join(&mut self.cursor.arrived);
        self.ring.row.next = self.cursor.row.val();
        self.joiner.step.next = self.cursor.step.val();
        self.joiner.data.next = self.ring.data.val();

        self.sealer.update.next = self.update.val();
        let beat = self.joiner.beat.val();
        self.sealer.beat.next = beat;
        self.giver.write.next = self.sealer.write.val();
        self.giver.data.next = beat.data;
        self.giver.sealed.next = self.sealer.sealed.val();
        self.giver.frame.next = self.sealer.frame.val();
        self.cursor.room.next = self.sealer.room.val() && self.giver.room.val();
        self.cursor.quiet.next =
            !self.joiner.busy.val() && !self.sealer.judging.val() && !self.giver.busy.val();

        Source::<PacketBeat>::link(&mut self.packet, &mut self.giver.packet);
        Source::<Used>::link(&mut self.used, &mut self.sealer.used);
        Source::<QueueIndex>::link(&mut self.broken, &mut self.sealer.broken);
        self.dropped.next = self.sealer.dropped.val();
        self.busy.next = self.intake.busy.val()
            || self.asker.busy.val()
            || self.arrivals.busy.val()
            || self.cursor.busy.val()
            || self.joiner.busy.val()
            || self.sealer.busy.val()
            || self.giver.busy.val();
    }
}

#[cfg(test)]
mod tests;
