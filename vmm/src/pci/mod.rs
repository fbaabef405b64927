//! The PCI root: one bus of functions, each a [`nitride_driver::Function`], whatever carries it.
//!
//! Functions sit on bus 0 as root complex integrated endpoints. The guest never reaches a function's
//! BAR registers or its MSI-X table: those are the VMM's (see [`device`]).

mod bars;
mod capabilities;
pub mod device;
mod msix;
pub mod ports;
pub mod root;

pub use device::Device;
pub use root::Root;

/// Configuration space registers (PCIe 4.0 §7.5.1), offsets in bytes.
pub(crate) mod reg {
    pub const COMMAND: u16 = 0x04;
    pub const STATUS: u16 = 0x06;
    pub const HEADER_TYPE: u16 = 0x0e;
    pub const BAR0: u16 = 0x10;
    pub const CARDBUS_CIS: u16 = 0x28;
    pub const ROM: u16 = 0x30;
    pub const CAPABILITIES: u16 = 0x34;
    pub const INTERRUPT_LINE: u16 = 0x3c;
    pub const INTERRUPT_PIN: u16 = 0x3d;
    /// First extended capability (PCIe 4.0 §7.6.1).
    pub const EXTENDED: u16 = 0x100;
}

/// Command register: Memory Space Enable (PCIe 4.0 §7.5.1.1.3).
pub(crate) const COMMAND_MEMORY: u32 = 1 << 1;

/// Little-endian bytes of a register, or of two, as seen by an access of `data.len()` bytes at `offset` in it.
pub(crate) fn read_bytes(register: &[u8], offset: usize, data: &mut [u8]) {
    for (index, byte) in data.iter_mut().enumerate() {
        *byte = register.get(offset + index).copied().unwrap_or(0);
    }
}
