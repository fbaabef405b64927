//! The virtual switch between network devices and Ethernet ports. `docs/network.md` is the guide.

mod egress;
mod ethernet;

pub use egress::Egress;
pub use ethernet::EthernetIn;
