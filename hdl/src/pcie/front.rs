//! The target side of PCIe.

use nitride_abi::card;
use nitride_abi::management::{COUNTER_COUNT, Counter};
use nitride_lang::prelude::*;

use super::completer::Completer;
use super::config::{Config, physical_of};
use super::faults::Faults;
use super::messenger::Messenger;
use super::msix::Msix;
use super::receiver::Receiver;
use super::request::Request;
use super::target::Target;
use super::window::Window;
use crate::bus::{
    ErrorPulse, FunctionUpdate, InterruptRequest, LinkConfig, RegisterRequest, RegisterResponse, TlpBeat,
};
use crate::profile::Profile;

const MALFORMED: u64 = 1 << Counter::Malformed as u64;
const RESETS: u64 = 1 << Counter::Resets as u64;
const INTERRUPTS: u64 = 1 << Counter::Interrupts as u64;

/// All that answers the host: receiver, decoder, configuration space and the window in it, MSI-X, completer.
///
/// `rx` takes a beat each cycle, and waits only while 16 requests wait. Each request is served by itself within a bounded time, see
/// [`Target`], [`Config`] and [`Completer`]. A function to be reset goes through [`Msix`] before it comes out at `flr`.
#[derive(LogicBlock)]
pub struct Front {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// TLPs from the link.
    pub rx: Sink<TlpBeat>,
    /// Completions of the card's reads.
    pub completions: Source<TlpBeat>,
    /// Completions of the host's requests.
    pub completer: Source<TlpBeat>,
    /// MSI-X and error messages.
    pub interrupts: Source<TlpBeat>,
    /// Errors of the card's reads.
    pub read_error: Signal<In, ErrorPulse>,
    /// Accesses to NVMe registers and doorbells.
    pub nvme: Source<RegisterRequest>,
    /// Their answers.
    pub nvme_response: Sink<RegisterResponse>,
    /// Accesses to virtio structures.
    pub network: Source<RegisterRequest>,
    /// Their answers.
    pub network_response: Sink<RegisterResponse>,
    /// Accesses to PF0's registers.
    pub management: Source<RegisterRequest>,
    /// Their answers.
    pub management_response: Sink<RegisterResponse>,
    /// Interrupts to be signaled.
    pub interrupt: Sink<InterruptRequest>,
    /// Broadcast of functions' states.
    pub update: Signal<Out, FunctionUpdate>,
    /// Sizes and bus number.
    pub link: Signal<Out, LinkConfig>,
    /// NVMe functions in reset.
    pub flr: Source<Bits<5>>,
    /// NVMe functions whose reset is complete.
    pub flr_done: Sink<Bits<5>>,
    /// Network functions in reset.
    pub network_flr: Source<Bits<5>>,
    /// Network functions whose reset is complete.
    pub network_flr_done: Sink<Bits<5>>,
    /// Pulses, by `Counter`.
    pub events: Signal<Out, Bits<COUNTER_COUNT>>,
    /// Something is being done.
    pub busy: Signal<Out, Bit>,
    receiver: Receiver,
    queue: Fifo<Request, 4>,
    target: Target,
    window: Window,
    configuration: Config,
    msix: Msix,
    responder: Completer,
    faults: Faults,
    messenger: Messenger,
    messages: StreamArbiter<TlpBeat, 2>,
    over: StreamArbiter<Bits<5>, 2>,
}

impl Front {
    /// The target side of a card of this profile.
    pub fn new(profile: &Profile) -> Self {
        Self {
            clock: Signal::default(),
            rx: Sink::default(),
            completions: Source::default(),
            completer: Source::default(),
            interrupts: Source::default(),
            read_error: Signal::default(),
            nvme: Source::default(),
            nvme_response: Sink::default(),
            network: Source::default(),
            network_response: Sink::default(),
            management: Source::default(),
            management_response: Sink::default(),
            interrupt: Sink::default(),
            update: Signal::default(),
            link: Signal::default(),
            flr: Source::default(),
            flr_done: Sink::default(),
            network_flr: Source::default(),
            network_flr_done: Sink::default(),
            over: StreamArbiter::default(),
            events: Signal::default(),
            busy: Signal::default(),
            receiver: Receiver::default(),
            queue: Fifo::default(),
            target: Target::default(),
            window: Window::default(),
            configuration: Config::new(profile),
            msix: Msix::default(),
            responder: Completer::default(),
            faults: Faults::default(),
            messenger: Messenger::default(),
            messages: StreamArbiter::default(),
        }
    }
}

impl Logic for Front {
    #[hdl]
    fn update(&mut self) {
        self.rx.link(&mut self.receiver.rx);
        self.completions.link(&mut self.receiver.completions);
        self.receiver.requests.join(&mut self.queue.sink);
        self.queue.source.join(&mut self.target.requests);

        self.target.config.join(&mut self.window.request);
        self.window.response.join(&mut self.target.config_response);
        self.target.network.join(&mut self.window.register);
        self.window.register_response.join(&mut self.target.network_response);
        self.window.config.join(&mut self.configuration.request);
        self.configuration.response.join(&mut self.window.config_response);
        self.target.errors.join(&mut self.faults.requests);
        self.faults.found[0].next = self.receiver.malformed.val();
        self.faults.found[1].next = self.read_error.val();
        self.faults.source.join(&mut self.configuration.errors);
        self.target.msix.join(&mut self.msix.register);
        self.msix.response.join(&mut self.target.msix_response);
        self.nvme.link(&mut self.target.nvme);
        self.nvme_response.link(&mut self.target.nvme_response);
        self.network.link(&mut self.window.network);
        self.network_response.link(&mut self.window.network_response);
        self.management.link(&mut self.target.management);
        self.management_response.link(&mut self.target.management_response);
        self.target.completion.join(&mut self.responder.sink);
        self.completer.link(&mut self.responder.tlp);
        self.target.apertures.next = self.configuration.apertures.val();
        self.target.link.next = self.configuration.link.val();

        self.interrupt.link(&mut self.msix.request);
        self.configuration.message.join(&mut self.messenger.sink);
        self.messenger.link.next = self.configuration.link.val();
        self.msix.tlp.join(&mut self.messages.sink[0]);
        self.messenger.tlp.join(&mut self.messages.sink[1]);
        self.messages.last.next = !bits::<2>(0);
        self.interrupts.link(&mut self.messages.source);
        self.configuration.flr.join(&mut self.msix.flr);
        let cleared = self.msix.cleared.data.val();
        let of_network = physical_of(cleared) == card::PF_NETWORK as u64;
        self.flr.data.next = cleared;
        self.flr.valid.next = self.msix.cleared.valid.val() && !of_network;
        self.network_flr.data.next = cleared;
        self.network_flr.valid.next = self.msix.cleared.valid.val() && of_network;
        self.msix.cleared.ready.next =
            if of_network { self.network_flr.ready.val() } else { self.flr.ready.val() };
        self.flr_done.link(&mut self.over.sink[0]);
        self.network_flr_done.link(&mut self.over.sink[1]);
        self.over.last.next = !bits::<2>(0);
        self.over.source.join(&mut self.configuration.flr_done);
        self.msix.update.next = self.configuration.update.val();
        self.msix.link.next = self.configuration.link.val();
        self.update.next = self.configuration.update.val();
        self.link.next = self.configuration.link.val();

        let malformed = if self.receiver.malformed.val().valid {
            bits::<COUNTER_COUNT>(MALFORMED)
        } else {
            bits::<COUNTER_COUNT>(0)
        };
        let resets = if self.configuration.reset.val() {
            bits::<COUNTER_COUNT>(RESETS)
        } else {
            bits::<COUNTER_COUNT>(0)
        };
        let sent =
            if self.msix.sent.val() { bits::<COUNTER_COUNT>(INTERRUPTS) } else { bits::<COUNTER_COUNT>(0) };
        self.events.next = self.target.events.val() | malformed | resets | sent;
        self.busy.next = self.rx.valid.val()
            || self.receiver.busy.val()
            || self.queue.level.val().any()
            || self.target.busy.val()
            || self.configuration.busy.val()
            || self.msix.busy.val()
            || self.responder.busy.val()
            || self.faults.busy.val()
            || self.messenger.busy.val();
    }
}
