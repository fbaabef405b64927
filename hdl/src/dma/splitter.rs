//! Cutting a DMA into pieces that one TLP can carry.

use nitride_lang::prelude::*;

use crate::bus::{BufferAddress, FunctionUpdate};

/// A DMA as both engines see it, of a read or of a write.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Transfer {
    /// The requester.
    pub function: Bits<5>,
    /// Host byte address; bits 1:0 are not looked at.
    pub address: Bits<64>,
    /// DWs, 1 to 1024.
    pub length: Bits<11>,
    /// Bytes of the first DW; all of them in a read.
    pub first: Bits<4>,
    /// Bytes of the last DW; all of them in a read.
    pub last: Bits<4>,
    /// The card's side.
    pub buffer: BufferAddress,
    /// The client's, or the engine's own handle.
    pub context: Bits<8>,
    /// Which client asked.
    pub client: Bits<3>,
}

/// A piece of a [`Transfer`].
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Piece {
    /// What it is a piece of; address, length, first and last bytes, and buffer are the piece's own.
    pub transfer: Transfer,
    /// The transfer ends with it.
    pub last: Bit,
    /// Bus Master Enable of the function.
    pub enabled: Bit,
}

/// DWs of the smallest Max_Payload_Size and Max_Read_Request_Size (128 bytes, encoded 0).
const SMALLEST: u64 = 32;

/// DWs that an encoded Max_Payload_Size or Max_Read_Request_Size stands for (PCIe 4.0 §7.5.3.4).
#[hdl_fn]
pub fn size_of(limit: Bits<3>) -> Bits<11> {
    bits::<11>(SMALLEST) << limit
}

/// An encoded size with the reserved ones (6 and 7) replaced by the smallest, which is always allowed.
#[hdl_fn]
pub fn defined_size(limit: Bits<3>) -> Bits<3> {
    if limit > 5 { 0.into() } else { limit }
}

#[hdl_fn]
fn lesser(a: Bits<11>, b: Bits<11>) -> Bits<11> {
    if a < b { a } else { b }
}

/// Cuts transfers at every multiple of `limit` bytes. Sizes are powers of two up to 4 KiB, so no piece crosses a 4 KiB
/// boundary (PCIe 4.0 §2.2.7), and all but the first begin on a multiple of the size.
///
/// Latency 1 cycle, then a piece each cycle, without a gap between transfers. `limit` is taken when a transfer begins.
/// `enabled` follows `update` within 2 cycles, also in the middle of a transfer. `sink.ready` depends on `source.ready`.
#[derive(LogicBlock, Default)]
pub struct Splitter {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Transfers go in.
    pub sink: Sink<Transfer>,
    /// Pieces come out.
    pub source: Source<Piece>,
    /// The size, encoded as in Device Control (PCIe 4.0 §7.5.3.4).
    pub limit: Signal<In, Bits<3>>,
    /// The functions' states.
    pub update: Signal<In, FunctionUpdate>,
    active: Reg<Bit>,
    // What is left of the transfer, the piece on offer included.
    rest: Reg<Transfer>,
    // DWs of the piece on offer.
    length: Reg<Bits<11>>,
    size: Reg<Bits<3>>,
    bus_master: Ram<Bit, 5>,
}

impl Logic for Splitter {
    #[hdl]
    fn update(&mut self) {
        let rest = self.rest.q.val();
        let length = self.length.q.val();
        let last = length == rest.length;
        let step = self.active.q.val() && self.source.ready.val();
        let ready = !self.active.q.val() || (step && last);
        let load = ready && self.sink.valid.val();
        let fresh = self.sink.data.val();

        if load {
            let limit = defined_size(self.limit.val());
            let size = size_of(limit);
            let offset = bit_cast::<11, 10>(fresh.address.get_bits::<10>(2)) & (size - 1);
            self.size.d.next = limit;
            self.rest.d.next = fresh;
            self.length.d.next = lesser(fresh.length, size - offset);
            self.active.d.next = true;
        } else if step {
            let left = rest.length - length;
            self.rest.d.next.length = left;
            self.rest.d.next.first = bits::<4>(0xf);
            self.rest.d.next.address = rest.address + (bit_cast::<64, 11>(length) << 2);
            self.rest.d.next.buffer = rest.buffer + bit_cast::<18, 11>(length);
            self.length.d.next = lesser(left, size_of(self.size.q.val()));
            self.active.d.next = !last;
        }

        self.bus_master.write_address.next = self.update.val().function;
        self.bus_master.write_data.next = self.update.val().state.bus_master;
        self.bus_master.write_enable.next = self.update.val().valid;
        self.bus_master.read_address.next = if load { fresh.function } else { rest.function };

        self.sink.ready.next = ready;
        self.source.valid.next = self.active.q.val();
        self.source.data.next = Piece {
            transfer: Transfer {
                length: length,
                last: if last { rest.last } else { bits::<4>(0xf) },
                ..rest
            },
            last: last,
            enabled: self.bus_master.read_data.val(),
        };
    }
}
