//! The model as a [`Function`].

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nitride_abi::card::{
    BAR0_MSIX_TABLE, BAR0_SIZE, BAR0_VIRTIO_COMMON, BAR0_VIRTIO_DEVICE, BAR0_VIRTIO_ISR, BAR0_VIRTIO_NOTIFY,
    MSIX_VECTORS, VIRTIO_NOTIFY_MULTIPLIER, VIRTQUEUES,
};
use nitride_abi::pci::{CAPABILITIES, COMMAND};
use nitride_abi::virtio::pci::{DEVICE_ID, VENDOR_ID, capability};
use nitride_driver::{
    Access, Bar, Error, Function, Info, Interrupts, Memory, Result, check_bar_access, check_config_access,
};

use super::device::Device;
use crate::nvme_model::Mappings;

const CONFIG_BYTES: usize = 256;
/// Where the first capability is.
const FIRST: u8 = 0x40;

/// A virtio network function of the model.
pub struct NetFunction {
    info: Info,
    state: Mutex<State>,
}

struct State {
    device: Device,
    config: [u8; CONFIG_BYTES],
    mappings: Mappings,
    vectors: Vec<Option<OwnedFd>>,
}

impl NetFunction {
    /// A device with this MAC address, called `name` in messages.
    pub fn new(name: &str, mac: [u8; 6]) -> Self {
        let mut bars = [None; 6];
        bars[0] = Some(Bar { size: BAR0_SIZE, wide: true, prefetchable: true });
        let info = Info {
            name: name.into(),
            bars,
            msix_vectors: MSIX_VECTORS as u16,
            config_size: CONFIG_BYTES as u16,
        };
        let state = State {
            device: Device::new(mac),
            config: config_space(),
            mappings: Mappings::default(),
            vectors: Vec::new(),
        };
        Self { info, state: Mutex::new(state) }
    }

    /// The next frame that the driver sent.
    pub fn take_sent(&self) -> Option<Vec<u8>> {
        self.lock().device.sent.pop_front()
    }

    /// Gives the device a frame to receive.
    pub fn deliver(&self, frame: Vec<u8>) {
        self.with(|device, memory| device.deliver(frame, memory));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something that may take the host's memory and end in interrupts.
    fn with(&self, work: impl FnOnce(&mut Device, &mut Mappings)) {
        let mut state = self.lock();
        let State { device, mappings, vectors, .. } = &mut *state;
        work(device, mappings);
        let raised = device.take_interrupts();
        for (vector, target) in vectors.iter().enumerate() {
            if let (1, Some(target)) = (raised >> vector & 1, target) {
                // A full counter means that the host has yet to see an earlier interrupt: none is lost.
                let _ = rustix::io::write(target, &1u64.to_ne_bytes());
            }
        }
    }
}

/// Header and virtio's capabilities (virtio 1.2 §4.1.2, §4.1.4).
fn config_space() -> [u8; CONFIG_BYTES] {
    let mut config = [0; CONFIG_BYTES];
    let mut put = |at: usize, value: &[u8]| config[at..at + value.len()].copy_from_slice(value);
    put(0, &VENDOR_ID.to_le_bytes());
    put(2, &(DEVICE_ID + nitride_abi::virtio::net::DEVICE_TYPE).to_le_bytes());
    put(CAPABILITIES.into(), &[FIRST]);
    let structures = [
        (capability::COMMON, BAR0_VIRTIO_COMMON, 0x40u32),
        (capability::NOTIFY, BAR0_VIRTIO_NOTIFY, VIRTQUEUES as u32 * VIRTIO_NOTIFY_MULTIPLIER as u32),
        (capability::ISR, BAR0_VIRTIO_ISR, 4),
        (capability::DEVICE, BAR0_VIRTIO_DEVICE, 0x40),
    ];
    for (place, (kind, offset, len)) in structures.into_iter().enumerate() {
        let at = usize::from(FIRST) + 0x18 * place;
        let next = if place + 1 < structures.len() { at as u8 + 0x18 } else { 0 };
        put(at, &[0x09, next, 0x14, kind]);
        put(at + 8, &(offset as u32).to_le_bytes());
        put(at + 12, &len.to_le_bytes());
        put(at + 16, &(VIRTIO_NOTIFY_MULTIPLIER as u32).to_le_bytes());
    }
    config
}

impl Function for NetFunction {
    fn info(&self) -> &Info {
        &self.info
    }

    fn config_read(&self, offset: u16, data: &mut [u8]) -> Result<()> {
        check_config_access(&self.info, "configuration read", offset, data.len())?;
        data.copy_from_slice(&self.lock().config[usize::from(offset)..][..data.len()]);
        Ok(())
    }

    fn config_write(&self, offset: u16, data: &[u8]) -> Result<()> {
        check_config_access(&self.info, "configuration write", offset, data.len())?;
        if offset == COMMAND {
            self.lock().config[usize::from(offset)..][..data.len()].copy_from_slice(data);
        }
        Ok(())
    }

    fn bar_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> Result<()> {
        check_bar_access(&self.info, "BAR read", bar, offset, data.len())?;
        let device = &mut self.lock().device;
        for (at, byte) in (offset..).zip(data) {
            *byte = match at {
                BAR0_VIRTIO_COMMON..BAR0_VIRTIO_ISR => device.common_read((at - BAR0_VIRTIO_COMMON) as u16),
                BAR0_VIRTIO_ISR => device.isr_read(),
                BAR0_VIRTIO_DEVICE..BAR0_VIRTIO_NOTIFY => {
                    device.config_read((at - BAR0_VIRTIO_DEVICE) as u16)
                }
                _ => 0,
            };
        }
        Ok(())
    }

    fn bar_write(&self, bar: u8, offset: u64, data: &[u8]) -> Result<()> {
        check_bar_access(&self.info, "BAR write", bar, offset, data.len())?;
        let value = data.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        match offset {
            BAR0_VIRTIO_COMMON..BAR0_VIRTIO_ISR => {
                let offset = (offset - BAR0_VIRTIO_COMMON) as u16;
                self.with(|device, memory| device.common_write(offset, value, memory));
            }
            BAR0_VIRTIO_NOTIFY..BAR0_MSIX_TABLE => {
                let queue = (offset - BAR0_VIRTIO_NOTIFY) / VIRTIO_NOTIFY_MULTIPLIER;
                self.with(|device, memory| device.notify(queue as usize, memory));
            }
            _ => {}
        }
        Ok(())
    }

    fn set_msix(&self, vectors: Interrupts<'_>) -> Result<()> {
        let clone = |fd: &Option<BorrowedFd<'_>>| fd.map(|fd| fd.try_clone_to_owned()).transpose();
        let vectors = vectors.iter().map(clone).collect::<std::io::Result<Vec<_>>>();
        self.lock().vectors = vectors.map_err(|source| Error::Io { what: "MSI-X set-up".into(), source })?;
        Ok(())
    }

    fn dma_map(&self, iova: u64, memory: Arc<Memory>, access: Access) -> Result<()> {
        self.lock().mappings.insert(iova, memory, access)
    }

    fn dma_unmap(&self, iova: u64, len: u64) -> Result<()> {
        self.lock().mappings.remove(iova, len)
    }

    fn reset(&self) -> Result<()> {
        self.lock().device.reset();
        Ok(())
    }
}
