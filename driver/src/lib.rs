//! The host side of a Nitride card: the [`Function`] seam, its back ends, and the drivers on top of it.
//!
//! Everything above [`Function`] works alike on a simulated card in this process, on one behind a
//! vfio-user socket, and on a real one behind VFIO.

mod dma;
mod function;
pub mod management;
mod memory;
pub mod nvme;
#[cfg(feature = "slow-path")]
pub mod slow_path;
pub mod vfio;
pub mod vfio_user;
pub mod virtio_net;

pub use dma::{Dma, DmaSpace};
pub use function::{
    Bar, Error, Function, Info, Interrupts, Result, WIDTHS, check_bar_access, check_config_access,
};
pub use memory::{Access, Memory};
pub use vfio::Vfio;
pub use vfio_user::VfioUser;
