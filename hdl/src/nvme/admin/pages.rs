//! Identify (NVMe 1.4 §5.15) and Get Log Page (§5.14).

use nitride_abi::card;
use nitride_abi::nvme::command::{admin, identify, log_page};
use nitride_abi::nvme::{Status, log};
use nitride_lang::prelude::*;

use super::content::{Content, Subject};
use super::templates::Template;
use crate::bus::{Command, DmaDone, DmaStatus, DmaWriteRequest, Launch, LaunchRead, VolumeUpdate};
use crate::dma::LaunchRam;
use crate::function::function_of;
use crate::nvme::changes::Changes;
use crate::nvme::errors::Errors;
use crate::nvme::records::{Counted, Ending, Failure, Finished, LogRead};
use crate::nvme::smart::Smart;
use crate::profile::DATA_BITS;
use crate::storage::VolumeTable;

/// DWs of a page.
const PAGE_DWORDS: u64 = identify::BYTES as u64 / 4;
/// Log pages whose events the host can clear.
const ERRORS: u64 = log::ERROR_INFORMATION as u64;
const CHANGES: u64 = log::CHANGED_NAMESPACES as u64;
/// The first NSID that CNS 02h refuses.
const NSID_LIST_END: u64 = 0xffff_fffe;

/// Size of a log page in bytes; 0 for one that the card does not have.
#[hdl_fn]
fn size_of(id: Bits<8>) -> Bits<13> {
    let mut size: Bits<13> = 0.into();
    for i in ERRORS..(CHANGES + 1) {
        if id == i {
            size = bits::<13>(log::size(i as u8) as u64);
        }
    }
    size
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Take,
    Scan,
    Check,
    Judge,
    Collect,
    Build,
    First,
    Second,
    Wait,
    Forget,
    Unmask,
    Finish,
}

/// Answers with pages of up to 4 KiB.
///
/// One command at a time: a cycle a DW to make the page, and one for each before its offset, then its DMA to PRP1 and, as far as
/// it lies in the next page, to PRP2.
#[derive(LogicBlock, Default)]
pub struct Pages {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Commands.
    pub command: Sink<Command>,
    /// Commands that are over.
    pub finished: Source<Finished>,
    /// Changes of the volumes.
    pub volume: Signal<In, VolumeUpdate>,
    /// Commands that the SMART log counts.
    pub counted: Signal<In, Counted>,
    /// Errors for the log.
    pub failure: Sink<Failure>,
    /// Controllers whose logs of errors and changes are emptied.
    pub clear: Sink<Bits<4>>,
    /// Log pages that are read without Retain Asynchronous Event.
    pub log_read: Source<LogRead>,
    /// Writes of pages.
    pub page: Source<DmaWriteRequest>,
    /// Their ends; always ready.
    pub page_done: Sink<DmaDone>,
    /// The DMA engine's reads of the page.
    pub launch: Signal<In, LaunchRead>,
    /// As [`LaunchRam`] has it.
    pub launch_data: Signal<Out, Bits<DATA_BITS>>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    state: Reg<State>,
    command_now: Reg<Command>,
    scan: Reg<Bits<3>>,
    volumes: VolumeTable,
    changes: Changes,
    attached: Reg<Bits<4>>,
    /// Namespaces that changed, as far as the page tells of it and they did not change again.
    changed: Reg<Bits<4>>,
    /// No command: a controller's logs are emptied.
    clearing: Reg<Bit>,
    subject: Reg<Subject>,
    status: Reg<Bits<15>>,
    /// DWs of the answer, less 1.
    last: Reg<Bits<16>>,
    /// DWs that go to PRP1.
    first: Reg<Bits<11>>,
    content: Content,
    smart: Smart,
    errors: Errors,
    ram: LaunchRam<{ Launch::PAGES }, 7>,
    /// DMAs under way.
    waiting: Reg<Bits<2>>,
}

impl Logic for Pages {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let command = self.command_now.q.val();
        let subject = self.subject.q.val();
        let scan = self.scan.q.val();
        let identify = command.opcode == admin::IDENTIFY as u64;
        let kind = command.cdw10.get_bits::<8>(0);
        let length = command.cdw10.get_bits::<16>(log_page::NUMDL.lsb as usize);
        let nsid = command.nsid;
        let valid = nsid != 0 && nsid <= card::NAMESPACES as u64;
        let namespace = (nsid - 1).get_bits::<2>(0);
        let above = if nsid >= card::NAMESPACES as u64 {
            bits::<4>(0)
        } else {
            bits::<4>(0xf) << nsid.get_bits::<2>(0)
        };

        let retain = command.cdw10.get_bit(log_page::RAE.lsb as usize);
        let clears = !identify && !retain && (kind == ERRORS || kind == CHANGES);
        let listing = !identify && kind == CHANGES;
        let index = cat2::<4, 2, 6>(command.controller, scan.get_bits::<2>(0));

        let update = self.volume.val();
        self.volumes.update.next = update;
        self.volumes.index.next = index;
        self.changes.update.next = update;
        self.changes.index.next = index;
        self.smart.volume.next = update;
        self.smart.counted.next = self.counted.val();
        self.smart.controller.next = command.controller;
        self.smart.counter.next = self.content.counter.val();
        Sink::<Failure>::link(&mut self.failure, &mut self.errors.failure);
        self.errors.controller.next = command.controller;
        self.errors.index.next = self.content.error_index.val();
        let errors = subject.template == Template::Errors;
        let collecting = state == State::Collect;
        let wanting = state == State::Build && self.content.wants_errors.val();
        self.errors.hold.next = errors && (collecting || wanting);
        let settled = !errors || self.errors.quiet.val();
        self.content.count.next = self.smart.count.val();
        self.content.error.next = self.errors.data.val();
        self.content.errors.next = self.errors.count.val();
        self.content.subject.next =
            Subject { listed: if listing { self.changed.q.val() } else { subject.listed }, ..subject };
        self.content.start.next = collecting;
        self.content.next.next = state == State::Build;
        self.page.valid.next = state == State::First || state == State::Second;

        let all = bit_cast::<11, 16>(self.last.q.val()) + 1;
        let to_boundary = bits::<11>(PAGE_DWORDS) - bit_cast::<11, 10>(command.prp1.get_bits::<10>(2));
        let two = all > to_boundary;
        let status = self.status.q.val();
        let clearing = self.clear.valid.val();
        let before = scan - 1;
        let size = size_of(kind);
        let misplaced = command.cdw11.get_bits::<16>(log_page::NUMDU.lsb as usize).any()
            || command.cdw13.any()
            || command.cdw12 > bit_cast::<32, 13>(size)
            || (command.cdw12 & (log_page::LPO_ALIGNMENT as u64)).any();

        // Until the host's page is made, changes come into it.
        let changed = self.changed.q.val();
        let found = state == State::Scan && scan != 0 && self.changes.changed.val();
        let scanned = if found { bits::<4>(1) << before.get_bits::<2>(0) } else { bits::<4>(0) };
        let ours = update.valid && update.index.get_bits::<4>(2) == command.controller;
        let news = if ours { bits::<4>(1) << update.index.get_bits::<2>(0) } else { bits::<4>(0) };
        self.changed.d.next = if state == State::Take {
            if clearing { bits::<4>(0xf) } else { bits::<4>(0) }
        } else if state == State::Scan
            || state == State::Check
            || state == State::Judge
            || state == State::Collect
        {
            changed | scanned | news
        } else {
            changed & !news
        };
        let forgets = changed.get_bit(scan.get_bits::<2>(0).index());
        self.changes.forget.data.next = index;
        self.changes.forget.valid.next = state == State::Forget && forgets;
        match state {
            State::Take => {
                self.command_now.d.next = self.command.data.val();
                self.scan.d.next = bits::<3>(0);
                self.clearing.d.next = clearing;
                if clearing {
                    self.command_now.d.next.controller = self.clear.data.val();
                }
                if clearing && self.errors.clear.ready.val() {
                    self.state.d.next = State::Forget;
                } else if !clearing && self.command.valid.val() {
                    self.state.d.next = State::Scan;
                }
            }
            // The controller's volumes, one after the other; each comes out a cycle later.
            State::Scan => {
                self.scan.d.next = scan + 1;
                if scan != 0 {
                    let volume = self.volumes.volume.val();
                    self.attached.d.next = cat2::<1, 3, 4>(
                        if volume.attached { bits::<1>(1) } else { bits::<1>(0) },
                        self.attached.q.val().get_bits::<3>(1),
                    );
                    if before.get_bits::<2>(0) == namespace {
                        self.subject.d.next.volume = volume;
                    }
                }
                if scan == card::NAMESPACES as u64 {
                    self.state.d.next = State::Check;
                }
            }
            State::Check => {
                let attached = subject.volume.attached;
                self.subject.d.next.controller = command.controller;
                self.subject.d.next.namespace = namespace;
                self.subject.d.next.listed = self.attached.q.val() & above;
                self.subject.d.next.offset = bits::<11>(0);
                self.last.d.next = bits::<16>(PAGE_DWORDS - 1);
                self.status.d.next = bits::<15>(Status::SUCCESS.bits() as u64);
                if identify {
                    if kind == identify::CNS_CONTROLLER as u64 {
                        self.subject.d.next.template = Template::Controller;
                    } else if kind == identify::CNS_NAMESPACE as u64 {
                        self.subject.d.next.template =
                            if attached { Template::Namespace } else { Template::Zeroes };
                        if !valid {
                            self.status.d.next = bits::<15>(Status::INVALID_NAMESPACE.bits() as u64);
                        }
                    } else if kind == identify::CNS_ACTIVE_NAMESPACES as u64 {
                        self.subject.d.next.template = Template::List;
                        if nsid >= NSID_LIST_END {
                            self.status.d.next = bits::<15>(Status::INVALID_NAMESPACE.bits() as u64);
                        }
                    } else if kind == identify::CNS_NAMESPACE_DESCRIPTORS as u64 {
                        self.subject.d.next.template = Template::Descriptors;
                        if !valid || !attached {
                            self.status.d.next = bits::<15>(Status::INVALID_NAMESPACE.bits() as u64);
                        }
                    } else {
                        self.status.d.next = bits::<15>(Status::INVALID_FIELD.bits() as u64);
                    }
                } else {
                    let health = kind == log::SMART as u64;
                    self.last.d.next = length;
                    self.subject.d.next.template = if health {
                        Template::Smart
                    } else if kind == log::FIRMWARE_SLOT as u64 {
                        Template::Firmware
                    } else if kind == ERRORS {
                        Template::Errors
                    } else {
                        Template::List
                    };
                    self.subject.d.next.offset = command.cdw12.get_bits::<11>(2);
                    if size == 0 {
                        self.status.d.next = bits::<15>(Status::INVALID_LOG_PAGE.bits() as u64);
                    } else if length >= PAGE_DWORDS || misplaced {
                        self.status.d.next = bits::<15>(Status::INVALID_FIELD.bits() as u64);
                    } else if health && nsid != 0 && !nsid.all() {
                        self.status.d.next = bits::<15>(Status::INVALID_FIELD.bits() as u64);
                    }
                }
                self.state.d.next = State::Judge;
            }
            State::Judge => {
                self.first.d.next = if two { to_boundary } else { all };
                if self.status.q.val() != 0 {
                    self.state.d.next = State::Finish;
                } else if command.prp1.get_bits::<2>(0) != 0 || (two && command.prp2.get_bits::<12>(0) != 0) {
                    self.status.d.next = bits::<15>(Status::PRP_OFFSET_INVALID.bits() as u64);
                    self.state.d.next = State::Finish;
                } else {
                    self.state.d.next = State::Collect;
                }
            }
            // Errors that come now wait until the page is made, and changes are news for another page.
            State::Collect => {
                if settled && (!clears || self.log_read.ready.val()) {
                    self.state.d.next = State::Build;
                }
            }
            State::Build => {
                if self.content.valid.val() && self.content.index.val() == self.last.q.val().get_bits::<10>(0)
                {
                    self.state.d.next = State::First;
                }
            }
            State::First => {
                if self.page.ready.val() {
                    self.waiting.d.next = if two { bits::<2>(2) } else { bits::<2>(1) };
                    self.state.d.next = if two { State::Second } else { State::Wait };
                }
            }
            State::Second => {
                if self.page.ready.val() {
                    self.state.d.next = State::Wait;
                }
            }
            State::Wait => {
                self.scan.d.next = bits::<3>(0);
                if self.waiting.q.val() == 0 {
                    self.state.d.next = if status != 0 || !clears {
                        State::Finish
                    } else if listing {
                        State::Forget
                    } else {
                        State::Unmask
                    };
                }
            }
            State::Forget => {
                if !forgets || self.changes.forget.ready.val() {
                    self.scan.d.next = scan + 1;
                    if scan == card::NAMESPACES as u64 - 1 {
                        self.state.d.next = if self.clearing.q.val() { State::Take } else { State::Unmask };
                    }
                }
            }
            State::Unmask => {
                if self.log_read.ready.val() {
                    self.state.d.next = State::Finish;
                }
            }
            State::Finish => {
                if self.finished.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
        }
        self.page_done.ready.next = true;
        if self.page_done.valid.val() {
            self.waiting.d.next = self.waiting.q.val() - 1;
            if self.page_done.data.val().status != DmaStatus::Ok {
                self.status.d.next = bits::<15>(Status::DATA_TRANSFER_ERROR.bits() as u64);
            }
        }

        let dword = self.content.index.val();
        let data = self.content.data.val();
        let pair = cat2::<32, 32, 64>(data, data);
        let half = cat2::<64, 64, 128>(pair, pair);
        self.ram.write_row.next = dword.get_bits::<7>(3);
        self.ram.write_data.next = cat2::<128, 128, 256>(half, half);
        self.ram.write_enable.next = if self.content.valid.val() && state == State::Build {
            bits::<8>(1) << dword.get_bits::<3>(0)
        } else {
            bits::<8>(0)
        };
        self.ram.launch.next = self.launch.val();
        self.launch_data.next = self.ram.data.val();

        let second = state == State::Second;
        self.page.data.next = DmaWriteRequest {
            function: function_of(command.controller),
            address: if second { command.prp2 } else { command.prp1 },
            length: if second { all - self.first.q.val() } else { self.first.q.val() },
            first: bits::<4>(0xf),
            last: bits::<4>(0xf),
            source: cat2::<3, 15, 18>(
                bits::<3>(Launch::PAGES),
                if second { bit_cast::<15, 11>(self.first.q.val()) } else { bits::<15>(0) },
            ),
            context: bits::<8>(0),
        };
        self.command.ready.next = state == State::Take && !clearing;
        self.errors.clear.data.next = self.clear.data.val();
        self.errors.clear.valid.next = state == State::Take && clearing;
        self.clear.ready.next = state == State::Take && self.errors.clear.ready.val();
        let collects = collecting && settled && clears;
        self.log_read.valid.next = collects || state == State::Unmask;
        self.log_read.data.next = LogRead {
            controller: command.controller,
            changes: kind == CHANGES,
            done: state == State::Unmask,
        };
        self.finished.valid.next = state == State::Finish;
        self.finished.data.next = Finished {
            ending: Ending::Post,
            slot: command.slot,
            status: self.status.q.val(),
            dw0: bits::<32>(0),
        };
        self.busy.next =
            state != State::Take || self.command.valid.val() || clearing || self.errors.busy.val();
    }
}
