//! The storage engine.

use nitride_abi::nvme::Status;
use nitride_lang::prelude::*;

use super::decoder::Decoder;
use super::flusher::Flusher;
use super::ranges::Ranges;
use super::reads::Reads;
use super::record::{AxiAddress, AxiRead, AxiResponse, AxiWrite, Event, FlushRequest};
use super::splitter::Splitter;
use super::tracker::Tracker;
use super::writes::Writes;
use crate::bus::{
    Command, CommandResult, DmaDone, DmaReadRequest, DmaWriteRequest, LandingWrite, LaunchRead, MediaRequest,
    MediaResponse, VolumeUpdate,
};

const WRITE_FAULT: u64 = Status::WRITE_FAULT.bits() as u64;

/// Carries out I/O commands between host memory and the media. `docs/card.md` shows its blocks.
///
/// Latency of a 4 KiB read: about 25 cycles, the media's, and the 128 beats into and 128 out of a chunk buffer;
/// throughput: a beat a cycle in each direction. Back-pressure: `command` waits while a chunk buffer is wanted.
#[derive(LogicBlock, Default)]
pub struct Engine {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// I/O commands.
    pub command: Sink<Command>,
    /// Their results, in any order.
    pub result: Source<CommandResult>,
    /// Changes of the volume table.
    pub volume: Signal<In, VolumeUpdate>,
    /// To the DMA reader: data of writes.
    pub read: Source<DmaReadRequest>,
    /// From it.
    pub read_done: Sink<DmaDone>,
    /// To the DMA reader: PRP lists and ranges.
    pub list: Source<DmaReadRequest>,
    /// From it.
    pub list_done: Sink<DmaDone>,
    /// What the DMA reader read.
    pub landing: Signal<In, LandingWrite>,
    /// To the DMA writer: data of reads.
    pub write: Source<DmaWriteRequest>,
    /// From it.
    pub write_done: Sink<DmaDone>,
    /// What the DMA writer wants of the chunk buffers.
    pub launch: Signal<In, LaunchRead>,
    /// What it gets.
    pub launch_data: Signal<Out, Bits<256>>,
    /// AXI4 read address.
    pub axi_ar: Source<AxiAddress>,
    /// AXI4 read data.
    pub axi_r: Sink<AxiRead>,
    /// AXI4 write address.
    pub axi_aw: Source<AxiAddress>,
    /// AXI4 write data.
    pub axi_w: Source<AxiWrite>,
    /// AXI4 write response.
    pub axi_b: Sink<AxiResponse>,
    /// Flush, discard and write zeroes.
    pub media: Source<MediaRequest>,
    /// Their ends.
    pub media_response: Sink<MediaResponse>,
    /// A command is at work.
    pub busy: Signal<Out, Bit>,
    decoder: Decoder,
    splitter: Splitter,
    reads: Reads,
    writes: Writes,
    ranges: Ranges,
    flusher: Flusher,
    tracker: Tracker,
    flushes: StreamArbiter<FlushRequest, 2>,
    held_flushes: Fifo<FlushRequest, 6>,
    lists: StreamArbiter<DmaReadRequest, 2>,
    media_requests: StreamArbiter<MediaRequest, 3>,
    events: StreamArbiter<Event, 7>,
    commands: Reg<Bits<7>>,
}

impl Logic for Engine {
    #[hdl]
    fn update(&mut self) {
        Sink::<Command>::link(&mut self.command, &mut self.decoder.command);
        Source::<CommandResult>::link(&mut self.result, &mut self.tracker.result);
        self.decoder.volume.next = self.volume.val();
        self.flusher.volume.next = self.volume.val();

        // Transfers.
        Source::join(&mut self.decoder.start, &mut self.splitter.start);
        Source::join(&mut self.splitter.read, &mut self.reads.chunk);
        Source::join(&mut self.splitter.write, &mut self.writes.chunk);
        Source::join(&mut self.reads.free, &mut self.splitter.read_free);
        Source::join(&mut self.writes.free, &mut self.splitter.write_free);
        Source::<DmaReadRequest>::link(&mut self.read, &mut self.writes.dma);
        Sink::<DmaDone>::link(&mut self.read_done, &mut self.writes.done);
        Source::<DmaWriteRequest>::link(&mut self.write, &mut self.reads.dma);
        Sink::<DmaDone>::link(&mut self.write_done, &mut self.reads.done);
        Source::<AxiAddress>::link(&mut self.axi_ar, &mut self.reads.address);
        Sink::<AxiRead>::link(&mut self.axi_r, &mut self.reads.data);
        Source::<AxiAddress>::link(&mut self.axi_aw, &mut self.writes.address);
        Source::<AxiWrite>::link(&mut self.axi_w, &mut self.writes.data);
        Sink::<AxiResponse>::link(&mut self.axi_b, &mut self.writes.response);
        self.reads.launch.next = self.launch.val();
        self.launch_data.next = self.reads.launch_data.val();
        self.writes.landing.next = self.landing.val();
        self.splitter.landing.next = self.landing.val();
        self.ranges.landing.next = self.landing.val();

        // PRP lists and ranges: bit 7 of the context tells them apart.
        Source::join(&mut self.decoder.ranges, &mut self.ranges.list);
        Source::join(&mut self.splitter.list, &mut self.lists.sink[0]);
        Source::join(&mut self.ranges.dma, &mut self.lists.sink[1]);
        Source::<DmaReadRequest>::link(&mut self.list, &mut self.lists.source);
        self.lists.last.next = bits::<2>(3);
        let done = self.list_done.data.val();
        let of_ranges = done.context.get_bit(7);
        self.list_done.ready.next = true;
        self.splitter.list_done.data.next = done;
        self.splitter.list_done.valid.next = self.list_done.valid.val() && !of_ranges;
        self.ranges.done.data.next = done;
        self.ranges.done.valid.next = self.list_done.valid.val() && of_ranges;

        // Flushes, those of Force Unit Access through a queue that holds one of each command: the tracker,
        // which asks for them, must go on taking the flusher's events.
        Source::join(&mut self.tracker.flush, &mut self.held_flushes.sink);
        Source::join(&mut self.held_flushes.source, &mut self.flushes.sink[0]);
        Source::join(&mut self.decoder.flush, &mut self.flushes.sink[1]);
        Source::join(&mut self.flushes.source, &mut self.flusher.request);
        self.flushes.last.next = bits::<2>(3);

        // The media's other work.
        Source::join(&mut self.decoder.media, &mut self.media_requests.sink[0]);
        Source::join(&mut self.ranges.media, &mut self.media_requests.sink[1]);
        Source::join(&mut self.flusher.media, &mut self.media_requests.sink[2]);
        Source::<MediaRequest>::link(&mut self.media, &mut self.media_requests.source);
        self.media_requests.last.next = bits::<3>(7);

        // What happens to commands.
        Source::join(&mut self.decoder.event, &mut self.events.sink[0]);
        Source::join(&mut self.splitter.event, &mut self.events.sink[1]);
        Source::join(&mut self.reads.event, &mut self.events.sink[2]);
        Source::join(&mut self.writes.event, &mut self.events.sink[3]);
        Source::join(&mut self.ranges.event, &mut self.events.sink[4]);
        Source::join(&mut self.flusher.event, &mut self.events.sink[5]);
        let response = self.media_response.data.val();
        self.events.sink[6].valid.next = self.media_response.valid.val();
        self.media_response.ready.next = self.events.sink[6].ready.val();
        self.events.sink[6].data.next = Event {
            slot: response.id,
            start: false,
            end: true,
            last: false,
            flush: false,
            volume: 0.into(),
            status: if response.error { bits::<15>(WRITE_FAULT) } else { bits::<15>(0) },
        };
        self.events.last.next = bits::<7>(0x7f);
        Source::join(&mut self.events.source, &mut self.tracker.event);

        let taken = self.command.valid.val() && self.decoder.command.ready.val();
        let given = self.tracker.result.valid.val() && self.result.ready.val();
        if taken && !given {
            self.commands.d.next = self.commands.q.val() + 1;
        } else if given && !taken {
            self.commands.d.next = self.commands.q.val() - 1;
        }
        self.busy.next = self.commands.q.val().any() || self.command.valid.val();
    }
}
