//! The model as a [`Function`]: what a driver, a daemon or a VMM sees of an NVMe function.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nitride_abi::card::{BAR0_MSIX_TABLE, BAR0_SIZE, MSIX_VECTORS};
use nitride_driver::{
    Access, Bar, Error, Function, Info, Interrupts, Memory, Result, check_bar_access, check_config_access,
};

use super::config_space::ConfigSpace;
use super::controller::Controller;
use super::host::{Fault, HostMemory};
use super::namespace::Namespace;

/// An NVMe function with a [`Controller`] of the model behind its BAR.
///
/// A register write returns when all its work is done. DMA needs bus mastering and reaches only what was
/// mapped; interrupts are event file descriptors.
#[derive(Debug)]
pub struct ModelFunction {
    info: Info,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    controller: Controller,
    config: ConfigSpace,
    mappings: Mappings,
    vectors: Vec<Option<OwnedFd>>,
}

impl ModelFunction {
    /// The function that `controller` belongs to, called `name` in messages.
    pub fn new(name: &str, controller: Controller) -> Self {
        let mut bars = [None; 6];
        bars[0] = Some(Bar { size: BAR0_SIZE, wide: true, prefetchable: true });
        let info = Info { name: name.into(), bars, msix_vectors: MSIX_VECTORS as u16, config_size: 4096 };
        let config = ConfigSpace::new(controller.function);
        let state = State { controller, config, mappings: Mappings::default(), vectors: Vec::new() };
        Self { info, state: Mutex::new(state) }
    }

    /// Looks at or changes the controller behind the function, its namespaces for one.
    pub fn with_controller<T>(&self, use_it: impl FnOnce(&mut Controller) -> T) -> T {
        use_it(&mut self.lock().controller)
    }

    /// Replaces a namespace, as PF0 does while the function is in use.
    pub fn change_namespace(&self, nsid: u32, namespace: Option<Namespace>) {
        let mut state = self.lock();
        let State { controller, mappings, .. } = &mut *state;
        controller.change_namespace(nsid, namespace, mappings);
        state.interrupt();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn reset(&mut self) {
        self.controller.function_level_reset();
        self.config.reset();
        self.vectors.clear();
    }

    fn interrupt(&mut self) {
        let raised = self.controller.take_interrupts();
        for (vector, target) in self.vectors.iter().enumerate() {
            if let (1, Some(target)) = (raised >> vector & 1, target) {
                // A full counter means that the host has yet to see an earlier interrupt: none is lost.
                let _ = rustix::io::write(target, &1u64.to_ne_bytes());
            }
        }
    }
}

impl Function for ModelFunction {
    fn info(&self) -> &Info {
        &self.info
    }

    fn config_read(&self, offset: u16, data: &mut [u8]) -> Result<()> {
        check_config_access(&self.info, "configuration read", offset, data.len())?;
        self.lock().config.read(offset, data);
        Ok(())
    }

    fn config_write(&self, offset: u16, data: &[u8]) -> Result<()> {
        check_config_access(&self.info, "configuration write", offset, data.len())?;
        let mut state = self.lock();
        if state.config.write(offset, data) {
            state.reset();
        }
        Ok(())
    }

    fn bar_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> Result<()> {
        check_bar_access(&self.info, "BAR read", bar, offset, data.len())?;
        if offset < BAR0_MSIX_TABLE {
            self.lock().controller.read(offset, data);
        } else {
            data.fill(0);
        }
        Ok(())
    }

    fn bar_write(&self, bar: u8, offset: u64, data: &[u8]) -> Result<()> {
        check_bar_access(&self.info, "BAR write", bar, offset, data.len())?;
        if offset < BAR0_MSIX_TABLE {
            let mut state = self.lock();
            let State { controller, config, mappings, .. } = &mut *state;
            if config.is_bus_master() {
                controller.write(offset, data, mappings);
            } else {
                controller.write(offset, data, &mut Mappings::default());
            }
            state.interrupt();
        }
        Ok(())
    }

    fn set_msix(&self, vectors: Interrupts<'_>) -> Result<()> {
        if vectors.len() > MSIX_VECTORS {
            let detail = format!("{} has {MSIX_VECTORS} vectors, not {}", self.info.name, vectors.len());
            return Err(Error::OutOfRange { what: "MSI-X set-up", detail });
        }
        let clone =
            |fd: &Option<std::os::fd::BorrowedFd<'_>>| fd.map(|fd| fd.try_clone_to_owned()).transpose();
        let vectors = vectors.iter().map(clone).collect::<std::io::Result<Vec<_>>>();
        let mut state = self.lock();
        state.vectors = vectors.map_err(|source| Error::Io { what: "MSI-X set-up".into(), source })?;
        let enable = !state.vectors.is_empty();
        state.config.set_msix_enable(enable);
        Ok(())
    }

    fn dma_map(&self, iova: u64, memory: Arc<Memory>, access: Access) -> Result<()> {
        self.lock().mappings.insert(iova, memory, access)
    }

    fn dma_unmap(&self, iova: u64, len: u64) -> Result<()> {
        self.lock().mappings.remove(iova, len)
    }

    fn reset(&self) -> Result<()> {
        self.lock().reset();
        Ok(())
    }
}

/// An I/O address space.
#[derive(Debug, Default)]
pub(crate) struct Mappings(BTreeMap<u64, (Arc<Memory>, Access)>);

impl Mappings {
    pub(crate) fn insert(&mut self, iova: u64, memory: Arc<Memory>, access: Access) -> Result<()> {
        let what = "DMA mapping";
        let len = memory.len() as u64;
        let detail = |reason: &str| format!("{len:#x} bytes at {iova:#x} {reason}");
        if !iova.is_multiple_of(4096) || !len.is_multiple_of(4096) {
            return Err(Error::OutOfRange { what, detail: detail("are not whole pages of 4 KiB") });
        }
        let end = iova.checked_add(len).ok_or(Error::OutOfRange { what, detail: detail("wrap around") })?;
        let below = self.0.range(..end).next_back();
        if below.is_some_and(|(start, (memory, _))| start + memory.len() as u64 > iova) {
            return Err(Error::OutOfRange { what, detail: detail("are partly mapped already") });
        }
        self.0.insert(iova, (memory, access));
        Ok(())
    }

    pub(crate) fn remove(&mut self, iova: u64, len: u64) -> Result<()> {
        if self.0.get(&iova).is_none_or(|(memory, _)| memory.len() as u64 != len) {
            let detail = format!("nothing was mapped at {iova:#x} with {len:#x} bytes");
            return Err(Error::OutOfRange { what: "DMA unmapping", detail });
        }
        self.0.remove(&iova);
        Ok(())
    }

    /// The mapping of `address`, the offset in it, and how many of `len` bytes lie in it.
    fn find(&self, address: u64, len: usize) -> std::result::Result<(&Memory, Access, usize, usize), Fault> {
        let (start, (memory, access)) = self.0.range(..=address).next_back().ok_or(Fault)?;
        let offset = usize::try_from(address - start).map_err(|_| Fault)?;
        let inside = memory.len().checked_sub(offset).filter(|inside| *inside > 0).ok_or(Fault)?;
        Ok((memory, *access, offset, inside.min(len)))
    }
}

impl HostMemory for Mappings {
    fn read(&mut self, mut address: u64, mut data: &mut [u8]) -> std::result::Result<(), Fault> {
        while !data.is_empty() {
            let (memory, _, offset, len) = self.find(address, data.len())?;
            let (part, rest) = data.split_at_mut(len);
            if !memory.read(offset, part) {
                return Err(Fault);
            }
            data = rest;
            address = address.checked_add(len as u64).ok_or(Fault)?;
        }
        Ok(())
    }

    fn write(&mut self, mut address: u64, mut data: &[u8]) -> std::result::Result<(), Fault> {
        while !data.is_empty() {
            let (memory, access, offset, len) = self.find(address, data.len())?;
            let (part, rest) = data.split_at(len);
            if access == Access::Read || !memory.write(offset, part) {
                return Err(Fault);
            }
            data = rest;
            address = address.checked_add(len as u64).ok_or(Fault)?;
        }
        Ok(())
    }
}
