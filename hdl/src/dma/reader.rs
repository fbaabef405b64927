//! The DMA read engine.

use nitride_lang::prelude::*;

use super::CLIENTS;
use super::issuer::Issuer;
use super::matcher::Matcher;
use super::placer::Placer;
use super::requests::Requests;
use crate::bus::{DmaDone, DmaReadRequest, ErrorPulse, FunctionUpdate, LandingWrite, LinkConfig, TlpBeat};
use crate::profile::Profile;

/// Reads host memory into landing RAMs, for five clients (0: data chunks, 1: queue entries, 2: lists, 3: virtqueues,
/// 4: frames), round robin.
///
/// - A request is cut at multiples of Max_Read_Request_Size; 64 pieces (tags; 32 while tags have 5 bits) and 64 requests can be under way. Latency
///   4 cycles from a request to its first TLP; then a TLP each cycle, without a gap between requests if they are long
///   enough (a request every other cycle).
/// - Completions are taken a beat each cycle, in any legal order; a beat is in the landing RAM 5 cycles later. Once in
///   1/504 of the completion timeout they wait for a cycle.
/// - Each accepted request gets exactly one `done`, when all its pieces are settled, with the status of the first piece that
///   did not go well: `NotEnabled` (the function was not bus master when a piece's turn came: it is not issued),
///   `Failed` (UR, CA, CRS, poisoned, or a completion that does not fit), `Timeout`. All data is in the landing RAM
///   when `done` shows it. After an error some or all data is.
/// - A requester's completions have to name the card's bus number as it is now.
#[derive(LogicBlock)]
pub struct Reader {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// The clients' requests.
    pub request: [Sink<DmaReadRequest>; CLIENTS],
    /// Ends of requests, one cycle each: the client is always ready.
    pub done: [Source<DmaDone>; CLIENTS],
    /// Completions from the host (Cpl, CplD; EP as it came).
    pub completions: Sink<TlpBeat>,
    /// MRd TLPs.
    pub tlp: Source<TlpBeat>,
    /// To all landing RAMs.
    pub landing: Signal<Out, LandingWrite>,
    /// The functions' states.
    pub update: Signal<In, FunctionUpdate>,
    /// The bus number, Max_Read_Request_Size, how wide tags are, and whether reads time out.
    pub link: Signal<In, LinkConfig>,
    /// An error: a completion that was not expected (PCIe 4.0 §2.3.2) and was dropped, or was poisoned, UR or CA; or a read
    /// request that was given up (PCIe 4.0 §2.8).
    pub error: Signal<Out, ErrorPulse>,
    /// Pulse: a read request (one TLP) was handed to the link.
    pub issued: Signal<Out, Bit>,
    /// A request or a completion is under way.
    pub busy: Signal<Out, Bit>,
    issuer: Issuer,
    matcher: Matcher,
    placer: Placer,
    requests: Requests,
}

impl Reader {
    /// The engine of a card with this profile.
    #[must_use]
    pub fn new(profile: &Profile) -> Self {
        Self {
            clock: Signal::default(),
            request: Default::default(),
            done: Default::default(),
            completions: Sink::default(),
            tlp: Source::default(),
            landing: Signal::default(),
            update: Signal::default(),
            link: Signal::default(),
            error: Signal::default(),
            issued: Signal::default(),
            busy: Signal::default(),
            issuer: Issuer::default(),
            matcher: Matcher::new(profile.completion_timeout),
            placer: Placer::default(),
            requests: Requests::default(),
        }
    }
}

impl Logic for Reader {
    #[hdl]
    fn update(&mut self) {
        for i in 0..CLIENTS {
            self.request[i].link(&mut self.issuer.request[i]);
            self.done[i].link(&mut self.requests.done[i]);
        }
        self.tlp.link(&mut self.issuer.tlp);
        self.completions.link(&mut self.matcher.completions);
        self.issuer.refused.join(&mut self.requests.refused);
        self.issuer.link.next = self.link.val();
        self.issuer.update.next = self.update.val();
        self.issuer.round.next = self.matcher.round.val();
        self.issuer.free_tag.next = self.matcher.free.val();
        self.issuer.freed_tag.next = self.matcher.freed.val();
        self.issuer.free_slot.next = self.requests.free.val();
        self.issuer.freed_slot.next = self.requests.freed.val();
        self.matcher.link.next = self.link.val();
        self.matcher.issued.next = self.issuer.issued.val();
        self.matcher.waiting.next = self.issuer.waiting.val();
        self.placer.placement.next = self.matcher.placement.val();
        self.requests.opened.next = self.issuer.opened.val();
        self.requests.settled.next = self.matcher.settled.val();
        self.landing.next = self.placer.landing.val();
        self.error.next = self.matcher.error.val();
        self.issued.next = self.issuer.tlp.valid.val() && self.tlp.ready.val();
        self.busy.next = self.issuer.busy.val() || self.matcher.busy.val() || self.requests.busy.val();
    }
}
