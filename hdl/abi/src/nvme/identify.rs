//! Identify data structures (NVMe 1.4 §5.15.2): byte offsets of the fields in use.

/// Byte offsets in the Identify Controller data structure (§5.15.2.2, Figure 247).
pub mod controller {
    /// PCI Vendor ID (16 bits).
    pub const VID: usize = 0;
    /// PCI Subsystem Vendor ID (16 bits).
    pub const SSVID: usize = 2;
    /// Serial Number (20 ASCII characters).
    pub const SN: usize = 4;
    /// Model Number (40 ASCII characters).
    pub const MN: usize = 24;
    /// Firmware Revision (8 ASCII characters).
    pub const FR: usize = 64;
    /// Recommended Arbitration Burst (8 bits).
    pub const RAB: usize = 72;
    /// IEEE OUI Identifier (24 bits).
    pub const IEEE: usize = 73;
    /// Controller Multi-Path I/O and Namespace Sharing Capabilities (8 bits).
    pub const CMIC: usize = 76;
    /// Maximum Data Transfer Size (8 bits): 2^MDTS pages of CAP.MPSMIN.
    pub const MDTS: usize = 77;
    /// Controller ID (16 bits).
    pub const CNTLID: usize = 78;
    /// Version (32 bits).
    pub const VER: usize = 80;
    /// Optional Asynchronous Events Supported (32 bits).
    pub const OAES: usize = 92;
    /// Controller Attributes (32 bits).
    pub const CTRATT: usize = 96;
    /// Controller Type (8 bits).
    pub const CNTRLTYPE: usize = 111;
    /// Optional Admin Command Support (16 bits).
    pub const OACS: usize = 256;
    /// Abort Command Limit (8 bits), 0's based.
    pub const ACL: usize = 258;
    /// Asynchronous Event Request Limit (8 bits), 0's based.
    pub const AERL: usize = 259;
    /// Firmware Updates (8 bits).
    pub const FRMW: usize = 260;
    /// Log Page Attributes (8 bits).
    pub const LPA: usize = 261;
    /// Error Log Page Entries (8 bits), 0's based.
    pub const ELPE: usize = 262;
    /// Number of Power States Support (8 bits), 0's based.
    pub const NPSS: usize = 263;
    /// Warning Composite Temperature Threshold in kelvins (16 bits).
    pub const WCTEMP: usize = 266;
    /// Critical Composite Temperature Threshold in kelvins (16 bits).
    pub const CCTEMP: usize = 268;
    /// Submission Queue Entry Size (8 bits): log2 required in 3:0, maximum in 7:4.
    pub const SQES: usize = 512;
    /// Completion Queue Entry Size (8 bits): log2 required in 3:0, maximum in 7:4.
    pub const CQES: usize = 513;
    /// Number of Namespaces (32 bits).
    pub const NN: usize = 516;
    /// Optional NVM Command Support (16 bits).
    pub const ONCS: usize = 520;
    /// Volatile Write Cache (8 bits).
    pub const VWC: usize = 525;
    /// SGL Support (32 bits).
    pub const SGLS: usize = 536;
    /// NVM Subsystem NVMe Qualified Name (256 bytes, UTF-8, zero-terminated).
    pub const SUBNQN: usize = 768;
}

/// Byte offsets in the Identify Namespace data structure (§5.15.2.1, Figure 245).
pub mod namespace {
    /// Namespace Size in blocks (64 bits).
    pub const NSZE: usize = 0;
    /// Namespace Capacity in blocks (64 bits).
    pub const NCAP: usize = 8;
    /// Namespace Utilization in blocks (64 bits).
    pub const NUSE: usize = 16;
    /// Namespace Features (8 bits).
    pub const NSFEAT: usize = 24;
    /// Number of LBA Formats (8 bits), 0's based.
    pub const NLBAF: usize = 25;
    /// Formatted LBA Size (8 bits): index of the format in 3:0.
    pub const FLBAS: usize = 26;
    /// Deallocate Logical Block Features (8 bits).
    pub const DLFEAT: usize = 33;
    /// Namespace Attributes (8 bits): bit 0 is write protected.
    pub const NSATTR: usize = 99;
    /// Namespace Globally Unique Identifier (16 bytes, big-endian).
    pub const NGUID: usize = 104;
    /// LBA Format 0 (32 bits); the others follow. LBADS is bits 23:16.
    pub const LBAF0: usize = 128;
    /// Byte of an LBA format that has LBADS, log2 of the block size in bytes.
    pub const LBAF_LBADS: usize = 2;
}

/// Namespace Identification Descriptor (§5.15.2.3, Figure 249).
pub mod descriptor {
    /// Namespace Identifier Type (8 bits).
    pub const NIDT: usize = 0;
    /// Namespace Identifier Length in bytes (8 bits).
    pub const NIDL: usize = 1;
    /// Namespace Identifier.
    pub const NID: usize = 4;
    /// NIDT: Namespace Globally Unique Identifier, 16 bytes.
    pub const NIDT_NGUID: u8 = 2;
}
