//! What tests of several crates share: the NVMe reference model, random differential runs against it, and a
//! reference vfio-user server.

pub mod differential;
pub mod nvme_model;
pub mod reference_server;
pub mod tcp;
pub mod virtio_net_model;
