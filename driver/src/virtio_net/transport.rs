//! virtio over PCI (virtio 1.2 §4.1).

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nitride_abi::virtio::pci::{NO_VECTOR, capability, common};
use nitride_abi::virtio::status;
use nitride_abi::{card, pci};

use super::error::{Error, Result};
use crate::function::Function;

/// PCI capability ID of vendor-specific capabilities (PCIe 4.0 §7.9.4).
const VENDOR_SPECIFIC: u8 = 0x09;
/// How long a device may take to reset.
const RESET: Duration = Duration::from_secs(10);

/// A structure of the device in one of its BARs.
#[derive(Debug, Clone, Copy)]
struct Region {
    bar: u8,
    offset: u64,
    len: u64,
}

/// Where a queue's three areas are, as I/O virtual addresses (virtio 1.2 §2.6).
#[derive(Debug, Clone, Copy)]
pub(super) struct Areas {
    pub descriptors: u64,
    pub driver: u64,
    pub device: u64,
}

/// The registers of a virtio device.
pub(super) struct Transport {
    function: Arc<dyn Function>,
    common: Region,
    notify: Region,
    device: Region,
    multiplier: u64,
}

impl Transport {
    /// Finds the structures by the function's capabilities (§4.1.4), and enables memory space and bus mastering.
    pub fn find(function: Arc<dyn Function>) -> Result<Self> {
        enable(&*function)?;
        let (mut common, mut notify, mut device) = (None, None, None);
        let mut multiplier = 0;
        let mut at = config::<1>(&*function, pci::CAPABILITIES)?[0] & !3;
        // 48 capabilities fill the space that they have: a longer chain is a loop.
        for _ in 0..48 {
            if at == 0 {
                break;
            }
            let head: [u8; 16] = config(&*function, at.into())?;
            let region = Region { bar: head[4], offset: dword(&head, 8), len: dword(&head, 12) };
            if head[0] == VENDOR_SPECIFIC {
                // The first structure of a kind is the device's favourite (§4.1.4.1).
                match head[3] {
                    capability::COMMON => _ = common.get_or_insert(region),
                    capability::DEVICE => _ = device.get_or_insert(region),
                    capability::NOTIFY if notify.is_none() => {
                        notify = Some(region);
                        multiplier = u64::from(u32::from_le_bytes(config(&*function, u16::from(at) + 16)?));
                    }
                    _ => {}
                }
            }
            at = head[1] & !3;
        }
        let (Some(common), Some(notify), Some(device)) = (common, notify, device) else {
            let detail = "not a virtio network device (it lacks virtio's capabilities)".into();
            return Err(Error::NotNetwork { name: function.info().name.clone(), detail });
        };
        let transport = Self { function, common, notify, device, multiplier };
        if common.len < u64::from(common::BYTES) - 4 {
            return Err(transport.unusable(format!("its common configuration has {} bytes", common.len)));
        }
        Ok(transport)
    }

    /// The exception path's device in a card's PF0, which has no capabilities of virtio's.
    pub fn exception(function: Arc<dyn Function>) -> Result<Self> {
        enable(&*function)?;
        let region = |offset, len| Region { bar: 0, offset, len };
        Ok(Self {
            function,
            common: region(card::BAR0_EXCEPTION + card::BAR0_VIRTIO_COMMON, common::BYTES.into()),
            notify: region(card::BAR0_VIRTIO_NOTIFY, 8 * card::VIRTIO_NOTIFY_MULTIPLIER),
            device: region(card::BAR0_EXCEPTION + card::BAR0_VIRTIO_DEVICE, 0x40),
            multiplier: card::VIRTIO_NOTIFY_MULTIPLIER,
        })
    }

    pub fn function(&self) -> &Arc<dyn Function> {
        &self.function
    }

    /// What makes the device one that the driver cannot use.
    pub fn unusable(&self, detail: String) -> Error {
        Error::NotNetwork { name: self.function.info().name.clone(), detail }
    }

    fn read<const N: usize>(&self, region: Region, offset: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        if offset + N as u64 > region.len {
            return Err(self.unusable(format!("a structure of it has {} bytes", region.len)));
        }
        self.function.bar_read(region.bar, region.offset + offset, &mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, region: Region, offset: u64, bytes: &[u8]) -> Result<()> {
        if offset + bytes.len() as u64 > region.len {
            return Err(self.unusable(format!("a structure of it has {} bytes", region.len)));
        }
        Ok(self.function.bar_write(region.bar, region.offset + offset, bytes)?)
    }

    fn word(&self, offset: u16) -> Result<u16> {
        Ok(u16::from_le_bytes(self.read(self.common, offset.into())?))
    }

    fn set_word(&self, offset: u16, value: u16) -> Result<()> {
        self.write(self.common, offset.into(), &value.to_le_bytes())
    }

    fn set_dword(&self, offset: u16, value: u32) -> Result<()> {
        self.write(self.common, offset.into(), &value.to_le_bytes())
    }

    /// In two halves, as §4.1.3.1 has it.
    fn set_address(&self, offset: u16, value: u64) -> Result<()> {
        self.set_dword(offset, value as u32)?;
        self.set_dword(offset + 4, (value >> 32) as u32)
    }

    /// The device status (§2.1).
    pub fn status(&self) -> Result<u8> {
        Ok(self.read::<1>(self.common, common::DEVICE_STATUS.into())?[0])
    }

    /// Sets bits of the device status.
    pub fn add_status(&self, bits: u8) -> Result<()> {
        let status = self.status()? | bits;
        self.write(self.common, common::DEVICE_STATUS.into(), &[status])
    }

    /// Resets the device and waits until it is (§2.4).
    pub fn reset(&self) -> Result<()> {
        self.write(self.common, common::DEVICE_STATUS.into(), &[0])?;
        let deadline = Instant::now() + RESET;
        while self.status()? != 0 {
            if Instant::now() > deadline {
                let detail = format!("not complete after {} s", RESET.as_secs());
                return Err(Error::Device { what: "device reset", detail });
            }
            thread::yield_now();
        }
        Ok(())
    }

    /// Agrees on those of `wanted` that the device offers (§3.1.1, steps 4 to 6).
    pub fn negotiate(&self, wanted: u64) -> Result<u64> {
        let mut features = 0;
        for half in 0..2 {
            self.set_dword(common::DEVICE_FEATURE_SELECT, half)?;
            let offered = u32::from_le_bytes(self.read(self.common, common::DEVICE_FEATURE.into())?);
            features |= (u64::from(offered) << (32 * half)) & wanted;
        }
        for half in 0..2 {
            self.set_dword(common::DRIVER_FEATURE_SELECT, half)?;
            self.set_dword(common::DRIVER_FEATURE, (features >> (32 * half)) as u32)?;
        }
        self.add_status(status::FEATURES_OK)?;
        if self.status()? & status::FEATURES_OK == 0 {
            return Err(self.unusable(format!("it refuses the features {features:#x} that it offers")));
        }
        Ok(features)
    }

    /// Queue Size of a queue as the device proposes it; 0 if there is no such queue.
    pub fn queue_size(&self, queue: u16) -> Result<u16> {
        self.set_word(common::QUEUE_SELECT, queue)?;
        self.word(common::QUEUE_SIZE)
    }

    /// Sets a queue up and enables it (§4.1.5.1.3). Returns where it is notified.
    pub fn enable_queue(&self, queue: u16, size: u16, areas: Areas, vector: Option<u16>) -> Result<Doorbell> {
        self.set_word(common::QUEUE_SELECT, queue)?;
        self.set_word(common::QUEUE_SIZE, size)?;
        let vector = vector.unwrap_or(NO_VECTOR);
        self.set_word(common::QUEUE_MSIX_VECTOR, vector)?;
        if self.word(common::QUEUE_MSIX_VECTOR)? != vector {
            return Err(self.unusable(format!("it has no MSI-X vector {vector}")));
        }
        self.set_address(common::QUEUE_DESC, areas.descriptors)?;
        self.set_address(common::QUEUE_DRIVER, areas.driver)?;
        self.set_address(common::QUEUE_DEVICE, areas.device)?;
        let place = u64::from(self.word(common::QUEUE_NOTIFY_OFF)?) * self.multiplier;
        if place + 2 > self.notify.len {
            return Err(self.unusable(format!("queue {queue} is notified outside of its structure")));
        }
        self.set_word(common::QUEUE_ENABLE, 1)?;
        Ok(Doorbell { bar: self.notify.bar, offset: self.notify.offset + place, queue })
    }

    /// `N` bytes of the device configuration (§5.1.4).
    pub fn device_config<const N: usize>(&self, offset: u16) -> Result<[u8; N]> {
        // Fields may change between two reads of one: the generation tells (§2.5.1).
        loop {
            let before: [u8; 1] = self.read(self.common, common::CONFIG_GENERATION.into())?;
            let mut bytes = [0; N];
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = self.read::<1>(self.device, u64::from(offset) + at as u64)?[0];
            }
            if self.read::<1>(self.common, common::CONFIG_GENERATION.into())? == before {
                return Ok(bytes);
            }
        }
    }
}

/// Where a queue is notified (§4.1.5.2).
#[derive(Debug, Clone, Copy)]
pub(super) struct Doorbell {
    bar: u8,
    offset: u64,
    queue: u16,
}

impl Doorbell {
    pub fn ring(self, function: &dyn Function) -> Result<()> {
        Ok(function.bar_write(self.bar, self.offset, &self.queue.to_le_bytes())?)
    }
}

fn dword(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 4].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn config<const N: usize>(function: &dyn Function, offset: u16) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    function.config_read(offset, &mut bytes)?;
    Ok(bytes)
}

/// Memory space and bus mastering.
fn enable(function: &dyn Function) -> Result<()> {
    let command = u16::from_le_bytes(config(function, pci::COMMAND)?);
    let wanted = command | (pci::COMMAND_MEMORY | pci::COMMAND_BUS_MASTER) as u16;
    Ok(function.config_write(pci::COMMAND, &wanted.to_le_bytes())?)
}
