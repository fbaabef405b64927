//! Get and Set Features (NVMe 1.4 §5.13, §5.21).

use nitride_abi::card::{MSIX_VECTORS, QUEUES};
use nitride_abi::nvme::command::features::{FID, SV};
use nitride_abi::nvme::{Sqe, Status, feature as f};

/// The features of a controller, all volatile.
#[derive(Debug, Clone)]
pub(super) struct Features {
    stored: [u32; f::STORED.len()],
    /// Thresholds: over, under.
    temperature: [u32; 2],
    /// A bit a vector.
    coalescing_disable: u8,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            stored: f::STORED.map(|feature| feature.default),
            temperature: [f::TEMPERATURE_OVER_DEFAULT, f::TEMPERATURE_UNDER_DEFAULT],
            coalescing_disable: 0,
        }
    }
}

const _: () = assert!(MSIX_VECTORS <= u8::BITS as usize && QUEUES >= 2);

impl Features {
    /// A feature that is one stored word.
    pub fn word(&self, id: u8) -> u32 {
        stored(id).map_or(0, |index| self.stored[index])
    }

    /// Executes Get Features; the answer is the completion's dword 0.
    pub fn get(&self, sqe: &Sqe) -> Result<u32, Status> {
        let value = sqe.cdw10[1];
        match FID.get(sqe.cdw10[0] as u64) as u8 {
            f::TEMPERATURE_THRESHOLD => {
                let over_or_under = threshold(value, false)?;
                Ok(self.temperature[over_or_under] | value & f::THSEL.mask() as u32)
            }
            f::NUMBER_OF_QUEUES => Ok(f::NUMBER_OF_QUEUES_ANSWER),
            f::INTERRUPT_VECTOR_CONFIGURATION => {
                let vector = vector(value)?;
                let disable = self.coalescing_disable >> vector & 1;
                Ok(f::CD.set(vector as u64, disable as u64) as u32)
            }
            id => stored(id).map(|index| self.stored[index]),
        }
    }

    /// Executes Set Features. `io_queues`: whether an I/O queue exists.
    pub fn set(&mut self, sqe: &Sqe, io_queues: bool) -> Result<u32, Status> {
        let value = sqe.cdw10[1];
        let id = FID.get(sqe.cdw10[0] as u64) as u8;
        let special = [f::TEMPERATURE_THRESHOLD, f::NUMBER_OF_QUEUES, f::INTERRUPT_VECTOR_CONFIGURATION];
        if !special.contains(&id) {
            stored(id)?;
        }
        if SV.get(sqe.cdw10[0] as u64) == 1 {
            return Err(Status::FEATURE_NOT_SAVEABLE);
        }
        match id {
            f::TEMPERATURE_THRESHOLD => {
                let over_or_under = threshold(value, true)?;
                self.temperature[over_or_under] = f::TMPTH.get(value as u64) as u32;
            }
            f::NUMBER_OF_QUEUES => {
                if f::NSQ.get(value as u64) == 0xffff || f::NCQ.get(value as u64) == 0xffff {
                    return Err(Status::INVALID_FIELD);
                }
                if io_queues {
                    return Err(Status::COMMAND_SEQUENCE_ERROR);
                }
                return Ok(f::NUMBER_OF_QUEUES_ANSWER);
            }
            f::INTERRUPT_VECTOR_CONFIGURATION => {
                let vector = vector(value)?;
                self.coalescing_disable &= !(1 << vector);
                self.coalescing_disable |= (f::CD.get(value as u64) as u8) << vector;
            }
            f::POWER_MANAGEMENT if f::POWER_STATE.get(value as u64) != 0 => {
                return Err(Status::INVALID_FIELD);
            }
            id => {
                let index = stored(id)?;
                self.stored[index] = value & f::STORED[index].mask;
            }
        }
        Ok(0)
    }
}

fn stored(id: u8) -> Result<usize, Status> {
    f::STORED.iter().position(|feature| feature.id == id).ok_or(Status::INVALID_FIELD)
}

fn vector(value: u32) -> Result<usize, Status> {
    let vector = f::IV.get(value as u64) as usize;
    if vector < MSIX_VECTORS { Ok(vector) } else { Err(Status::INVALID_FIELD) }
}

/// 0 for the over, 1 for the under temperature threshold.
fn threshold(value: u32, set: bool) -> Result<usize, Status> {
    let (select, kind) = (f::TMPSEL.get(value as u64), f::THSEL.get(value as u64));
    if kind > 1 || !(select == 0 || set && select == f::TMPSEL_ALL) {
        return Err(Status::INVALID_FIELD);
    }
    Ok(kind as usize)
}
