//! From a submission queue entry's address to a command.

use nitride_abi::nvme::command::{admin, io};
use nitride_abi::nvme::{Status, feature, sqe};
use nitride_lang::prelude::*;

use super::records::{
    Announcement, Assigned, Ending, FetchJob, Finished, Formed, Freed, JobKind, Memo, Owner, Setting,
};
use super::slots::Slots;
use crate::bus::{Command, DmaDone, DmaReadRequest, DmaStatus, Landing, LandingWrite};
use crate::dma::LandingRam;
use crate::function::function_of;

/// Slots that I/O commands leave to admin commands.
const ADMIN_SLOTS: u64 = 8;
/// DWs of an entry.
const ENTRY_DWORDS: u64 = nitride_abi::nvme::SQE_DWORDS as u64;
/// Bits of a RAM row: an entry is two.
const ROW: usize = crate::profile::DATA_BITS;
/// FUSE and PSDT in the flags of a command.
const FUSE_PSDT: u64 = 0xc3;
/// Force Unit Access in DW 12 of a Read or a Write (NVMe 1.4 §6.9).
const FUA: u64 = nitride_abi::nvme::command::rw::FUA.mask();

/// The card knows this opcode of the admin command set (NVMe 1.4 §5).
#[hdl_fn]
fn is_admin(opcode: Bits<8>) -> Bit {
    opcode == admin::DELETE_SQ as u64
        || opcode == admin::CREATE_SQ as u64
        || opcode == admin::GET_LOG_PAGE as u64
        || opcode == admin::DELETE_CQ as u64
        || opcode == admin::CREATE_CQ as u64
        || opcode == admin::IDENTIFY as u64
        || opcode == admin::ABORT as u64
        || opcode == admin::SET_FEATURES as u64
        || opcode == admin::GET_FEATURES as u64
        || opcode == admin::ASYNC_EVENT_REQUEST as u64
}

/// The card knows this opcode of the NVM command set (NVMe 1.4 §6).
#[hdl_fn]
fn is_io(opcode: Bits<8>) -> Bit {
    opcode == io::FLUSH as u64
        || opcode == io::WRITE as u64
        || opcode == io::READ as u64
        || opcode == io::WRITE_ZEROES as u64
        || opcode == io::DATASET_MANAGEMENT as u64
}

/// An entry that has arrived, or a job that needs none.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Arrival {
    slot: Bits<6>,
    failed: Bit,
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Idle,
    Low,
    High,
    Emit,
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum Route {
    #[default]
    Admin,
    Io,
    Refused,
}

/// Gives each job a command slot, reads its entry into the landing RAM, forms the command, and routes it.
///
/// Up to 64 reads are in flight. An entry that arrived becomes a command 4 cycles later; a command each 4 cycles. What the
/// specification refuses whatever the command (opcode, FUSE, PSDT) is refused here. While a controller's volatile
/// write cache is off, its writes are given Force Unit Access.
#[derive(LogicBlock, Default)]
pub struct Fetch {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Commands to start. Held up while there is no slot or the DMA engine is.
    pub job: Sink<FetchJob>,
    /// There will be a slot for an I/O command.
    pub room: Signal<Out, Bit>,
    /// There will be a slot for an admin command.
    pub admin_room: Signal<Out, Bit>,
    /// Slots that come back.
    pub freed: Signal<In, Freed>,
    /// Slots that were given.
    pub assigned: Signal<Out, Assigned>,
    /// What completions need to know.
    pub formed: Signal<Out, Formed>,
    /// Reads of entries.
    pub read: Source<DmaReadRequest>,
    /// Their ends; always ready.
    pub read_done: Sink<DmaDone>,
    /// Entries.
    pub landing: Signal<In, LandingWrite>,
    /// What controllers are set to.
    pub setting: Signal<In, Setting>,
    /// Admin commands.
    pub admin: Source<Command>,
    /// I/O commands, and flushes for a shutdown: `flags` is 1 in these, 0 in a host's command.
    pub io: Source<Command>,
    /// Commands that are over: refused ones, and completions of withdrawn ones.
    pub refused: Source<Finished>,
    /// A controller whose queue could not be read.
    pub fatal: Source<Bits<4>>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    jobs: RegFifo<FetchJob, 2>,
    slots: Slots,
    given: Ram<FetchJob, 6>,
    through: Ram<Bit, 4>,
    arrivals: Fifo<Arrival, 6>,
    entries: LandingRam<{ Landing::ENTRIES }, 7>,
    state: Reg<State>,
    low: Reg<Bits<ROW>>,
    job_now: Reg<FetchJob>,
    command: Reg<Command>,
    route: Reg<Route>,
    finished: Reg<Finished>,
    /// The controller still has to hear of the failure.
    failed: Reg<Bit>,
}

#[cfg(test)]
impl Fetch {
    /// Command slots that no command has.
    pub fn free_slots(&self) -> u64 {
        self.slots.level.val().to_u64()
    }
}

impl Logic for Fetch {
    #[hdl]
    fn update(&mut self) {
        // A job takes a slot and becomes a read; one without an entry arrives at once.
        Sink::<FetchJob>::link(&mut self.job, &mut self.jobs.sink);
        let job = self.jobs.source.data.val();
        let due = self.jobs.source.valid.val() && self.slots.slot.valid.val();
        let slot = self.slots.slot.data.val();
        let done = self.read_done.valid.val();
        let fetches = job.kind == JobKind::Entry;
        let go = due && (if fetches { self.read.ready.val() } else { !done });
        self.jobs.source.ready.next = go;
        self.slots.slot.ready.next = go;
        self.slots.freed.next = self.freed.val();
        // Jobs that were taken but have no slot yet are fewer than the margins.
        self.room.next = self.slots.level.val() > ADMIN_SLOTS;
        self.admin_room.next = self.slots.level.val() > 2;
        self.read.valid.next = due && fetches;
        self.read.data.next = DmaReadRequest {
            function: function_of(job.controller),
            address: job.address,
            length: bits::<11>(ENTRY_DWORDS),
            destination: cat2::<3, 15, 18>(bits::<3>(Landing::ENTRIES), bit_cast::<15, 6>(slot) << 4),
            context: bit_cast::<8, 6>(slot),
        };
        let internal = job.kind == JobKind::Flush;
        let owner = Owner { internal: internal, controller: job.controller, queue: job.queue };
        self.assigned.next = Assigned { valid: go, slot: slot, owner: owner };
        self.given.write_address.next = slot;
        self.given.write_data.next = job;
        self.given.write_enable.next = go;

        // Entries arrive in any order.
        self.read_done.ready.next = true;
        let arrival = if done {
            Arrival {
                slot: self.read_done.data.val().context.get_bits::<6>(0),
                failed: self.read_done.data.val().status != DmaStatus::Ok,
            }
        } else {
            Arrival { slot: slot, failed: false }
        };
        self.arrivals.sink.data.next = arrival;
        self.arrivals.sink.valid.next = done || (go && !fetches);
        self.entries.write.next = self.landing.val();

        // The oldest arrival becomes a command.
        let state = self.state.q.val();
        let arrived = self.arrivals.source.data.val();
        self.given.read_address.next = arrived.slot;
        self.entries.row.next =
            cat2::<6, 1, 7>(arrived.slot, if state == State::Low { 1.into() } else { 0.into() });
        let setting = self.setting.val();
        self.through.read_address.next = self.given.read_data.val().controller;
        self.through.write_address.next = setting.controller;
        self.through.write_data.next = !setting.value.get_bit(feature::WCE.lsb as usize);
        self.through.write_enable.next =
            setting.valid && setting.word == feature::VOLATILE_WRITE_CACHE as u64;
        self.arrivals.source.ready.next = state == State::High;
        let low = self.low.q.val();
        let high = self.entries.data.val();
        let opcode = low.get_bits::<8>(0);
        let flags = low.get_bits::<8>(8);
        let nsid = low.get_bits::<32>(sqe::NSID);
        let whose = self.job_now.q.val();
        let internal = whose.kind == JobKind::Flush;
        let told = whose.kind == JobKind::Completion;
        let announcement = unpack::<Announcement>(whose.address.get_bits::<55>(0));
        let write = opcode == io::WRITE as u64;
        let durable = self.through.read_data.val() && (write || opcode == io::WRITE_ZEROES as u64);
        let cdw12 = high.get_bits::<32>(sqe::dword(12) - ROW);
        let is_admin_queue = whose.queue == 0;
        let flush_all = opcode == io::FLUSH as u64 && nsid == nitride_abi::nvme::command::NSID_ALL as u64;
        let known = if is_admin_queue { is_admin(opcode) } else { is_io(opcode) };
        let status = if told {
            announcement.status
        } else if !known {
            bits::<15>(Status::INVALID_OPCODE.bits() as u64)
        } else if (flags & FUSE_PSDT) != 0 {
            bits::<15>(Status::INVALID_FIELD.bits() as u64)
        } else if !is_admin_queue && flush_all {
            bits::<15>(Status::INVALID_NAMESPACE.bits() as u64)
        } else {
            bits::<15>(Status::SUCCESS.bits() as u64)
        };
        let cid = if told { announcement.cid } else { low.get_bits::<16>(16) };
        let cdw10 = high.get_bits::<32>(sqe::dword(10) - ROW);
        let cdw11 = high.get_bits::<32>(sqe::dword(11) - ROW);
        let addressed =
            !is_admin_queue && (write || opcode == io::READ as u64 || opcode == io::WRITE_ZEROES as u64);
        self.formed.next = Formed {
            valid: state == State::High,
            slot: arrived.slot,
            memo: Memo {
                cid: cid,
                read: !is_admin_queue && opcode == io::READ as u64,
                write: !is_admin_queue && write,
                nsid: if told { bits::<32>(0) } else { nsid },
                lba: if addressed { cat2::<32, 32, 64>(cdw11, cdw10) } else { bits::<64>(0) },
                blocks: cdw12.get_bits::<16>(0),
            },
        };
        let route = self.route.q.val();
        let failed = self.failed.q.val();
        let emitting = state == State::Emit && !failed;
        match state {
            State::Idle => {
                if self.arrivals.source.valid.val() {
                    self.state.d.next = State::Low;
                }
            }
            State::Low => {
                self.low.d.next = high;
                self.job_now.d.next = self.given.read_data.val();
                self.state.d.next = State::High;
            }
            State::High => {
                self.state.d.next = State::Emit;
                self.command.d.next = Command {
                    slot: arrived.slot,
                    controller: whose.controller,
                    opcode: if internal { bits::<8>(io::FLUSH as u64) } else { opcode },
                    flags: if internal { bits::<8>(1) } else { bits::<8>(0) },
                    cid: cid,
                    nsid: if internal {
                        bits::<32>(nitride_abi::nvme::command::NSID_ALL as u64)
                    } else {
                        nsid
                    },
                    prp1: low.get_bits::<64>(sqe::PRP1),
                    prp2: high.get_bits::<64>(sqe::PRP2 - ROW),
                    cdw10: cdw10,
                    cdw11: cdw11,
                    cdw12: if durable { cdw12 | FUA } else { cdw12 },
                    cdw13: high.get_bits::<32>(sqe::dword(13) - ROW),
                    cdw14: high.get_bits::<32>(sqe::dword(14) - ROW),
                    cdw15: high.get_bits::<32>(sqe::dword(15) - ROW),
                };
                self.finished.d.next = Finished {
                    ending: if arrived.failed { Ending::Fail } else { Ending::Post },
                    slot: arrived.slot,
                    status: status,
                    dw0: if told { bit_cast::<32, 24>(announcement.dw0) } else { bits::<32>(0) },
                };
                self.failed.d.next = arrived.failed;
                self.route.d.next = if internal {
                    Route::Io
                } else if told || arrived.failed || status != 0 {
                    Route::Refused
                } else if is_admin_queue {
                    Route::Admin
                } else {
                    Route::Io
                };
            }
            State::Emit => {
                if failed && self.fatal.ready.val() {
                    self.failed.d.next = false;
                }
                let taken = match route {
                    Route::Admin => self.admin.ready.val(),
                    Route::Io => self.io.ready.val(),
                    Route::Refused => self.refused.ready.val(),
                };
                if emitting && taken {
                    self.state.d.next = State::Idle;
                }
            }
        }
        self.admin.data.next = self.command.q.val();
        self.admin.valid.next = emitting && route == Route::Admin;
        self.io.data.next = self.command.q.val();
        self.io.valid.next = emitting && route == Route::Io;
        self.refused.data.next = self.finished.q.val();
        self.refused.valid.next = emitting && route == Route::Refused;
        self.fatal.data.next = whose.controller;
        self.fatal.valid.next = state == State::Emit && failed;
        self.busy.next =
            state != State::Idle || self.jobs.source.valid.val() || self.arrivals.level.val().any();
    }
}
