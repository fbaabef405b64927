//! The card's functions, their numbers, and what lies where in their BARs.
//!
//! A function's number is its ARI function number (PCIe 4.0 §6.13): the low byte of its routing ID.
//! The card answers on one bus and uses numbers below [`FUNCTIONS`], so 5 bits name a function inside.

/// Function numbers the card's internal function fields can name (5 bits).
pub const FUNCTIONS: usize = 32;
/// Width in bits of a function number inside the card.
pub const FUNCTION_BITS: usize = 5;

/// PF0, management.
pub const PF_MANAGEMENT: u8 = 0;
/// PF1, network (virtio-net).
pub const PF_NETWORK: u8 = 1;
/// PF2, storage (NVMe).
pub const PF_STORAGE: u8 = 2;
/// The first VF of PF1: VFs are consecutive (VF stride 1).
pub const VF_NETWORK_FIRST: u8 = 8;
/// The first VF of PF2: VFs are consecutive (VF stride 1).
pub const VF_STORAGE_FIRST: u8 = 16;
/// VFs of each SR-IOV PF in the `lab` profile.
pub const VFS: u8 = 8;

/// NVMe controllers: index 0 is PF2, index 1 + n is PF2's VF n.
pub const CONTROLLERS: usize = 16;
/// Width in bits of a controller index inside the card.
pub const CONTROLLER_BITS: usize = 4;

/// The NVMe controller behind a function, if it is one.
#[must_use]
pub const fn controller_of(function: u8, vfs: u8) -> Option<u8> {
    if function == PF_STORAGE {
        Some(0)
    } else if function >= VF_STORAGE_FIRST && function < VF_STORAGE_FIRST + vfs {
        Some(function - VF_STORAGE_FIRST + 1)
    } else {
        None
    }
}

/// The function of an NVMe controller index.
#[must_use]
pub const fn function_of(controller: u8) -> u8 {
    if controller == 0 { PF_STORAGE } else { VF_STORAGE_FIRST + controller - 1 }
}

/// Network devices: index 0 is PF1, index 1 + n is PF1's VF n, [`DEVICE_EXCEPTION`] is PF0's.
pub const DEVICES: usize = 16;
/// Width in bits of a network device index inside the card.
pub const DEVICE_BITS: usize = 4;
/// The network device of PF0: the exception path, on which the host gets the frames that the switch has no rule for.
pub const DEVICE_EXCEPTION: u8 = 15;

/// The network device behind a function, if there is one.
#[must_use]
pub const fn device_of(function: u8, vfs: u8) -> Option<u8> {
    if function == PF_MANAGEMENT {
        Some(DEVICE_EXCEPTION)
    } else if function == PF_NETWORK {
        Some(0)
    } else if function >= VF_NETWORK_FIRST && function < VF_NETWORK_FIRST + vfs {
        Some(function - VF_NETWORK_FIRST + 1)
    } else {
        None
    }
}

/// The function of a network device index.
#[must_use]
pub const fn function_of_device(device: u8) -> u8 {
    match device {
        DEVICE_EXCEPTION => PF_MANAGEMENT,
        0 => PF_NETWORK,
        vf => VF_NETWORK_FIRST + vf - 1,
    }
}

/// Ethernet ports of the card.
pub const ETHERNET_PORTS: usize = 2;

/// Queue pairs of a network device.
pub const QUEUE_PAIRS: usize = 2;
/// Virtqueues of a network device: receiveq1, transmitq1, receiveq2, transmitq2, controlq (virtio 1.2 §5.1.2). Without
/// VIRTIO_NET_F_MQ the control queue is number 2, and there are 3.
pub const VIRTQUEUES: usize = 2 * QUEUE_PAIRS + 1;
/// Width in bits of a virtqueue's number inside of its device.
pub const VIRTQUEUE_BITS: usize = 3;
/// The largest Queue Size (virtio 1.2 §4.1.4.3).
pub const VIRTQUEUE_ENTRIES: usize = 1024;

/// Queue pairs of a controller: the admin queue (0) and I/O queues 1 to 7.
pub const QUEUES: usize = 8;
/// Entries of the largest queue (CAP.MQES + 1, NVMe 1.4 §3.1.1).
pub const QUEUE_ENTRIES: usize = 1024;
/// Namespaces of a controller: NSIDs 1 to this.
pub const NAMESPACES: usize = 4;
/// MSI-X vectors of an NVMe function: one a queue pair.
pub const MSIX_VECTORS: usize = 8;
/// MDTS (NVMe 1.4 §5.15.2.2, Figure 247): the largest transfer is 2^8 pages of 4 KiB, 1 MiB.
pub const MDTS: u8 = 8;

/// Size of BAR0 of every function in bytes (64-bit, prefetchable).
pub const BAR0_SIZE: u64 = 0x4000;
/// NVMe: controller registers (NVMe 1.4 §3.1). PF0: management registers.
pub const BAR0_REGISTERS: u64 = 0x0000;
/// NVMe: doorbells (CAP.DSTRD = 0).
pub const BAR0_DOORBELLS: u64 = 0x1000;
/// MSI-X table.
pub const BAR0_MSIX_TABLE: u64 = 0x2000;
/// MSI-X pending bit array.
pub const BAR0_MSIX_PBA: u64 = 0x3000;

/// Network: common configuration (virtio 1.2 §4.1.4.3).
pub const BAR0_VIRTIO_COMMON: u64 = 0x0000;
/// Network: ISR status (virtio 1.2 §4.1.4.5).
pub const BAR0_VIRTIO_ISR: u64 = 0x0100;
/// Network: device configuration (virtio 1.2 §5.1.4).
pub const BAR0_VIRTIO_DEVICE: u64 = 0x0200;
/// Network: notification of queue q at `BAR0_VIRTIO_NOTIFY + q * VIRTIO_NOTIFY_MULTIPLIER` (virtio 1.2 §4.1.4.4).
pub const BAR0_VIRTIO_NOTIFY: u64 = 0x1000;
/// notify_off_multiplier.
pub const VIRTIO_NOTIFY_MULTIPLIER: u64 = 4;
/// PF0: where the structures of the exception path's network device begin, in the order and at the distances of a network
/// function's; its notifications are where a network function's are.
pub const BAR0_EXCEPTION: u64 = 0x0800;

/// PCI vendor ID of all functions: one that the PCI-SIG has not assigned, until Nitride has its own.
pub const VENDOR_ID: u16 = 0x4e54;
/// Device ID of PF0. Those of PF1 and its VFs are virtio's.
pub const DEVICE_MANAGEMENT: u16 = 0x0001;
/// Device ID of PF2.
pub const DEVICE_STORAGE: u16 = 0x0003;
/// Device ID of PF2's VFs.
pub const DEVICE_STORAGE_VF: u16 = 0x0004;
