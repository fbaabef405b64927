//! From portions to a command's bytes.

use nitride_lang::prelude::*;

use super::records::Portion;
use crate::bus::{DmaDone, DmaReadRequest, DmaStatus, Landing, LandingWrite};
use crate::dma::LandingRam;
use crate::function::function_of_device;
use crate::net::lanes::first_bytes;
use crate::net::records::{RingReader, of_reader};
use crate::profile::DATA_BITS;

/// Address bits of the rows that portions land in: one for each byte of a command, at most.
const ROWS: usize = 4;

/// Where the bytes of a portion are in its row, and where they go.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Place {
    offset: Bits<2>,
    bytes: Bits<5>,
    position: Bits<4>,
}

/// The bytes of a row that come `offset` bytes after its first.
#[hdl_fn]
fn bytes_from(row: Bits<DATA_BITS>, offset: Bits<2>) -> Bits<128> {
    match offset.index() {
        0 => row.get_bits::<128>(0),
        1 => row.get_bits::<128>(8),
        2 => row.get_bits::<128>(16),
        _ => row.get_bits::<128>(24),
    }
}

/// Reads the portions of one command, all at once, and puts them together.
///
/// A read a cycle; the reads may end in any order. When all have ended, a cycle for each portion and one more.
#[derive(LogicBlock, Default)]
pub struct Gatherer {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Portions of the command, in order.
    pub portion: Sink<Portion>,
    /// Reads.
    pub read: Source<DmaReadRequest>,
    /// Their ends; always ready.
    pub read_done: Sink<DmaDone>,
    /// Their bytes.
    pub landing: Signal<In, LandingWrite>,
    /// All portions so far are in `bytes`.
    pub gathered: Signal<Out, Bit>,
    /// The command's bytes; 0 where no portion was.
    pub bytes: Signal<Out, Bits<128>>,
    /// A read has failed.
    pub failed: Signal<Out, Bit>,
    /// The next portion is another command's. Only while `gathered`, and no portion comes in the same cycle.
    pub clear: Signal<In, Bit>,
    /// There are portions in here.
    pub busy: Signal<Out, Bit>,
    requests: RegFifo<DmaReadRequest, 2>,
    places: Ram<Place, ROWS>,
    rows: LandingRam<{ Landing::RINGS }, ROWS>,
    /// Portions that were taken, whose reads have ended, and that were copied; each read's number is its portion's.
    taken: Reg<Bits<5>>,
    ended: Reg<Bits<5>>,
    copied: Reg<Bits<5>>,
    /// A row that was read in the last cycle.
    copying: Reg<Bit>,
    collected: Reg<Bits<128>>,
    lost: Reg<Bit>,
}

impl Logic for Gatherer {
    #[hdl]
    fn update(&mut self) {
        Source::<DmaReadRequest>::link(&mut self.read, &mut self.requests.source);
        let taken = self.taken.q.val();
        let ended = self.ended.q.val();
        let copied = self.copied.q.val();
        let clear = self.clear.val();

        // Reads
        let portion = self.portion.data.val();
        let take = self.portion.valid.val() && self.requests.sink.ready.val();
        let number = taken.get_bits::<ROWS>(0);
        let offset = portion.address.get_bits::<2>(0);
        let dwords = (bit_cast::<6, 5>(portion.bytes) + bit_cast::<6, 2>(offset) + 3) >> 2;
        let row = cat2::<2, 10, 12>(bits::<2>(RingReader::CONTROL), bit_cast::<10, ROWS>(number));
        self.portion.ready.next = self.requests.sink.ready.val();
        self.requests.sink.valid.next = self.portion.valid.val();
        self.requests.sink.data.next = DmaReadRequest {
            function: function_of_device(portion.device),
            address: portion.address - bit_cast::<64, 2>(offset),
            length: bit_cast::<11, 6>(dwords),
            destination: cat2::<3, 15, 18>(bits::<3>(Landing::RINGS), cat2::<12, 3, 15>(row, bits::<3>(0))),
            context: bit_cast::<8, ROWS>(number),
        };
        self.places.write_address.next = number;
        self.places.write_data.next =
            Place { offset: offset, bytes: portion.bytes, position: portion.position };
        self.places.write_enable.next = take;

        // Their ends
        let done = self.read_done.data.val();
        self.read_done.ready.next = true;
        self.rows.write.next = of_reader(self.landing.val(), RingReader::CONTROL);

        // Copying
        let copy = ended == taken && copied != taken;
        self.rows.row.next = copied.get_bits::<ROWS>(0);
        self.places.read_address.next = copied.get_bits::<ROWS>(0);
        self.copying.d.next = copy;
        let place = self.places.read_data.val();
        let kept = first_bytes(bit_cast::<6, 5>(place.bytes)).get_bits::<128>(0);
        let bytes = bytes_from(self.rows.data.val(), place.offset) & kept;
        let collected = if self.copying.q.val() {
            self.collected.q.val() | (bytes << cat2::<4, 3, 7>(place.position, bits::<3>(0)))
        } else {
            self.collected.q.val()
        };

        if clear {
            self.taken.d.next = 0.into();
            self.ended.d.next = 0.into();
            self.copied.d.next = 0.into();
            self.collected.d.next = 0.into();
            self.lost.d.next = false;
        } else {
            self.taken.d.next = if take { taken + 1 } else { taken };
            self.ended.d.next = if self.read_done.valid.val() { ended + 1 } else { ended };
            self.copied.d.next = if copy { copied + 1 } else { copied };
            self.collected.d.next = collected;
            self.lost.d.next =
                self.lost.q.val() || (self.read_done.valid.val() && done.status != DmaStatus::Ok);
        }
        self.gathered.next = ended == taken && copied == taken && !self.copying.q.val();
        self.bytes.next = self.collected.q.val();
        self.failed.next = self.lost.q.val();
        self.busy.next = taken.any();
    }
}
