//! Reads of available indices.

use nitride_abi::virtio::ring::AVAIL_INDEX;
use nitride_lang::prelude::*;

use super::records::{POLL_CONTEXT, Poll, Polled, of_group};
use crate::bus::{DmaDone, DmaReadRequest, DmaStatus, Landing, LandingWrite};
use crate::dma::LandingRam;
use crate::free_list::FreeList;
use crate::function::function_of_device;
use crate::net::records::QueueIndex;

/// What is known of a poll under way.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Asked {
    queue: QueueIndex,
    /// The index is in the DW's upper half.
    upper: Bit,
}

/// A poll that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Ended {
    number: Bits<4>,
    failed: Bit,
}

/// Reads available indices (virtio 1.2 §2.7.6), of up to 16 queues at once.
///
/// A poll a cycle. Latency 1 cycle to the read, 4 from its end.
#[derive(LogicBlock, Default)]
pub struct Polls<const READER: u64> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Queues to look at.
    pub poll: Sink<Poll>,
    /// Reads, with contexts from [`POLL_CONTEXT`] on.
    pub read: Source<DmaReadRequest>,
    /// The end of one of them.
    pub done: Signal<In, DmaDone>,
    /// It is there.
    pub done_valid: Signal<In, Bit>,
    /// Where they land.
    pub landing: Signal<In, LandingWrite>,
    /// What was found.
    pub polled: Source<Polled>,
    free: FreeList<4>,
    asked: Ram<Asked, 4>,
    rows: LandingRam<{ Landing::RINGS }, 4>,
    requests: RegFifo<DmaReadRequest, 2>,
    ended: Fifo<Ended, 4>,
    looking: Reg<Bit>,
}

impl<const READER: u64> Logic for Polls<READER> {
    #[hdl]
    fn update(&mut self) {
        Source::<DmaReadRequest>::link(&mut self.read, &mut self.requests.source);
        let poll = self.poll.data.val();
        let number = self.free.take.data.val();
        let may = self.free.take.valid.val() && self.requests.sink.ready.val();
        let go = may && self.poll.valid.val();
        self.poll.ready.next = may;
        self.free.take.ready.next = go;
        let address = poll.driver + AVAIL_INDEX;
        self.requests.sink.valid.next = go;
        self.requests.sink.data.next = DmaReadRequest {
            function: function_of_device(poll.queue.get_bits::<4>(3)),
            address: address & !3u64,
            length: bits::<11>(1),
            destination: (bit_cast::<18, 4>(number) << 3)
                | ((Landing::RINGS << 15) | (READER << 13) | (1 << 7)),
            context: bit_cast::<8, 4>(number) + POLL_CONTEXT,
        };
        self.asked.write_address.next = number;
        self.asked.write_data.next = Asked { queue: poll.queue, upper: address.get_bit(1) };
        self.asked.write_enable.next = go;

        let done = self.done.val();
        self.ended.sink.valid.next = self.done_valid.val() && done.context >= POLL_CONTEXT;
        self.ended.sink.data.next =
            Ended { number: done.context.get_bits::<4>(0), failed: done.status != DmaStatus::Ok };

        // Row and queue of the first that has ended are read in one cycle and told in the next.
        self.rows.write.next = of_group(self.landing.val(), READER, 1);
        let ended = self.ended.source.data.val();
        let looking = self.looking.q.val();
        self.rows.row.next = ended.number;
        self.asked.read_address.next = ended.number;
        let asked = self.asked.read_data.val();
        let told = looking && self.polled.ready.val();
        self.looking.d.next = self.ended.source.valid.val() && !told;
        self.polled.valid.next = looking;
        self.polled.data.next = Polled {
            queue: asked.queue,
            failed: ended.failed,
            index: if asked.upper {
                self.rows.data.val().get_bits::<16>(16)
            } else {
                self.rows.data.val().get_bits::<16>(0)
            },
        };
        self.ended.source.ready.next = told;
        self.free.give.valid.next = told;
        self.free.give.data.next = ended.number;
    }
}
