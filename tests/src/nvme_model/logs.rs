//! Log pages (NVMe 1.4 §5.14).

use std::collections::VecDeque;

use nitride_abi::nvme::command::{NSID_ALL, io, log_page};
use nitride_abi::nvme::log::{error, firmware, smart};
use nitride_abi::nvme::{self, Sqe, Status, log};

use super::controller::Controller;
use super::host::HostMemory;
use super::prp;

/// SQID and CID of an error that no command has.
const NO_COMMAND: u16 = 0xffff;

/// What the log pages count. It survives resets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Read commands that succeeded.
    pub reads: u64,
    /// Write commands that succeeded.
    pub writes: u64,
    /// 512-byte units that they read.
    pub units_read: u64,
    /// 512-byte units that they wrote.
    pub units_written: u64,
    /// Entries that the Error Information log has had.
    pub errors: u64,
}

/// What a controller's log pages tell of.
#[derive(Debug, Clone, Default)]
pub(super) struct Logs {
    pub counters: Counters,
    /// Entries of the Error Information log, the newest first.
    errors: VecDeque<[u8; error::BYTES]>,
}

impl Logs {
    /// The controller was reset.
    pub fn remove_errors(&mut self) {
        self.errors.clear();
    }

    /// Logs an error.
    pub fn fail(&mut self, queue: u16, cid: u16, status: Status, lba: u64, nsid: u32) {
        self.counters.errors += 1;
        let mut entry = [0; error::BYTES];
        let mut put = |at: usize, bytes: &[u8]| entry[at..at + bytes.len()].copy_from_slice(bytes);
        put(error::ERROR_COUNT, &self.counters.errors.to_le_bytes());
        put(error::SQID, &queue.to_le_bytes());
        put(error::CID, &cid.to_le_bytes());
        put(error::STATUS, &(status.bits() << 1).to_le_bytes());
        put(error::PARAMETER, &[0xff; 2]);
        put(error::LBA, &lba.to_le_bytes());
        put(error::NSID, &nsid.to_le_bytes());
        self.errors.push_front(entry);
        self.errors.truncate(error::ENTRIES);
    }

    /// Logs the failure of a command.
    pub fn fail_command(&mut self, queue: usize, sqe: &Sqe, status: Status) {
        let addressed = queue > 0 && matches!(sqe.opcode, io::READ | io::WRITE | io::WRITE_ZEROES);
        let lba = sqe.cdw10[0] as u64 | (sqe.cdw10[1] as u64) << 32;
        self.fail(queue as u16, sqe.cid, status, if addressed { lba } else { 0 }, sqe.nsid);
    }

    /// Logs a bad doorbell.
    pub fn fail_doorbell(&mut self, status: Status) {
        self.fail(NO_COMMAND, NO_COMMAND, status, 0, 0);
    }
}

impl Controller {
    /// Get Log Page.
    pub(super) fn get_log_page(
        &mut self,
        host: &mut dyn HostMemory,
        sqe: &Sqe,
    ) -> Result<Option<u32>, Status> {
        let [cdw10, cdw11, lpol, lpou, ..] = sqe.cdw10.map(u64::from);
        let id = log_page::LID.get(cdw10) as u8;
        let size = log::size(id);
        if size == 0 {
            return Err(Status::INVALID_LOG_PAGE);
        }
        let dwords = (log_page::NUMDU.get(cdw11) << 16 | log_page::NUMDL.get(cdw10)) as usize + 1;
        let (len, offset) = (dwords * 4, (lpou << 32 | lpol) as usize);
        let whole_controller = sqe.nsid == 0 || sqe.nsid == NSID_ALL;
        let misplaced = offset > size || !offset.is_multiple_of(4);
        if len > log_page::MAX_BYTES || misplaced || id == log::SMART && !whole_controller {
            return Err(Status::INVALID_FIELD);
        }
        let pages = prp::walk(host, sqe.prp1, sqe.prp2, len)?;
        let mut page = self.log_page(id);
        page.resize(offset + len, 0);
        let clears = log_page::RAE.get(cdw10) == 0;
        if clears {
            self.events.collect(id);
        }
        prp::scatter(host, &pages, &page[offset..])?;
        if clears {
            self.events.clear(id);
        }
        Ok(Some(0))
    }

    fn log_page(&self, id: u8) -> Vec<u8> {
        let mut page = vec![0; log::size(id)];
        let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
        let counters = self.logs.counters;
        match id {
            log::ERROR_INFORMATION => {
                for (index, entry) in self.logs.errors.iter().enumerate() {
                    put(index * error::BYTES, entry);
                }
            }
            log::SMART => {
                let thousands = |units: u64| units.div_ceil(1000).to_le_bytes();
                put(smart::TEMPERATURE, &nvme::TEMPERATURE.to_le_bytes());
                put(smart::AVAILABLE_SPARE, &[nvme::AVAILABLE_SPARE]);
                put(smart::AVAILABLE_SPARE_THRESHOLD, &[nvme::AVAILABLE_SPARE_THRESHOLD]);
                put(smart::DATA_UNITS_READ, &thousands(counters.units_read));
                put(smart::DATA_UNITS_WRITTEN, &thousands(counters.units_written));
                put(smart::HOST_READ_COMMANDS, &counters.reads.to_le_bytes());
                put(smart::HOST_WRITE_COMMANDS, &counters.writes.to_le_bytes());
                put(smart::POWER_CYCLES, &[nvme::POWER_CYCLES]);
                put(smart::ERROR_ENTRIES, &counters.errors.to_le_bytes());
            }
            log::FIRMWARE_SLOT => {
                put(firmware::AFI, &[1]);
                put(firmware::FRS1, nvme::FIRMWARE);
            }
            _ => {
                let changed = (1u32..).zip(self.events.changed).filter(|(_, changed)| *changed);
                for (index, (nsid, _)) in changed.enumerate() {
                    put(index * 4, &nsid.to_le_bytes());
                }
            }
        }
        page
    }
}
