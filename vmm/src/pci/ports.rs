//! Configuration space by ports (PCI 3.0 §3.2.2.3.2): what a kernel uses until it has found ECAM.

use std::sync::atomic::{AtomicU32, Ordering};

use super::read_bytes;
use super::root::Root;
use crate::layout::ECAM;

/// Ports of CONFIG_ADDRESS and CONFIG_DATA.
pub const ADDRESS: u16 = 0xcf8;
pub const DATA: u16 = 0xcfc;
/// CONFIG_ADDRESS: enable; bits that are not reserved.
const ENABLE: u32 = 1 << 31;
const MASK: u32 = 0x80ff_fffc;

/// CONFIG_ADDRESS, in front of a bus.
#[derive(Debug, Default)]
pub struct Ports(AtomicU32);

impl Ports {
    /// Reads `data.len()` bytes at `port`, from [`ADDRESS`] on.
    pub fn read(&self, root: &Root, port: u16, data: &mut [u8]) {
        let address = self.0.load(Ordering::Relaxed);
        match self.target(port) {
            Some(target) => drop(root.read(target, data)),
            None if port == ADDRESS && data.len() == 4 => read_bytes(&address.to_le_bytes(), 0, data),
            None => data.fill(0xff),
        }
    }

    /// Writes `data` at `port`, from [`ADDRESS`] on.
    pub fn write(&self, root: &Root, port: u16, data: &[u8]) {
        match (self.target(port), <[u8; 4]>::try_from(data)) {
            (Some(target), _) => drop(root.write(target, data)),
            (None, Ok(address)) if port == ADDRESS => {
                self.0.store(u32::from_le_bytes(address) & MASK, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// Where in ECAM an access to CONFIG_DATA goes. There is only bus 0.
    fn target(&self, port: u16) -> Option<u64> {
        let address = self.0.load(Ordering::Relaxed);
        let byte = port.checked_sub(DATA)?;
        if address & ENABLE == 0 || address >> 16 & 0xff != 0 {
            return None;
        }
        let (function, register) = (u64::from(address >> 8 & 0xff), u64::from(address & 0xfc));
        Some(ECAM + (function << 12 | register | u64::from(byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use crate::pci::device::tests::{device, mock};

    #[test]
    fn ports_and_ecam_show_the_same_registers() {
        let root = Root::new(vec![device(&mock())], &Layout::new(64 << 20, 40).unwrap()).unwrap();
        let ports = Ports::default();
        let mut data = [0; 4];
        ports.read(&root, DATA, &mut data);
        assert_eq!(data, [0xff; 4]);
        ports.write(&root, ADDRESS, &0x8000_0803u32.to_le_bytes());
        ports.read(&root, ADDRESS, &mut data);
        assert_eq!(data, 0x8000_0800u32.to_le_bytes());
        ports.read(&root, DATA, &mut data);
        assert_eq!(data, [0x57, 0x1e, 0x04, 0x00]);
        ports.read(&root, DATA + 2, &mut data[..2]);
        assert_eq!(data[..2], [0x04, 0x00]);
        ports.write(&root, ADDRESS, &0x8001_0800u32.to_le_bytes());
        ports.read(&root, DATA, &mut data);
        assert_eq!(data, [0xff; 4]);
    }
}
