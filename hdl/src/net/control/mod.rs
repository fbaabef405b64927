//! What drivers ask for on control queues: from descriptor chains to commands and back (virtio 1.2 §5.1.6.5).
//!
//! Segments are walked through by [`Walker`], a command's bytes are read and put together by [`Gatherer`], and [`Executor`] has the command
//! carried out and answers.

mod executor;
mod gatherer;
mod records;
mod walker;

use nitride_lang::prelude::*;

use self::executor::Executor;
use self::gatherer::Gatherer;
use self::walker::Walker;
use super::records::{ControlAnswer, ControlCommand, Credit, QueueIndex, Segment, Used, VirtqueueUpdate};
use crate::bus::{DmaDone, DmaReadRequest, DmaWriteRequest, LandingWrite, LaunchRead};
use crate::profile::DATA_BITS;

/// Address bits of the segments' FIFO: [`ROOM`](super::records::ROOM) for each of 16 control queues.
const SEGMENTS: usize = 11;

/// Carries out what comes on the control queues of all devices, one chain at a time.
///
/// - A command is what is device-readable of a chain, cut anywhere, at any byte address. Its first 16 bytes are read, all at once.
/// - The answer goes to the first device-writable byte; then the chain goes back, with 1 byte written.
/// - A chain breaks its queue, and neither is carried out nor goes back, if it has no device-writable byte, a device-readable segment behind
///   a device-writable one, or if a read of it failed.
/// - Chains of a disabled queue are dropped. A token waits until the chains before it are over.
/// - A chain costs a cycle for each segment, one for each read, about 12 more, and two DMAs one after the other.
#[derive(LogicBlock, Default)]
pub struct Control {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// What drivers set up.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Chains of control queues, whole, and tokens. Always ready, if no more segments come of a queue than it has room for.
    pub segments: Sink<Segment>,
    /// Room for segments that is free again, a chain at a time.
    pub credit: Signal<Out, Credit>,
    /// Reads of commands; contexts from 0 to 15.
    pub read: Source<DmaReadRequest>,
    /// Their ends; always ready.
    pub read_done: Sink<DmaDone>,
    /// Their bytes.
    pub landing: Signal<In, LandingWrite>,
    /// Writes of answers.
    pub write: Source<DmaWriteRequest>,
    /// Their ends; always ready.
    pub write_done: Sink<DmaDone>,
    /// From the DMA writer.
    pub launch: Signal<In, LaunchRead>,
    /// The answer, one cycle later; 0 for another region.
    pub launch_data: Signal<Out, Bits<DATA_BITS>>,
    /// Commands.
    pub command: Source<ControlCommand>,
    /// What comes of them.
    pub answer: Sink<ControlAnswer>,
    /// Chains that go back, and tokens, in the order of the segments.
    pub used: Source<Used>,
    /// Queues that are broken: one for each broken chain.
    pub broken: Source<QueueIndex>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    waiting: Fifo<Segment, SEGMENTS>,
    walker: Walker,
    gatherer: Gatherer,
    executor: Executor,
}

impl Logic for Control {
    #[hdl]
    fn update(&mut self) {
        self.walker.update.next = self.update.val();
        Sink::<Segment>::link(&mut self.segments, &mut self.waiting.sink);
        self.waiting.source.join(&mut self.walker.segments);
        self.credit.next = self.walker.credit.val();

        self.walker.portion.join(&mut self.gatherer.portion);
        Source::<DmaReadRequest>::link(&mut self.read, &mut self.gatherer.read);
        Sink::<DmaDone>::link(&mut self.read_done, &mut self.gatherer.read_done);
        self.gatherer.landing.next = self.landing.val();
        self.gatherer.clear.next = self.executor.over.val();

        self.executor.update.next = self.update.val();
        self.walker.chain.join(&mut self.executor.chain);
        self.executor.gathered.next = self.gatherer.gathered.val();
        self.executor.bytes.next = self.gatherer.bytes.val();
        self.executor.failed.next = self.gatherer.failed.val();
        Source::<ControlCommand>::link(&mut self.command, &mut self.executor.command);
        Sink::<ControlAnswer>::link(&mut self.answer, &mut self.executor.answer);
        Source::<DmaWriteRequest>::link(&mut self.write, &mut self.executor.write);
        Sink::<DmaDone>::link(&mut self.write_done, &mut self.executor.write_done);
        self.executor.launch.next = self.launch.val();
        self.launch_data.next = self.executor.launch_data.val();
        Source::<Used>::link(&mut self.used, &mut self.executor.used);
        Source::<QueueIndex>::link(&mut self.broken, &mut self.executor.broken);
        self.busy.next = self.waiting.level.val().any()
            || self.walker.busy.val()
            || self.gatherer.busy.val()
            || self.executor.busy.val();
    }
}

#[cfg(test)]
mod tests;
