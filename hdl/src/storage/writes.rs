//! Write commands' data: from the host through chunk buffers to the media.

use nitride_abi::nvme::Status;
use nitride_lang::prelude::*;

use super::closer::Closer;
use super::record::{AxiAddress, AxiResponse, AxiWrite, Chunk, Ended, Event};
use super::segmenter::Segmenter;
use crate::bus::{DmaDone, DmaReadRequest, DmaStatus, Landing, LandingWrite};
use crate::dma::LandingRam;

const DATA_TRANSFER_ERROR: u64 = Status::DATA_TRANSFER_ERROR.bits() as u64;
const WRITE_FAULT: u64 = Status::WRITE_FAULT.bits() as u64;

/// What becomes of a segment that arrived.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum Gather {
    /// Waits for one.
    Take,
    /// All of its chunk arrived: it goes to the media.
    Ready,
    /// Some of its chunk did not arrive: nothing of it reaches the media.
    Drop,
}

/// How a chunk gets to the media.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum Store {
    /// Waits for one.
    Take,
    /// Its record is read.
    Load,
    /// Its record is there.
    Read,
    /// Its burst is announced.
    Address,
    /// Its data are sent.
    Data,
}

/// Moves chunks from the host to the media. One burst a chunk, sent when the chunk is whole.
///
/// Latency: the host's, 4 cycles, the chunk's beats, the media's. Throughput: a beat a cycle but for 5 cycles
/// between bursts. Back-pressure: none towards the DMA reader, a buffer is there for all that was asked.
#[derive(LogicBlock, Default)]
pub struct Writes {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Chunks to move.
    pub chunk: Sink<Chunk>,
    /// Buffers of chunks that are over with.
    pub free: Source<Bits<5>>,
    /// To the DMA reader.
    pub dma: Source<DmaReadRequest>,
    /// From it; requests end in any order. Always ready.
    pub done: Sink<DmaDone>,
    /// The data that it read.
    pub landing: Signal<In, LandingWrite>,
    /// AXI4 write address.
    pub address: Source<AxiAddress>,
    /// AXI4 write data.
    pub data: Source<AxiWrite>,
    /// AXI4 write response. Always ready.
    pub response: Sink<AxiResponse>,
    /// Parts that ended.
    pub event: Source<Event>,
    buffers: LandingRam<{ Landing::CHUNKS }, 12>,
    chunks: Ram<Chunk, 5>,
    segmenter: Segmenter,
    closer: Closer,
    arrived: Fifo<DmaDone, 7>,
    whole: Fifo<Bits<5>, 6>,
    written: Fifo<AxiResponse, 6>,
    out: Skid<AxiWrite>,
    waiting: Reg<Bits<32>>,
    failed: Reg<Bits<32>>,
    gather: Reg<Gather>,
    gathered: Reg<Bits<5>>,
    store: Reg<Store>,
    storing: Reg<Bits<5>>,
    burst: Reg<AxiAddress>,
    beat: Reg<Bits<7>>,
}

impl Logic for Writes {
    #[hdl]
    fn update(&mut self) {
        Sink::<DmaDone>::link(&mut self.done, &mut self.arrived.sink);
        Source::<Event>::link(&mut self.event, &mut self.closer.event);
        Source::<Bits<5>>::link(&mut self.free, &mut self.closer.free);
        Sink::<AxiResponse>::link(&mut self.response, &mut self.written.sink);
        Source::<AxiWrite>::link(&mut self.data, &mut self.out.source);
        Sink::<Chunk>::link(&mut self.chunk, &mut self.segmenter.chunk);

        // Its segments are asked of the host.
        let chunk = self.chunk.data.val();
        let segment = self.segmenter.segment.data.val();
        let asked = self.segmenter.segment.valid.val() & self.dma.ready.val();
        self.dma.valid.next = self.segmenter.segment.valid.val();
        self.segmenter.segment.ready.next = self.dma.ready.val();
        self.dma.data.next = DmaReadRequest {
            function: segment.function,
            address: segment.address,
            length: segment.length,
            destination: bits::<18>(Landing::CHUNKS << 15) | segment.buffer,
            context: segment.context,
        };
        self.buffers.write.next = self.landing.val();
        self.chunks.write_enable.next = asked;
        self.chunks.write_address.next = chunk.id;
        self.chunks.write_data.next = chunk;

        // A chunk is whole when each of its segments arrived, in whatever order.
        let one = bits::<32>(1);
        let arrived = self.arrived.source.data.val();
        let mark = one << arrived.context.get_bits::<5>(0);
        let more = (self.waiting.q.val() & mark).any();
        let bad = (self.failed.q.val() & mark).any() | (arrived.status != DmaStatus::Ok);
        let dropped = self.gather.q.val() == Gather::Drop;
        let mut waiting = self.waiting.q.val();
        self.arrived.source.ready.next = self.gather.q.val() == Gather::Take;
        self.whole.sink.valid.next = self.gather.q.val() == Gather::Ready;
        self.whole.sink.data.next = self.gathered.q.val();
        match self.gather.q.val() {
            Gather::Take => {
                if self.arrived.source.valid.val() {
                    self.gathered.d.next = arrived.context.get_bits::<5>(0);
                    waiting = waiting & !mark;
                    self.failed.d.next =
                        if more & bad { self.failed.q.val() | mark } else { self.failed.q.val() & !mark };
                    if !more {
                        self.gather.d.next = if bad { Gather::Drop } else { Gather::Ready };
                    }
                }
            }
            Gather::Ready => self.gather.d.next = Gather::Take,
            Gather::Drop => {
                if self.closer.ended.ready.val() && !self.written.source.valid.val() {
                    self.gather.d.next = Gather::Take;
                }
            }
        }
        // Two segments: set with the first, long before either can arrive.
        if asked & !segment.context.get_bit(5) {
            waiting = waiting | (one << chunk.id);
        }
        self.waiting.d.next = waiting;

        // A whole chunk goes to the media.
        let burst = self.burst.q.val();
        let record = self.chunks.read_data.val();
        let sending = self.store.q.val() == Store::Data;
        let taken = sending & self.out.sink.ready.val();
        let at = if taken { self.beat.q.val() + 1 } else { self.beat.q.val() };
        let finished = bit_cast::<8, 7>(self.beat.q.val()) == burst.length;
        self.chunks.read_address.next = self.storing.q.val();
        self.buffers.row.next = cat2::<5, 7, 12>(self.storing.q.val(), at);
        self.whole.source.ready.next = self.store.q.val() == Store::Take;
        self.address.valid.next = self.store.q.val() == Store::Address;
        self.address.data.next = burst;
        self.out.sink.valid.next = sending;
        self.out.sink.data.next = AxiWrite { data: self.buffers.data.val(), last: finished };
        match self.store.q.val() {
            Store::Take => {
                self.storing.d.next = self.whole.source.data.val();
                self.beat.d.next = 0.into();
                if self.whole.source.valid.val() {
                    self.store.d.next = Store::Load;
                }
            }
            Store::Load => self.store.d.next = Store::Read,
            Store::Read => {
                self.burst.d.next = AxiAddress {
                    id: bit_cast::<6, 5>(self.storing.q.val()),
                    address: record.media,
                    length: (record.length - 1).get_bits::<8>(5),
                };
                self.store.d.next = Store::Address;
            }
            Store::Address => {
                if self.address.ready.val() {
                    self.store.d.next = Store::Data;
                }
            }
            Store::Data => {
                self.beat.d.next = at;
                if taken & finished {
                    self.store.d.next = Store::Take;
                }
            }
        }

        // A chunk is over when the media answered, or when it never went there.
        let written = self.written.source.data.val();
        self.written.source.ready.next = self.closer.ended.ready.val();
        self.closer.chunk.next = chunk;
        self.closer.opens.next = asked;
        self.closer.ended.valid.next = self.written.source.valid.val() || dropped;
        self.closer.ended.data.next = if self.written.source.valid.val() {
            Ended {
                id: written.id.get_bits::<5>(0),
                status: if written.error { bits::<15>(WRITE_FAULT) } else { bits::<15>(0) },
            }
        } else {
            Ended { id: self.gathered.q.val(), status: bits::<15>(DATA_TRANSFER_ERROR) }
        };
    }
}
