//! Log pages (NVMe 1.4 §5.14.1): identifiers, sizes, byte offsets.

/// Error Information (§5.14.1.1).
pub const ERROR_INFORMATION: u8 = 0x01;
/// SMART / Health Information (§5.14.1.2).
pub const SMART: u8 = 0x02;
/// Firmware Slot Information (§5.14.1.3).
pub const FIRMWARE_SLOT: u8 = 0x03;

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
    /// Host Read Commands (128 bits).
    pub const HOST_READ_COMMANDS: usize = 64;
    /// Host Write Commands (128 bits).
    pub const HOST_WRITE_COMMANDS: usize = 80;
}

/// Byte offsets in the Firmware Slot Information log page, 512 bytes (Figure 195).
pub mod firmware {
    /// Active Firmware Info (8 bits).
    pub const AFI: usize = 0;
    /// Firmware Revision of slot 1 (8 ASCII characters).
    pub const FRS1: usize = 8;
}
