//! Split virtqueues (virtio 1.2 §2.7).

/// Size of a descriptor (§2.7.5): address (64 bits), length (32), flags (16), next (16).
pub const DESCRIPTOR_BYTES: u64 = 16;
/// VIRTQ_DESC_F_NEXT: the chain goes on at `next`.
pub const DESC_NEXT: u16 = 1;
/// VIRTQ_DESC_F_WRITE: the device writes the buffer; else it reads it.
pub const DESC_WRITE: u16 = 2;
/// VIRTQ_DESC_F_INDIRECT: the buffer is a table of descriptors.
pub const DESC_INDIRECT: u16 = 4;

/// Available ring (§2.7.6): `flags` (16 bits), `idx` (16), `ring` (16 each), `used_event` (16).
pub const AVAIL_RING: u64 = 4;
/// Byte offset of `idx` in the available ring.
pub const AVAIL_INDEX: u64 = 2;
/// VIRTQ_AVAIL_F_NO_INTERRUPT.
pub const AVAIL_NO_INTERRUPT: u16 = 1;

/// Used ring (§2.7.8): `flags` (16 bits), `idx` (16), `ring` (id 32, len 32 each), `avail_event` (16).
pub const USED_RING: u64 = 4;
/// Byte offset of `idx` in the used ring.
pub const USED_INDEX: u64 = 2;
/// Size of an element of the used ring.
pub const USED_ELEMENT_BYTES: u64 = 8;
/// VIRTQ_USED_F_NO_NOTIFY.
pub const USED_NO_NOTIFY: u16 = 1;

/// Byte offset of `used_event` in the available ring of a queue.
#[must_use]
pub const fn used_event(size: u64) -> u64 {
    AVAIL_RING + 2 * size
}

/// Byte offset of `avail_event` in the used ring of a queue.
#[must_use]
pub const fn avail_event(size: u64) -> u64 {
    USED_RING + USED_ELEMENT_BYTES * size
}
