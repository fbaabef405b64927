//! The configuration space of an NVMe function as vfio-pci shows it to a process (PCIe 4.0 §7.5).

use nitride_abi::card::{
    BAR0_MSIX_PBA, BAR0_MSIX_TABLE, BAR0_SIZE, DEVICE_STORAGE, DEVICE_STORAGE_VF, MSIX_VECTORS, PF_STORAGE,
    VENDOR_ID,
};

const SIZE: usize = 4096;
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const CLASS: usize = 0x08;
const BAR0: usize = 0x10;
const SUBSYSTEM: usize = 0x2c;
const CAPABILITIES: usize = 0x34;
const POWER: usize = 0x40;
const MSIX: usize = 0x50;
const EXPRESS: usize = 0x60;
const DEVICE_CONTROL: usize = EXPRESS + 8;

const BUS_MASTER: u16 = 1 << 2;
const MSIX_ENABLE: u8 = 1 << 7;
const INITIATE_FLR: u8 = 1 << 7;

/// 4 KiB of configuration space and the mask of what a write changes.
#[derive(Debug, Clone)]
pub(super) struct ConfigSpace {
    function: u8,
    bytes: Vec<u8>,
    writable: Vec<u8>,
}

impl ConfigSpace {
    pub fn new(function: u8) -> Self {
        let mut space = Self { function, bytes: vec![0; SIZE], writable: vec![0; SIZE] };
        let device = if function == PF_STORAGE { DEVICE_STORAGE } else { DEVICE_STORAGE_VF };
        space.put(0, &VENDOR_ID.to_le_bytes(), &[]);
        space.put(2, &device.to_le_bytes(), &[]);
        // Memory space, bus master, parity error response, SERR#, interrupt disable.
        space.put(COMMAND, &[0; 2], &0x0546u16.to_le_bytes());
        // There is a capability list.
        space.put(STATUS, &0x0010u16.to_le_bytes(), &[]);
        // Revision 1; NVM Express I/O controller (NVMe 1.4 §2.1.5).
        space.put(CLASS, &[0x01, 0x02, 0x08, 0x01], &[]);
        // 64 bits, prefetchable.
        space.put(BAR0, &[0x0c], &(!(BAR0_SIZE - 1)).to_le_bytes());
        space.put(SUBSYSTEM, &VENDOR_ID.to_le_bytes(), &[]);
        space.put(SUBSYSTEM + 2, &device.to_le_bytes(), &[]);
        space.put(CAPABILITIES, &[POWER as u8], &[]);
        // Power management 1.2: the power state can be written, D0 and D3hot.
        space.put(POWER, &[0x01, MSIX as u8, 0x03, 0x00, 0x08, 0x00], &[0, 0, 0, 0, 0x03, 0]);
        space.put(MSIX, &[0x11, EXPRESS as u8], &[]);
        space.put(MSIX + 2, &(MSIX_VECTORS as u16 - 1).to_le_bytes(), &[]);
        space.put(MSIX + 4, &(BAR0_MSIX_TABLE as u32).to_le_bytes(), &[]);
        space.put(MSIX + 8, &(BAR0_MSIX_PBA as u32).to_le_bytes(), &[]);
        // PCI Express endpoint, capability version 2.
        space.put(EXPRESS, &[0x10, 0x00, 0x02, 0x00], &[]);
        // Role-based error reporting, FLR, 256-byte payloads, extended tags.
        space.put(EXPRESS + 4, &0x1000_8021u32.to_le_bytes(), &[]);
        space.put(DEVICE_CONTROL, &0x2810u16.to_le_bytes(), &0x79ffu16.to_le_bytes());
        // 8.0 GT/s, x8: capabilities and status.
        space.put(EXPRESS + 12, &0x0000_0083u32.to_le_bytes(), &[]);
        space.put(EXPRESS + 18, &0x0083u16.to_le_bytes(), &[]);
        space
    }

    fn put(&mut self, at: usize, value: &[u8], writable: &[u8]) {
        self.bytes[at..at + value.len()].copy_from_slice(value);
        self.writable[at..at + writable.len()].copy_from_slice(writable);
    }

    /// Reads a range inside of the space.
    pub fn read(&self, offset: u16, data: &mut [u8]) {
        let start = offset as usize;
        data.copy_from_slice(&self.bytes[start..start + data.len()]);
    }

    /// Writes a range inside of the space: whether that asks for a Function Level Reset.
    pub fn write(&mut self, offset: u16, data: &[u8]) -> bool {
        let start = offset as usize;
        let mask = &self.writable[start..start + data.len()];
        for ((byte, mask), new) in self.bytes[start..].iter_mut().zip(mask).zip(data) {
            *byte = *byte & !mask | new & mask;
        }
        let control = (DEVICE_CONTROL + 1).checked_sub(start).and_then(|at| data.get(at));
        control.is_some_and(|byte| byte & INITIATE_FLR != 0)
    }

    /// Function Level Reset: what a write can change is as it was.
    pub fn reset(&mut self) {
        *self = Self::new(self.function);
    }

    pub fn is_bus_master(&self) -> bool {
        u16::from_le_bytes([self.bytes[COMMAND], self.bytes[COMMAND + 1]]) & BUS_MASTER != 0
    }

    pub fn set_msix_enable(&mut self, enable: bool) {
        self.bytes[MSIX + 3] = if enable { MSIX_ENABLE } else { 0 };
    }
}
