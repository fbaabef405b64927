//! Serves configuration requests and does what they bring about.

use nitride_abi::pci::space::{self, Kind};
use nitride_abi::{card, pci};
use nitride_lang::prelude::*;

use super::errors::ErrorLog;
use super::physical::Vfs;
use super::settings::Settings;
use super::store::{Access, DW_BITS, Operation, Place, Store, is_physical, kind_of, physical_of};
use crate::bus::{ErrorReport, FunctionState, FunctionUpdate, LinkConfig};
use crate::pcie::request::{Apertures, ConfigRequest, ConfigResponse, ErrorMessage, Outcome};
use crate::profile::Profile;

const MANAGEMENT: u64 = card::PF_MANAGEMENT as u64;
const STORAGE: u64 = card::PF_STORAGE as u64;
const NETWORK: u64 = card::PF_NETWORK as u64;
const NETWORK_VFS: u64 = card::VF_NETWORK_FIRST as u64;
const STORAGE_VFS: u64 = card::VF_STORAGE_FIRST as u64;
const KIND_MANAGEMENT: u64 = Kind::Management as u64;
const KIND_NETWORK: u64 = Kind::Network as u64;
const KIND_STORAGE: u64 = Kind::Storage as u64;

const COMMAND: u64 = pci::COMMAND as u64 / 4;
const MEMORY: usize = pci::COMMAND_MEMORY.ilog2() as usize;
const BUS_MASTER: usize = pci::COMMAND_BUS_MASTER.ilog2() as usize;
const POWER: u64 = pci::PM_CONTROL as u64 / 4;
const POWER_STATE: u64 = pci::PM_STATE as u64;
const DEVICE: u64 = pci::DEVICE_CONTROL as u64 / 4;
const FLR: usize = pci::CONTROL_FLR;
const MSIX: u64 = pci::MSIX as u64 / 4;
const MSIX_ENABLE: usize = pci::MSIX_ENABLE;
const MSIX_MASK: usize = pci::MSIX_MASK;
const VF_CONTROL: u64 = pci::SRIOV_CONTROL as u64 / 4;
const VF_ENABLE: usize = pci::SRIOV_ENABLE;
const NUM_VFS: u64 = pci::SRIOV_NUM_VFS as u64 / 4;
const VF_BAR: u64 = pci::SRIOV_BAR0 as u64 / 4;
/// The last DW that is stored. It reads as 0, and stands for all that are not stored.
const LAST: u64 = space::DWS as u64 - 1;
const BAR_OFFSET: usize = card::BAR0_SIZE.ilog2() as usize;

/// What the control does.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum ControlState {
    /// Waits for a request or an error.
    #[default]
    Idle,
    /// The store reads the requested DW.
    Fetch,
    /// The request is carried out.
    Apply,
    /// The answer is offered.
    Respond,
    /// A walk arrives at a function.
    Start,
    /// The store reads the next DW to be reset.
    ResetFetch,
    /// It is reset.
    ResetApply,
    /// The store reads the next part of the function's state.
    GatherFetch,
    /// The part is taken.
    GatherTake,
    /// The function's state is broadcast.
    Publish,
    /// Its reset is offered to the blocks that serve it.
    Announce,
    /// The walk goes on.
    Next,
    /// An error is being logged.
    Log,
}

/// What a write brought about, for each function of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum Job {
    /// Broadcast the function's state.
    #[default]
    Publish,
    /// Reset the function.
    Reset,
}

/// The configuration space of all functions, with what its registers bring about.
///
/// - A request is answered after 3 cycles, or when what it brought about is done: 10 cycles a function that is broadcast, 300 a
///   function that is reset. Requests to a function that is not there, VFs that are not enabled included, get UR; to one in reset, CRS.
/// - `update` broadcasts a function's state when a register that contributes to it was written.
/// - A function-level reset (of the PF: of its VFs too), or VF Enable being cleared (of all VFs), restores the configuration
///   space, broadcasts a state of zeros, gives all but PF0 to `flr`, and lasts until `flr_done` names them.
/// - `errors` are logged in Status, Device Status and AER, and become messages: see [`ErrorLog`]. Requests wait meanwhile, 100 cycles at most.
#[derive(LogicBlock)]
pub struct Config {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Requests.
    pub request: Sink<ConfigRequest>,
    /// One answer for each.
    pub response: Source<ConfigResponse>,
    /// Errors to be logged. Taken between requests.
    pub errors: Sink<ErrorReport>,
    /// Error messages to send. Taken at once.
    pub message: Source<ErrorMessage>,
    /// The BARs.
    pub apertures: Signal<Out, Apertures>,
    /// Sizes and bus number.
    pub link: Signal<Out, LinkConfig>,
    /// Broadcast of a function's state.
    pub update: Signal<Out, FunctionUpdate>,
    /// Functions in reset.
    pub flr: Source<Bits<5>>,
    /// Functions whose reset is complete. Taken at once.
    pub flr_done: Sink<Bits<5>>,
    /// A function's reset began: one pulse.
    pub reset: Signal<Out, Bit>,
    /// A request is being served, or its consequences.
    pub busy: Signal<Out, Bit>,
    total_vfs: Constant<Bits<4>>,
    network: Constant<Bit>,
    store: Store,
    settings: Settings,
    // Functions whose reset is not complete.
    resetting: Ram<Bit, { card::FUNCTION_BITS }>,
    state: Reg<ControlState>,
    place: Reg<Place>,
    current: Reg<ConfigRequest>,
    answer: Reg<ConfigResponse>,
    job: Reg<Job>,
    // The walk's last function; then its PF.
    last: Reg<Bits<5>>,
    then_physical: Reg<Bit>,
    gathered: Reg<FunctionState>,
    asleep: Reg<Bit>,
    log: ErrorLog,
}

impl Config {
    /// The configuration space of a card of this profile.
    ///
    /// # Panics
    /// If the profile's VFs are not 1 to 15, or more than 8 with PF1.
    pub fn new(profile: &Profile) -> Self {
        let most = if profile.network { card::VF_STORAGE_FIRST - card::VF_NETWORK_FIRST } else { 15 };
        assert!((1..=most).contains(&profile.vfs), "{} VFs: the card has 1 to {most}", profile.vfs);
        Self {
            clock: Signal::default(),
            request: Sink::default(),
            response: Source::default(),
            errors: Sink::default(),
            message: Source::default(),
            apertures: Signal::default(),
            link: Signal::default(),
            update: Signal::default(),
            flr: Source::default(),
            flr_done: Sink::default(),
            reset: Signal::default(),
            busy: Signal::default(),
            total_vfs: Constant::new(u64::from(profile.vfs).into()),
            network: Constant::new(profile.network),
            store: Store::new(profile),
            settings: Settings::default(),
            resetting: Ram::default(),
            state: Reg::new(ControlState::Idle),
            place: Reg::default(),
            current: Reg::default(),
            answer: Reg::default(),
            job: Reg::default(),
            last: Reg::default(),
            then_physical: Reg::default(),
            gathered: Reg::default(),
            asleep: Reg::default(),
            log: ErrorLog::default(),
        }
    }
}

/// A place of a PF that has VFs.
#[hdl_fn]
fn is_virtualized(place: Place) -> Bit {
    place.kind == KIND_STORAGE || place.kind == KIND_NETWORK
}

/// Number `number` is one of the VFs that begin at `first`.
#[hdl_fn]
fn is_vf(vfs: Vfs, number: Bits<8>, first: u64) -> Bit {
    vfs.enable && (number - first) < bit_cast::<8, 4>(vfs.count)
}

/// RW bits that are written 0 whatever the host writes: of a VF BAR those inside of a page, where pages are larger than the
/// BAR (PCIe 4.0 §9.3.3.14).
#[hdl_fn]
fn forced(place: Place, stride: Bits<3>) -> Bits<32> {
    let mut zero = bits::<32>(0);
    if is_virtualized(place) && place.dw == VF_BAR {
        for i in 1..5 {
            if stride == i as u64 {
                zero = bits::<32>((1u64 << (BAR_OFFSET + 2 * i)) - 1);
            }
        }
    }
    zero
}

/// RW bits that this write must not change: NumVFs while VFs are enabled (PCIe 4.0 §9.3.3.7), and a power state that is not
/// supported (PCI PM 1.2 §3.2.4).
#[hdl_fn]
fn held(place: Place, data: Bits<32>, enabled: Bit) -> Bits<32> {
    let mut hold = bits::<32>(0);
    if is_virtualized(place) && place.dw == NUM_VFS && enabled {
        hold = bits::<32>(0xffff);
    } else if place.dw == POWER && data.get_bit(0) != data.get_bit(1) {
        hold = bits::<32>(POWER_STATE);
    }
    hold
}

impl Logic for Config {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let place = self.place.q.val();
        let current = self.current.q.val();
        let network = self.settings.network_vfs.val();
        let storage = self.settings.storage_vfs.val();
        let value = self.store.value.val();
        let result = self.store.result.val();
        let job = self.job.q.val();
        let is_pf = is_physical(place.function);
        let of_network = physical_of(place.function) == NETWORK;
        let vfs = if of_network { network } else { storage };
        let first: Bits<5> = if of_network { bits::<5>(NETWORK_VFS) } else { bits::<5>(STORAGE_VFS) };

        self.store.place.next = place;
        self.store.access.next = Access {
            operation: Operation::Read,
            data: current.data & !forced(place, vfs.stride),
            enable: current.enable,
            hold: held(place, current.data, vfs.enable),
        };
        self.errors.link(&mut self.log.errors);
        self.message.link(&mut self.log.message);
        self.log.grant.next = state == ControlState::Idle && !self.request.valid.val();
        self.log.there.next = false;
        self.log.network.next = self.network.val();
        self.log.value.next = value;
        self.resetting.read_address.next = place.function;
        self.settings.place.next = place;
        self.settings.value.next = result;
        self.settings.write.next = false;
        self.settings.total_vfs.next = self.total_vfs.val();
        self.settings.bus.next = current.target.get_bits::<8>(8);
        self.settings.capture.next = false;
        self.update.next = FunctionUpdate {
            valid: state == ControlState::Publish,
            function: place.function,
            state: self.gathered.q.val(),
        };
        self.reset.next = false;

        match state {
            ControlState::Idle => {
                let asked = self.request.valid.val();
                let target = if asked {
                    self.request.data.val().target.get_bits::<8>(0)
                } else {
                    bit_cast::<8, 5>(self.errors.data.val().function)
                };
                let vf = is_vf(network, target, NETWORK_VFS) || is_vf(storage, target, STORAGE_VFS);
                let there = target == MANAGEMENT
                    || target == STORAGE
                    || (target == NETWORK && self.network.val())
                    || vf;
                let function = target.get_bits::<5>(0);
                let stored = self.request.data.val().register < LAST;
                let dw = self.request.data.val().register.get_bits::<DW_BITS>(0);
                self.log.there.next = there;
                if asked {
                    self.current.d.next = self.request.data.val();
                    self.answer.d.next =
                        ConfigResponse { outcome: Outcome::Unsupported, data: bits::<32>(0) };
                    self.state.d.next = if there { ControlState::Fetch } else { ControlState::Respond };
                    self.place.d.next = Place {
                        function: function,
                        kind: kind_of(function),
                        dw: if stored { dw } else { bits::<DW_BITS>(LAST) },
                    };
                } else if self.errors.valid.val() {
                    self.state.d.next = ControlState::Log;
                }
            }
            ControlState::Fetch => {
                self.state.d.next = ControlState::Apply;
            }
            ControlState::Apply => {
                let control = is_virtualized(place) && place.dw == VF_CONTROL;
                let flr = place.dw == DEVICE && current.enable.get_bit(1) && current.data.get_bit(FLR);
                let some = vfs.enable && vfs.count.any();
                let disabled = some && !result.get_bit(VF_ENABLE);
                let final_vf = bit_cast::<5, 4>(vfs.count) + first - 1;
                self.state.d.next = ControlState::Respond;
                if self.resetting.read_data.val() {
                    self.answer.d.next = ConfigResponse { outcome: Outcome::Retry, data: bits::<32>(0) };
                } else {
                    self.answer.d.next = ConfigResponse { outcome: Outcome::Success, data: value };
                }
                if current.write && !self.resetting.read_data.val() {
                    self.store.access.next.operation = Operation::Write;
                    self.settings.write.next = true;
                    self.settings.capture.next = true;
                    self.last.d.next = place.function;
                    self.then_physical.d.next = false;
                    if flr {
                        self.job.d.next = Job::Reset;
                        self.state.d.next = ControlState::Start;
                        if is_virtualized(place) && some {
                            self.place.d.next.function = first;
                            self.place.d.next.kind = kind_of(first);
                            self.last.d.next = final_vf;
                            self.then_physical.d.next = true;
                        }
                    } else if control {
                        self.state.d.next = ControlState::Start;
                        self.job.d.next = if disabled { Job::Reset } else { Job::Publish };
                        self.place.d.next.function = first;
                        self.place.d.next.kind = kind_of(first);
                        self.last.d.next = if disabled {
                            final_vf
                        } else {
                            bit_cast::<5, 4>(self.total_vfs.val()) + first - 1
                        };
                    } else if place.dw == COMMAND || place.dw == POWER || place.dw == MSIX {
                        self.job.d.next = Job::Publish;
                        self.state.d.next = ControlState::Start;
                    }
                }
            }
            ControlState::Respond => {
                if self.response.ready.val() {
                    self.state.d.next = ControlState::Idle;
                }
            }
            ControlState::Start => {
                self.gathered.d.next =
                    FunctionState { bus_master: false, memory: false, msix_enable: false, msix_mask: false };
                if job == Job::Reset {
                    self.reset.next = true;
                    self.place.d.next.dw = bits::<DW_BITS>(0);
                    self.state.d.next = ControlState::ResetFetch;
                } else {
                    self.place.d.next.dw = bits::<DW_BITS>(COMMAND);
                    self.state.d.next = ControlState::GatherFetch;
                }
            }
            ControlState::ResetFetch => {
                self.state.d.next = ControlState::ResetApply;
            }
            ControlState::ResetApply => {
                self.store.access.next.operation = Operation::Reset;
                self.settings.write.next = true;
                self.place.d.next.dw = place.dw + 1;
                self.state.d.next =
                    if place.dw == LAST { ControlState::Publish } else { ControlState::ResetFetch };
            }
            ControlState::GatherFetch => {
                self.state.d.next = ControlState::GatherTake;
            }
            ControlState::GatherTake => {
                let number = place.function - first;
                let enabled = is_pf || (vfs.enable && number < bit_cast::<5, 4>(vfs.count));
                self.state.d.next = ControlState::GatherFetch;
                if place.dw == COMMAND {
                    self.gathered.d.next.bus_master = enabled && value.get_bit(BUS_MASTER);
                    self.gathered.d.next.memory =
                        enabled && (if is_pf { value.get_bit(MEMORY) } else { vfs.memory });
                    self.place.d.next.dw = bits::<DW_BITS>(POWER);
                } else if place.dw == POWER {
                    // In D3hot a function issues and takes no memory requests (PCI PM 1.2 §5.4.1).
                    if is_pf && value.get_bits::<2>(0).any() {
                        self.gathered.d.next.bus_master = false;
                        self.gathered.d.next.memory = false;
                    }
                    self.place.d.next.dw = bits::<DW_BITS>(MSIX);
                } else {
                    self.gathered.d.next.msix_enable = enabled && value.get_bit(MSIX_ENABLE);
                    self.gathered.d.next.msix_mask = enabled && value.get_bit(MSIX_MASK);
                    self.state.d.next = ControlState::Publish;
                }
            }
            ControlState::Publish => {
                self.state.d.next = if job == Job::Reset && place.kind != KIND_MANAGEMENT {
                    ControlState::Announce
                } else {
                    ControlState::Next
                };
            }
            ControlState::Announce => {
                if self.flr.ready.val() {
                    self.state.d.next = ControlState::Next;
                }
            }
            ControlState::Next => {
                self.state.d.next = ControlState::Start;
                if place.function != self.last.q.val() {
                    self.place.d.next.function = place.function + 1;
                } else if self.then_physical.q.val() {
                    let physical = physical_of(place.function);
                    self.then_physical.d.next = false;
                    self.place.d.next.function = physical;
                    self.place.d.next.kind = kind_of(physical);
                    self.last.d.next = physical;
                } else {
                    self.state.d.next = ControlState::Respond;
                }
            }
            ControlState::Log => {
                self.store.place.next = self.log.place.val();
                self.store.access.next = self.log.access.val();
                if !self.log.active.val() {
                    self.state.d.next = ControlState::Idle;
                }
            }
            _ => {}
        }

        let announce = state == ControlState::Announce;
        self.flr.valid.next = announce;
        self.flr.data.next = place.function;
        self.flr_done.ready.next = !announce;
        self.resetting.write_enable.next = announce || self.flr_done.valid.val();
        self.resetting.write_address.next = if announce { place.function } else { self.flr_done.data.val() };
        self.resetting.write_data.next = announce;
        self.request.ready.next = state == ControlState::Idle;
        self.response.valid.next = state == ControlState::Respond;
        self.response.data.next = self.answer.q.val();
        self.apertures.next = self.settings.apertures.val();
        self.link.next = self.settings.link.val();
        self.busy.next = state != ControlState::Idle;
    }
}
