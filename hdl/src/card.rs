//! The card: its blocks, connected.

use nitride_abi::card::ETHERNET_PORTS;
use nitride_abi::management::{COUNTER_COUNT, Counter};
use nitride_lang::prelude::*;

use crate::bus::{
    Command, CommandResult, DmaDone, DmaReadRequest, DmaWriteRequest, ErrorKind, InterruptRequest,
    MediaRequest, MediaResponse, RegisterRequest, RegisterResponse, TlpBeat,
};
use crate::management::Management;
use crate::net::records::{Assignment, EgressBeat, ForwardAnswer, ForwardUpdate, Offer, PacketBeat, Reply};
use crate::profile::Profile;
use crate::storage::{AxiAddress, AxiRead, AxiResponse, AxiWrite};
use crate::{dma, net, nvme, pcie, storage, switch};

/// A card with PF0 (management), PF1 with its VFs (virtio-net), PF2 with its VFs (NVMe), and the switch between network devices and Ethernet ports. `docs/interfaces.md` describes its ports.
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
    /// Frames from the MAC of Ethernet port 0; always ready.
    pub eth0_rx: Sink<PacketBeat>,
    /// Frames to it.
    pub eth0_tx: Source<PacketBeat>,
    /// Frames from the MAC of Ethernet port 1; always ready.
    pub eth1_rx: Sink<PacketBeat>,
    /// Frames to it.
    pub eth1_tx: Source<PacketBeat>,
    /// Something is in flight.
    pub busy: Signal<Out, Bit>,
    front: pcie::Front,
    transmitter: pcie::Transmitter,
    management: Management,
    reader: dma::Reader,
    writer: dma::Writer,
    nvme: nvme::Front,
    storage: storage::Engine,
    network: net::Network,
    arrivals: [switch::EthernetIn; ETHERNET_PORTS],
    switch: switch::Front,
    egress: switch::Egress,
    ports: switch::PortCounters,
    interrupts: StreamArbiter<InterruptRequest, 2>,
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
            eth0_rx: Sink::default(),
            eth0_tx: Source::default(),
            eth1_rx: Sink::default(),
            eth1_tx: Source::default(),
            busy: Signal::default(),
            front: pcie::Front::new(profile),
            transmitter: pcie::Transmitter::default(),
            management: Management::new(profile),
            reader: dma::Reader::new(profile),
            writer: dma::Writer::default(),
            nvme: nvme::Front::default(),
            storage: storage::Engine::default(),
            network: net::Network::default(),
            arrivals: [16, 17].map(switch::EthernetIn::new),
            switch: switch::Front::default(),
            egress: switch::Egress::default(),
            ports: switch::PortCounters::default(),
            interrupts: StreamArbiter::default(),
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
        Source::<RegisterRequest>::join(&mut self.front.network, &mut self.network.register);
        Source::<RegisterResponse>::join(&mut self.network.response, &mut self.front.network_response);
        Source::<Bits<5>>::join(&mut self.front.network_flr, &mut self.network.flr);
        Source::<Bits<5>>::join(&mut self.network.flr_done, &mut self.front.network_flr_done);
        Source::<InterruptRequest>::join(&mut self.nvme.interrupt, &mut self.interrupts.sink[0]);
        Source::<InterruptRequest>::join(&mut self.network.interrupt, &mut self.interrupts.sink[1]);
        self.interrupts.last.next = bits::<2>(3);
        Source::<InterruptRequest>::join(&mut self.interrupts.source, &mut self.front.interrupt);
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
        for i in 0..2 {
            Source::<DmaReadRequest>::join(&mut self.network.read[i], &mut self.reader.request[3 + i]);
            Source::<DmaDone>::join(&mut self.reader.done[3 + i], &mut self.network.read_done[i]);
            Source::<DmaWriteRequest>::join(&mut self.network.write[i], &mut self.writer.request[3 + i]);
            Source::<DmaDone>::join(&mut self.writer.done[3 + i], &mut self.network.write_done[i]);
        }
        self.network.landing.next = self.reader.landing.val();
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
        self.network.launch.next = self.writer.launch.val();
        self.writer.launch_data.next =
            self.nvme.launch_data.val() | self.storage.launch_data.val() | self.network.launch_data.val();

        // Frames.
        Source::<PacketBeat>::join(&mut self.network.packet, &mut self.switch.packet[0]);
        Sink::<PacketBeat>::link(&mut self.eth0_rx, &mut self.arrivals[0].rx);
        Sink::<PacketBeat>::link(&mut self.eth1_rx, &mut self.arrivals[1].rx);
        Source::<PacketBeat>::link(&mut self.eth0_tx, &mut self.egress.ethernet[0]);
        Source::<PacketBeat>::link(&mut self.eth1_tx, &mut self.egress.ethernet[1]);
        for i in 0..ETHERNET_PORTS {
            Source::<PacketBeat>::join(&mut self.arrivals[i].packet, &mut self.switch.packet[1 + i]);
            self.ports.counted[i].next = self.arrivals[i].counted.val();
            self.ports.counted[2 + i].next = self.switch.counted[i].val();
        }
        for i in 0..3 {
            self.ports.counted[4 + i].next = self.egress.counted[i].val();
        }
        self.ports.counted[7].next = self.network.counted.val();
        Source::<EgressBeat>::join(&mut self.switch.frame, &mut self.egress.frame);
        Source::<Offer>::join(&mut self.egress.offer, &mut self.network.offer);
        Source::<Reply>::join(&mut self.network.reply, &mut self.egress.reply);
        self.egress.wake.next = self.network.wake.val();
        Source::<EgressBeat>::join(&mut self.egress.receive, &mut self.network.frame);

        // What the owner decides of them.
        self.switch.update.next = self.network.update.val();
        self.switch.filter.next = self.network.filter.val();
        self.switch.port.next = self.management.port.val();
        self.switch.group.next = self.management.group.val();
        Source::<ForwardUpdate>::join(&mut self.management.forward, &mut self.switch.forward);
        Source::<ForwardAnswer>::join(&mut self.switch.answer, &mut self.management.answer);
        Source::<Assignment>::join(&mut self.management.assignment, &mut self.network.assignment);
        self.ports.index.next = self.management.count_index.val();
        self.management.count.next = self.ports.value.val();

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
            || self.storage.busy.val()
            || self.network.busy.val()
            || self.arrivals[0].busy.val()
            || self.arrivals[1].busy.val()
            || self.switch.busy.val()
            || self.egress.busy.val()
            || self.ports.busy.val();
    }
}
