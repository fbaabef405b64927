//! What one vfio-user client does with its function.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use nitride_driver::vfio_user::protocol::{self, Command, Reader, Writer};
use nitride_driver::{Access, Error, Function, Memory};
use rustix::io::Errno;

use super::message::{MAX_TRANSFER, Message};

/// Regions: BARs 0 to 5, ROM, configuration space, VGA.
const REGIONS: u32 = 9;
/// Interrupt indices: INTx, MSI, MSI-X, error, request.
const IRQS: u32 = 5;
/// The error interrupt's index.
const IRQ_ERROR: u32 = 3;
/// Minor version of the protocol (its major version is 0).
const MINOR: u32 = 1;
/// Mappings that a client may have at a time.
const MAX_MAPPINGS: usize = 65536;

/// The payload of a reply, or the errno that goes into it.
type Outcome = Result<Vec<u8>, i32>;

/// A connected client's state. A request that breaks a rule changes nothing.
pub(super) struct Client {
    function: Arc<dyn Function>,
    /// MSI-X targets, by vector.
    vectors: Vec<Option<OwnedFd>>,
    /// DMA mappings: I/O virtual address, length, and whether the function can use it.
    mappings: Vec<Mapping>,
}

struct Mapping {
    iova: u64,
    length: u64,
    /// Not the case for memory that came without a file: the function faults on it.
    open: bool,
}

fn errno(error: Errno) -> i32 {
    error.raw_os_error()
}

fn refuse(error: &Error) -> i32 {
    errno(match error {
        Error::OutOfRange { .. } => Errno::INVAL,
        Error::Completion { .. } => Errno::IO,
        Error::Gone { .. } => Errno::NODEV,
        Error::Unsupported { .. } => Errno::OPNOTSUPP,
        Error::Io { source, .. } => return source.raw_os_error().unwrap_or(Errno::IO.raw_os_error()),
    })
}

impl Client {
    pub fn new(function: Arc<dyn Function>) -> Self {
        Self { function, vectors: Vec::new(), mappings: Vec::new() }
    }

    /// Leaves the function as the next client may find it: nothing of this one's can be reached.
    pub fn leave(mut self) {
        let name = &self.function.info().name;
        if let Err(error) = self.function.reset() {
            tracing::error!("{name}: reset after its client left: {error}");
        }
        for mapping in self.mappings.drain(..).filter(|mapping| mapping.open) {
            if let Err(error) = self.function.dma_unmap(mapping.iova, mapping.length) {
                tracing::error!("{name}: unmapping after its client left: {error}");
            }
        }
    }

    pub fn handle(&mut self, command: Command, message: Message) -> Outcome {
        let mut reader = Reader::new(&message.payload);
        match command {
            Command::Version => version(&mut reader),
            Command::DmaMap => self.dma_map(&mut reader, message.fds),
            Command::DmaUnmap => self.dma_unmap(&mut reader),
            Command::DeviceGetInfo => {
                let flags = protocol::DEVICE_PCI | protocol::DEVICE_RESET;
                Ok(Writer::<16>::default().u32(16).u32(flags).u32(REGIONS).u32(IRQS).written().to_vec())
            }
            Command::DeviceGetRegionInfo => self.region_info(&mut reader),
            Command::DeviceGetIrqInfo => self.irq_info(&mut reader),
            Command::DeviceSetIrqs => self.set_irqs(&mut reader, message.fds),
            Command::RegionRead => self.region_read(&mut reader),
            Command::RegionWrite => self.region_write(&mut reader),
            Command::DeviceReset => {
                self.vectors.clear();
                self.function.reset().map(|()| Vec::new()).map_err(|e| refuse(&e))
            }
        }
    }

    fn dma_map(&mut self, reader: &mut Reader<'_>, mut fds: Vec<OwnedFd>) -> Outcome {
        let (_, flags, offset) = (reader.u32()?, reader.u32()?, reader.u64()?);
        let (iova, length) = (reader.u64()?, reader.u64()?);
        let end = iova.checked_add(length).ok_or(errno(Errno::INVAL))?;
        if length == 0 || fds.len() > 1 || iova % 4096 != 0 || length % 4096 != 0 {
            return Err(errno(Errno::INVAL));
        }
        if self.mappings.iter().any(|m| m.iova < end && iova < m.iova + m.length) {
            return Err(errno(Errno::EXIST));
        }
        if self.mappings.len() == MAX_MAPPINGS {
            return Err(errno(Errno::NOSPC));
        }
        let access = match flags & (protocol::DMA_READ | protocol::DMA_WRITE) {
            0 => return Err(errno(Errno::INVAL)),
            protocol::DMA_READ => Access::Read,
            _ => Access::ReadWrite,
        };
        let open = fds.pop().map(|fd| {
            let length = usize::try_from(length).map_err(|_| errno(Errno::INVAL))?;
            let memory = Memory::map(fd, offset, length, access)
                .map_err(|e| e.raw_os_error().unwrap_or(errno(Errno::INVAL)))?;
            self.function.dma_map(iova, Arc::new(memory), access).map_err(|e| refuse(&e))
        });
        let open = open.transpose()?.is_some();
        self.mappings.push(Mapping { iova, length, open });
        Ok(Vec::new())
    }

    fn dma_unmap(&mut self, reader: &mut Reader<'_>) -> Outcome {
        let (size, flags) = (reader.u32()?, reader.u32()?);
        let (iova, length) = (reader.u64()?, reader.u64()?);
        let all = flags & protocol::UNMAP_ALL != 0;
        // QEMU unmaps up to the end of the address space.
        let end = if all { u64::MAX } else { iova.saturating_add(length) };
        let start = if all { 0 } else { iova };
        let function = &self.function;
        let mut failed = None;
        self.mappings.retain(|mapping| {
            let inside = mapping.iova >= start && mapping.iova + mapping.length <= end;
            if inside && mapping.open {
                failed = function.dma_unmap(mapping.iova, mapping.length).err().or(failed.take());
            }
            !inside
        });
        failed.map_or(Ok(()), |error| Err(refuse(&error)))?;
        Ok(Writer::<24>::default().u32(size).u32(flags).u64(iova).u64(length).written().to_vec())
    }

    fn region_info(&self, reader: &mut Reader<'_>) -> Outcome {
        let (_, _, region) = (reader.u32()?, reader.u32()?, reader.u32()?);
        if region >= REGIONS {
            return Err(errno(Errno::INVAL));
        }
        let size = self.region_size(region);
        let access = if size == 0 { 0 } else { protocol::REGION_READ | protocol::REGION_WRITE };
        let mut reply = Writer::<32>::default();
        reply.u32(32).u32(access).u32(region).u32(0).u64(size).u64(0);
        Ok(reply.written().to_vec())
    }

    fn region_size(&self, region: u32) -> u64 {
        let info = self.function.info();
        match region {
            protocol::REGION_CONFIG => info.config_size as u64,
            bar => info.bars.get(bar as usize).copied().flatten().map_or(0, |bar| bar.size),
        }
    }

    fn irq_info(&self, reader: &mut Reader<'_>) -> Outcome {
        let (_, _, index) = (reader.u32()?, reader.u32()?, reader.u32()?);
        // The answer of Linux for a device without error reports. QEMU would complain of an index with no interrupt.
        if index >= IRQS || index == IRQ_ERROR {
            return Err(errno(Errno::INVAL));
        }
        let msix = index == protocol::IRQ_MSIX;
        let count = if msix { self.function.info().msix_vectors as u32 } else { 0 };
        let flags = if msix { protocol::IRQ_EVENTFD } else { 0 };
        Ok(Writer::<16>::default().u32(16).u32(flags).u32(index).u32(count).written().to_vec())
    }

    fn set_irqs(&mut self, reader: &mut Reader<'_>, fds: Vec<OwnedFd>) -> Outcome {
        let (_, flags, index) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (start, count) = (reader.u32()? as usize, reader.u32()? as usize);
        let vectors = self.function.info().msix_vectors as usize;
        if index != protocol::IRQ_MSIX || flags & protocol::IRQ_ACTION_TRIGGER == 0 {
            // INTx, MSI, error and request interrupts have no vectors: only disabling them makes sense.
            return if count == 0 { Ok(Vec::new()) } else { Err(errno(Errno::INVAL)) };
        }
        if start.checked_add(count).is_none_or(|end| end > vectors) {
            return Err(errno(Errno::INVAL));
        }
        if flags & protocol::IRQ_DATA_NONE != 0 && count == 0 {
            self.vectors.clear();
        } else if flags & protocol::IRQ_DATA_EVENTFD != 0
            && (fds.len() == count || (fds.is_empty() && count == 1))
        {
            if self.vectors.len() < start + count {
                self.vectors.resize_with(start + count, || None);
            }
            let mut fds = fds.into_iter();
            for target in &mut self.vectors[start..start + count] {
                *target = fds.next();
            }
        } else {
            return Err(errno(Errno::INVAL));
        }
        let targets: Vec<_> = self.vectors.iter().map(|fd| fd.as_ref().map(AsFd::as_fd)).collect();
        self.function.set_msix(&targets).map(|()| Vec::new()).map_err(|e| refuse(&e))
    }

    /// The checked head of a region access: region, offset, count.
    fn access(&self, reader: &mut Reader<'_>) -> Result<(u32, u64, usize), i32> {
        let (offset, region, count) = (reader.u64()?, reader.u32()?, reader.u32()? as usize);
        let inside = offset.checked_add(count as u64).is_some_and(|end| end <= self.region_size(region));
        if count == 0 || count > MAX_TRANSFER || !inside {
            return Err(errno(Errno::INVAL));
        }
        Ok((region, offset, count))
    }

    fn region_read(&self, reader: &mut Reader<'_>) -> Outcome {
        let (region, offset, count) = self.access(reader)?;
        let mut reply = Vec::with_capacity(16 + count);
        let mut head = Writer::<16>::default();
        reply.extend_from_slice(head.u64(offset).u32(region).u32(count as u32).written());
        reply.resize(16 + count, 0);
        let data = &mut reply[16..];
        if region == protocol::REGION_CONFIG {
            self.function.config_read(offset as u16, data).map_err(|e| refuse(&e))?;
        } else {
            for (at, width) in pieces(offset, count) {
                let piece = &mut data[at..at + width];
                self.function.bar_read(region as u8, offset + at as u64, piece).map_err(|e| refuse(&e))?;
            }
        }
        Ok(reply)
    }

    fn region_write(&self, reader: &mut Reader<'_>) -> Outcome {
        let (region, offset, count) = self.access(reader)?;
        let data = reader.bytes(count)?;
        if region == protocol::REGION_CONFIG {
            self.function.config_write(offset as u16, data).map_err(|e| refuse(&e))?;
        } else {
            for (at, width) in pieces(offset, count) {
                let piece = &data[at..at + width];
                self.function.bar_write(region as u8, offset + at as u64, piece).map_err(|e| refuse(&e))?;
            }
        }
        Ok(Writer::<16>::default().u64(offset).u32(region).u32(count as u32).written().to_vec())
    }
}

/// An access as naturally aligned pieces of 1, 2, 4 or 8 bytes: where each starts in it, and its width.
fn pieces(offset: u64, count: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let left = count - at;
        let width = [8, 4, 2, 1]
            .into_iter()
            .find(|w| *w <= left && (offset + at as u64).is_multiple_of(*w as u64))?;
        at += width;
        Some((at - width, width))
    })
}

/// The protocol's version and what the server takes. A client of an older minor version gets that one.
fn version(reader: &mut Reader<'_>) -> Outcome {
    let asked = reader.u32()?;
    let (major, minor) = (asked & 0xffff, asked >> 16);
    if major != 0 {
        return Err(errno(Errno::PROTONOSUPPORT));
    }
    let capabilities = format!(
        "{{\"capabilities\":{{\"max_msg_fds\":{},\"max_data_xfer_size\":{MAX_TRANSFER}}}}}\0",
        protocol::MAX_FDS
    );
    let mut reply = Writer::<4>::default().u16(0).u16(minor.min(MINOR) as u16).written().to_vec();
    reply.extend_from_slice(capabilities.as_bytes());
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn accesses_are_cut_into_aligned_pieces_without_gaps() {
        assert_eq!(pieces(0, 8).collect::<Vec<_>>(), [(0, 8)]);
        assert_eq!(pieces(4, 8).collect::<Vec<_>>(), [(0, 4), (4, 4)]);
        assert_eq!(pieces(1, 16).collect::<Vec<_>>(), [(0, 1), (1, 2), (3, 4), (7, 8), (15, 1)]);
    }
}
