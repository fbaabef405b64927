//! Every register, queue entry, descriptor and table layout of the Nitride card, defined once.
//!
//! The RTL, the simulator, the driver, the VMM, the tests and the documentation take their numbers
//! from here; nothing is typed twice.
#![no_std]

pub mod card;
pub mod exception;
pub mod management;
pub mod nvme;
pub mod pci;
pub mod tlp;
pub mod virtio;
