//! What tests of several crates share: the NVMe reference model, random differential runs against it, and a
//! reference vfio-user server.

/// An Ethernet frame of `len` bytes, with the EtherType of local experiments; its payload differs by `seed`.
#[must_use]
pub fn frame(to: [u8; 6], from: [u8; 6], len: usize, seed: u8) -> Vec<u8> {
    let mut frame = [&to[..], &from, &[0x88, 0xb5]].concat();
    frame.extend((frame.len()..len).map(|at| (at as u8).wrapping_mul(7).wrapping_add(seed)));
    frame
}

pub mod differential;
pub mod nvme_model;
pub mod reference_server;
pub mod tcp;
pub mod virtio_net_model;
