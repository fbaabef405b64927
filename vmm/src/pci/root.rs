//! The root bus: configuration space by ECAM (PCIe 4.0 §7.2.2), and which address belongs to which BAR.

use std::sync::Arc;

use parking_lot::RwLock;

use super::device::Device;
use super::{read_bytes, reg};
use crate::layout::{ECAM, ECAM_SIZE, Layout};
use crate::stats::Exit;

/// Devices that a bus has room for beside the host bridge.
pub const FUNCTIONS_MAX: usize = 31;
/// Device ID of the host bridge (vendor ID as the card's).
const DEVICE_HOST_BRIDGE: u16 = 0x0100;
/// Smallest distance between two BARs: guests map BARs by page.
const PAGE: u64 = 4096;

/// A BAR in the guest's address space.
#[derive(Debug, Clone, Copy)]
struct Route {
    start: u64,
    end: u64,
    device: usize,
    bar: u8,
}

/// Bus 0: a host bridge as device 0, function n as device n + 1.
pub struct Root {
    devices: Vec<Device>,
    /// Sorted by start.
    routes: RwLock<Vec<Route>>,
}

impl Root {
    /// A bus of `devices`, their BARs placed in the windows of `layout`.
    pub fn new(devices: Vec<Device>, layout: &Layout) -> Result<Arc<Self>, String> {
        let (mut low, mut high) = (layout.mmio32.clone(), layout.mmio64.clone());
        for device in &devices {
            let info = device.function().info();
            for (index, bar) in info.bars.iter().enumerate() {
                let Some(bar) = bar else { continue };
                let window = if bar.wide { &mut high } else { &mut low };
                let address = window.start.next_multiple_of(bar.size.max(PAGE));
                let end = address.checked_add(bar.size).filter(|end| *end <= window.end);
                window.start = end.ok_or_else(|| format!("{}: no room for BAR{index}", info.name))?;
                device.place(index, address);
            }
        }
        Ok(Arc::new(Self { devices, routes: RwLock::default() }))
    }

    /// The devices, from device number 1 on.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Reads guest physical memory that is not RAM; all ones where there is nothing.
    pub fn read(&self, address: u64, data: &mut [u8]) -> Exit {
        if let Some(offset) = ecam(address, data.len()) {
            for (at, len) in config_pieces(offset, data.len()) {
                self.config_read(offset + at as u64, &mut data[at..at + len]);
            }
            return Exit::ConfigRead;
        }
        if let Some((device, bar, offset)) = self.find(address, data.len()) {
            return device.bar_read(bar, offset, data);
        }
        data.fill(0xff);
        Exit::Nowhere
    }

    /// Writes guest physical memory that is not RAM.
    pub fn write(&self, address: u64, data: &[u8]) -> Exit {
        if let Some(offset) = ecam(address, data.len()) {
            for (at, len) in config_pieces(offset, data.len()) {
                self.config_write(offset + at as u64, &data[at..at + len]);
            }
            return Exit::ConfigWrite;
        }
        match self.find(address, data.len()) {
            Some((device, bar, offset)) => device.bar_write(bar, offset, data),
            None => Exit::Nowhere,
        }
    }

    /// The BAR that holds all of an access, and the offset in it.
    fn find(&self, address: u64, len: usize) -> Option<(&Device, u8, u64)> {
        let end = address.checked_add(len as u64)?;
        let routes = self.routes.read();
        // BARs that overlap are the guest's fault: one of them answers.
        let index = routes.partition_point(|route| route.start <= address).checked_sub(1)?;
        let route = routes.get(index).copied().filter(|route| end <= route.end)?;
        Some((self.devices.get(route.device)?, route.bar, address - route.start))
    }

    fn config_read(&self, offset: u64, data: &mut [u8]) {
        let (slot, function, register) = split(offset);
        match (slot, function) {
            (0, 0) => host_bridge(register, data),
            (slot, 0) => match self.devices.get(slot - 1) {
                Some(device) => device.config_read(register, data),
                None => data.fill(0xff),
            },
            _ => data.fill(0xff),
        }
    }

    fn config_write(&self, offset: u64, data: &[u8]) {
        let (slot, function, register) = split(offset);
        let Some(device) = slot.checked_sub(1).and_then(|index| self.devices.get(index)) else { return };
        if function == 0 && device.config_write(register, data) {
            self.update_routes();
        }
    }

    /// Asks all devices where their BARs are.
    fn update_routes(&self) {
        // Under the lock, so that of two updates the later one stays.
        let mut routes = self.routes.write();
        routes.clear();
        for (index, device) in self.devices.iter().enumerate() {
            routes.extend(device.mappings().into_iter().map(|mapping| Route {
                start: mapping.address,
                end: mapping.address + mapping.size,
                device: index,
                bar: mapping.bar,
            }));
        }
        routes.sort_unstable_by_key(|route| route.start);
    }
}

/// Offset in configuration space of an access that lies inside of it.
fn ecam(address: u64, len: usize) -> Option<u64> {
    let offset = address.checked_sub(ECAM)?;
    offset.checked_add(len as u64).filter(|end| *end <= ECAM_SIZE)?;
    Some(offset)
}

/// Device, function and register of an offset in ECAM (PCIe 4.0 table 7-1).
fn split(offset: u64) -> (usize, usize, u16) {
    ((offset >> 15 & 0x1f) as usize, (offset >> 12 & 7) as usize, (offset & 0xfff) as u16)
}

/// Splits an access into aligned pieces of at most 4 bytes: index and length.
fn config_pieces(offset: u64, len: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let left = len.checked_sub(at).filter(|left| *left > 0)?;
        let position = offset + at as u64;
        let width =
            [4, 2, 1].into_iter().find(|width| *width <= left && position.is_multiple_of(*width as u64))?;
        at += width;
        Some((at - width, width))
    })
}

/// The host bridge's configuration space: identity and class (06 00), no BARs, no capabilities.
fn host_bridge(register: u16, data: &mut [u8]) {
    let mut header = [0; 64];
    header[..2].copy_from_slice(&nitride_abi::card::VENDOR_ID.to_le_bytes());
    header[2..4].copy_from_slice(&DEVICE_HOST_BRIDGE.to_le_bytes());
    header[0x0b] = 0x06;
    debug_assert_eq!(header[usize::from(reg::HEADER_TYPE)], 0);
    read_bytes(&header, register.into(), data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::device::tests::{Call, device, mock};
    use proptest::prelude::*;

    const SLOT1: u64 = ECAM + (1 << 15);

    fn read(root: &Root, address: u64) -> u32 {
        let mut data = [0; 4];
        root.read(address, &mut data);
        u32::from_le_bytes(data)
    }

    fn layout() -> Layout {
        Layout::new(64 << 20, 40).unwrap()
    }

    #[test]
    fn the_bus_holds_a_host_bridge_the_functions_and_nothing_else() {
        let root = Root::new(vec![device(&mock())], &layout()).unwrap();
        assert_eq!(read(&root, ECAM + 8) >> 16, 0x0600);
        assert_eq!(read(&root, SLOT1), 0x0004_1e57);
        assert_eq!(read(&root, SLOT1 + (1 << 12)), !0);
        assert_eq!(read(&root, ECAM + (2 << 15)), !0);
        assert_eq!(read(&root, ECAM + ECAM_SIZE), !0);
    }

    #[test]
    fn bars_start_in_their_windows_and_answer_once_enabled() {
        let mock = mock();
        let root = Root::new(vec![device(&mock)], &layout()).unwrap();
        let wide = u64::from(read(&root, SLOT1 + 0x10) & !0xf) | u64::from(read(&root, SLOT1 + 0x14)) << 32;
        let narrow = u64::from(read(&root, SLOT1 + 0x18) & !0xf);
        assert!(layout().mmio64.contains(&wide) && layout().mmio32.contains(&narrow));
        assert_eq!(root.write(wide, &[0; 4]), Exit::Nowhere);
        root.write(SLOT1 + 4, &[2]);
        mock.calls.take();
        assert_eq!(root.write(wide + 0x1000, &[7, 0, 0, 0]), Exit::BarWrite);
        assert_eq!(root.read(narrow + 0xffc, &mut [0; 4]), Exit::BarRead);
        assert_eq!(root.read(narrow + 0xffe, &mut [0; 4]), Exit::Nowhere);
        let calls = [Call::BarWrite(0, 0x1000, vec![7, 0, 0, 0]), Call::BarRead(2, 0xffc, 4)];
        assert_eq!(mock.calls.take(), calls);
    }

    #[test]
    fn a_bar_that_is_moved_answers_only_at_its_new_place() {
        let mock = mock();
        let root = Root::new(vec![device(&mock)], &layout()).unwrap();
        root.write(SLOT1 + 4, &[2]);
        let old = u64::from(read(&root, SLOT1 + 0x18) & !0xf);
        root.write(SLOT1 + 0x18, &0xd000_0000u32.to_le_bytes());
        assert_eq!(root.read(old, &mut [0; 4]), Exit::Nowhere);
        assert_eq!(root.read(0xd000_0000, &mut [0; 4]), Exit::BarRead);
    }

    #[test]
    fn functions_that_do_not_fit_are_refused() {
        let devices = (0..FUNCTIONS_MAX).map(|_| device(&mock())).collect();
        let mut layout = layout();
        layout.mmio64.end = layout.mmio64.start + 0x4000 * 30;
        let error = Root::new(devices, &layout).err().unwrap();
        assert_eq!(error, "mock: no room for BAR0");
    }

    proptest! {
        #[test]
        fn any_access_anywhere_is_answered(
            accesses in prop::collection::vec((any::<bool>(), prop_oneof![any::<u64>(), ECAM..ECAM + ECAM_SIZE + 8], 1usize..9, any::<[u8; 8]>()), 1..64),
        ) {
            let root = Root::new(vec![device(&mock())], &layout()).unwrap();
            for (write, address, len, mut data) in accesses {
                if write {
                    root.write(address, &data[..len]);
                } else {
                    root.read(address, &mut data[..len]);
                }
            }
        }
    }
}
