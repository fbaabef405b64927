//! Opcodes and the fields of each command's dwords (NVMe 1.4 §5, §6).

/// NSID that means every namespace.
pub const NSID_ALL: u32 = 0xffff_ffff;

/// Opcodes of admin commands (§5, Figure 139).
pub mod admin {
    /// Delete I/O Submission Queue (§5.6).
    pub const DELETE_SQ: u8 = 0x00;
    /// Create I/O Submission Queue (§5.4).
    pub const CREATE_SQ: u8 = 0x01;
    /// Get Log Page (§5.14).
    pub const GET_LOG_PAGE: u8 = 0x02;
    /// Delete I/O Completion Queue (§5.5).
    pub const DELETE_CQ: u8 = 0x04;
    /// Create I/O Completion Queue (§5.3).
    pub const CREATE_CQ: u8 = 0x05;
    /// Identify (§5.15).
    pub const IDENTIFY: u8 = 0x06;
    /// Abort (§5.1).
    pub const ABORT: u8 = 0x08;
    /// Set Features (§5.21).
    pub const SET_FEATURES: u8 = 0x09;
    /// Get Features (§5.13).
    pub const GET_FEATURES: u8 = 0x0a;
    /// Asynchronous Event Request (§5.2).
    pub const ASYNC_EVENT_REQUEST: u8 = 0x0c;
}

/// Opcodes of the NVM command set (§6, Figure 346).
pub mod io {
    /// Flush (§6.8).
    pub const FLUSH: u8 = 0x00;
    /// Write.
    pub const WRITE: u8 = 0x01;
    /// Read (§6.9).
    pub const READ: u8 = 0x02;
    /// Write Zeroes.
    pub const WRITE_ZEROES: u8 = 0x08;
    /// Dataset Management (§6.7).
    pub const DATASET_MANAGEMENT: u8 = 0x09;
}

/// Create and Delete I/O queue (§5.3 to §5.6).
pub mod queue {
    use crate::nvme::Field;

    /// Dword 10: Queue Identifier.
    pub const QID: Field = Field::new(0, 16);
    /// Dword 10: Queue Size in entries, 0's based.
    pub const QSIZE: Field = Field::new(16, 16);
    /// Dword 11: Physically Contiguous.
    pub const PC: Field = Field::new(0, 1);
    /// Dword 11, completion queue: Interrupts Enabled.
    pub const IEN: Field = Field::new(1, 1);
    /// Dword 11, completion queue: Interrupt Vector.
    pub const IV: Field = Field::new(16, 16);
    /// Dword 11, submission queue: Queue Priority, unused with round robin.
    pub const QPRIO: Field = Field::new(1, 2);
    /// Dword 11, submission queue: Completion Queue Identifier.
    pub const CQID: Field = Field::new(16, 16);
}

/// Read, Write and Write Zeroes (§6.9 and following): SLBA is dwords 10 and 11.
pub mod rw {
    use crate::nvme::Field;

    /// Dword 12: Number of Logical Blocks, 0's based.
    pub const NLB: Field = Field::new(0, 16);
    /// Dword 12 of Write Zeroes: Deallocate.
    pub const DEAC: Field = Field::new(25, 1);
    /// Dword 12: Force Unit Access.
    pub const FUA: Field = Field::new(30, 1);
}

/// Dataset Management (§6.7).
pub mod dsm {
    use crate::nvme::Field;

    /// Dword 10: Number of Ranges, 0's based.
    pub const NR: Field = Field::new(0, 8);
    /// Dword 11: Attribute, Deallocate.
    pub const AD: Field = Field::new(2, 1);
    /// Bytes of a range: attributes (32 bits), length in blocks (32), starting LBA (64).
    pub const RANGE_BYTES: usize = 16;
    /// Most ranges of a command.
    pub const MAX_RANGES: usize = 256;
}

/// Identify (§5.15).
pub mod identify {
    use crate::nvme::Field;

    /// Dword 10: Controller or Namespace Structure.
    pub const CNS: Field = Field::new(0, 8);
    /// CNS: Identify Namespace data structure of NSID.
    pub const CNS_NAMESPACE: u8 = 0x00;
    /// CNS: Identify Controller data structure.
    pub const CNS_CONTROLLER: u8 = 0x01;
    /// CNS: active namespace IDs above NSID.
    pub const CNS_ACTIVE_NAMESPACES: u8 = 0x02;
    /// CNS: Namespace Identification Descriptor list of NSID.
    pub const CNS_NAMESPACE_DESCRIPTORS: u8 = 0x03;
    /// Size of every answer in bytes.
    pub const BYTES: usize = 4096;
}

/// Get and Set Features (§5.13, §5.21). A feature's value is dword 11, or dword 0 of the completion.
pub mod features {
    use crate::nvme::Field;

    /// Dword 10: Feature Identifier.
    pub const FID: Field = Field::new(0, 8);
    /// Dword 10 of Get Features: Select.
    pub const SEL: Field = Field::new(8, 3);
    /// Dword 10 of Set Features: Save.
    pub const SV: Field = Field::new(31, 1);
}

/// Get Log Page (§5.14).
pub mod log_page {
    use crate::nvme::Field;

    /// Dword 10: Log Page Identifier.
    pub const LID: Field = Field::new(0, 8);
    /// Dword 10: Retain Asynchronous Event.
    pub const RAE: Field = Field::new(15, 1);
    /// Dword 10: Number of Dwords Lower, 0's based.
    pub const NUMDL: Field = Field::new(16, 16);
    /// Dword 11: Number of Dwords Upper.
    pub const NUMDU: Field = Field::new(0, 16);
    /// Dwords 12 and 13, Log Page Offset in bytes: bits that must be 0.
    pub const LPO_ALIGNMENT: u32 = 3;
    /// The most that the card returns, in bytes; it asks for no more than 2 PRP entries.
    pub const MAX_BYTES: usize = 4096;
}

/// Abort (§5.1).
pub mod abort {
    use crate::nvme::Field;

    /// Dword 10: Submission Queue Identifier.
    pub const SQID: Field = Field::new(0, 16);
    /// Dword 10: Command Identifier.
    pub const CID: Field = Field::new(16, 16);
    /// Dword 0 of the completion: the command was aborted.
    pub const ABORTED: u32 = 0;
    /// Dword 0 of the completion: the command was not aborted.
    pub const NOT_ABORTED: u32 = 1;
}
