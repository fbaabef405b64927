//! From ports to egress queues.
//!
//! Frames of all sources are merged into a [`Ring`], [`Judge`] decides where they go, and the ring gives the copies.

mod forward;
mod judge;
mod records;
mod ring;

use nitride_lang::prelude::*;

use self::judge::Judge;
use self::records::{Key, Verdict};
use self::ring::Ring;
use crate::net::records::{
    EgressBeat, FilterUpdate, ForwardAnswer, ForwardUpdate, GroupUpdate, PacketBeat, PortEvent, PortUpdate,
    VirtqueueUpdate,
};

/// Sources of frames: network devices, and two Ethernet ports.
const SOURCES: usize = 3;

/// Takes frames from all ports, and gives a copy for each egress queue that they go to.
///
/// Sources take turns, frame by frame. A beat a cycle in and out: 64-byte frames with one destination each take 2 cycles.
#[derive(LogicBlock, Default)]
pub struct Front {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Frames, each without a gap.
    pub packet: [Sink<PacketBeat>; SOURCES],
    /// Copies; the receiver is always ready.
    pub frame: Source<EgressBeat>,
    /// Which devices use both receive queues.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Ports.
    pub port: Signal<In, PortUpdate>,
    /// Members of networks.
    pub group: Signal<In, GroupUpdate>,
    /// Receive filters of devices.
    pub filter: Signal<In, FilterUpdate>,
    /// Changes of the forwarding table.
    pub forward: Sink<ForwardUpdate>,
    /// What came of them.
    pub answer: Source<ForwardAnswer>,
    /// Frames that came in, and that were dropped.
    pub counted: [Signal<Out, PortEvent>; 2],
    /// Something is in here.
    pub busy: Signal<Out, Bit>,
    merge: StreamArbiter<PacketBeat, SOURCES>,
    ring: Ring,
    judge: Judge,
}

impl Logic for Front {
    #[hdl]
    fn update(&mut self) {
        let mut ends = bits::<SOURCES>(0);
        let mut comes = false;
        for i in 0..SOURCES {
            if self.packet[i].data.val().last {
                ends = ends | (1u64 << i);
            }
            comes = comes || self.packet[i].valid.val();
            Sink::<PacketBeat>::link(&mut self.packet[i], &mut self.merge.sink[i]);
        }
        self.merge.last.next = ends;
        Source::<PacketBeat>::join(&mut self.merge.source, &mut self.ring.packet);
        self.ring.update.next = self.update.val();
        Source::<Key>::join(&mut self.ring.key, &mut self.judge.key);
        Source::<Verdict>::join(&mut self.judge.verdict, &mut self.ring.verdict);
        Source::<EgressBeat>::link(&mut self.frame, &mut self.ring.frame);

        self.judge.port.next = self.port.val();
        self.judge.group.next = self.group.val();
        self.judge.filter.next = self.filter.val();
        Sink::<ForwardUpdate>::link(&mut self.forward, &mut self.judge.forward);
        Source::<ForwardAnswer>::link(&mut self.answer, &mut self.judge.answer);
        for i in 0..2 {
            self.counted[i].next = self.judge.counted[i].val();
        }
        self.busy.next = comes || self.ring.busy.val() || self.judge.busy.val();
    }
}

#[cfg(test)]
mod tests;
