//! Commands of the NVM command set, as callers put them.

use nitride_abi::nvme::Sqe;
use nitride_abi::nvme::command::{dsm, io, rw};

use super::error::{Error, Result};
use super::identify::NamespaceInfo;
use super::queue::Data;
use crate::dma::Dma;

/// An I/O command. Blocks and LBAs are in the namespace's block size.
///
/// Neither the driver nor its caller checks LBAs: the card does.
#[derive(Debug, Clone, Copy)]
pub enum Command<'a> {
    /// Reads blocks into DMA memory.
    Read {
        /// NSID.
        namespace: u32,
        /// The first block.
        lba: u64,
        /// How many blocks, 1 to 65,536 and at most [`super::ControllerInfo::max_transfer`] bytes.
        blocks: u32,
        /// Where to.
        buffer: &'a Dma,
        /// From which byte of `buffer` on, a multiple of 4.
        offset: usize,
    },
    /// Writes blocks from DMA memory.
    Write {
        /// NSID.
        namespace: u32,
        /// The first block.
        lba: u64,
        /// How many blocks, 1 to 65,536 and at most [`super::ControllerInfo::max_transfer`] bytes.
        blocks: u32,
        /// Where from.
        buffer: &'a Dma,
        /// From which byte of `buffer` on, a multiple of 4.
        offset: usize,
        /// Force Unit Access: durable before it completes.
        durable: bool,
    },
    /// Makes durable what was written before.
    Flush {
        /// NSID.
        namespace: u32,
    },
    /// Writes zeroes.
    WriteZeroes {
        /// NSID.
        namespace: u32,
        /// The first block.
        lba: u64,
        /// How many blocks, 1 to 65,536.
        blocks: u32,
    },
    /// Deallocates blocks; they read as zeroes afterwards.
    Deallocate {
        /// NSID.
        namespace: u32,
        /// First blocks and numbers of blocks, 1 to 256 of them.
        ranges: &'a [(u64, u32)],
    },
}

impl<'a> Command<'a> {
    /// What messages call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::Flush { .. } => "flush",
            Self::WriteZeroes { .. } => "write zeroes",
            Self::Deallocate { .. } => "deallocate",
        }
    }

    /// Its NSID.
    pub fn namespace(&self) -> u32 {
        match *self {
            Self::Read { namespace, .. }
            | Self::Write { namespace, .. }
            | Self::Flush { namespace }
            | Self::WriteZeroes { namespace, .. }
            | Self::Deallocate { namespace, .. } => namespace,
        }
    }

    /// The submission queue entry, and what it transfers.
    pub(super) fn encode(&self, namespace: &NamespaceInfo) -> Result<(Sqe, Data<'a>)> {
        let sqe = |opcode, cdw10| Sqe { opcode, nsid: namespace.id, cdw10, ..Sqe::default() };
        let bytes = |blocks: u32| (blocks as usize) << namespace.block_shift;
        match *self {
            Self::Read { lba, blocks, buffer, offset, .. } => {
                let sqe = sqe(io::READ, self.span(lba, blocks, 0)?);
                Ok((sqe, Data::Buffer(buffer, offset, bytes(blocks))))
            }
            Self::Write { lba, blocks, buffer, offset, durable, .. } => {
                let sqe = sqe(io::WRITE, self.span(lba, blocks, rw::FUA.set(0, durable as u64))?);
                Ok((sqe, Data::Buffer(buffer, offset, bytes(blocks))))
            }
            Self::Flush { .. } => Ok((sqe(io::FLUSH, [0; 6]), Data::None)),
            Self::WriteZeroes { lba, blocks, .. } => {
                Ok((sqe(io::WRITE_ZEROES, self.span(lba, blocks, 0)?), Data::None))
            }
            Self::Deallocate { ranges, .. } => {
                if ranges.is_empty() || ranges.len() > dsm::MAX_RANGES {
                    let detail = format!("{} ranges; 1 to {} are possible", ranges.len(), dsm::MAX_RANGES);
                    return Err(Error::Invalid { command: self.name(), detail });
                }
                let count = dsm::NR.set(0, ranges.len() as u64 - 1) as u32;
                let cdw10 = [count, dsm::AD.mask() as u32, 0, 0, 0, 0];
                Ok((sqe(io::DATASET_MANAGEMENT, cdw10), Data::Ranges(ranges)))
            }
        }
    }

    /// Dwords 10 to 15 of a command on `blocks` blocks.
    fn span(&self, lba: u64, blocks: u32, flags: u64) -> Result<[u32; 6]> {
        if !(1..=1 << 16).contains(&blocks) {
            let detail = format!("{blocks} blocks; 1 to 65536 are possible");
            return Err(Error::Invalid { command: self.name(), detail });
        }
        Ok([lba as u32, (lba >> 32) as u32, rw::NLB.set(flags, blocks as u64 - 1) as u32, 0, 0, 0])
    }
}
