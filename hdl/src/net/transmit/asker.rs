//! From portions to DMA reads.

use nitride_lang::prelude::*;

use super::records::{LANDING_ROWS, Piece, Portion, READ};
use crate::bus::{DmaReadRequest, Landing};
use crate::function::function_of_device;
use crate::profile::LANES;

/// DWs of the ring.
const RING: u64 = (LANES as u64) << LANDING_ROWS;

/// Gives each portion room in the landing ring, in order, and asks for the DWs that it lies in; for more than 1,024 with several
/// reads.
///
/// A read a cycle; latency 2 cycles. The ring's RAM does not look at row bits beyond its size, so a read may run over its end.
#[derive(LogicBlock, Default)]
pub struct Asker {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// What is to be read.
    pub portion: Sink<Portion>,
    /// The context of the next read.
    pub next_context: Signal<In, Bits<8>>,
    /// Reads.
    pub read: Source<DmaReadRequest>,
    /// What they bring, one piece for each read, and one for each last portion without a read.
    pub piece: Source<Piece>,
    /// DWs that are free again, in the order in which they were given.
    pub freed: Signal<In, Bits<11>>,
    /// Something is in here.
    pub busy: Signal<Out, Bit>,
    now: Reg<Portion>,
    full: Reg<Bit>,
    /// The next free DW.
    next: Reg<Bits<13>>,
    /// DWs in use, 0 to `RING`.
    level: Reg<Bits<14>>,
    requests: RegFifo<DmaReadRequest, 2>,
}

impl Logic for Asker {
    #[hdl]
    fn update(&mut self) {
        Source::<DmaReadRequest>::link(&mut self.read, &mut self.requests.source);
        let now = self.now.q.val();
        let offset = now.address.get_bits::<2>(0);
        let all = (now.length + bit_cast::<14, 2>(offset) + 3) >> 2;
        let final_read = all <= READ;
        let wanted = now.length.any();
        let dwords = if !wanted {
            bits::<11>(0)
        } else if final_read {
            bit_cast::<11, 14>(all)
        } else {
            bits::<11>(READ)
        };
        let bytes = if final_read { now.length } else { bits::<14>(4 * READ) - bit_cast::<14, 2>(offset) };
        let level = self.level.q.val();
        let space = level + bit_cast::<14, 11>(dwords) <= RING;

        let due = self.full.q.val() && space;
        let go = due && self.piece.ready.val() && (!wanted || self.requests.sink.ready.val());
        self.requests.sink.valid.next = due && wanted && self.piece.ready.val();
        self.requests.sink.data.next = DmaReadRequest {
            function: function_of_device(now.chain.queue.get_bits::<4>(3)),
            address: now.address - bit_cast::<64, 2>(offset),
            length: dwords,
            destination: cat2::<3, 15, 18>(bits::<3>(Landing::FRAMES), bit_cast::<15, 13>(self.next.q.val())),
            context: self.next_context.val(),
        };
        // `requests` is ours: that it has room is known before the piece is shown.
        self.piece.valid.next = due && (!wanted || self.requests.sink.ready.val());
        self.piece.data.next = Piece {
            chain: now.chain,
            start: cat2::<13, 2, 15>(self.next.q.val(), offset),
            bytes: bit_cast::<13, 14>(bytes),
            dwords: dwords,
            last: now.last && final_read,
        };

        let given = if go { dwords } else { bits::<11>(0) };
        self.next.d.next = self.next.q.val() + bit_cast::<13, 11>(given);
        self.level.d.next = level + bit_cast::<14, 11>(given) - bit_cast::<14, 11>(self.freed.val());
        if go {
            self.now.d.next.address = now.address - bit_cast::<64, 2>(offset) + 4 * READ;
            self.now.d.next.length = now.length - bytes;
        }
        let ready = !self.full.q.val() || (go && final_read);
        self.portion.ready.next = ready;
        if ready {
            self.full.d.next = self.portion.valid.val();
            self.now.d.next = self.portion.data.val();
        }
        self.busy.next = self.full.q.val() || self.requests.level.val().any();
    }
}
