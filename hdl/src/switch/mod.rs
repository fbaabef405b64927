//! The virtual switch between network devices and Ethernet ports. `docs/network.md` is the guide.

mod counters;
mod egress;
mod ethernet;
mod front;

pub use counters::PortCounters;
pub use egress::Egress;
pub use ethernet::EthernetIn;
pub use front::Front;
