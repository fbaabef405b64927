//! Slots for chains.

use nitride_lang::prelude::*;

use super::records::{Area, Arrival, Chain, Head, SLOT_BITS, Slot, area_of};
use crate::bus::DmaReadRequest;
use crate::free_list::FreeList;
use crate::function::function_of_device;
use crate::net::records::VirtqueueUpdate;

/// Gives each chain a slot and asks for its first descriptor.
///
/// A chain each 2 cycles. What cannot be a descriptor of its queue becomes a failed arrival.
#[derive(LogicBlock, Default)]
pub struct Heads<const CHAINS: u64> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Where queues are.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Entries of available rings.
    pub head: Sink<Head>,
    /// Slots that are free again.
    pub free: Sink<Slot>,
    /// Reads of descriptors; the context is the slot.
    pub read: Source<DmaReadRequest>,
    /// Chains that will not be read.
    pub refused: Source<Arrival>,
    /// The slot that is given at this edge, if `chain_valid`.
    pub slot: Signal<Out, Slot>,
    /// What it is given to.
    pub chain: Signal<Out, Chain>,
    /// It is given.
    pub chain_valid: Signal<Out, Bit>,
    slots: FreeList<SLOT_BITS>,
    areas: Ram<Area, 7>,
    /// What the RAM knows is of the head on offer.
    known: Reg<Bit>,
    requests: RegFifo<DmaReadRequest, 2>,
    refusals: RegFifo<Arrival, 2>,
}

impl<const CHAINS: u64> Logic for Heads<CHAINS> {
    #[hdl]
    fn update(&mut self) {
        Source::<DmaReadRequest>::link(&mut self.read, &mut self.requests.source);
        Source::<Arrival>::link(&mut self.refused, &mut self.refusals.source);
        Sink::<Slot>::link(&mut self.free, &mut self.slots.give);
        let update = self.update.val();
        self.areas.write_address.next = update.index;
        self.areas.write_data.next = area_of(update);
        self.areas.write_enable.next = update.valid;

        let head = self.head.data.val();
        let area = self.areas.read_data.val();
        let slot = self.slots.take.data.val();
        let room = self.requests.sink.ready.val() && self.refusals.sink.ready.val();
        let go = self.head.valid.val() && self.known.q.val() && self.slots.take.valid.val() && room;
        let bad = head.failed || head.index > bit_cast::<16, 10>(area.last);
        self.areas.read_address.next = head.queue;
        self.known.d.next = self.head.valid.val() && !go;
        self.head.ready.next = go;
        self.slots.take.ready.next = go;
        self.slot.next = slot;
        self.chain.next = Chain { queue: head.queue, head: head.index, place: head.place };
        self.chain_valid.next = go;
        self.requests.sink.valid.next = go && !bad;
        self.requests.sink.data.next = DmaReadRequest {
            function: function_of_device(head.queue.get_bits::<4>(3)),
            address: area.descriptors + (bit_cast::<64, 16>(head.index) << 4),
            length: bits::<11>(4),
            destination: (bit_cast::<18, SLOT_BITS>(slot) << 8) | (CHAINS << 15),
            context: bit_cast::<8, SLOT_BITS>(slot),
        };
        self.refusals.sink.valid.next = go && bad;
        self.refusals.sink.data.next = Arrival { slot: slot, failed: true };
    }
}
