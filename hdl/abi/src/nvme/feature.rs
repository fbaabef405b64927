//! Features (NVMe 1.4 §5.21.1): identifiers, and how the card stores each of them.

/// Arbitration (§5.21.1.1).
pub const ARBITRATION: u8 = 0x01;
/// Power Management (§5.21.1.2).
pub const POWER_MANAGEMENT: u8 = 0x02;
/// Temperature Threshold (§5.21.1.4).
pub const TEMPERATURE_THRESHOLD: u8 = 0x04;
/// Error Recovery (§5.21.1.5).
pub const ERROR_RECOVERY: u8 = 0x05;
/// Volatile Write Cache (§5.21.1.6).
pub const VOLATILE_WRITE_CACHE: u8 = 0x06;
/// Number of Queues (§5.21.1.7).
pub const NUMBER_OF_QUEUES: u8 = 0x07;
/// Interrupt Coalescing (§5.21.1.8).
pub const INTERRUPT_COALESCING: u8 = 0x08;
/// Interrupt Vector Configuration (§5.21.1.9).
pub const INTERRUPT_VECTOR_CONFIGURATION: u8 = 0x09;
/// Write Atomicity Normal (§5.21.1.10).
pub const WRITE_ATOMICITY: u8 = 0x0a;
/// Asynchronous Event Configuration (§5.21.1.11).
pub const ASYNC_EVENT_CONFIGURATION: u8 = 0x0b;

/// A feature that the card keeps as one 32-bit word: Set Features stores dword 11 through `mask`,
/// Get Features returns the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Feature Identifier.
    pub id: u8,
    /// The value after a reset.
    pub default: u32,
    /// The bits that are stored.
    pub mask: u32,
}

/// The features that are one stored word. Temperature Threshold, Number of Queues and Interrupt
/// Vector Configuration have rules of their own.
pub const STORED: [Stored; 7] = [
    Stored { id: ARBITRATION, default: 0, mask: 0xffff_ff07 },
    Stored { id: POWER_MANAGEMENT, default: 0, mask: 0x0000_00ff },
    Stored { id: ERROR_RECOVERY, default: 0, mask: 0x0000_ffff },
    Stored { id: VOLATILE_WRITE_CACHE, default: 1, mask: 0x0000_0001 },
    Stored { id: INTERRUPT_COALESCING, default: 0, mask: 0x0000_ffff },
    Stored { id: WRITE_ATOMICITY, default: 0, mask: 0x0000_0001 },
    Stored { id: ASYNC_EVENT_CONFIGURATION, default: 0, mask: 0x0000_01ff },
];

/// Power Management: Power State; the card has state 0 only.
pub const POWER_STATE: super::Field = super::Field::new(0, 5);

/// Temperature Threshold: the threshold in kelvins.
pub const TMPTH: super::Field = super::Field::new(0, 16);
/// Temperature Threshold: the sensor; the card has 0, the composite temperature, only.
pub const TMPSEL: super::Field = super::Field::new(16, 4);
/// TMPSEL of Set Features: all sensors.
pub const TMPSEL_ALL: u64 = 0xf;
/// Temperature Threshold: 0 over, 1 under.
pub const THSEL: super::Field = super::Field::new(20, 2);
/// The over temperature threshold after a reset; WCTEMP of Identify.
pub const TEMPERATURE_OVER_DEFAULT: u32 = super::WARNING_TEMPERATURE as u32;
/// The under temperature threshold after a reset.
pub const TEMPERATURE_UNDER_DEFAULT: u32 = 0;

/// Number of Queues: submission queues, 0's based.
pub const NSQ: super::Field = super::Field::new(0, 16);
/// Number of Queues: completion queues, 0's based.
pub const NCQ: super::Field = super::Field::new(16, 16);
/// Number of Queues: the answer of Get and Set, all the I/O queues there are.
pub const NUMBER_OF_QUEUES_ANSWER: u32 =
    (crate::card::QUEUES as u32 - 2) | (crate::card::QUEUES as u32 - 2) << 16;

/// Interrupt Vector Configuration: Interrupt Vector.
pub const IV: super::Field = super::Field::new(0, 16);
/// Interrupt Vector Configuration: Coalescing Disable.
pub const CD: super::Field = super::Field::new(16, 1);

/// Volatile Write Cache: Volatile Write Cache Enable; while it is 0 every write is durable when it completes.
pub const WCE: super::Field = super::Field::new(0, 1);

/// Arbitration: Arbitration Burst, log2 of the commands a submission queue starts in its turn.
pub const AB: super::Field = super::Field::new(0, 3);
/// Arbitration Burst: no limit.
pub const AB_NO_LIMIT: u64 = 7;

/// Interrupt Coalescing: Aggregation Threshold, in completions, 0's based.
pub const THR: super::Field = super::Field::new(0, 8);
/// Interrupt Coalescing: Aggregation Time, in units of 100 microseconds; 0: no delay.
pub const TIME: super::Field = super::Field::new(8, 8);
/// Clock cycles of an Aggregation Time of 1, at the nominal 250 MHz.
pub const TIME_CYCLES: u64 = 25_000;

/// Asynchronous Event Configuration: Namespace Attribute Notices.
pub const NAMESPACE_NOTICES: super::Field = super::Field::new(8, 1);
