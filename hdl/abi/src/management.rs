//! The management function's registers: PF0's BAR0.
//!
//! Registers are 64 bits wide and 8-byte aligned; any of their bytes may be accessed, inside of one
//! register per access. What is not listed reads as 0 and ignores writes.

/// Identification, read only: [`MAGIC`].
pub const IDENTIFICATION: u64 = 0x0000;
/// `b"NITRIDE\0"`, read as one little-endian word.
pub const MAGIC: u64 = u64::from_le_bytes(*b"NITRIDE\0");

/// Version of this register layout, read only: major in bits 31:16, minor in bits 15:0.
/// A driver refuses another major version; a higher minor version only adds registers.
pub const VERSION: u64 = 0x0008;
/// The layout described here.
pub const VERSION_VALUE: u64 = 0x0001_0000;

/// What the card was built with, read only: [`Profile`].
pub const PROFILE: u64 = 0x0010;

/// The card's profile as [`PROFILE`] tells it. Bits 7:0 VFs of the storage function, 15:8 namespaces of a controller,
/// 23:16 queue pairs of a controller, 31:24 counters, 63:32 zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// VFs of PF2: there are this many NVMe controllers and one more.
    pub vfs: u8,
    /// Namespaces of a controller.
    pub namespaces: u8,
    /// Queue pairs of a controller, the admin queues included.
    pub queues: u8,
    /// Counters from [`COUNTERS`] on.
    pub counters: u8,
}

impl Profile {
    /// Takes the register's value apart.
    #[must_use]
    pub const fn decode(value: u64) -> Self {
        Self {
            vfs: value as u8,
            namespaces: (value >> 8) as u8,
            queues: (value >> 16) as u8,
            counters: (value >> 24) as u8,
        }
    }

    /// The register's value.
    #[must_use]
    pub const fn encode(self) -> u64 {
        self.vfs as u64
            | (self.namespaces as u64) << 8
            | (self.queues as u64) << 16
            | (self.counters as u64) << 24
    }
}

/// Volume window: selects an entry of the volume table, bits 5:0 = [`volume_index`]. Writing it also loads the
/// entry into the window's other registers, so that it can be read back.
pub const VOLUME_INDEX: u64 = 0x0040;
/// Volume window: [`VOLUME_ATTACHED`], [`VOLUME_READ_ONLY`], [`VOLUME_LARGE_BLOCKS`].
pub const VOLUME_FLAGS: u64 = 0x0048;
/// Volume window: byte address on the media, bits 47:12. Bits 11:0 are read-only zero.
pub const VOLUME_BASE: u64 = 0x0050;
/// Volume window: size in logical blocks, bits 39:0.
pub const VOLUME_BLOCKS: u64 = 0x0058;
/// Volume window: a write of any value makes flags, base and size the selected entry's, all at once, and tells its
/// controller that a namespace changed (an asynchronous event, NVMe 1.4 §5.2). Reads as 0.
pub const VOLUME_COMMIT: u64 = 0x0060;

/// [`VOLUME_FLAGS`]: the namespace exists.
pub const VOLUME_ATTACHED: u64 = 1 << 0;
/// [`VOLUME_FLAGS`]: writes are refused.
pub const VOLUME_READ_ONLY: u64 = 1 << 1;
/// [`VOLUME_FLAGS`]: logical blocks of 4 KiB; else of 512 bytes.
pub const VOLUME_LARGE_BLOCKS: u64 = 1 << 2;
/// Bits of [`VOLUME_FLAGS`] that are there.
pub const VOLUME_FLAGS_MASK: u64 = VOLUME_ATTACHED | VOLUME_READ_ONLY | VOLUME_LARGE_BLOCKS;
/// Bits of [`VOLUME_BASE`] that are there.
pub const VOLUME_BASE_MASK: u64 = (1 << 48) - (1 << 12);
/// Bits of [`VOLUME_BLOCKS`] that are there.
pub const VOLUME_BLOCKS_MASK: u64 = (1 << 40) - 1;

/// Entries of the volume table.
pub const VOLUMES: usize = crate::card::CONTROLLERS * crate::card::NAMESPACES;

/// The volume table's entry of a controller's namespace. None if there is no such controller or namespace
/// (`nsid` counts from 1).
#[must_use]
pub const fn volume_index(controller: u8, nsid: u32) -> Option<u8> {
    if (controller as usize) < crate::card::CONTROLLERS && nsid >= 1 && nsid <= crate::card::NAMESPACES as u32
    {
        Some(controller * crate::card::NAMESPACES as u8 + (nsid - 1) as u8)
    } else {
        None
    }
}

/// The first counter. Counter `i` is at `COUNTERS + 8 * i`: 64 bits, read only, from 0 at the card's reset, wraps.
/// Two 32-bit reads of one counter may straddle an increment: read high, low, high.
pub const COUNTERS: u64 = 0x0100;
/// How many counters there are; also the width of the card's event pulses.
pub const COUNTER_COUNT: usize = 16;

/// A counter: its number is its place from [`COUNTERS`] on and its bit among the card's event pulses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Counter {
    /// TLPs dropped as malformed (PCIe 4.0 §2.2.2, §2.3).
    Malformed = 0,
    /// Requests received poisoned (PCIe 4.0 §2.7.2).
    Poisoned = 1,
    /// Requests refused as Unsupported Request, posted ones included.
    Unsupported = 2,
    /// Requests refused with Completer Abort, and posted writes that the card's registers can't take.
    Aborted = 3,
    /// Configuration requests completed.
    Configuration = 4,
    /// Register reads of BAR0s.
    RegisterReads = 5,
    /// Register writes of BAR0s, doorbells included.
    RegisterWrites = 6,
    /// Function-level resets begun, VFs that were disabled included.
    Resets = 7,
    /// Completions that belong to no request of the card (PCIe 4.0 §2.3.2).
    UnexpectedCompletions = 8,
    /// Read requests without their completions in time (PCIe 4.0 §2.8).
    Timeouts = 9,
    /// Memory read TLPs sent.
    DmaReads = 10,
    /// Memory write TLPs sent, interrupts not included.
    DmaWrites = 11,
    /// Reads of host memory that failed: UR, CA or poisoned data.
    DmaFailures = 12,
    /// MSI-X messages sent.
    Interrupts = 13,
    /// NVMe commands fetched.
    Commands = 14,
    /// NVMe commands that completed with a status other than Successful Completion.
    CommandErrors = 15,
}

impl Counter {
    /// All counters, in their order.
    pub const ALL: [Self; COUNTER_COUNT] = [
        Self::Malformed,
        Self::Poisoned,
        Self::Unsupported,
        Self::Aborted,
        Self::Configuration,
        Self::RegisterReads,
        Self::RegisterWrites,
        Self::Resets,
        Self::UnexpectedCompletions,
        Self::Timeouts,
        Self::DmaReads,
        Self::DmaWrites,
        Self::DmaFailures,
        Self::Interrupts,
        Self::Commands,
        Self::CommandErrors,
    ];

    /// Byte offset in BAR0.
    #[must_use]
    pub const fn offset(self) -> u64 {
        COUNTERS + 8 * self as u64
    }

    /// Its bit among the event pulses.
    #[must_use]
    pub const fn bit(self) -> usize {
        self as usize
    }

    /// A name for people and machines, in lower case with underscores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Poisoned => "poisoned",
            Self::Unsupported => "unsupported",
            Self::Aborted => "aborted",
            Self::Configuration => "configuration",
            Self::RegisterReads => "register_reads",
            Self::RegisterWrites => "register_writes",
            Self::Resets => "resets",
            Self::UnexpectedCompletions => "unexpected_completions",
            Self::Timeouts => "timeouts",
            Self::DmaReads => "dma_reads",
            Self::DmaWrites => "dma_writes",
            Self::DmaFailures => "dma_failures",
            Self::Interrupts => "interrupts",
            Self::Commands => "commands",
            Self::CommandErrors => "command_errors",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_indices_are_dense_and_checked() {
        assert_eq!(volume_index(0, 1), Some(0));
        assert_eq!(volume_index(15, 4), Some(63));
        assert_eq!(volume_index(16, 1), None);
        assert_eq!(volume_index(0, 0), None);
        assert_eq!(volume_index(0, 5), None);
    }

    #[test]
    fn counters_are_numbered_by_their_place() {
        for (i, c) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(c.bit(), i);
            assert_eq!(c.offset(), COUNTERS + 8 * i as u64);
        }
    }

    #[test]
    fn the_profile_survives_its_register() {
        let p = Profile { vfs: 8, namespaces: 4, queues: 8, counters: 16 };
        assert_eq!(Profile::decode(p.encode()), p);
    }
}
