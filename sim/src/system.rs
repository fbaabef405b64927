//! A card in its host: link, root complex, IOMMU and media around an [`Edge`].

use std::collections::VecDeque;
use std::sync::Arc;

use nitride_abi::tlp::{ERR_COR, ERR_FATAL, ERR_NONFATAL, Header, Kind, MSI_WINDOW, ROUTE_TO_ROOT, Status};
use nitride_driver::Memory;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::counters::Counters;
use crate::edge::{Edge, Inputs, Outputs};
use crate::ethernet::{EthernetPort, EthernetPorts, ReplayFrame};
use crate::firmware::Topology;
use crate::interrupts::Interrupt;
use crate::link::{Arrival, Downstream, Upstream};
use crate::log::TlpLog;
use crate::media::{AxiSlave, Media};
use crate::options::{LinkOptions, Options};
use crate::root::{
    self, DmaRequest, HostRequest, Iommu, MapError, Outcome, RAW_TAGS, ReadFault, Requester, Ticket,
};
use crate::tlp::Tlp;
use crate::{Error, Failure};

/// The card's bus number.
pub const BUS: u8 = 1;
/// Cycles without `busy` and without a change of any input after which the card counts as idle: more than
/// the registers between an input and `busy`.
const SETTLE: u32 = 8;
/// What is kept of violations; more are only counted.
const KEPT: usize = 64;
/// The last tag that a card may use while Extended Tag Field Enable is 0 (PCIe 4.0 §2.2.6.2).
const SHORT_TAGS: u8 = 31;
/// Cycles by which disorder delays a read at most.
const JITTER: u64 = 64;

/// Something that the card did against the rules of its edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub cycle: u64,
    /// What.
    pub what: String,
}

/// One card, its host and its media: single-threaded, and the same for the same seed and requests.
pub struct System {
    edge: Box<dyn Edge>,
    inputs: Inputs,
    outputs: Outputs,
    now: u64,
    quiet: u32,
    rng: SmallRng,
    options: LinkOptions,
    pub(crate) max_payload: u16,
    pub(crate) max_read_request: u16,
    pub(crate) topology: Arc<Topology>,
    down: Downstream,
    up: Upstream,
    requester: Requester,
    iommu: Iommu,
    /// Reads of the card that disorder holds back, with the cycle until which it does.
    reads: Vec<(u64, DmaRequest)>,
    read_faults: Vec<ReadFault>,
    interrupts: VecDeque<Interrupt>,
    raw_completions: VecDeque<Tlp>,
    media: Media,
    axi: AxiSlave,
    ethernet: EthernetPorts,
    counters: Counters,
    violations: Vec<Violation>,
    log: Option<TlpLog>,
}

impl System {
    /// Puts `edge` into a host. Nothing has crossed its ports yet; [`System::boot`] is the next step.
    pub fn new(mut edge: Box<dyn Edge>, options: Options) -> Result<Self, Error> {
        if let Some(trace) = &options.trace {
            let path = trace.path.display().to_string();
            edge.trace(trace).map_err(|source| Error::File { what: "waveform", path, source })?;
        }
        let log = match &options.tlp_log {
            None => None,
            Some(path) => Some(TlpLog::create(path).map_err(|source| Error::File {
                what: "TLP log",
                path: path.display().to_string(),
                source,
            })?),
        };
        Ok(Self {
            edge,
            inputs: Inputs::default(),
            outputs: Outputs::default(),
            now: 0,
            quiet: 0,
            rng: SmallRng::seed_from_u64(options.seed),
            options: options.link,
            max_payload: 128,
            max_read_request: 512,
            topology: Arc::default(),
            down: Downstream::default(),
            up: Upstream::new(),
            requester: Requester::new(),
            iommu: Iommu::new(),
            reads: Vec::new(),
            read_faults: Vec::new(),
            interrupts: VecDeque::new(),
            raw_completions: VecDeque::new(),
            media: Media::new(options.media.volatile),
            axi: AxiSlave::new(options.media),
            ethernet: EthernetPorts::default(),
            counters: Counters::default(),
            violations: Vec::new(),
            log,
        })
    }

    /// Simulates one clock cycle.
    pub fn step(&mut self) {
        let before = (self.inputs.tx_credit, self.inputs.rx.is_some());
        self.drive();
        let changed = before != (self.inputs.tx_credit, self.inputs.rx.is_some());
        self.edge.cycle(self.now, &self.inputs, &mut self.outputs);
        self.counters.simulated += 1;
        let waiting = self.outputs.busy
            || self.outputs.tx.is_some()
            || self.inputs.rx.is_some()
            || self.ethernet.is_busy(&self.inputs.ethernet);
        let idle = !changed && !waiting && self.axi.is_idle() && self.inputs.media.is_idle();
        self.quiet = if idle { self.quiet + 1 } else { 0 };
        self.sample();
        self.root_complex();
        self.now += 1;
    }

    /// As [`System::step`], but where the card is idle first lets the clock run on to the next event.
    pub fn advance(&mut self) {
        if self.is_settled()
            && let Some(next) = self.next_event()
        {
            self.now = self.now.max(next);
        }
        self.step();
    }

    /// Whether nothing will happen until a new request comes.
    pub fn is_idle(&self) -> bool {
        self.is_settled() && self.next_event().is_none()
    }

    fn is_settled(&self) -> bool {
        self.quiet >= SETTLE && !self.down.is_sending() && !self.up.is_receiving() && self.axi.is_idle()
    }

    fn next_event(&self) -> Option<u64> {
        let reads = self.reads.iter().map(|(due, _)| *due).min();
        let events = [
            self.down.next_arrival(),
            self.up.next_event(),
            self.requester.next_deadline(),
            reads,
            self.ethernet.next_arrival(),
        ];
        events.into_iter().flatten().min()
    }

    /// Sets the inputs of this cycle.
    fn drive(&mut self) {
        let stall = self.options.stall_percent;
        let (mut stall_rx, mut stall_tx) = (false, false);
        if stall > 0 {
            stall_rx = self.rng.random_ratio(u32::from(stall.min(100)), 100);
            stall_tx = self.rng.random_ratio(u32::from(stall.min(100)), 100);
        }
        if self.inputs.rx.is_none()
            && !stall_rx
            && let Some((beat, begun)) = self.down.beat(self.now, &self.options, &mut self.rng)
        {
            if let Some(tlp) = begun {
                self.counters.down.count(tlp.class(), tlp.payload.len());
                if let Some(log) = &mut self.log {
                    record(log, self.now, true, tlp);
                }
            }
            self.inputs.rx = Some(beat);
        }
        self.inputs.tx_ready = !stall_tx;
        self.inputs.tx_credit = self.up.credit(self.now, &self.options);
        self.ethernet.drive(self.now, &mut self.inputs.ethernet);
    }

    /// Takes what crossed the edge in this cycle.
    fn sample(&mut self) {
        if self.inputs.rx.is_some() && self.outputs.rx_ready {
            self.inputs.rx = None;
            self.down.taken();
        }
        if let Some(beat) = &self.outputs.tx
            && self.inputs.tx_ready
        {
            match self.up.take(self.now, beat, &self.options) {
                Arrival::Nothing => {}
                Arrival::Wrong(what) => self.violation(what),
                Arrival::Complete(tlp) => {
                    self.counters.up.count(tlp.class(), tlp.payload.len());
                    if let Some(log) = &mut self.log {
                        record(log, self.now, false, &tlp);
                    }
                    self.up.push(self.now + self.options.latency, tlp);
                }
            }
        }
        let (now, violations, counters) = (self.now, &mut self.violations, &mut self.counters);
        self.axi.step(
            now,
            &mut self.inputs.media,
            &self.outputs.media,
            &mut self.media,
            &mut self.rng,
            |what| {
                note(violations, counters, now, what);
            },
        );
        self.ethernet.sample(now, &self.inputs.ethernet, &self.outputs.ethernet, |what| {
            note(violations, counters, now, what);
        });
    }

    /// The host's part of this cycle.
    fn root_complex(&mut self) {
        while let Some(tlp) = self.up.arrived(self.now) {
            self.receive(tlp);
        }
        if !self.reads.is_empty() {
            while let Some(index) = self.reads.iter().position(|(due, _)| *due <= self.now) {
                let (_, request) = self.reads.remove(index);
                self.serve_read(&request);
            }
        }
        if self.requester.next_deadline().is_some_and(|deadline| deadline <= self.now) {
            let (arrives, down) = (self.now + self.options.latency, &mut self.down);
            let deadline = self.now + self.options.completion_timeout;
            self.counters.timeouts +=
                self.requester.expire(self.now, deadline, |tlp| down.push(arrives, tlp));
        }
    }

    fn receive(&mut self, tlp: Tlp) {
        let header = match Header::parse(&tlp.header) {
            Ok(header) => header,
            Err(why) => return self.violation(format!("malformed TLP {:08x?}: {why}", tlp.header)),
        };
        if header.payload_dws() * 4 > usize::from(self.max_payload) {
            return self
                .violation(format!("a payload beyond Max_Payload_Size ({}): {header:x?}", self.max_payload));
        }
        match header.kind {
            Kind::Memory { write, requester, tag, first, last, address } => {
                let request = DmaRequest { header, requester, tag, address, first, last };
                if requester >> 8 != u16::from(BUS) {
                    return self.violation(format!("a request from another bus: {header:x?}"));
                }
                if write {
                    self.serve_write(&request, &tlp.payload);
                } else if tag > SHORT_TAGS && !self.options.extended_tags {
                    self.violation(format!("a tag of more than 5 bits: {header:x?}"));
                } else if u32::from(header.length) * 4 > u32::from(self.max_read_request) {
                    let limit = self.max_read_request;
                    self.violation(format!("a read beyond Max_Read_Request_Size ({limit}): {header:x?}"));
                } else if self.options.disorder {
                    let due = self.now + self.rng.random_range(0..JITTER);
                    self.reads.push((due, request));
                } else {
                    self.serve_read(&request);
                }
            }
            Kind::Completion { requester, tag, .. } => {
                if requester != 0 {
                    return self
                        .violation(format!("a completion for a requester that is not here: {header:x?}"));
                }
                if RAW_TAGS.contains(&tag) {
                    return self.raw_completions.push_back(tlp);
                }
                let (arrives, down) = (self.now + self.options.latency, &mut self.down);
                let deadline = self.now + self.options.completion_timeout;
                let result =
                    self.requester.complete(&header, &tlp.payload, deadline, |tlp| down.push(arrives, tlp));
                if let Err(what) = result {
                    self.violation(what);
                }
            }
            Kind::Message { data, routing, requester, code, .. } => {
                let severity = [ERR_COR, ERR_NONFATAL, ERR_FATAL].iter().position(|known| *known == code);
                match severity {
                    Some(severity)
                        if !data && routing == ROUTE_TO_ROOT && requester >> 8 == u16::from(BUS) =>
                    {
                        self.counters.functions[usize::from(requester as u8)].errors[severity] += 1;
                    }
                    _ => self.violation(format!("a message that no endpoint sends like this: {header:x?}")),
                }
            }
            Kind::Config { .. } => {
                self.violation(format!("a configuration request towards the host: {header:x?}"));
            }
        }
    }

    fn serve_write(&mut self, request: &DmaRequest, payload: &[u8]) {
        let function = request.requester as u8;
        let counters = &mut self.counters.functions[usize::from(function)];
        if MSI_WINDOW.contains(&request.address) {
            let Ok(data) = <[u8; 4]>::try_from(payload) else {
                return self
                    .violation(format!("an interrupt message that is not one DW: {:x?}", request.header));
            };
            counters.interrupts += 1;
            let data = u32::from_le_bytes(data);
            return self.interrupts.push_back(Interrupt {
                cycle: self.now,
                function,
                address: request.address,
                data,
            });
        }
        if request.header.poisoned {
            return self.violation(format!("a poisoned write: {:x?}", request.header));
        }
        let access = request.access();
        match self.iommu.translate(function, access.address, access.len, true) {
            Some((memory, offset)) if root::apply_write(request, payload, memory, offset) => {
                counters.dma_write_bytes += access.len as u64;
            }
            _ => counters.faults += 1,
        }
    }

    fn serve_read(&mut self, request: &DmaRequest) {
        let function = request.requester as u8;
        let counters = &mut self.counters.functions[usize::from(function)];
        let access = request.access();
        let arrives = self.now + self.options.latency;
        let mut buffer = [0; 4096];
        let data = &mut buffer[..access.len];
        let down = &mut self.down;
        match self.iommu.translate(function, access.address, access.len, false) {
            Some((memory, offset)) if memory.read(offset, data) => {
                counters.dma_read_bytes += access.len as u64;
                let rng = self.options.disorder.then_some(&mut self.rng);
                let (payload, boundary) =
                    (u64::from(self.max_payload), u64::from(self.options.read_completion_boundary));
                let fault = self.read_faults.iter().find(|fault| fault.concerns(request));
                if let Some(fault) = fault {
                    let mut completions = Vec::new();
                    root::completions(request, data, payload, boundary, rng, |tlp| completions.push(tlp));
                    let spoilt = fault.kind.spoil(request, completions);
                    for tlp in spoilt {
                        down.push(arrives, tlp);
                    }
                } else {
                    root::completions(request, data, payload, boundary, rng, |tlp| down.push(arrives, tlp));
                }
            }
            _ => {
                counters.faults += 1;
                down.push(arrives, root::failed(request, Status::UnsupportedRequest));
            }
        }
    }

    fn violation(&mut self, what: String) {
        note(&mut self.violations, &mut self.counters, self.now, what);
    }

    /// Begins a request of the host; its outcome comes by [`System::poll`] or [`System::wait`].
    pub fn request(&mut self, request: HostRequest) -> Ticket {
        let (arrives, down) = (self.now + self.options.latency, &mut self.down);
        let deadline = self.now + self.options.completion_timeout;
        self.requester.begin(request, deadline, |tlp| down.push(arrives, tlp))
    }

    /// Begins a read of 1 to 4 bytes of configuration space, inside of one DW.
    pub fn config_read(&mut self, function: u8, offset: u16, len: u8) -> Ticket {
        self.request(HostRequest::ConfigRead { function, offset, len })
    }

    /// Begins a write of 1 to 4 bytes of configuration space, inside of one DW.
    pub fn config_write(&mut self, function: u8, offset: u16, len: u8, value: u32) -> Ticket {
        self.request(HostRequest::ConfigWrite { function, offset, len, value })
    }

    /// Begins a read of 1 to 4096 bytes of memory space, inside of one 4 KiB page.
    pub fn memory_read(&mut self, address: u64, len: u16) -> Ticket {
        self.request(HostRequest::MemoryRead { address, len })
    }

    /// Posts a write of memory space: at least one byte, inside of one 4 KiB page, and no longer than
    /// Max_Payload_Size.
    pub fn memory_write(&mut self, address: u64, data: &[u8]) -> Result<(), Failure> {
        let tlp = root::posted_write(address, data).ok_or(Failure::Invalid)?;
        if tlp.payload.len() > usize::from(self.max_payload) {
            return Err(Failure::Invalid);
        }
        self.inject(tlp);
        Ok(())
    }

    /// Sends any TLP to the card. A non-posted one should have a tag of 0xf0 to 0xff: the completions of
    /// these come out of [`System::take_raw_completion`].
    pub fn inject(&mut self, tlp: Tlp) {
        self.down.push(self.now + self.options.latency, tlp);
    }

    /// The next completion of an injected request.
    pub fn take_raw_completion(&mut self) -> Option<Tlp> {
        self.raw_completions.pop_front()
    }

    /// The outcome of a request, once, when it has one.
    pub fn poll(&mut self, ticket: Ticket) -> Option<Outcome> {
        self.requester.poll(ticket)
    }

    /// Simulates until a request has its outcome: at the latest when its completion times out.
    pub fn wait(&mut self, ticket: Ticket) -> Outcome {
        loop {
            if let Some(outcome) = self.requester.poll(ticket) {
                return outcome;
            }
            self.advance();
        }
    }

    /// Simulates until the card is idle and nothing is under way; `false` if that takes more than `cycles`.
    pub fn settle(&mut self, cycles: u64) -> bool {
        let end = self.now + cycles;
        while !self.is_idle() && self.now < end {
            self.advance();
        }
        self.is_idle()
    }

    pub(crate) fn take_finished(&mut self) -> Option<(Ticket, Outcome)> {
        self.requester.take_finished()
    }

    /// Requests of the host under way: TLPs that have not reached the card, and requests without an outcome.
    pub fn backlog(&self) -> usize {
        self.down.len() + self.requester.outstanding()
    }

    /// The next interrupt message, in the order of arrival.
    pub fn take_interrupt(&mut self) -> Option<Interrupt> {
        self.interrupts.pop_front()
    }

    /// Counts an interrupt that nobody wanted.
    pub(crate) fn interrupt_lost(&mut self, function: u8) {
        self.counters.functions[usize::from(function)].interrupts_lost += 1;
    }

    /// Opens `memory` to a function's DMA at the I/O virtual address `iova`.
    pub fn map(
        &mut self,
        function: u8,
        iova: u64,
        memory: Arc<Memory>,
        access: nitride_driver::Access,
    ) -> Result<(), MapError> {
        self.iommu.map(function, iova, memory, access)
    }

    /// Closes what was opened at exactly this range: from here on no DMA reaches it.
    pub fn unmap(&mut self, function: u8, iova: u64, len: u64) -> Result<(), MapError> {
        self.iommu.unmap(function, iova, len)
    }

    /// Closes all that was opened to a function.
    pub fn unmap_all(&mut self, function: u8) {
        self.iommu.clear(function);
    }

    /// Lets reads of the card fail from now on; [`System::clear_read_faults`] ends it.
    pub fn fail_reads(&mut self, fault: ReadFault) {
        self.read_faults.push(fault);
    }

    /// Ends all that [`System::fail_reads`] began.
    pub fn clear_read_faults(&mut self) {
        self.read_faults.clear();
    }

    /// What [`System::boot`] found.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The media's contents.
    pub fn media(&mut self) -> &mut Media {
        &mut self.media
    }

    /// An Ethernet port of the card, 0 or 1.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn ethernet(&mut self, port: usize) -> &mut EthernetPort {
        self.ethernet.port(port)
    }

    /// Lets frames arrive at an Ethernet port at their times from now on, with the link up.
    pub(crate) fn replay(&mut self, port: usize, frames: Vec<ReplayFrame>) {
        let now = self.now;
        self.ethernet.port(port).replay(now, frames);
    }

    /// The cycle that [`System::step`] simulates next.
    pub fn cycle(&self) -> u64 {
        self.now
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        Counters { cycles: self.now, media_bytes: self.axi.bytes, ..self.counters.clone() }
    }

    /// The first things that the card did against the rules of its edge; a correct card does none.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) fn link_options(&self) -> &LinkOptions {
        &self.options
    }

    /// Writes out what the TLP log and the captures have buffered.
    pub fn flush_log(&mut self) -> std::io::Result<()> {
        self.ethernet.flush()?;
        self.log.as_mut().map_or(Ok(()), TlpLog::flush)
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if let Err(error) = self.flush_log() {
            tracing::warn!("TLP log: {error}");
        }
    }
}

fn note(violations: &mut Vec<Violation>, counters: &mut Counters, cycle: u64, what: String) {
    counters.violations += 1;
    if violations.len() < KEPT {
        tracing::warn!(cycle, "the card broke a rule of its edge: {what}");
        violations.push(Violation { cycle, what });
    }
}

fn record(log: &mut TlpLog, cycle: u64, to_card: bool, tlp: &Tlp) {
    if let Err(error) = log.record(cycle, to_card, tlp) {
        tracing::warn!("TLP log: {error}");
    }
}
