//! NVMe 1.4: controller registers, queue entries, commands, statuses, Identify data, features, log pages.
//!
//! Everything is little-endian on the wire. Plain numbers are constants that the RTL can use as they
//! are; [`Sqe`], [`Cqe`] and [`Status`] are the same layouts for software.

mod capability;
pub mod command;
mod entry;
pub mod event;
pub mod feature;
pub mod identify;
pub mod log;
pub mod register;
mod status;

pub use capability::*;
pub use entry::{CQE_BYTES, CQE_SHIFT, SQE_BYTES, SQE_SHIFT, cqe, sqe};
pub use entry::{Cqe, SQE_DWORDS, Sqe};
pub use status::Status;

/// A bit field of a register or of a dword: `width` bits from bit `lsb` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its least significant bit.
    pub lsb: u32,
    /// Its width in bits, 1 to 64.
    pub width: u32,
}

impl Field {
    /// The field of `width` bits from bit `lsb` on.
    #[must_use]
    pub const fn new(lsb: u32, width: u32) -> Self {
        Self { lsb, width }
    }

    /// Its bits, in place.
    #[must_use]
    pub const fn mask(self) -> u64 {
        (u64::MAX >> (64 - self.width)) << self.lsb
    }

    /// Its value in `word`.
    #[must_use]
    pub const fn get(self, word: u64) -> u64 {
        (word & self.mask()) >> self.lsb
    }

    /// `word` with the field set to `value`, of which bits that do not fit are dropped.
    #[must_use]
    pub const fn set(self, word: u64, value: u64) -> u64 {
        (word & !self.mask()) | ((value << self.lsb) & self.mask())
    }
}
