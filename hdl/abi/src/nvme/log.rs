//! Log pages (NVMe 1.4 §5.14.1): identifiers, sizes, byte offsets.

/// Error Information (§5.14.1.1).
pub const ERROR_INFORMATION: u8 = 0x01;
/// SMART / Health Information (§5.14.1.2).
pub const SMART: u8 = 0x02;
/// Firmware Slot Information (§5.14.1.3).
pub const FIRMWARE_SLOT: u8 = 0x03;
/// Changed Namespace List (§5.14.1.4).
pub const CHANGED_NAMESPACES: u8 = 0x04;

/// Size of a log page in bytes; 0 for one that the card does not have.
#[must_use]
pub const fn size(id: u8) -> usize {
    match id {
        ERROR_INFORMATION => error::ENTRIES * error::BYTES,
        SMART | FIRMWARE_SLOT => 512,
        CHANGED_NAMESPACES => 4096,
        _ => 0,
    }
}

/// Byte offsets in an entry of the Error Information log page, the newest first (Figure 193).
pub mod error {
    /// Entries that the card keeps of a controller.
    pub const ENTRIES: usize = 4;
    /// Size of an entry in bytes.
    pub const BYTES: usize = 64;
    /// Error Count (64 bits), from 1 on; 0 in an entry that holds nothing.
    pub const ERROR_COUNT: usize = 0;
    /// Submission Queue ID (16 bits); FFFFh: of no command.
    pub const SQID: usize = 8;
    /// Command ID (16 bits); FFFFh: of no command.
    pub const CID: usize = 10;
    /// Status Field (16 bits): the phase tag, here 0, in bit 0, the status above it.
    pub const STATUS: usize = 12;
    /// Parameter Error Location (16 bits); FFFFh: not told.
    pub const PARAMETER: usize = 14;
    /// LBA (64 bits).
    pub const LBA: usize = 16;
    /// Namespace (32 bits).
    pub const NSID: usize = 24;
}

/// Byte offsets in the SMART / Health Information log page, 512 bytes (Figure 194).
pub mod smart {
    /// Critical Warning (8 bits).
    pub const CRITICAL_WARNING: usize = 0;
    /// Composite Temperature in kelvins (16 bits).
    pub const TEMPERATURE: usize = 1;
    /// Available Spare in percent (8 bits).
    pub const AVAILABLE_SPARE: usize = 3;
    /// Available Spare Threshold in percent (8 bits).
    pub const AVAILABLE_SPARE_THRESHOLD: usize = 4;
    /// Percentage Used (8 bits).
    pub const PERCENTAGE_USED: usize = 5;
    /// Data Units Read (128 bits), in 1,000 units of 512 bytes, rounded up.
    pub const DATA_UNITS_READ: usize = 32;
    /// Data Units Written (128 bits), in 1,000 units of 512 bytes, rounded up.
    pub const DATA_UNITS_WRITTEN: usize = 48;
    /// Host Read Commands (128 bits).
    pub const HOST_READ_COMMANDS: usize = 64;
    /// Host Write Commands (128 bits).
    pub const HOST_WRITE_COMMANDS: usize = 80;
    /// Power Cycles (128 bits).
    pub const POWER_CYCLES: usize = 112;
    /// Media and Data Integrity Errors (128 bits).
    pub const MEDIA_ERRORS: usize = 160;
    /// Number of Error Information Log Entries (128 bits).
    pub const ERROR_ENTRIES: usize = 176;
}

/// Byte offsets in the Firmware Slot Information log page, 512 bytes (Figure 195).
pub mod firmware {
    /// Active Firmware Info (8 bits).
    pub const AFI: usize = 0;
    /// Firmware Revision of slot 1 (8 ASCII characters).
    pub const FRS1: usize = 8;
}
