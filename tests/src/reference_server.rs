//! A vfio-user server for any [`Function`], on the public crate `vfio_user`: an implementation of the
//! protocol that is not ours, to test clients with.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use nitride_driver::{Access, Function, Memory};
use vfio_bindings::bindings::vfio::*;
use vfio_user::{DmaMapFlags, DmaUnmapFlags, IrqInfo, Server, ServerBackend, ServerRegion};

const REGION_CONFIG: u32 = 7;
const IRQ_MSIX: u32 = 2;

/// A server that listens on a socket and serves one client.
pub struct ReferenceServer {
    server: Server,
    function: Arc<dyn Function>,
}

impl ReferenceServer {
    /// Listens on `socket`, which must not exist yet.
    pub fn bind(socket: &Path, function: Arc<dyn Function>) -> Result<Self, vfio_user::Error> {
        let info = function.info();
        let bar_sizes = info.bars.map(|bar| bar.map_or(0, |bar| bar.size));
        let sizes = bar_sizes.into_iter().chain([0, info.config_size as u64, 0]);
        let regions = (0..).zip(sizes).map(|(index, size)| region(index, size)).collect();
        let irqs = (0..5).map(|index| {
            let count = if index == IRQ_MSIX { info.msix_vectors as u32 } else { 0 };
            IrqInfo { index, flags: VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE, count }
        });
        let server = Server::new(socket, true, irqs.collect(), regions)?;
        Ok(Self { server, function })
    }

    /// Serves one client until it hangs up.
    pub fn serve(&self) -> Result<(), vfio_user::Error> {
        self.server.run(&mut Backend { function: self.function.clone(), vectors: Vec::new() })
    }
}

fn region(index: u32, size: u64) -> ServerRegion {
    let region_info = vfio_region_info {
        argsz: size_of::<vfio_region_info>() as u32,
        flags: VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
        index,
        size,
        ..Default::default()
    };
    ServerRegion { region_info, sparse_areas: Vec::new(), mmap_fd: None }
}

struct Backend {
    function: Arc<dyn Function>,
    vectors: Vec<Option<OwnedFd>>,
}

fn other(error: nitride_driver::Error) -> io::Error {
    io::Error::other(error)
}

impl ServerBackend for Backend {
    // The crate's reply to an error has no data, which its own client waits for: a failed read is all ones.
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let outcome = if region == REGION_CONFIG {
            self.function.config_read(offset as u16, data)
        } else {
            self.function.bar_read(region as u8, offset, data)
        };
        outcome.unwrap_or_else(|_| data.fill(0xff));
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        let _dropped_as_on_a_bus = if region == REGION_CONFIG {
            self.function.config_write(offset as u16, data)
        } else {
            self.function.bar_write(region as u8, offset, data)
        };
        Ok(())
    }

    fn dma_map(
        &mut self,
        flags: DmaMapFlags,
        offset: u64,
        iova: u64,
        size: u64,
        fd: Option<File>,
    ) -> io::Result<()> {
        let fd = fd.ok_or(io::ErrorKind::Unsupported)?;
        let access = if flags.contains(DmaMapFlags::WRITE) { Access::ReadWrite } else { Access::Read };
        let memory = Memory::map(fd.into(), offset, size as usize, access)?;
        self.function.dma_map(iova, Arc::new(memory), access).map_err(other)
    }

    fn dma_unmap(&mut self, _flags: DmaUnmapFlags, iova: u64, size: u64) -> io::Result<()> {
        self.function.dma_unmap(iova, size).map_err(other)
    }

    fn reset(&mut self) -> io::Result<()> {
        self.vectors.clear();
        self.function.reset().map_err(other)
    }

    fn set_irqs(&mut self, index: u32, flags: u32, start: u32, count: u32, fds: Vec<File>) -> io::Result<()> {
        if index != IRQ_MSIX {
            return Ok(());
        }
        if flags & VFIO_IRQ_SET_DATA_NONE != 0 && count == 0 {
            self.vectors.clear();
        } else if flags & VFIO_IRQ_SET_DATA_EVENTFD != 0 {
            let end = start as usize + count as usize;
            if end > self.function.info().msix_vectors as usize {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            self.vectors.resize_with(self.vectors.len().max(end), || None);
            let mut fds = fds.into_iter();
            for vector in &mut self.vectors[start as usize..end] {
                *vector = fds.next().map(OwnedFd::from);
            }
        }
        let vectors: Vec<_> = self.vectors.iter().map(|vector| vector.as_ref().map(AsFd::as_fd)).collect();
        self.function.set_msix(&vectors).map_err(other)
    }
}
