//! Submission and completion queue entries (NVMe 1.4 §4.2, §4.6).

use super::Status;

/// Size of a submission queue entry in bytes.
pub const SQE_BYTES: usize = 64;
/// log2 of [`SQE_BYTES`]: CC.IOSQES.
pub const SQE_SHIFT: u8 = 6;
/// Size of a submission queue entry in dwords.
pub const SQE_DWORDS: usize = 16;
/// Size of a completion queue entry in bytes.
pub const CQE_BYTES: usize = 16;
/// log2 of [`CQE_BYTES`]: CC.IOCQES.
pub const CQE_SHIFT: u8 = 4;

/// Bit positions in a submission queue entry taken as one 512-bit little-endian word (§4.2, Figures 104 and 105).
pub mod sqe {
    use crate::nvme::Field;

    /// Opcode, in dword 0.
    pub const OPCODE: Field = Field::new(0, 8);
    /// Fused Operation, in dword 0.
    pub const FUSE: Field = Field::new(8, 2);
    /// PRP or SGL for Data Transfer, in dword 0; 0 is PRP.
    pub const PSDT: Field = Field::new(14, 2);
    /// Command Identifier, in dword 0.
    pub const CID: Field = Field::new(16, 16);
    /// First bit of dword `n`: 1 is NSID, 4 MPTR, 6 PRP1, 8 PRP2, 10 to 15 are the command's own.
    #[must_use]
    pub const fn dword(n: usize) -> usize {
        32 * n
    }
    /// First bit of NSID (32 bits).
    pub const NSID: usize = dword(1);
    /// First bit of PRP1 (64 bits).
    pub const PRP1: usize = dword(6);
    /// First bit of PRP2 (64 bits).
    pub const PRP2: usize = dword(8);
}

/// Bit positions in a completion queue entry taken as one 128-bit little-endian word (§4.6, Figures 121 to 123).
pub mod cqe {
    /// Command specific result (32 bits).
    pub const RESULT: usize = 0;
    /// SQ Head Pointer (16 bits).
    pub const SQHD: usize = 64;
    /// SQ Identifier (16 bits).
    pub const SQID: usize = 80;
    /// Command Identifier (16 bits).
    pub const CID: usize = 96;
    /// Phase Tag (1 bit).
    pub const PHASE: usize = 112;
    /// Status Field (15 bits): SC 7:0, SCT 10:8, CRD 12:11, M 13, DNR 14.
    pub const STATUS: usize = 113;
}

/// A submission queue entry (§4.2, Figure 105).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sqe {
    /// OPC, the opcode.
    pub opcode: u8,
    /// FUSE in bits 1:0, PSDT in bits 7:6.
    pub flags: u8,
    /// CID, the command identifier.
    pub cid: u16,
    /// NSID, the namespace identifier.
    pub nsid: u32,
    /// Dwords 2 and 3, reserved in every command that the card knows.
    pub cdw2: [u32; 2],
    /// MPTR, the metadata pointer. No format of the card has metadata.
    pub mptr: u64,
    /// PRP entry 1.
    pub prp1: u64,
    /// PRP entry 2.
    pub prp2: u64,
    /// Dwords 10 to 15, whose meaning is the command's.
    pub cdw10: [u32; 6],
}

impl Sqe {
    /// The entry as it lies in memory.
    #[must_use]
    pub const fn to_dwords(&self) -> [u32; SQE_DWORDS] {
        [
            self.opcode as u32 | (self.flags as u32) << 8 | (self.cid as u32) << 16,
            self.nsid,
            self.cdw2[0],
            self.cdw2[1],
            self.mptr as u32,
            (self.mptr >> 32) as u32,
            self.prp1 as u32,
            (self.prp1 >> 32) as u32,
            self.prp2 as u32,
            (self.prp2 >> 32) as u32,
            self.cdw10[0],
            self.cdw10[1],
            self.cdw10[2],
            self.cdw10[3],
            self.cdw10[4],
            self.cdw10[5],
        ]
    }

    /// The entry that lies in memory as `d`.
    #[must_use]
    pub const fn from_dwords(d: &[u32; SQE_DWORDS]) -> Self {
        Self {
            opcode: d[0] as u8,
            flags: (d[0] >> 8) as u8,
            cid: (d[0] >> 16) as u16,
            nsid: d[1],
            cdw2: [d[2], d[3]],
            mptr: d[4] as u64 | (d[5] as u64) << 32,
            prp1: d[6] as u64 | (d[7] as u64) << 32,
            prp2: d[8] as u64 | (d[9] as u64) << 32,
            cdw10: [d[10], d[11], d[12], d[13], d[14], d[15]],
        }
    }

    /// The entry's bytes, little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SQE_BYTES] {
        let mut bytes = [0; SQE_BYTES];
        for (to, dword) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(self.to_dwords()) {
            *to = dword.to_le_bytes();
        }
        bytes
    }

    /// The entry in `bytes`, little-endian.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; SQE_BYTES]) -> Self {
        let mut dwords = [0; SQE_DWORDS];
        for (dword, from) in dwords.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *dword = u32::from_le_bytes(*from);
        }
        Self::from_dwords(&dwords)
    }
}

/// A completion queue entry (§4.6, Figure 121).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cqe {
    /// Dword 0, whose meaning is the command's.
    pub result: u32,
    /// SQHD: the head of the submission queue, as far as its entries may be used again.
    pub sq_head: u16,
    /// SQID: the submission queue.
    pub sq_id: u16,
    /// CID: the command.
    pub cid: u16,
    /// P: inverts with each pass through the queue, true in the first.
    pub phase: bool,
    /// SF without the phase tag.
    pub status: Status,
}

impl Cqe {
    /// The entry as it lies in memory.
    #[must_use]
    pub const fn to_dwords(&self) -> [u32; 4] {
        [
            self.result,
            0,
            self.sq_head as u32 | (self.sq_id as u32) << 16,
            self.cid as u32 | (self.phase as u32) << 16 | (self.status.bits() as u32) << 17,
        ]
    }

    /// The entry that lies in memory as `d`.
    #[must_use]
    pub const fn from_dwords(d: &[u32; 4]) -> Self {
        Self {
            result: d[0],
            sq_head: d[2] as u16,
            sq_id: (d[2] >> 16) as u16,
            cid: d[3] as u16,
            phase: d[3] >> 16 & 1 == 1,
            status: Status::from_bits((d[3] >> 17) as u16),
        }
    }

    /// The entry's bytes, little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; CQE_BYTES] {
        let mut bytes = [0; CQE_BYTES];
        for (to, dword) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(self.to_dwords()) {
            *to = dword.to_le_bytes();
        }
        bytes
    }

    /// The entry in `bytes`, little-endian.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; CQE_BYTES]) -> Self {
        let mut dwords = [0; 4];
        for (dword, from) in dwords.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *dword = u32::from_le_bytes(*from);
        }
        Self::from_dwords(&dwords)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqe_round_trips_with_every_byte_in_its_place() {
        let bytes: [u8; SQE_BYTES] = core::array::from_fn(|i| i as u8 + 1);
        let sqe = Sqe::from_bytes(&bytes);
        assert_eq!((sqe.opcode, sqe.flags, sqe.cid, sqe.nsid), (1, 2, 0x0403, 0x0807_0605));
        assert_eq!(sqe.prp1, 0x201f_1e1d_1c1b_1a19);
        assert_eq!(sqe.prp2, 0x2827_2625_2423_2221);
        assert_eq!(sqe.cdw10[0], 0x2c2b_2a29);
        assert_eq!(sqe.to_bytes(), bytes);
    }

    #[test]
    fn cqe_has_phase_below_status() {
        let cqe = Cqe {
            result: 7,
            sq_head: 2,
            sq_id: 3,
            cid: 0x1234,
            phase: true,
            status: Status::LBA_OUT_OF_RANGE,
        };
        let bytes = cqe.to_bytes();
        assert_eq!(bytes[8..12], [2, 0, 3, 0]);
        // SC 80h with DNR: 80h << 1 | phase, and DNR in bit 15.
        assert_eq!(bytes[12..16], [0x34, 0x12, 0x01, 0x81]);
        assert_eq!(Cqe::from_bytes(&bytes), cqe);
    }
}
