//! The Nitride card, in the hardware language of `nitride-lang`. `docs/card.md` is the guide.

pub mod bus;
pub mod dma;
pub mod management;
pub mod nvme;
pub mod pcie;
pub mod profile;
pub mod storage;
