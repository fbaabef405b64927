//! What tests of several crates share: the NVMe reference model.

pub mod nvme_model;
