//! The PCI transport (virtio 1.2 §4.1).

/// Vendor ID of virtio devices (§4.1.2).
pub const VENDOR_ID: u16 = 0x1af4;
/// Device ID of a modern device of type 0; the type is added (§4.1.2).
pub const DEVICE_ID: u16 = 0x1040;
/// No MSI-X vector (§4.1.4.3).
pub const NO_VECTOR: u16 = 0xffff;

/// Types of the vendor-specific capabilities (§4.1.4).
pub mod capability {
    /// VIRTIO_PCI_CAP_COMMON_CFG.
    pub const COMMON: u8 = 1;
    /// VIRTIO_PCI_CAP_NOTIFY_CFG.
    pub const NOTIFY: u8 = 2;
    /// VIRTIO_PCI_CAP_ISR_CFG.
    pub const ISR: u8 = 3;
    /// VIRTIO_PCI_CAP_DEVICE_CFG.
    pub const DEVICE: u8 = 4;
    /// VIRTIO_PCI_CAP_PCI_CFG.
    pub const PCI: u8 = 5;
}

/// Byte offsets in the common configuration structure (§4.1.4.3).
pub mod common {
    /// Which 32 device feature bits `DEVICE_FEATURE` shows (32 bits, RW).
    pub const DEVICE_FEATURE_SELECT: u16 = 0x00;
    /// Device feature bits (32 bits, RO).
    pub const DEVICE_FEATURE: u16 = 0x04;
    /// Which 32 driver feature bits `DRIVER_FEATURE` shows (32 bits, RW).
    pub const DRIVER_FEATURE_SELECT: u16 = 0x08;
    /// Driver feature bits (32 bits, RW).
    pub const DRIVER_FEATURE: u16 = 0x0c;
    /// MSI-X vector for configuration changes (16 bits, RW).
    pub const CONFIG_MSIX_VECTOR: u16 = 0x10;
    /// Number of virtqueues (16 bits, RO).
    pub const NUM_QUEUES: u16 = 0x12;
    /// Device status (8 bits, RW).
    pub const DEVICE_STATUS: u16 = 0x14;
    /// Changes whenever the device configuration does (8 bits, RO).
    pub const CONFIG_GENERATION: u16 = 0x15;
    /// Which queue the fields below are of (16 bits, RW).
    pub const QUEUE_SELECT: u16 = 0x16;
    /// Queue Size (16 bits, RW); 0: no such queue.
    pub const QUEUE_SIZE: u16 = 0x18;
    /// The queue's MSI-X vector (16 bits, RW).
    pub const QUEUE_MSIX_VECTOR: u16 = 0x1a;
    /// 1 enables the queue (16 bits, RW).
    pub const QUEUE_ENABLE: u16 = 0x1c;
    /// Where the queue's notification is, in units of the multiplier (16 bits, RO).
    pub const QUEUE_NOTIFY_OFF: u16 = 0x1e;
    /// Address of the Descriptor Area (64 bits, RW).
    pub const QUEUE_DESC: u16 = 0x20;
    /// Address of the Driver Area (64 bits, RW).
    pub const QUEUE_DRIVER: u16 = 0x28;
    /// Address of the Device Area (64 bits, RW).
    pub const QUEUE_DEVICE: u16 = 0x30;
    /// Used with VIRTIO_F_NOTIF_CONFIG_DATA alone, which is not offered (16 bits, RO).
    pub const QUEUE_NOTIFY_DATA: u16 = 0x38;
    /// 1 resets the queue (16 bits, RW; VIRTIO_F_RING_RESET).
    pub const QUEUE_RESET: u16 = 0x3a;
    /// Size of the structure.
    pub const BYTES: u16 = 0x40;
}

/// ISR status bits (§4.1.4.5).
pub mod isr {
    /// A virtqueue has used buffers; without MSI-X alone.
    pub const QUEUE: u8 = 1;
    /// The device configuration changed.
    pub const CONFIGURATION: u8 = 2;
}
