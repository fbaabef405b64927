//! The back end for a function that is bound to vfio-pci: a card in a slot, or one that a hypervisor passes in.
//!
//! ```no_run
//! use nitride_driver::{Function, Vfio};
//! # fn main() -> nitride_driver::Result<()> {
//! let function = Vfio::open("0000:01:00.2")?;
//! println!("{:?}", function.info());
//! # Ok(())
//! # }
//! ```
//!
//! A VF whose PF is bound to vfio-pci too needs a VF token, which is not supported.

mod device;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::function::{
    Bar, Error, Function, Info, Interrupts, Result, check_bar_access, check_config_access,
};
use crate::memory::{Access, Memory};
use device::{Device, PciDriverDevice, Region};

/// A [`Function`] that is bound to vfio-pci.
pub struct Vfio {
    info: Info,
    device: Box<dyn Device>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the device can reach must stay mapped in this process.
    mappings: BTreeMap<u64, Arc<Memory>>,
    /// Vectors that are enabled.
    vectors: usize,
}

impl std::fmt::Debug for Vfio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vfio").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Vfio {
    /// Opens the function at a PCI address: `0000:01:00.2`, or `01:00.2` in domain 0.
    pub fn open(address: &str) -> Result<Self> {
        let Some(address) = parse_address(address) else {
            let detail = format!("`{address}` is not a PCI address like 0000:01:00.2");
            return Err(Error::OutOfRange { what: "opening a PCI function", detail });
        };
        let folder = Path::new("/sys/bus/pci/devices").join(&address);
        let failed = |what: String, source| Error::Io { what, source };
        let driver = folder.join("driver").canonicalize().ok();
        let bound = driver.as_deref().and_then(Path::file_name).is_some_and(|name| name == "vfio-pci");
        if !folder.exists() {
            return Err(failed(
                format!("opening {address}, which is not there"),
                io::ErrorKind::NotFound.into(),
            ));
        }
        if !bound {
            let what = format!("opening {address}, which has to be bound to vfio-pci first");
            return Err(failed(what, io::ErrorKind::Unsupported.into()));
        }
        let device =
            PciDriverDevice::open(&folder).map_err(|source| failed(format!("opening {address}"), source))?;
        Self::on(address, Box::new(device))
    }

    fn on(name: String, device: Box<dyn Device>) -> Result<Self> {
        let mut bars = [None; 6];
        for (index, bar) in (0u8..).zip(&mut bars) {
            let size = device.region_size(Region::Bar(index));
            let mut register = [0; 4];
            let read = device.read(Region::Config, 0x10 + 4 * index as u64, &mut register);
            read.map_err(|source| Error::Io { what: format!("reading BAR {index} of {name}"), source })?;
            if size.is_power_of_two() && register[0] & 1 == 0 {
                *bar =
                    Some(Bar { size, wide: register[0] & 0x6 == 0x4, prefetchable: register[0] & 0x8 != 0 });
            }
        }
        let config_size = if device.region_size(Region::Config) >= 4096 { 4096 } else { 256 };
        let info = Info { name, bars, msix_vectors: device.vectors().min(2048) as u16, config_size };
        Ok(Self { info, device, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe<T>(&self, what: &'static str, outcome: io::Result<T>) -> Result<T> {
        outcome.map_err(|source| match source.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::NODEV | rustix::io::Errno::IO) => {
                Error::Gone { name: self.info.name.clone(), detail: format!("{what}: {source}") }
            }
            _ => Error::Io { what: format!("{what} on {}", self.info.name), source },
        })
    }
}

/// Splits an access into aligned ones of 4, 2 and 1 bytes: where each of them begins, and its length.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let (at, left) = (offset + done as u64, len - done);
        let size = [4, 2, 1].into_iter().find(|size| at.is_multiple_of(*size as u64) && *size <= left)?;
        done += size;
        Some((done - size, size))
    })
}

impl Vfio {
    fn read(&self, region: Region, offset: u64, data: &mut [u8]) -> io::Result<()> {
        pieces(offset, data.len())
            .try_for_each(|(at, size)| self.device.read(region, offset + at as u64, &mut data[at..at + size]))
    }

    /// Writes; the lower half of a qword first.
    fn write(&self, region: Region, offset: u64, data: &[u8]) -> io::Result<()> {
        pieces(offset, data.len())
            .try_for_each(|(at, size)| self.device.write(region, offset + at as u64, &data[at..at + size]))
    }
}

/// The PCI address that `text` is, in full: domain, bus, device, function.
pub fn parse_address(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (rest, function) = text.rsplit_once('.')?;
    let (rest, device) = rest.rsplit_once(':')?;
    let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0000", rest));
    let hex = |part: &str, len| part.len() == len && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let valid = hex(domain, 4) && hex(bus, 2) && hex(device, 2) && hex(function, 1);
    let in_range = u8::from_str_radix(device, 16).ok()? < 32 && u8::from_str_radix(function, 16).ok()? < 8;
    (valid && in_range).then(|| format!("{domain}:{bus}:{device}.{function}"))
}

impl Function for Vfio {
    fn info(&self) -> &Info {
        &self.info
    }

    fn config_read(&self, offset: u16, data: &mut [u8]) -> Result<()> {
        check_config_access(&self.info, "configuration read", offset, data.len())?;
        self.describe("configuration read", self.read(Region::Config, offset as u64, data))
    }

    fn config_write(&self, offset: u16, data: &[u8]) -> Result<()> {
        check_config_access(&self.info, "configuration write", offset, data.len())?;
        self.describe("configuration write", self.write(Region::Config, offset as u64, data))
    }

    fn bar_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> Result<()> {
        check_bar_access(&self.info, "BAR read", bar, offset, data.len())?;
        self.describe("BAR read", self.read(Region::Bar(bar), offset, data))
    }

    fn bar_write(&self, bar: u8, offset: u64, data: &[u8]) -> Result<()> {
        check_bar_access(&self.info, "BAR write", bar, offset, data.len())?;
        self.describe("BAR write", self.write(Region::Bar(bar), offset, data))
    }

    fn set_msix(&self, vectors: Interrupts<'_>) -> Result<()> {
        if vectors.len() > self.info.msix_vectors as usize {
            let detail =
                format!("{} has {} vectors, not {}", self.info.name, self.info.msix_vectors, vectors.len());
            return Err(Error::OutOfRange { what: "MSI-X set-up", detail });
        }
        let mut state = self.lock();
        // VFIO only redirects vectors that are enabled: more of them need a new start, and fewer an explicit -1.
        let restart = state.vectors > 0 && (vectors.is_empty() || vectors.len() > state.vectors);
        if restart {
            self.describe("MSI-X set-up", self.device.disable_vectors())?;
            state.vectors = 0;
        }
        if vectors.is_empty() {
            return Ok(());
        }
        let mut events: Vec<_> =
            vectors.iter().map(|vector| vector.map_or(-1, |fd| fd.as_raw_fd())).collect();
        events.resize(events.len().max(state.vectors), -1);
        self.describe("MSI-X set-up", self.device.enable_vectors(&events))?;
        state.vectors = events.len();
        Ok(())
    }

    fn dma_map(&self, iova: u64, memory: Arc<Memory>, access: Access) -> Result<()> {
        let mut state = self.lock();
        self.describe("DMA mapping", self.device.map(iova, &memory, access))?;
        state.mappings.insert(iova, memory);
        Ok(())
    }

    fn dma_unmap(&self, iova: u64, len: u64) -> Result<()> {
        let mut state = self.lock();
        if state.mappings.get(&iova).is_none_or(|memory| memory.len() as u64 != len) {
            let detail = format!("nothing was mapped at {iova:#x} with {len:#x} bytes");
            return Err(Error::OutOfRange { what: "DMA unmapping", detail });
        }
        self.describe("DMA unmapping", self.device.unmap(iova, len as usize))?;
        state.mappings.remove(&iova);
        Ok(())
    }

    fn reset(&self) -> Result<()> {
        let mut state = self.lock();
        if state.vectors > 0 {
            self.describe("reset", self.device.disable_vectors())?;
            state.vectors = 0;
        }
        self.describe("reset", self.device.reset())
    }
}

impl Drop for Vfio {
    fn drop(&mut self) {
        // The device must not reach memory that is about to go. Unmapping fails only where the device is
        // gone; then its container, and all mappings with it, goes too.
        let mappings = std::mem::take(&mut self.lock().mappings);
        for (iova, memory) in &mappings {
            let _ = self.device.unmap(*iova, memory.len());
        }
    }
}

#[cfg(test)]
mod tests;
