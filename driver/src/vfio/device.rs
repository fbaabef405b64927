//! What the back end needs of a VFIO device, and `pci-driver`'s implementation of it.
//!
//! `pci-driver`'s own traits are sealed: without a trait of ours the back end could not be tested.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::Arc;

use pci_driver::backends::vfio::VfioPciDevice;
use pci_driver::device::PciDevice;
use pci_driver::regions::{AsPciSubregion, MappedOwningPciRegion, OwningPciRegion, PciRegion, Permissions};

use crate::memory::{Access, Memory};

/// Configuration space, or a BAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Region {
    Config,
    Bar(u8),
}

/// A device as VFIO gives it to a process.
pub(super) trait Device: Send + Sync {
    /// Size of a region in bytes, 0 where there is none.
    fn region_size(&self, region: Region) -> u64;
    /// Reads `data.len()` bytes: 1, 2 or 4 aligned ones in one access.
    fn read(&self, region: Region, offset: u64, data: &mut [u8]) -> io::Result<()>;
    /// Writes 1, 2 or 4 aligned bytes in one access.
    fn write(&self, region: Region, offset: u64, data: &[u8]) -> io::Result<()>;
    /// MSI-X vectors.
    fn vectors(&self) -> usize;
    /// Directs MSI-X vectors from 0 on to event file descriptors; -1 is none.
    fn enable_vectors(&self, events: &[RawFd]) -> io::Result<()>;
    /// Disables MSI-X.
    fn disable_vectors(&self) -> io::Result<()>;
    /// Opens memory to the device. The caller keeps it until [`Device::unmap`].
    fn map(&self, iova: u64, memory: &Arc<Memory>, access: Access) -> io::Result<()>;
    /// Closes exactly what [`Device::map`] opened.
    fn unmap(&self, iova: u64, len: usize) -> io::Result<()>;
    /// Function Level Reset.
    fn reset(&self) -> io::Result<()>;
}

/// A BAR, mapped where the kernel lets it be.
struct Window {
    plain: OwningPciRegion,
    mapped: Option<MappedOwningPciRegion>,
}

impl Window {
    fn region(&self) -> &dyn PciRegion {
        match &self.mapped {
            Some(mapped) => mapped,
            None => &self.plain,
        }
    }
}

/// A device through `pci-driver`.
pub(super) struct PciDriverDevice {
    device: VfioPciDevice,
    bars: [Option<Window>; 6],
}

impl PciDriverDevice {
    /// Opens the device of a folder in sysfs; it must be bound to vfio-pci, alone in use of its group.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let device = VfioPciDevice::open(folder)?;
        let bars = std::array::from_fn(|index| {
            let plain = device.bar(index)?;
            // Some kernels do not let the MSI-X table's page be mapped: then every access is a system call.
            let mapped = plain.map(.., Permissions::ReadWrite).ok();
            Some(Window { plain, mapped })
        });
        Ok(Self { device, bars })
    }

    fn with<T>(&self, region: Region, access: impl FnOnce(&dyn PciRegion) -> io::Result<T>) -> io::Result<T> {
        match region {
            Region::Config => {
                let config = self.device.config();
                access(&config.as_subregion())
            }
            Region::Bar(bar) => {
                let window = self.bars.get(bar as usize).and_then(Option::as_ref);
                access(window.ok_or(io::ErrorKind::NotFound)?.region())
            }
        }
    }
}

impl Device for PciDriverDevice {
    fn region_size(&self, region: Region) -> u64 {
        self.with(region, |region| Ok(region.len())).unwrap_or(0)
    }

    fn read(&self, region: Region, offset: u64, data: &mut [u8]) -> io::Result<()> {
        self.with(region, |region| {
            match data {
                [byte] => *byte = region.read_u8(offset)?,
                [_, _] => data.copy_from_slice(&region.read_le_u16(offset)?.to_le_bytes()),
                [_, _, _, _] => data.copy_from_slice(&region.read_le_u32(offset)?.to_le_bytes()),
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            }
            Ok(())
        })
    }

    fn write(&self, region: Region, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(region, |region| match *data {
            [a] => region.write_u8(offset, a),
            [a, b] => region.write_le_u16(offset, u16::from_le_bytes([a, b])),
            [a, b, c, d] => region.write_le_u32(offset, u32::from_le_bytes([a, b, c, d])),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        })
    }

    fn vectors(&self) -> usize {
        self.device.interrupts().msi_x().max()
    }

    fn enable_vectors(&self, events: &[RawFd]) -> io::Result<()> {
        self.device.interrupts().msi_x().enable(events)
    }

    fn disable_vectors(&self) -> io::Result<()> {
        self.device.interrupts().msi_x().disable()
    }

    fn map(&self, iova: u64, memory: &Arc<Memory>, access: Access) -> io::Result<()> {
        let permissions = match access {
            Access::Read => Permissions::Read,
            Access::ReadWrite => Permissions::ReadWrite,
        };
        // SAFETY: the range is a mapping of this process that the back end keeps alive until it is unmapped;
        // shared memory that the device writes to is only ever copied in and out.
        unsafe { self.device.iommu().map(iova, memory.len(), memory.as_ptr(), permissions) }
    }

    fn unmap(&self, iova: u64, len: usize) -> io::Result<()> {
        self.device.iommu().unmap(iova, len)
    }

    fn reset(&self) -> io::Result<()> {
        self.device.reset()
    }
}
