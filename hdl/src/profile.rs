//! What a card is built with: one value a kind of card.

use nitride_abi::pci::space::Layout;

/// Bits of the data path between the TLP edge, the DMA engines and the media.
pub const DATA_BITS: usize = 256;
/// DWs (32 bit) of the data path.
pub const LANES: usize = DATA_BITS / 32;

/// The parameters that a card is elaborated with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// VFs of each SR-IOV PF (TotalVFs), at most 15; at most 8 with `network`.
    pub vfs: u8,
    /// There is PF1 with its VFs.
    pub network: bool,
    /// Clock cycles after which a read request without its completions is given up (PCIe 4.0 §2.8).
    pub completion_timeout: u32,
}

impl Profile {
    /// What its configuration spaces are made for.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        Layout { vfs: self.vfs, network: self.network }
    }

    /// The simulated default.
    pub const LAB: Self = Self { vfs: nitride_abi::card::VFS, network: true, completion_timeout: 250_000 };
}

impl Default for Profile {
    fn default() -> Self {
        Self::LAB
    }
}
