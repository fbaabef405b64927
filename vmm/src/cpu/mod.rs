//! vCPUs: what they are like at their start, and the loop that runs them.

mod features;
mod registers;
mod run;

pub use features::address_bits;
pub use run::{Ended, Run, install_kick, kick_signal};

use kvm_ioctls::Kvm;

use crate::boot::Entry;
use crate::kvm::{Error, Vcpu};

/// Sets a vCPU up. CPU 0 starts at `entry`; the others wait for the guest to start them.
pub fn setup(kvm: &Kvm, vcpu: &Vcpu, id: u8, count: u8, entry: Entry) -> Result<(), Error> {
    features::set(kvm, vcpu, id, count)?;
    if id == 0 { registers::set(vcpu, entry) } else { Ok(()) }
}
