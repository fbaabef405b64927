//! Controller registers (NVMe 1.4 §3.1): byte offsets in BAR0, and their fields.

/// CAP, Controller Capabilities: 64 bits, read-only (§3.1.1).
pub const CAP: u64 = 0x00;
/// VS, Version: 32 bits, read-only (§3.1.2).
pub const VS: u64 = 0x08;
/// INTMS, Interrupt Mask Set: 32 bits; unused with MSI-X, reads as 0 (§3.1.3).
pub const INTMS: u64 = 0x0c;
/// INTMC, Interrupt Mask Clear: 32 bits; unused with MSI-X, reads as 0 (§3.1.4).
pub const INTMC: u64 = 0x10;
/// CC, Controller Configuration: 32 bits (§3.1.5).
pub const CC: u64 = 0x14;
/// CSTS, Controller Status: 32 bits, read-only (§3.1.6).
pub const CSTS: u64 = 0x1c;
/// AQA, Admin Queue Attributes: 32 bits (§3.1.8).
pub const AQA: u64 = 0x24;
/// ASQ, Admin Submission Queue Base Address: 64 bits, bits 11:0 are 0 (§3.1.9).
pub const ASQ: u64 = 0x28;
/// ACQ, Admin Completion Queue Base Address: 64 bits, bits 11:0 are 0 (§3.1.10).
pub const ACQ: u64 = 0x30;

/// Byte offset in BAR0 of queue `queue`'s submission queue tail doorbell, 32 bits (§3.1.24, CAP.DSTRD = 0).
#[must_use]
pub const fn sq_tail_doorbell(queue: u16) -> u64 {
    crate::card::BAR0_DOORBELLS + 8 * queue as u64
}

/// Byte offset in BAR0 of queue `queue`'s completion queue head doorbell, 32 bits (§3.1.25, CAP.DSTRD = 0).
#[must_use]
pub const fn cq_head_doorbell(queue: u16) -> u64 {
    sq_tail_doorbell(queue) + 4
}

/// Fields of CAP (§3.1.1).
pub mod cap {
    use crate::nvme::Field;

    /// Maximum Queue Entries Supported, of I/O queues, 0's based.
    pub const MQES: Field = Field::new(0, 16);
    /// Contiguous Queues Required.
    pub const CQR: Field = Field::new(16, 1);
    /// Arbitration Mechanism Supported, beside round robin.
    pub const AMS: Field = Field::new(17, 2);
    /// Timeout of CSTS.RDY changes, in units of 500 ms.
    pub const TO: Field = Field::new(24, 8);
    /// Doorbell Stride: 4 << DSTRD bytes.
    pub const DSTRD: Field = Field::new(32, 4);
    /// NVM Subsystem Reset Supported.
    pub const NSSRS: Field = Field::new(36, 1);
    /// Command Sets Supported; bit 0 is the NVM command set.
    pub const CSS: Field = Field::new(37, 8);
    /// Memory Page Size Minimum: 4 KiB << MPSMIN.
    pub const MPSMIN: Field = Field::new(48, 4);
    /// Memory Page Size Maximum: 4 KiB << MPSMAX.
    pub const MPSMAX: Field = Field::new(52, 4);
}

/// Fields of CC (§3.1.5).
pub mod cc {
    use crate::nvme::Field;

    /// Enable.
    pub const EN: Field = Field::new(0, 1);
    /// I/O Command Set Selected; 0 is the NVM command set.
    pub const CSS: Field = Field::new(4, 3);
    /// Memory Page Size: 4 KiB << MPS.
    pub const MPS: Field = Field::new(7, 4);
    /// Arbitration Mechanism Selected; 0 is round robin.
    pub const AMS: Field = Field::new(11, 3);
    /// Shutdown Notification: 0 none, 1 normal, 2 abrupt.
    pub const SHN: Field = Field::new(14, 2);
    /// I/O Submission Queue Entry Size, log2 of bytes.
    pub const IOSQES: Field = Field::new(16, 4);
    /// I/O Completion Queue Entry Size, log2 of bytes.
    pub const IOCQES: Field = Field::new(20, 4);
    /// The bits of CC that a host can write.
    pub const WRITABLE: u32 = 0x00ff_fff1;
}

/// Fields of CSTS (§3.1.6).
pub mod csts {
    use crate::nvme::Field;

    /// Ready.
    pub const RDY: Field = Field::new(0, 1);
    /// Controller Fatal Status.
    pub const CFS: Field = Field::new(1, 1);
    /// Shutdown Status.
    pub const SHST: Field = Field::new(2, 2);
    /// SHST: normal operation.
    pub const SHST_NORMAL: u64 = 0;
    /// SHST: shutdown processing is under way.
    pub const SHST_OCCURRING: u64 = 1;
    /// SHST: shutdown processing is complete.
    pub const SHST_COMPLETE: u64 = 2;
}

/// Fields of AQA (§3.1.8).
pub mod aqa {
    use crate::nvme::Field;

    /// Admin Submission Queue Size in entries, 0's based, up to 4,096 entries whatever CAP.MQES.
    pub const ASQS: Field = Field::new(0, 12);
    /// Admin Completion Queue Size in entries, 0's based, up to 4,096 entries whatever CAP.MQES.
    pub const ACQS: Field = Field::new(16, 12);
    /// The bits of AQA that a host can write.
    pub const WRITABLE: u32 = 0x0fff_0fff;
}
