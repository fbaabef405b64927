//! What drivers receive: from frames to descriptor chains (virtio 1.2 §5.1.6.3, §5.1.6.4).
//!
//! [`Store`] keeps buffers and answers offers, [`Placer`] puts header and frame where the DMA engine takes them from, [`Finisher`] gives chains back.

mod finisher;
mod placer;
mod records;
mod store;

use nitride_lang::prelude::*;

use self::finisher::Finisher;
use self::placer::Placer;
use self::records::{Asked, Planned, Portion};
use self::store::Store;
use super::records::{Credit, EgressBeat, Offer, QueueIndex, Reply, Segment, Used, VirtqueueUpdate, Wake};
use crate::bus::{DmaDone, DmaWriteRequest, LaunchRead};
use crate::profile::DATA_BITS;

/// Writes frames into the chains of receive queues.
///
/// - A frame comes only when its queue has the buffers for it: it is offered, and taken, asked to wait until a `wake` of its queue, or to be dropped, because
///   it does not fit into the one chain that it may take, or its queue is disabled. So no queue waits for another one's driver.
/// - In front of each frame is a header (§5.1.6.1) with the number of chains that it takes. Checksums are not looked at: DATA_VALID is never set.
/// - A chain goes back when its bytes were handed to the link; its length is what was written to it. A device-readable segment breaks the queue.
/// - A token waits until the frames that were taken before it are written.
#[derive(LogicBlock, Default)]
pub struct Receive {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// What drivers set up.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Chains of receive queues, whole, and tokens.
    pub segments: Sink<Segment>,
    /// Segments that are consumed.
    pub credit: Signal<Out, Credit>,
    /// Frames that would like to come.
    pub offer: Sink<Offer>,
    /// Whether they may.
    pub reply: Source<Reply>,
    /// Queues that should be asked again.
    pub wake: Signal<Out, Wake>,
    /// Frames that were taken, in that order; always ready.
    pub packet: Sink<EgressBeat>,
    /// Writes of buffers.
    pub write: Source<DmaWriteRequest>,
    /// Their ends, in order; always ready.
    pub write_done: Sink<DmaDone>,
    /// The DMA engine's reads of what is written.
    pub launch: Signal<In, LaunchRead>,
    /// As [`LaunchRam`](crate::dma::LaunchRam) has it.
    pub launch_data: Signal<Out, Bits<DATA_BITS>>,
    /// Chains that go back, and tokens.
    pub used: Source<Used>,
    /// Queues that are broken.
    pub broken: Source<QueueIndex>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    store: Store,
    placer: Placer,
    finisher: Finisher,
}

impl Logic for Receive {
    #[hdl]
    fn update(&mut self) {
        self.store.update.next = self.update.val();
        Sink::<Segment>::link(&mut self.segments, &mut self.store.segments);
        self.credit.next = self.store.credit.val();
        Sink::<Offer>::link(&mut self.offer, &mut self.store.offer);
        Source::<Reply>::link(&mut self.reply, &mut self.store.reply);
        self.wake.next = self.store.wake.val();
        Source::<QueueIndex>::link(&mut self.broken, &mut self.store.broken);

        Sink::<EgressBeat>::link(&mut self.packet, &mut self.placer.packet);
        Source::<Portion>::join(&mut self.store.portion, &mut self.placer.portion);
        Source::<Planned>::join(&mut self.store.planned, &mut self.placer.planned);
        self.store.freed.next = self.placer.freed.val();
        Source::<DmaWriteRequest>::link(&mut self.write, &mut self.placer.write);
        self.placer.launch.next = self.launch.val();
        self.launch_data.next = self.placer.launch_data.val();

        Source::<Asked>::join(&mut self.placer.asked, &mut self.finisher.asked);
        Sink::<DmaDone>::link(&mut self.write_done, &mut self.finisher.write_done);
        self.placer.launched.next = self.finisher.launched.val();
        Source::<Used>::link(&mut self.used, &mut self.finisher.used);
        self.busy.next = self.store.busy.val() || self.placer.busy.val() || self.finisher.busy.val();
    }
}

#[cfg(test)]
mod tests;
