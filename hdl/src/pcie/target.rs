//! What becomes of a request.

use nitride_abi::card;
use nitride_abi::management::{COUNTER_COUNT, Counter};
use nitride_lang::prelude::*;

use super::config::physical_of;
use super::decoder::Decoder;
use super::request::{Apertures, Completion, ConfigRequest, ConfigResponse, Outcome, Request, RequestKind};
use crate::bus::{ErrorKind, ErrorReport, LinkConfig, RegisterRequest, RegisterResponse};

const NETWORK: u64 = card::PF_NETWORK as u64;
const MANAGEMENT: u64 = card::PF_MANAGEMENT as u64;
/// The offset bit that tells MSI-X structures from the other registers.
const MSIX_BIT: usize = card::BAR0_MSIX_TABLE.ilog2() as usize;
const EVENT_MALFORMED: u64 = 1 << Counter::Malformed as u64;
const EVENT_POISONED: u64 = 1 << Counter::Poisoned as u64;
const EVENT_UNSUPPORTED: u64 = 1 << Counter::Unsupported as u64;
const EVENT_ABORTED: u64 = 1 << Counter::Aborted as u64;
const EVENT_CONFIGURATION: u64 = 1 << Counter::Configuration as u64;
const EVENT_READ: u64 = 1 << Counter::RegisterReads as u64;
const EVENT_WRITE: u64 = 1 << Counter::RegisterWrites as u64;

/// Where a request is served.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum Unit {
    /// Nowhere: refused, or not a request.
    #[default]
    None,
    /// Configuration space.
    Config,
    /// PF0's registers.
    Management,
    /// NVMe registers and doorbells.
    Nvme,
    /// virtio structures.
    Network,
    /// MSI-X tables and PBAs.
    Msix,
}

/// The request's progress.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum TargetState {
    /// No request.
    #[default]
    Idle,
    /// The address is being decoded.
    Decode,
    /// Its second cycle.
    Locate,
    /// Decided where it goes, from the decoder's answer.
    Decide,
    /// Offered to its unit.
    Route,
    /// The unit's answer is awaited.
    Wait,
    /// The completion is offered.
    Complete,
    /// An error is offered to the configuration space.
    Report,
}

/// Serves requests one after the other, in order.
///
/// Memory requests go by their address, to a function's unit; a read's answer comes back as a completion. What hits nothing, is too
/// large for the registers or was refused by the receiver is completed with UR or CA if it is non-posted, counted and reported to
/// `errors`. A register write takes 5 cycles, a read 7 and the unit's latency. It waits only for the units, each of which
/// answers by itself, and for room for a completion.
#[derive(LogicBlock, Default)]
pub struct Target {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// From the receiver.
    pub requests: Sink<Request>,
    /// Where the functions are.
    pub apertures: Signal<In, Apertures>,
    /// For completer IDs.
    pub link: Signal<In, LinkConfig>,
    /// To the configuration space.
    pub config: Source<ConfigRequest>,
    /// From the configuration space.
    pub config_response: Sink<ConfigResponse>,
    /// To PF0's registers.
    pub management: Source<RegisterRequest>,
    /// From PF0's registers.
    pub management_response: Sink<RegisterResponse>,
    /// To NVMe registers and doorbells.
    pub nvme: Source<RegisterRequest>,
    /// From NVMe registers.
    pub nvme_response: Sink<RegisterResponse>,
    /// To virtio structures.
    pub network: Source<RegisterRequest>,
    /// From virtio structures.
    pub network_response: Sink<RegisterResponse>,
    /// To the MSI-X structures.
    pub msix: Source<RegisterRequest>,
    /// From the MSI-X structures.
    pub msix_response: Sink<RegisterResponse>,
    /// To the completer.
    pub completion: Source<Completion>,
    /// To the configuration space.
    pub errors: Source<ErrorReport>,
    /// Pulses, by `Counter`.
    pub events: Signal<Out, Bits<COUNTER_COUNT>>,
    /// A request is being served.
    pub busy: Signal<Out, Bit>,
    decoder: Decoder,
    state: Reg<TargetState>,
    request: Reg<Request>,
    unit: Reg<Unit>,
    addressed: Reg<Bits<5>>,
    outcome: Reg<Outcome>,
    data: Reg<Bits<64>>,
    report: Reg<Bit>,
    error: Reg<ErrorReport>,
}

/// Requests that the host awaits no completion of.
#[hdl_fn]
fn posted(kind: RequestKind) -> Bit {
    kind == RequestKind::MemoryWrite || kind == RequestKind::Malformed || kind == RequestKind::Poisoned
}

#[hdl_fn]
fn is_config(kind: RequestKind) -> Bit {
    kind == RequestKind::ConfigRead || kind == RequestKind::ConfigWrite
}

/// The unit of a request that hits `function` (if `hit`).
#[hdl_fn]
fn unit_of(request: Request, hit: Bit, function: Bits<5>) -> Unit {
    let memory = request.kind == RequestKind::MemoryRead || request.kind == RequestKind::MemoryWrite;
    let mut unit: Unit = Unit::None;
    if is_config(request.kind) {
        unit = Unit::Config;
    } else if memory && hit && request.fits {
        unit = if function == MANAGEMENT {
            Unit::Management
        } else if request.address.get_bit(MSIX_BIT) {
            Unit::Msix
        } else if physical_of(function) == NETWORK {
            Unit::Network
        } else {
            Unit::Nvme
        };
    }
    unit
}

/// The error of a request that no unit takes, or of a dropped TLP.
#[hdl_fn]
fn error_of(kind: RequestKind, hit: Bit) -> ErrorKind {
    if kind == RequestKind::Malformed {
        ErrorKind::Malformed
    } else if kind == RequestKind::Poisoned {
        ErrorKind::Poisoned
    } else if kind == RequestKind::MemoryRead && hit {
        ErrorKind::Aborted
    } else if kind == RequestKind::MemoryWrite {
        ErrorKind::UnsupportedPosted
    } else {
        ErrorKind::UnsupportedNonPosted
    }
}

impl Logic for Target {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let request = self.request.q.val();
        let unit = self.unit.q.val();
        let hit = self.decoder.hit.val();
        let memory_read = request.kind == RequestKind::MemoryRead;
        let memory_write = request.kind == RequestKind::MemoryWrite;
        let memory = memory_read || memory_write;

        self.decoder.apertures.next = self.apertures.val();
        self.decoder.address.next = request.address;
        self.requests.ready.next = state == TargetState::Idle;
        let mut events = bits::<COUNTER_COUNT>(0);

        // Units, only one of which is addressed.
        let word = RegisterRequest {
            write: memory_write,
            function: self.addressed.q.val(),
            offset: cat2::<11, 3, 14>(request.address.get_bits::<11>(3), bits::<3>(0)),
            data: request.data,
            enable: request.enable,
        };
        let route = state == TargetState::Route;
        self.config.valid.next = route && unit == Unit::Config;
        self.config.data.next = ConfigRequest {
            write: request.kind == RequestKind::ConfigWrite,
            target: request.address.get_bits::<16>(16),
            register: request.address.get_bits::<10>(2),
            data: request.data.get_bits::<32>(0),
            enable: request.enable.get_bits::<4>(0),
        };
        self.management.valid.next = route && unit == Unit::Management;
        self.management.data.next = word;
        self.nvme.valid.next = route && unit == Unit::Nvme;
        self.nvme.data.next = word;
        self.network.valid.next = route && unit == Unit::Network;
        self.network.data.next = word;
        self.msix.valid.next = route && unit == Unit::Msix;
        self.msix.data.next = word;
        let taken = match unit {
            Unit::Config => self.config.ready.val(),
            Unit::Management => self.management.ready.val(),
            Unit::Nvme => self.nvme.ready.val(),
            Unit::Network => self.network.ready.val(),
            _ => self.msix.ready.val(),
        };

        let wait = state == TargetState::Wait;
        self.config_response.ready.next = wait && unit == Unit::Config;
        self.management_response.ready.next = wait && unit == Unit::Management;
        self.nvme_response.ready.next = wait && unit == Unit::Nvme;
        self.network_response.ready.next = wait && unit == Unit::Network;
        self.msix_response.ready.next = wait && unit == Unit::Msix;
        let answered = match unit {
            Unit::Config => self.config_response.valid.val(),
            Unit::Management => self.management_response.valid.val(),
            Unit::Nvme => self.nvme_response.valid.val(),
            Unit::Network => self.network_response.valid.val(),
            _ => self.msix_response.valid.val(),
        };
        let answer = match unit {
            Unit::Config => bit_cast::<64, 32>(self.config_response.data.val().data),
            Unit::Management => self.management_response.data.val().data,
            Unit::Nvme => self.nvme_response.data.val().data,
            Unit::Network => self.network_response.data.val().data,
            _ => self.msix_response.data.val().data,
        };

        // The completion. Its completer is the function that was addressed; PF0 where none was.
        let outcome = self.outcome.q.val();
        let id = cat2::<8, 8, 16>(self.link.val().bus, bit_cast::<8, 5>(self.addressed.q.val()));
        self.completion.valid.next = state == TargetState::Complete;
        self.completion.data.next = Completion {
            outcome: outcome,
            with_data: outcome == Outcome::Success && request.kind != RequestKind::ConfigWrite,
            double: request.double && memory,
            data: if memory && request.address.get_bit(2) {
                self.data.q.val() >> 32
            } else {
                self.data.q.val()
            },
            completer: if is_config(request.kind) { request.address.get_bits::<16>(16) } else { id },
            ticket: request.ticket,
        };
        self.errors.valid.next = state == TargetState::Report;
        self.errors.data.next = self.error.q.val();

        match state {
            TargetState::Idle => {
                if self.requests.valid.val() {
                    self.request.d.next = self.requests.data.val();
                    self.state.d.next = TargetState::Decode;
                }
            }
            TargetState::Decode => {
                self.state.d.next = TargetState::Locate;
            }
            TargetState::Locate => {
                self.state.d.next = TargetState::Decide;
            }
            TargetState::Decide => {
                let found = hit.valid && (memory || request.kind == RequestKind::Poisoned);
                let to = unit_of(request, found, hit.function);
                let error = error_of(request.kind, found);
                // A write that is too large for the registers is only counted: it did hit its function.
                let dropped = memory_write && found;
                self.unit.d.next = to;
                self.addressed.d.next = if found { hit.function } else { bits::<5>(MANAGEMENT) };
                self.outcome.d.next =
                    if error == ErrorKind::Aborted { Outcome::Aborted } else { Outcome::Unsupported };
                self.report.d.next = to == Unit::None && !dropped;
                self.error.d.next = ErrorReport {
                    kind: error,
                    specific: found,
                    function: hit.function,
                    header: request.header,
                };
                if to != Unit::None {
                    self.state.d.next = TargetState::Route;
                } else if dropped {
                    self.state.d.next = TargetState::Idle;
                } else if posted(request.kind) {
                    self.state.d.next = TargetState::Report;
                } else {
                    self.state.d.next = TargetState::Complete;
                }
                if to == Unit::Config {
                    events = events | EVENT_CONFIGURATION;
                } else if to != Unit::None {
                    events = events
                        | (if memory_write { bits::<16>(EVENT_WRITE) } else { bits::<16>(EVENT_READ) });
                } else if request.kind == RequestKind::Malformed {
                    events = events | EVENT_MALFORMED;
                } else if dropped || error == ErrorKind::Aborted {
                    events = events | EVENT_ABORTED;
                } else if request.kind != RequestKind::Poisoned {
                    events = events | EVENT_UNSUPPORTED;
                }
                if request.poisoned {
                    events = events | EVENT_POISONED;
                }
            }
            TargetState::Route => {
                if taken {
                    self.state.d.next = if memory_write { TargetState::Idle } else { TargetState::Wait };
                }
            }
            TargetState::Wait => {
                if answered {
                    if unit == Unit::Config && self.config_response.data.val().outcome == Outcome::Unsupported
                    {
                        events = events | EVENT_UNSUPPORTED;
                    }
                    self.data.d.next = answer;
                    self.outcome.d.next = if unit == Unit::Config {
                        self.config_response.data.val().outcome
                    } else {
                        Outcome::Success
                    };
                    self.state.d.next = TargetState::Complete;
                }
            }
            TargetState::Complete => {
                if self.completion.ready.val() {
                    self.state.d.next =
                        if self.report.q.val() { TargetState::Report } else { TargetState::Idle };
                }
            }
            TargetState::Report => {
                if self.errors.ready.val() {
                    self.state.d.next = TargetState::Idle;
                }
            }
            _ => {}
        }
        self.events.next = events;
        self.busy.next = state != TargetState::Idle;
    }
}
