//! The virtual machine monitor of Nitride: one process, one virtual machine, in the manner of
//! Firecracker, with PCI functions of a card as its only devices besides a serial console.
//!
//! [`vm::Vm`] puts it together from [`config::Config`] and any [`nitride_driver::Function`]s.

mod acpi;
pub mod api;
pub mod boot;
pub mod config;
mod cpu;
mod devices;
mod event;
mod irq;
pub mod kvm;
pub mod layout;
mod memory;
mod pci;
pub mod probe;
pub mod seccomp;
mod serial;
mod signals;
pub mod stats;
mod supervisor;
mod terminal;
pub mod vm;

pub use cpu::address_bits;
pub use supervisor::Stop;
