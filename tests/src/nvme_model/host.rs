//! The host's memory, as a controller's DMA sees it.

/// A DMA that reached nothing: outside of what is mapped, or not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault;

/// What a controller's reads and writes of host memory reach.
pub trait HostMemory {
    /// Reads `data.len()` bytes at `address`. After a fault `data` holds anything.
    fn read(&mut self, address: u64, data: &mut [u8]) -> Result<(), Fault>;

    /// Writes `data` at `address`. After a fault a part of it may have been written.
    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Fault>;
}

/// Memory from address 0 on, and nothing above it.
#[derive(Debug, Clone)]
pub struct FlatMemory(
    /// Its bytes.
    pub Vec<u8>,
);

impl FlatMemory {
    fn range(&self, address: u64, len: usize) -> Result<std::ops::Range<usize>, Fault> {
        let start = usize::try_from(address).map_err(|_| Fault)?;
        let end = start.checked_add(len).filter(|end| *end <= self.0.len()).ok_or(Fault)?;
        Ok(start..end)
    }
}

impl HostMemory for FlatMemory {
    fn read(&mut self, address: u64, data: &mut [u8]) -> Result<(), Fault> {
        data.copy_from_slice(&self.0[self.range(address, data.len())?]);
        Ok(())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Fault> {
        let range = self.range(address, data.len())?;
        self.0[range].copy_from_slice(data);
        Ok(())
    }
}
