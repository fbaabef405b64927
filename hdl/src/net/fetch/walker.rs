//! From descriptor to descriptor.

use nitride_abi::virtio::ring::DESCRIPTOR_BYTES;
use nitride_lang::prelude::*;

use super::records::{Area, Arrival, CHAIN, Chain, Complete, SLOT_BITS, Slot, area_of, descriptor};
use crate::bus::DmaReadRequest;
use crate::function::function_of_device;
use crate::net::records::VirtqueueUpdate;

/// How far a chain has come. All 0 while its first descriptor is being read.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Progress {
    /// Descriptors before what was read last.
    before: Bits<6>,
    /// That is a table.
    table: Bit,
    /// The table's last descriptor.
    last: Bits<6>,
    /// A device-writable buffer has been in the chain.
    written: Bit,
}

#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum State {
    /// Takes an arrival.
    Take,
    /// What is known of the chain is read.
    Know,
    /// Its queue's area and a descriptor are read.
    Look,
    /// The descriptor is judged.
    Judge,
    /// The next one, or a table, is asked for.
    Ask,
    /// The chain is complete, or broken.
    End,
}

/// Follows chains (virtio 1.2 §2.7.5) until their last descriptor is in its slot.
///
/// A descriptor is read into the slot behind the one before it, an indirect table (§2.7.5.3) as a whole in the place of the descriptor
/// that named it; the table is then walked in the slot. 5 cycles a descriptor, 2 for each more of a table.
/// A chain is broken if a read failed, it has more than 64 descriptors, an index is outside of the queue or table, a device-readable buffer
/// comes after a device-writable one (§2.7.4.2), or a table was not agreed on, is empty, does not fit into the slot, has a part of a descriptor, is not
/// at a multiple of 4, or has another table in it or behind it.
#[derive(LogicBlock, Default)]
pub struct Walker<const CHAINS: u64> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Where queues are.
    pub update: Signal<In, VirtqueueUpdate>,
    /// Slots that are given, as `Heads` tells.
    pub slot: Signal<In, Slot>,
    /// To which chains.
    pub chain: Signal<In, Chain>,
    /// One is given at this edge.
    pub chain_valid: Signal<In, Bit>,
    /// Reads that have ended.
    pub arrival: Sink<Arrival>,
    /// Reads of descriptors; the context is the slot.
    pub read: Source<DmaReadRequest>,
    /// The row of the slots' RAM to read.
    pub row: Signal<Out, Bits<11>>,
    /// The row is to be read in this cycle.
    pub looks: Signal<Out, Bit>,
    /// The row, one cycle later.
    pub data: Signal<In, Bits<256>>,
    /// Chains that are complete.
    pub complete: Source<Complete>,
    /// Something is in here.
    pub busy: Signal<Out, Bit>,
    chains: Ram<Chain, SLOT_BITS>,
    progresses: Ram<Progress, SLOT_BITS>,
    areas: Ram<Area, 7>,
    state: Reg<State>,
    arrived: Reg<Arrival>,
    now: Reg<Chain>,
    progress: Reg<Progress>,
    /// Descriptors that were walked, and the one at which the walk is.
    count: Reg<Bits<7>>,
    at: Reg<Bits<6>>,
    broken: Reg<Bit>,
    request: Reg<DmaReadRequest>,
    out: RegFifo<Complete, 4>,
}

impl<const CHAINS: u64> Logic for Walker<CHAINS> {
    #[hdl]
    fn update(&mut self) {
        Source::<Complete>::link(&mut self.complete, &mut self.out.source);
        let update = self.update.val();
        self.areas.write_address.next = update.index;
        self.areas.write_data.next = area_of(update);
        self.areas.write_enable.next = update.valid;
        self.chains.write_address.next = self.slot.val();
        self.chains.write_data.next = self.chain.val();
        self.chains.write_enable.next = self.chain_valid.val();

        let state = self.state.q.val();
        let arrived = self.arrived.q.val();
        let now = self.now.q.val();
        let progress = self.progress.q.val();
        let at = self.at.q.val();
        let count = self.count.q.val();
        self.arrival.ready.next = state == State::Take;
        let arriving = self.arrival.data.val().slot;
        self.chains.read_address.next = arriving;
        self.progresses.read_address.next = arriving;
        self.areas.read_address.next = now.queue;
        self.row.next = cat2::<SLOT_BITS, 5, 11>(arrived.slot, at.get_bits::<5>(1));
        self.looks.next = state == State::Look;

        // What the descriptor says.
        let area = self.areas.read_data.val();
        let found = descriptor(self.data.val(), at.get_bit(0));
        let limit =
            if progress.table { bit_cast::<16, 6>(progress.last) } else { bit_cast::<16, 10>(area.last) };
        let entries = found.length.get_bits::<28>(4);
        let table_fits = entries != 0
            && entries <= bits::<28>(CHAIN) - bit_cast::<28, 6>(progress.before)
            && !found.length.get_bits::<4>(0).any()
            && !found.address.get_bits::<2>(0).any();
        let table_wrong = progress.table || !area.indirect || found.next_valid || !table_fits;
        let written = progress.written || found.write;
        let wrong = if found.indirect {
            table_wrong
        } else {
            (progress.written && !found.write)
                || (found.next_valid && (found.next > limit || count >= CHAIN - 1))
        };
        let bad = arrived.failed || wrong;

        self.progresses.write_address.next = arrived.slot;
        self.progresses.write_data.next = if state == State::End { Progress::default() } else { progress };
        self.progresses.write_enable.next = state == State::Ask || state == State::End;
        self.out.sink.valid.next = state == State::End;
        self.out.sink.data.next = Complete {
            queue: now.queue,
            place: now.place,
            slot: arrived.slot,
            count: if self.broken.q.val() { bits::<7>(0) } else { count },
            linked: progress.table,
            before: progress.before,
        };
        self.read.valid.next = state == State::Ask;
        self.read.data.next = self.request.q.val();
        match state {
            State::Take => {
                self.arrived.d.next = self.arrival.data.val();
                if self.arrival.valid.val() {
                    self.state.d.next = State::Know;
                }
            }
            State::Know => {
                let known = self.progresses.read_data.val();
                self.now.d.next = self.chains.read_data.val();
                self.progress.d.next = known;
                self.at.d.next = known.before;
                self.count.d.next = bit_cast::<7, 6>(known.before);
                self.broken.d.next = false;
                self.state.d.next = State::Look;
            }
            State::Look => self.state.d.next = State::Judge,
            State::Judge => {
                self.count.d.next = count + 1;
                self.broken.d.next = bad;
                self.request.d.next = DmaReadRequest {
                    function: function_of_device(now.queue.get_bits::<4>(3)),
                    address: if found.indirect {
                        found.address
                    } else {
                        area.descriptors + (bit_cast::<64, 16>(found.next) << DESCRIPTOR_BYTES.ilog2() as u64)
                    },
                    length: if found.indirect { found.length.get_bits::<11>(2) } else { bits::<11>(4) },
                    destination: (bit_cast::<18, SLOT_BITS>(arrived.slot) << 8)
                        | (bit_cast::<18, 6>(if found.indirect { at } else { at + 1 }) << 2)
                        | (CHAINS << 15),
                    context: bit_cast::<8, SLOT_BITS>(arrived.slot),
                };
                if bad || (!found.indirect && !found.next_valid) {
                    self.state.d.next = State::End;
                } else if progress.table {
                    self.progress.d.next.written = written;
                    self.at.d.next = progress.before + found.next.get_bits::<6>(0);
                    self.state.d.next = State::Look;
                } else {
                    self.progress.d.next = Progress {
                        before: if found.indirect { at } else { at + 1 },
                        table: found.indirect,
                        last: (entries - 1).get_bits::<6>(0),
                        written: if found.indirect { progress.written } else { written },
                    };
                    self.state.d.next = State::Ask;
                }
            }
            State::Ask => {
                if self.read.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
            State::End => {
                if self.out.sink.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
        }
        self.busy.next = state != State::Take || self.out.level.val().any();
    }
}
