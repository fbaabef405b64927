//! Read commands' data: from the media through chunk buffers to the host.

use nitride_abi::nvme::Status;
use nitride_lang::prelude::*;

use super::closer::Closer;
use super::record::{AxiAddress, AxiRead, Chunk, Ended, Event};
use super::segmenter::Segmenter;
use crate::bus::{DmaDone, DmaStatus, DmaWriteRequest, Launch, LaunchRead};
use crate::dma::LaunchRam;

const DATA_TRANSFER_ERROR: u64 = Status::DATA_TRANSFER_ERROR.bits() as u64;
const UNRECOVERED_READ_ERROR: u64 = Status::UNRECOVERED_READ_ERROR.bits() as u64;

/// A chunk that left the media.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Filled {
    id: Bits<5>,
    error: Bit,
}

/// What becomes of a chunk that left the media.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum Send {
    /// Waits for one.
    Take,
    /// Its record is read.
    Load,
    /// Its record is there.
    Read,
    /// It goes to the DMA writer.
    Host,
    /// The media failed: nothing of it reaches the host.
    Drop,
}

/// Moves chunks from the media to the host. One burst a chunk; a chunk is sent when it is whole.
///
/// Latency: the media's, the chunk's beats, then the DMA writer's. Throughput: a beat a cycle, with as many
/// chunks on the way as there are buffers. Back-pressure: none towards the media, a buffer is there for each burst.
#[derive(LogicBlock, Default)]
pub struct Reads {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Chunks to move.
    pub chunk: Sink<Chunk>,
    /// Buffers of chunks that are over with.
    pub free: Source<Bits<5>>,
    /// AXI4 read address.
    pub address: Source<AxiAddress>,
    /// AXI4 read data. Always ready.
    pub data: Sink<AxiRead>,
    /// To the DMA writer.
    pub dma: Source<DmaWriteRequest>,
    /// From it; requests end in order. Always ready.
    pub done: Sink<DmaDone>,
    /// The DMA writer's reads of launch RAMs.
    pub launch: Signal<In, LaunchRead>,
    /// What it reads here.
    pub launch_data: Signal<Out, Bits<256>>,
    /// Parts that ended.
    pub event: Source<Event>,
    buffers: LaunchRam<{ Launch::CHUNKS }, 12>,
    chunks: Ram<Chunk, 5>,
    filled: Fifo<Filled, 6>,
    sent: Fifo<DmaDone, 7>,
    segmenter: Segmenter,
    closer: Closer,
    beat: Reg<Bits<7>>,
    bad: Reg<Bit>,
    send: Reg<Send>,
    sending: Reg<Filled>,
    sending_chunk: Reg<Chunk>,
    failed: Reg<Bit>,
}

impl Logic for Reads {
    #[hdl]
    fn update(&mut self) {
        Sink::<DmaDone>::link(&mut self.done, &mut self.sent.sink);
        Source::<Event>::link(&mut self.event, &mut self.closer.event);
        Source::<Bits<5>>::link(&mut self.free, &mut self.closer.free);

        // A burst of the media for each chunk.
        let chunk = self.chunk.data.val();
        let asked = self.chunk.valid.val() & self.address.ready.val();
        self.address.valid.next = self.chunk.valid.val();
        self.chunk.ready.next = self.address.ready.val();
        self.address.data.next = AxiAddress {
            id: bit_cast::<6, 5>(chunk.id),
            address: chunk.media,
            length: (chunk.length - 1).get_bits::<8>(5),
        };
        self.chunks.write_enable.next = asked;
        self.chunks.write_address.next = chunk.id;
        self.chunks.write_data.next = chunk;

        // Its beats go to the chunk's buffer.
        let data = self.data.data.val();
        let bad = self.bad.q.val() | data.error;
        let whole = self.data.valid.val() & data.last;
        self.data.ready.next = true;
        self.buffers.write_enable.next = if self.data.valid.val() { bits::<8>(0xff) } else { bits::<8>(0) };
        self.buffers.write_row.next = cat2::<5, 7, 12>(data.id.get_bits::<5>(0), self.beat.q.val());
        self.buffers.write_data.next = data.data;
        if self.data.valid.val() {
            self.beat.d.next = if data.last { 0.into() } else { self.beat.q.val() + 1 };
            self.bad.d.next = bad & !data.last;
        }
        self.filled.sink.valid.next = whole;
        self.filled.sink.data.next = Filled { id: data.id.get_bits::<5>(0), error: bad };

        // A whole chunk goes to the host.
        let sent = self.sent.source.data.val();
        let last = self.sent.source.valid.val() && sent.context.get_bit(5);
        let dropped = self.send.q.val() == Send::Drop;
        self.chunks.read_address.next = self.sending.q.val().id;
        self.filled.source.ready.next = self.send.q.val() == Send::Take;
        self.segmenter.chunk.valid.next = self.send.q.val() == Send::Host;
        self.segmenter.chunk.data.next = self.sending_chunk.q.val();
        match self.send.q.val() {
            Send::Take => {
                self.sending.d.next = self.filled.source.data.val();
                if self.filled.source.valid.val() {
                    self.send.d.next =
                        if self.filled.source.data.val().error { Send::Drop } else { Send::Load };
                }
            }
            Send::Load => self.send.d.next = Send::Read,
            Send::Read => {
                self.sending_chunk.d.next = self.chunks.read_data.val();
                self.send.d.next = Send::Host;
            }
            Send::Host => {
                if self.segmenter.chunk.ready.val() {
                    self.send.d.next = Send::Take;
                }
            }
            Send::Drop => {
                if self.closer.ended.ready.val() && !last {
                    self.send.d.next = Send::Take;
                }
            }
        }
        let segment = self.segmenter.segment.data.val();
        self.dma.valid.next = self.segmenter.segment.valid.val();
        self.segmenter.segment.ready.next = self.dma.ready.val();
        self.dma.data.next = DmaWriteRequest {
            function: segment.function,
            address: segment.address,
            length: segment.length,
            first: bits::<4>(0xf),
            last: bits::<4>(0xf),
            source: bits::<18>(Launch::CHUNKS << 15) | segment.buffer,
            context: segment.context,
        };
        self.buffers.launch.next = self.launch.val();
        self.launch_data.next = self.buffers.data.val();

        // A chunk is over when its last segment is, or when the media failed.
        let failed = self.failed.q.val() || sent.status != DmaStatus::Ok;
        self.sent.source.ready.next = self.closer.ended.ready.val() || !last;
        if self.sent.source.valid.val() && (self.closer.ended.ready.val() || !last) {
            self.failed.d.next = failed && !last;
        }
        self.closer.chunk.next = chunk;
        self.closer.opens.next = asked;
        self.closer.ended.valid.next = last || dropped;
        self.closer.ended.data.next = if last {
            Ended {
                id: sent.context.get_bits::<5>(0),
                status: if failed { bits::<15>(DATA_TRANSFER_ERROR) } else { bits::<15>(0) },
            }
        } else {
            Ended { id: self.sending.q.val().id, status: bits::<15>(UNRECOVERED_READ_ERROR) }
        };
    }
}
