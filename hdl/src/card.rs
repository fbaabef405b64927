//! The card: its blocks, connected.

use nitride_abi::management::{COUNTER_COUNT, Counter};
use nitride_lang::prelude::*;

use crate::bus::{
    Command, CommandResult, DmaDone, DmaReadRequest, DmaWriteRequest, ErrorKind, InterruptRequest,
    MediaRequest, MediaResponse, RegisterRequest, RegisterResponse, TlpBeat,
};
use crate::management::Management;
use crate::profile::Profile;
use crate::storage::{AxiAddress, AxiRead, AxiResponse, AxiWrite};
use crate::{dma, nvme, pcie, storage};

/// A card with PF0 (management) and PF2 with its VFs (NVMe). `docs/interfaces.md` describes its ports.
#[derive(LogicBlock)]
pub struct Card {
    /// The one clock.
    pub clock: Signal<In, Clock>,
    /// TLPs from the host.
    pub rx: Sink<TlpBeat>,
    /// TLPs to the host.
    pub tx: Source<TlpBeat>,
    /// The host's credits: posted, non-posted, completion.
    pub tx_credit: Signal<In, Bits<3>>,
    /// Media, AXI4 read address.
    pub axi_ar: Source<AxiAddress>,
    /// Media, AXI4 read data.
    pub axi_r: Sink<AxiRead>,
    /// Media, AXI4 write address.
    pub axi_aw: Source<AxiAddress>,
    /// Media, AXI4 write data.
    pub axi_w: Source<AxiWrite>,
    /// Media, AXI4 write response.
    pub axi_b: Sink<AxiResponse>,
    /// Media: flush, discard, write zeroes.
    pub media: Source<MediaRequest>,
    /// Media: their ends.
    pub media_response: Sink<MediaResponse>,
    /// Something is in flight.
    pub busy: Signal<Out, Bit>,
    front: pcie::Front,
    transmitter: pcie::Transmitter,
    management: Management,
    reader: dma::Reader,
    writer: dma::Writer,
    nvme: nvme::Front,
    storage: storage::Engine,
}

impl Card {
    /// The card of a profile.
    #[must_use]
    pub fn new(profile: &Profile) -> Self {
        Self {
            clock: Signal::default(),
            rx: Sink::default(),
            tx: Source::default(),
            tx_credit: Signal::default(),
            axi_ar: Source::default(),
            axi_r: Sink::default(),
            axi_aw: Source::default(),
            axi_w: Source::default(),
            axi_b: Sink::default(),
            media: Source::default(),
            media_response: Sink::default(),
            busy: Signal::default(),
            front: pcie::Front::new(profile),
            transmitter: pcie::Transmitter::default(),
            management: Management::new(profile),
            reader: dma::Reader::new(profile),
            writer: dma::Writer::default(),
            nvme: nvme::Front::default(),
            storage: storage::Engine::default(),
        }
    }
}

impl Logic for Card {
    #[hdl]
    fn update(&mut self) {
        // The edge.
        Sink::<TlpBeat>::link(&mut self.rx, &mut self.front.rx);
        Source::<TlpBeat>::link(&mut self.tx, &mut self.transmitter.tx);
        self.transmitter.credit.next = self.tx_credit.val();
        Source::<TlpBeat>::join(&mut self.front.completer, &mut self.transmitter.completer);
        Source::<TlpBeat>::join(&mut self.writer.tlp, &mut self.transmitter.writes);
        Source::<TlpBeat>::join(&mut self.front.interrupts, &mut self.transmitter.interrupts);
        Source::<TlpBeat>::join(&mut self.reader.tlp, &mut self.transmitter.reads);
        Source::<TlpBeat>::join(&mut self.front.completions, &mut self.reader.completions);

        // Registers, and what the host configured.
        Source::<RegisterRequest>::join(&mut self.front.nvme, &mut self.nvme.register);
        Source::<RegisterResponse>::join(&mut self.nvme.response, &mut self.front.nvme_response);
        Source::<RegisterRequest>::join(&mut self.front.management, &mut self.management.register);
        Source::<RegisterResponse>::join(&mut self.management.response, &mut self.front.management_response);
        self.reader.update.next = self.front.update.val();
        self.writer.update.next = self.front.update.val();
        self.front.read_error.next = self.reader.error.val();
        self.reader.link.next = self.front.link.val();
        self.writer.link.next = self.front.link.val();
        Source::<Bits<5>>::join(&mut self.front.flr, &mut self.nvme.flr);
        Source::<Bits<5>>::join(&mut self.nvme.flr_done, &mut self.front.flr_done);
        // There is no PF1 in the profiles of this card.
        self.front.network.ready.next = false;
        self.front.network_response.valid.next = false;
        self.front.network_response.data.next = RegisterResponse { data: bits::<64>(0) };
        self.front.network_flr.ready.next = false;
        self.front.network_flr_done.valid.next = false;
        self.front.network_flr_done.data.next = bits::<5>(0);
        Source::<InterruptRequest>::join(&mut self.nvme.interrupt, &mut self.front.interrupt);
        Source::<Bits<4>>::join(&mut self.management.attribute_changed, &mut self.nvme.attribute_changed);
        self.nvme.volume.next = self.management.volume.val();
        self.storage.volume.next = self.management.volume.val();

        // Commands.
        Source::<Command>::join(&mut self.nvme.io, &mut self.storage.command);
        Source::<CommandResult>::join(&mut self.storage.result, &mut self.nvme.io_result);

        // Host memory to card.
        Source::<DmaReadRequest>::join(&mut self.storage.read, &mut self.reader.request[0]);
        Source::<DmaDone>::join(&mut self.reader.done[0], &mut self.storage.read_done);
        Source::<DmaReadRequest>::join(&mut self.nvme.read, &mut self.reader.request[1]);
        Source::<DmaDone>::join(&mut self.reader.done[1], &mut self.nvme.read_done);
        Source::<DmaReadRequest>::join(&mut self.storage.list, &mut self.reader.request[2]);
        Source::<DmaDone>::join(&mut self.reader.done[2], &mut self.storage.list_done);
        // Nobody asks for these yet: they are the network's.
        for i in 3..dma::CLIENTS {
            self.reader.request[i].valid.next = false;
            self.reader.request[i].data.next = DmaReadRequest::default();
            self.reader.done[i].ready.next = true;
            self.writer.request[i].valid.next = false;
            self.writer.request[i].data.next = DmaWriteRequest::default();
            self.writer.done[i].ready.next = true;
        }
        self.nvme.landing.next = self.reader.landing.val();
        self.storage.landing.next = self.reader.landing.val();

        // Card to host memory. A launch RAM that was not asked answers 0.
        Source::<DmaWriteRequest>::join(&mut self.storage.write, &mut self.writer.request[0]);
        Source::<DmaDone>::join(&mut self.writer.done[0], &mut self.storage.write_done);
        Source::<DmaWriteRequest>::join(&mut self.nvme.page, &mut self.writer.request[1]);
        Source::<DmaDone>::join(&mut self.writer.done[1], &mut self.nvme.page_done);
        Source::<DmaWriteRequest>::join(&mut self.nvme.entry, &mut self.writer.request[2]);
        Source::<DmaDone>::join(&mut self.writer.done[2], &mut self.nvme.entry_done);
        self.nvme.launch.next = self.writer.launch.val();
        self.storage.launch.next = self.writer.launch.val();
        self.writer.launch_data.next = self.nvme.launch_data.val() | self.storage.launch_data.val();

        // Media.
        Source::<AxiAddress>::link(&mut self.axi_ar, &mut self.storage.axi_ar);
        Sink::<AxiRead>::link(&mut self.axi_r, &mut self.storage.axi_r);
        Source::<AxiAddress>::link(&mut self.axi_aw, &mut self.storage.axi_aw);
        Source::<AxiWrite>::link(&mut self.axi_w, &mut self.storage.axi_w);
        Sink::<AxiResponse>::link(&mut self.axi_b, &mut self.storage.axi_b);
        Source::<MediaRequest>::link(&mut self.media, &mut self.storage.media);
        Sink::<MediaResponse>::link(&mut self.media_response, &mut self.storage.media_response);

        let mut events: Bits<COUNTER_COUNT> = self.front.events.val();
        let error = self.reader.error.val();
        let unexpected = error.valid && error.report.kind == ErrorKind::Unexpected;
        let timeout = error.valid && error.report.kind == ErrorKind::Timeout;
        events = events.replace_bit(Counter::UnexpectedCompletions.bit(), unexpected);
        events = events.replace_bit(Counter::Timeouts.bit(), timeout);
        events = events.replace_bit(Counter::DmaReads.bit(), self.reader.issued.val());
        events = events.replace_bit(Counter::DmaWrites.bit(), self.writer.issued.val());
        events = events.replace_bit(Counter::Commands.bit(), self.nvme.events.val().command);
        self.management.events.next = events;
        self.busy.next = self.front.busy.val()
            || self.transmitter.busy.val()
            || self.management.busy.val()
            || self.reader.busy.val()
            || self.writer.busy.val()
            || self.nvme.busy.val()
            || self.storage.busy.val();
    }
}
