//! The virtual machine monitor of Nitride: one process, one virtual machine, in the manner of
//! Firecracker, with PCI functions of a card as its only devices besides a serial console.

pub mod kvm;
pub mod probe;
