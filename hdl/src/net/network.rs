//! The network devices and their engines, connected.

use nitride_abi::management::PortEvent as Event;
use nitride_lang::prelude::*;

use super::records::{
    Assignment, ControlAnswer, ControlCommand, EgressBeat, FilterUpdate, Offer, PacketBeat, PortEvent,
    QueueIndex, Reply, RingReader, Segment, Used, VirtqueueUpdate, Wake,
};
use super::registers::Registers;
use super::{Control, Fetcher, Receive, Returner, Router, Share, Transmit};
use crate::bus::{
    DmaDone, DmaReadRequest, DmaWriteRequest, InterruptRequest, Landing, LandingWrite, LaunchRead,
    RegisterRequest, RegisterResponse,
};
use crate::profile::DATA_BITS;

/// Blocks that can find a queue broken.
const JUDGES: usize = 6;

/// All virtio-net devices: registers on one side, frames on the other, and the host's memory.
#[derive(LogicBlock, Default)]
pub struct Network {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Register accesses.
    pub register: Sink<RegisterRequest>,
    /// Answers to reads.
    pub response: Source<RegisterResponse>,
    /// Functions to reset.
    pub flr: Sink<Bits<5>>,
    /// Functions that are reset.
    pub flr_done: Source<Bits<5>>,
    /// Interrupts.
    pub interrupt: Source<InterruptRequest>,
    /// What the owner changes.
    pub assignment: Sink<Assignment>,
    /// Reads of rings and commands, and of frames.
    pub read: [Source<DmaReadRequest>; 2],
    /// Their ends; always ready.
    pub read_done: [Sink<DmaDone>; 2],
    /// What they bring.
    pub landing: Signal<In, LandingWrite>,
    /// Writes of rings and answers, and of frames.
    pub write: [Source<DmaWriteRequest>; 2],
    /// Their ends; always ready.
    pub write_done: [Sink<DmaDone>; 2],
    /// The DMA engine's reads of launch RAMs.
    pub launch: Signal<In, LaunchRead>,
    /// What they hold; 0 for another's region.
    pub launch_data: Signal<Out, Bits<DATA_BITS>>,
    /// Frames that drivers send.
    pub packet: Source<PacketBeat>,
    /// Frames that would like to come,
    pub offer: Sink<Offer>,
    /// whether they may,
    pub reply: Source<Reply>,
    /// queues that should be asked again,
    pub wake: Signal<Out, Wake>,
    /// and frames that come.
    pub frame: Sink<EgressBeat>,
    /// What drivers set up.
    pub update: Signal<Out, VirtqueueUpdate>,
    /// What they want to receive.
    pub filter: Signal<Out, FilterUpdate>,
    /// Frames of drivers that became none.
    pub counted: Signal<Out, PortEvent>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    registers: Registers,
    router: Router,
    sent: Fetcher<false, { Landing::TRANSMIT_CHAINS }, { RingReader::TRANSMIT }>,
    posted: Fetcher<true, { Landing::RECEIVE_CHAINS }, { RingReader::RECEIVE }>,
    transmit: Transmit,
    receive: Receive,
    control: Control,
    returner: Returner,
    share: Share,
    broken: StreamArbiter<QueueIndex, JUDGES>,
    interrupts: StreamArbiter<InterruptRequest, 2>,
    writes: StreamArbiter<DmaWriteRequest, 2>,
}

impl Logic for Network {
    #[hdl]
    fn update(&mut self) {
        // Registers, and what follows from them.
        Sink::<RegisterRequest>::link(&mut self.register, &mut self.registers.register);
        Source::<RegisterResponse>::link(&mut self.response, &mut self.registers.response);
        Sink::<Bits<5>>::link(&mut self.flr, &mut self.registers.flr);
        Source::<Bits<5>>::link(&mut self.flr_done, &mut self.registers.flr_done);
        Sink::<Assignment>::link(&mut self.assignment, &mut self.registers.assignment);
        let update = self.registers.update.val();
        self.update.next = update;
        self.filter.next = self.registers.filter.val();
        self.router.update.next = update;
        self.sent.update.next = update;
        self.posted.update.next = update;
        self.transmit.update.next = update;
        self.receive.update.next = update;
        self.control.update.next = update;
        self.returner.update.next = update;
        self.sent.notify.next = self.registers.notify.val();
        self.posted.notify.next = self.registers.notify.val();
        Source::<QueueIndex>::join(&mut self.registers.drain, &mut self.router.drain);
        Source::<QueueIndex>::join(&mut self.router.drain_transmit, &mut self.sent.drain);
        Source::<QueueIndex>::join(&mut self.router.drain_receive, &mut self.posted.drain);
        Source::<QueueIndex>::join(&mut self.returner.drained, &mut self.registers.drained);
        Source::<ControlCommand>::join(&mut self.control.command, &mut self.registers.command);
        Source::<ControlAnswer>::join(&mut self.registers.answer, &mut self.control.answer);

        // Chains.
        Source::<Segment>::join(&mut self.sent.segments, &mut self.router.segments);
        Source::<Segment>::join(&mut self.router.transmit, &mut self.transmit.segments);
        Source::<Segment>::join(&mut self.router.control, &mut self.control.segments);
        Source::<Segment>::join(&mut self.posted.segments, &mut self.receive.segments);
        self.sent.credit.next = self.control.credit.val();
        self.posted.credit.next = self.receive.credit.val();
        Source::<Used>::join(&mut self.transmit.used, &mut self.returner.used[0]);
        Source::<Used>::join(&mut self.receive.used, &mut self.returner.used[1]);
        Source::<Used>::join(&mut self.control.used, &mut self.returner.used[2]);
        self.sent.idle.join(&mut self.returner.idle[0]);
        self.posted.idle.join(&mut self.returner.idle[1]);
        Source::<QueueIndex>::join(&mut self.returner.idle_done[0], &mut self.sent.idle_done);
        Source::<QueueIndex>::join(&mut self.returner.idle_done[1], &mut self.posted.idle_done);
        Source::<QueueIndex>::join(&mut self.sent.broken, &mut self.broken.sink[0]);
        Source::<QueueIndex>::join(&mut self.posted.broken, &mut self.broken.sink[1]);
        Source::<QueueIndex>::join(&mut self.transmit.broken, &mut self.broken.sink[2]);
        Source::<QueueIndex>::join(&mut self.receive.broken, &mut self.broken.sink[3]);
        Source::<QueueIndex>::join(&mut self.control.broken, &mut self.broken.sink[4]);
        Source::<QueueIndex>::join(&mut self.returner.broken, &mut self.broken.sink[5]);
        self.broken.last.next = !bits::<JUDGES>(0);
        Source::<QueueIndex>::join(&mut self.broken.source, &mut self.registers.broken);
        Source::<InterruptRequest>::join(&mut self.returner.interrupt, &mut self.interrupts.sink[0]);
        Source::<InterruptRequest>::join(&mut self.registers.interrupt, &mut self.interrupts.sink[1]);
        self.interrupts.last.next = bits::<2>(3);
        Source::<InterruptRequest>::link(&mut self.interrupt, &mut self.interrupts.source);

        // Host memory to card.
        Source::<DmaReadRequest>::join(&mut self.sent.read, &mut self.share.request[0]);
        Source::<DmaReadRequest>::join(&mut self.posted.read, &mut self.share.request[1]);
        Source::<DmaReadRequest>::join(&mut self.returner.read, &mut self.share.request[2]);
        Source::<DmaReadRequest>::join(&mut self.control.read, &mut self.share.request[3]);
        Source::<DmaDone>::join(&mut self.share.done[0], &mut self.sent.read_done);
        Source::<DmaDone>::join(&mut self.share.done[1], &mut self.posted.read_done);
        Source::<DmaDone>::join(&mut self.share.done[2], &mut self.returner.read_done);
        Source::<DmaDone>::join(&mut self.share.done[3], &mut self.control.read_done);
        Source::<DmaReadRequest>::link(&mut self.read[0], &mut self.share.read);
        Sink::<DmaDone>::link(&mut self.read_done[0], &mut self.share.read_done);
        Source::<DmaReadRequest>::link(&mut self.read[1], &mut self.transmit.read);
        Sink::<DmaDone>::link(&mut self.read_done[1], &mut self.transmit.read_done);
        self.sent.landing.next = self.landing.val();
        self.posted.landing.next = self.landing.val();
        self.transmit.landing.next = self.landing.val();
        self.returner.landing.next = self.landing.val();
        self.control.landing.next = self.landing.val();

        // Card to host memory. The context says whose a write of rings or answers is: 0 the returner's, 1 the control queues'.
        let ring = self.returner.write.data.val();
        self.writes.sink[0].valid.next = self.returner.write.valid.val();
        self.writes.sink[0].data.next = DmaWriteRequest { context: bits::<8>(0), ..ring };
        self.returner.write.ready.next = self.writes.sink[0].ready.val();
        let answer = self.control.write.data.val();
        self.writes.sink[1].valid.next = self.control.write.valid.val();
        self.writes.sink[1].data.next = DmaWriteRequest { context: bits::<8>(1), ..answer };
        self.control.write.ready.next = self.writes.sink[1].ready.val();
        self.writes.last.next = bits::<2>(3);
        Source::<DmaWriteRequest>::link(&mut self.write[0], &mut self.writes.source);
        let done = self.write_done[0].data.val();
        let of_control = done.context.get_bit(0);
        self.write_done[0].ready.next = true;
        self.returner.write_done.valid.next = self.write_done[0].valid.val() && !of_control;
        self.returner.write_done.data.next = done;
        self.control.write_done.valid.next = self.write_done[0].valid.val() && of_control;
        self.control.write_done.data.next = done;
        Source::<DmaWriteRequest>::link(&mut self.write[1], &mut self.receive.write);
        Sink::<DmaDone>::link(&mut self.write_done[1], &mut self.receive.write_done);
        self.returner.launch.next = self.launch.val();
        self.control.launch.next = self.launch.val();
        self.receive.launch.next = self.launch.val();
        self.launch_data.next =
            self.returner.launch_data.val() | self.control.launch_data.val() | self.receive.launch_data.val();

        // Frames.
        Source::<PacketBeat>::link(&mut self.packet, &mut self.transmit.packet);
        Sink::<Offer>::link(&mut self.offer, &mut self.receive.offer);
        Source::<Reply>::link(&mut self.reply, &mut self.receive.reply);
        self.wake.next = self.receive.wake.val();
        Sink::<EgressBeat>::link(&mut self.frame, &mut self.receive.packet);
        let dropped = self.transmit.dropped.val();
        self.counted.next = PortEvent {
            valid: dropped.valid,
            port: bit_cast::<5, 4>(dropped.index.get_bits::<4>(3)),
            event: bits::<4>(Event::Malformed as u64),
            bytes: bits::<14>(0),
        };
        self.busy.next = self.registers.busy.val()
            || self.sent.busy.val()
            || self.posted.busy.val()
            || self.transmit.busy.val()
            || self.receive.busy.val()
            || self.control.busy.val()
            || self.returner.busy.val();
    }
}
