//! virtio 1.2: the PCI transport, split virtqueues, the network device.
//!
//! Everything is little-endian. Plain numbers are constants that RTL and software use as they are.

pub mod net;
pub mod pci;
pub mod ring;

/// Device status bits (virtio 1.2 §2.1).
pub mod status {
    /// ACKNOWLEDGE: the guest has found the device.
    pub const ACKNOWLEDGE: u8 = 1;
    /// DRIVER: the guest knows how to drive it.
    pub const DRIVER: u8 = 2;
    /// DRIVER_OK: the driver is set up.
    pub const DRIVER_OK: u8 = 4;
    /// FEATURES_OK: the features are agreed on.
    pub const FEATURES_OK: u8 = 8;
    /// DEVICE_NEEDS_RESET: the device met an error that it cannot recover from.
    pub const NEEDS_RESET: u8 = 64;
    /// FAILED: the driver has given up.
    pub const FAILED: u8 = 128;
}

/// Feature bits that belong to no device type, by number (virtio 1.2 §6).
pub mod feature {
    /// VIRTIO_F_INDIRECT_DESC.
    pub const INDIRECT_DESC: u32 = 28;
    /// VIRTIO_F_EVENT_IDX.
    pub const EVENT_IDX: u32 = 29;
    /// VIRTIO_F_VERSION_1.
    pub const VERSION_1: u32 = 32;
    /// VIRTIO_F_ACCESS_PLATFORM.
    pub const ACCESS_PLATFORM: u32 = 33;
    /// VIRTIO_F_SR_IOV: PF only.
    pub const SR_IOV: u32 = 37;
    /// VIRTIO_F_RING_RESET.
    pub const RING_RESET: u32 = 40;
}
