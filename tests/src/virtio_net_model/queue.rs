//! A split virtqueue, the device's side (virtio 1.2 §2.7).

use nitride_abi::card::VIRTQUEUE_ENTRIES;
use nitride_abi::virtio::pci::NO_VECTOR;
use nitride_abi::virtio::ring::{
    AVAIL_NO_INTERRUPT, AVAIL_RING, DESC_INDIRECT, DESC_NEXT, DESC_WRITE, DESCRIPTOR_BYTES,
    USED_ELEMENT_BYTES, USED_RING, avail_event, used_event,
};

use crate::nvme_model::{Fault, HostMemory};

/// Most segments of a chain.
const SEGMENTS: usize = 64;

/// What makes a ring one that the device cannot go on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

impl From<Fault> for Broken {
    fn from(_: Fault) -> Self {
        Self
    }
}

/// A part of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    address: u64,
    len: u32,
    writable: bool,
}

/// A buffer of the driver's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chain {
    head: u16,
    segments: Vec<Segment>,
}

/// A queue as the driver set it up.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    pub size: u16,
    pub vector: u16,
    pub enabled: bool,
    pub descriptors: u64,
    pub driver: u64,
    pub device: u64,
    next_avail: u16,
    next_used: u16,
}

fn word(memory: &mut dyn HostMemory, address: u64) -> Result<u16, Fault> {
    let mut bytes = [0; 2];
    memory.read(address, &mut bytes)?;
    Ok(u16::from_le_bytes(bytes))
}

impl Queue {
    /// A queue that was just reset.
    pub fn new() -> Self {
        Self {
            size: VIRTQUEUE_ENTRIES as u16,
            vector: NO_VECTOR,
            enabled: false,
            descriptors: 0,
            driver: 0,
            device: 0,
            next_avail: 0,
            next_used: 0,
        }
    }

    /// The next buffer that the driver made available, if there is one.
    pub fn take(&mut self, memory: &mut dyn HostMemory, indirect: bool) -> Result<Option<Chain>, Broken> {
        let available = word(memory, self.driver + 2)?.wrapping_sub(self.next_avail);
        if available == 0 {
            return Ok(None);
        }
        if available > self.size {
            return Err(Broken);
        }
        let slot = u64::from(self.next_avail % self.size);
        let head = word(memory, self.driver + AVAIL_RING + 2 * slot)?;
        self.next_avail = self.next_avail.wrapping_add(1);
        let mut chain = Chain { head, segments: Vec::new() };
        Self::walk(memory, &mut chain, (self.descriptors, self.size), head, indirect)?;
        Ok(Some(chain))
    }

    /// Puts a chain back that was taken last.
    pub fn untake(&mut self) {
        self.next_avail = self.next_avail.wrapping_sub(1);
    }

    fn walk(
        memory: &mut dyn HostMemory,
        chain: &mut Chain,
        (table, entries): (u64, u16),
        first: u16,
        indirect: bool,
    ) -> Result<(), Broken> {
        let mut index = first;
        loop {
            if index >= entries || chain.segments.len() >= SEGMENTS {
                return Err(Broken);
            }
            let mut bytes = [0; DESCRIPTOR_BYTES as usize];
            memory.read(table + DESCRIPTOR_BYTES * u64::from(index), &mut bytes)?;
            let value = u128::from_le_bytes(bytes);
            let (address, len) = (value as u64, (value >> 64) as u32);
            let (flags, next) = ((value >> 96) as u16, (value >> 112) as u16);
            if flags & DESC_INDIRECT != 0 {
                // §2.7.5.3.1: no NEXT beside it, no table inside of a table.
                let count = u64::from(len) / DESCRIPTOR_BYTES;
                let whole = u64::from(len).is_multiple_of(DESCRIPTOR_BYTES) && count > 0;
                if !indirect || flags & DESC_NEXT != 0 || !whole {
                    return Err(Broken);
                }
                let entries = u16::try_from(count).unwrap_or(u16::MAX);
                return Self::walk(memory, chain, (address, entries), 0, false);
            }
            let segment = Segment { address, len, writable: flags & DESC_WRITE != 0 };
            // §2.7.4.2: what the device reads comes before what it writes.
            if !segment.writable && chain.segments.last().is_some_and(|last| last.writable) {
                return Err(Broken);
            }
            chain.segments.push(segment);
            if flags & DESC_NEXT == 0 {
                return Ok(());
            }
            index = next;
        }
    }

    /// Gives a chain back, with the number of bytes that were written to it.
    pub fn give(&mut self, memory: &mut dyn HostMemory, chain: &Chain, len: u32) -> Result<(), Broken> {
        let slot = u64::from(self.next_used % self.size);
        let element = u64::from(chain.head) | u64::from(len) << 32;
        memory.write(self.device + USED_RING + USED_ELEMENT_BYTES * slot, &element.to_le_bytes())?;
        self.next_used = self.next_used.wrapping_add(1);
        memory.write(self.device + 2, &self.next_used.to_le_bytes())?;
        Ok(())
    }

    /// The number of buffers that were given back.
    pub fn used(&self) -> u16 {
        self.next_used
    }

    /// Whether the driver wants an interrupt for what was given back since `before` (§2.7.7.2).
    pub fn wants_interrupt(
        &self,
        memory: &mut dyn HostMemory,
        before: u16,
        event_index: bool,
    ) -> Result<bool, Broken> {
        if before == self.next_used {
            return Ok(false);
        }
        if !event_index {
            return Ok(word(memory, self.driver)? & AVAIL_NO_INTERRUPT == 0);
        }
        let event = word(memory, self.driver + used_event(self.size.into()))?;
        Ok(self.next_used.wrapping_sub(event).wrapping_sub(1) < self.next_used.wrapping_sub(before))
    }

    /// Asks to be notified of the next buffer (§2.7.10).
    pub fn ask(&self, memory: &mut dyn HostMemory, event_index: bool) -> Result<(), Broken> {
        if event_index {
            memory.write(self.device + avail_event(self.size.into()), &self.next_avail.to_le_bytes())?;
        }
        Ok(())
    }
}

impl Chain {
    /// All that the device may read.
    pub fn read(&self, memory: &mut dyn HostMemory) -> Result<Vec<u8>, Broken> {
        let mut data = Vec::new();
        for segment in self.segments.iter().filter(|segment| !segment.writable) {
            let at = data.len();
            if at + segment.len as usize > 1 << 20 {
                return Err(Broken);
            }
            data.resize(at + segment.len as usize, 0);
            memory.read(segment.address, &mut data[at..])?;
        }
        Ok(data)
    }

    /// Bytes that the device may write.
    pub fn room(&self) -> usize {
        self.segments.iter().filter(|segment| segment.writable).map(|segment| segment.len as usize).sum()
    }

    /// There is something for the device to read.
    pub fn is_readable(&self) -> bool {
        self.segments.iter().any(|segment| !segment.writable)
    }

    /// Writes `data`, which must fit, to the front of what the device may write.
    pub fn write(&self, memory: &mut dyn HostMemory, mut data: &[u8]) -> Result<(), Broken> {
        for segment in self.segments.iter().filter(|segment| segment.writable) {
            let (part, rest) = data.split_at(data.len().min(segment.len as usize));
            memory.write(segment.address, part)?;
            data = rest;
        }
        Ok(())
    }
}
