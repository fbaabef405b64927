//! What tests of several crates share: the NVMe reference model and a reference vfio-user server.

pub mod nvme_model;
pub mod reference_server;
