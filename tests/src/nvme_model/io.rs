//! The NVM command set (NVMe 1.4 §6).

use nitride_abi::nvme::command::{dsm, io, rw};
use nitride_abi::nvme::{MAX_TRANSFER, Sqe, Status};

use super::controller::Controller;
use super::host::HostMemory;
use super::namespace::Namespace;
use super::prp;

impl Controller {
    /// Executes a command of an I/O queue.
    pub(super) fn execute_io(&mut self, host: &mut dyn HostMemory, sqe: &Sqe) -> Result<(), Status> {
        match sqe.opcode {
            io::FLUSH | io::WRITE | io::READ | io::WRITE_ZEROES | io::DATASET_MANAGEMENT => {}
            _ => return Err(Status::INVALID_OPCODE),
        }
        if sqe.flags & 0xc3 != 0 {
            return Err(Status::INVALID_FIELD);
        }
        let index = (sqe.nsid as usize).wrapping_sub(1);
        let slot = self.namespaces.get_mut(index).ok_or(Status::INVALID_NAMESPACE)?;
        let namespace = slot.as_mut().ok_or(Status::INVALID_FIELD)?;
        match sqe.opcode {
            io::FLUSH => Ok(()),
            io::READ => {
                let bytes = read(namespace, host, sqe)?;
                self.logs.counters.reads += 1;
                self.logs.counters.units_read += bytes / 512;
                Ok(())
            }
            io::WRITE => {
                let bytes = write(namespace, host, sqe)?;
                self.logs.counters.writes += 1;
                self.logs.counters.units_written += bytes / 512;
                Ok(())
            }
            io::WRITE_ZEROES => {
                let (first, count) = blocks(sqe);
                let range = namespace.range(first, count)?;
                writable(namespace)?;
                namespace.data_mut()[range].fill(0);
                Ok(())
            }
            _ => dataset_management(namespace, host, sqe),
        }
    }
}

/// SLBA, and the number of blocks.
fn blocks(sqe: &Sqe) -> (u64, u64) {
    let first = sqe.cdw10[0] as u64 | (sqe.cdw10[1] as u64) << 32;
    (first, rw::NLB.get(sqe.cdw10[2] as u64) + 1)
}

fn writable(namespace: &Namespace) -> Result<(), Status> {
    if namespace.is_read_only() { Err(Status::WRITE_PROTECTED) } else { Ok(()) }
}

/// The bytes on the medium that a Read or Write names.
fn transfer(namespace: &Namespace, sqe: &Sqe) -> Result<std::ops::Range<usize>, Status> {
    let (first, count) = blocks(sqe);
    if count << namespace.block_shift() > MAX_TRANSFER {
        return Err(Status::INVALID_FIELD);
    }
    namespace.range(first, count)
}

/// Executes a Read: the bytes that were read.
fn read(namespace: &Namespace, host: &mut dyn HostMemory, sqe: &Sqe) -> Result<u64, Status> {
    let range = transfer(namespace, sqe)?;
    let pages = prp::walk(host, sqe.prp1, sqe.prp2, range.len())?;
    prp::scatter(host, &pages, &namespace.data()[range.clone()])?;
    Ok(range.len() as u64)
}

/// Executes a Write: the bytes that were written.
fn write(namespace: &mut Namespace, host: &mut dyn HostMemory, sqe: &Sqe) -> Result<u64, Status> {
    let range = transfer(namespace, sqe)?;
    writable(namespace)?;
    let pages = prp::walk(host, sqe.prp1, sqe.prp2, range.len())?;
    let data = prp::gather(host, &pages)?;
    namespace.data_mut()[range].copy_from_slice(&data);
    Ok(data.len() as u64)
}

/// Bytes of a range list that are read at once: ranges before a part that cannot be read are carried out, as the card does.
const LIST_PART: usize = 16 * dsm::RANGE_BYTES;

fn dataset_management(namespace: &mut Namespace, host: &mut dyn HostMemory, sqe: &Sqe) -> Result<(), Status> {
    if dsm::AD.get(sqe.cdw10[1] as u64) == 0 {
        return Ok(());
    }
    writable(namespace)?;
    let count = dsm::NR.get(sqe.cdw10[0] as u64) as usize + 1;
    let size = count * dsm::RANGE_BYTES;
    let pages = prp::walk(host, sqe.prp1, sqe.prp2, size)?;
    for start in (0..size).step_by(LIST_PART) {
        let part = prp::gather_part(host, &pages, start..size.min(start + LIST_PART))?;
        for range in part.as_chunks::<{ dsm::RANGE_BYTES }>().0 {
            let length = u32::from_le_bytes([range[4], range[5], range[6], range[7]]);
            let first = u64::from_le_bytes(range[8..16].try_into().expect("a range has 16 bytes"));
            if length == 0 {
                continue;
            }
            let bytes = namespace.range(first, length as u64)?;
            namespace.data_mut()[bytes].fill(0);
        }
    }
    Ok(())
}
