//! A split virtqueue, the driver's side (virtio 1.2 §2.7).

use std::sync::atomic::{Ordering, fence};

use nitride_abi::virtio::ring::{
    AVAIL_NO_INTERRUPT, AVAIL_RING, DESC_NEXT, DESC_WRITE, DESCRIPTOR_BYTES, USED_ELEMENT_BYTES,
    USED_NO_NOTIFY, USED_RING, avail_event, used_event,
};

use super::error::{Error, Result};
use super::transport::{Areas, Doorbell, Transport};
use crate::dma::{Dma, DmaSpace};
use crate::function::Function;

/// A part of a buffer: address for the device, length, and whether the device writes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub address: u64,
    pub len: u32,
    pub writable: bool,
}

/// A buffer that the device has used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    /// The head descriptor of its chain.
    pub head: u16,
    /// Bytes that the device wrote.
    pub len: u32,
}

/// A queue in DMA memory, with its free descriptors.
pub(super) struct Virtqueue {
    size: u16,
    event_index: bool,
    interrupts: bool,
    areas: Areas,
    descriptors: Dma,
    avail: Dma,
    used: Dma,
    free: Vec<u16>,
    /// Descriptors of the chain that begins here; 0 if none does.
    lengths: Vec<u16>,
    /// The descriptor behind each in its chain: the device may write to its own copy.
    links: Vec<u16>,
    next_avail: u16,
    /// The avail index that the device was last told of.
    notified: u16,
    next_used: u16,
    doorbell: Option<Doorbell>,
}

impl Virtqueue {
    /// A queue of `size` entries (a power of 2). Without `interrupts` the device is asked for none.
    pub fn new(space: &DmaSpace, size: u16, event_index: bool, interrupts: bool) -> Result<Self> {
        let entries = u64::from(size);
        let descriptors = space.allocate((DESCRIPTOR_BYTES * entries) as usize)?;
        // `used_event` and `avail_event` are 16 bits each; they are accessed as 32.
        let avail = space.allocate(used_event(entries) as usize + 4)?;
        let used = space.allocate(avail_event(entries) as usize + 4)?;
        let areas = Areas { descriptors: descriptors.iova(), driver: avail.iova(), device: used.iova() };
        if !interrupts && !event_index {
            avail.store(0, u32::from(AVAIL_NO_INTERRUPT));
        }
        let queue = Self {
            size,
            event_index,
            interrupts,
            areas,
            descriptors,
            avail,
            used,
            free: (0..size).rev().collect(),
            lengths: vec![0; size.into()],
            links: vec![0; size.into()],
            next_avail: 0,
            notified: 0,
            next_used: 0,
            doorbell: None,
        };
        queue.ask_for_interrupt();
        Ok(queue)
    }

    /// Gives the queue to the device as its number `index`.
    pub fn enable(&mut self, transport: &Transport, index: u16, vector: Option<u16>) -> Result<()> {
        self.doorbell = Some(transport.enable_queue(index, self.size, self.areas, vector)?);
        Ok(())
    }

    /// Its entries.
    pub fn size(&self) -> usize {
        self.size.into()
    }

    /// Descriptors that are in no chain.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// The head of the next chain of one segment, if there is room for one.
    pub fn next_free(&self) -> Option<u16> {
        self.free.last().copied()
    }

    /// Makes a chain of `segments` available; its head names it from then on. `None` if there are not enough descriptors. The
    /// device sees it when it looks, at the latest after [`Virtqueue::notify`].
    pub fn put(&mut self, segments: &[Segment]) -> Option<u16> {
        if segments.is_empty() || segments.len() > self.free.len() {
            return None;
        }
        let mut next = None;
        // From the last to the first, as each one names the one behind it.
        for segment in segments.iter().rev() {
            let index = self.free.pop()?;
            let at = usize::from(index) * DESCRIPTOR_BYTES as usize;
            let flags = if segment.writable { DESC_WRITE } else { 0 } | next.map_or(0, |_| DESC_NEXT);
            let link = next.unwrap_or(0);
            self.descriptors.store_qword(at, segment.address);
            self.descriptors.store(at + 8, segment.len);
            self.descriptors.store(at + 12, u32::from(flags) | u32::from(link) << 16);
            self.links[usize::from(index)] = link;
            next = Some(index);
        }
        let head = next?;
        self.lengths[usize::from(head)] = segments.len() as u16;
        let slot = u64::from(self.next_avail % self.size);
        let at = (AVAIL_RING + 2 * slot) as usize;
        // Two entries share a dword; both are the driver's.
        let (word, high) = (self.avail.load(at & !3), at & 2 != 0);
        let word =
            if high { word & 0xffff | u32::from(head) << 16 } else { word & 0xffff_0000 | u32::from(head) };
        self.avail.store(at & !3, word);
        self.next_avail = self.next_avail.wrapping_add(1);
        // The chain and its entry have to be in memory before the index.
        fence(Ordering::Release);
        let flags = self.avail.load(0) & 0xffff;
        self.avail.store(0, flags | u32::from(self.next_avail) << 16);
        Some(head)
    }

    /// Tells the device of new chains, if it wants to be told (§2.7.10).
    pub fn notify(&mut self, function: &dyn Function) -> Result<()> {
        if self.notified == self.next_avail {
            return Ok(());
        }
        // The index has to be in memory before the device's wish is read.
        fence(Ordering::SeqCst);
        let wanted = if self.event_index {
            let event = self.used.load(avail_event(self.size.into()) as usize) as u16;
            self.next_avail.wrapping_sub(event).wrapping_sub(1) < self.next_avail.wrapping_sub(self.notified)
        } else {
            self.used.load(0) as u16 & USED_NO_NOTIFY == 0
        };
        self.notified = self.next_avail;
        match self.doorbell {
            Some(doorbell) if wanted => doorbell.ring(function),
            _ => Ok(()),
        }
    }

    /// Chains that the device has used and the driver has not taken.
    pub fn waiting(&self) -> u16 {
        ((self.used.load(0) >> 16) as u16).wrapping_sub(self.next_used)
    }

    /// The next chain that the device has used, if there is one. Its descriptors are free again.
    pub fn take(&mut self) -> Result<Option<Used>> {
        let waiting = self.waiting();
        if waiting == 0 {
            return Ok(None);
        }
        let wrong = |detail| Err(Error::Device { what: "taking a used buffer", detail });
        if waiting > self.size {
            return wrong(format!("the device used {waiting} buffers of a queue of {}", self.size));
        }
        let slot = u64::from(self.next_used % self.size);
        let at = (USED_RING + USED_ELEMENT_BYTES * slot) as usize;
        let (id, len) = (self.used.load(at), self.used.load(at + 4));
        let length = self.lengths.get_mut(id as usize).map(std::mem::take).unwrap_or_default();
        if length == 0 {
            return wrong(format!("the device used descriptor {id}, which begins no chain"));
        }
        let mut index = id as u16;
        for _ in 0..length {
            self.free.push(index);
            index = self.links[usize::from(index)];
        }
        self.next_used = self.next_used.wrapping_add(1);
        self.ask_for_interrupt();
        Ok(Some(Used { head: id as u16, len }))
    }

    /// Asks for an interrupt at the next used buffer; without `interrupts`, for the one that is farthest away.
    fn ask_for_interrupt(&self) {
        if self.event_index {
            let event = if self.interrupts { self.next_used } else { self.next_used.wrapping_sub(1) };
            self.avail.store(used_event(self.size.into()) as usize, u32::from(event));
        }
    }
}
