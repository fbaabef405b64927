//! Drivers, their memory, a DMA reader with latencies of its own, and neighbours that are not always ready.

use std::collections::{HashMap, VecDeque};

use nitride_abi::virtio::ring;
use nitride_lang::prelude::*;
use nitride_lang::testing::{Rng, low, step};

use crate::bus::{DmaDone, DmaReadRequest, DmaStatus, Landing, LandingWrite};
use crate::net::Fetcher;
use crate::net::records::{
    Credit, DeviceSettings, Notification, ROOM, RingReader, Segment, Virtqueue, VirtqueueUpdate,
};
use crate::net::tests::dma;

pub type Transmit = Fetcher<false, { Landing::TRANSMIT_CHAINS }, { RingReader::TRANSMIT }>;

/// A buffer of a chain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Buffer {
    pub address: u64,
    pub length: u32,
    pub write: bool,
}

/// How unruly the neighbours are: chances in percent, latencies in cycles.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub latency: (u64, u64),
    pub segments: u32,
    pub read: u32,
    /// Reads that fail, of 10,000.
    pub fail: u64,
}

impl Options {
    pub const SMOOTH: Self = Self { latency: (250, 250), segments: 100, read: 100, fail: 0 };
    pub const ROUGH: Self = Self { latency: (1, 300), segments: 60, read: 60, fail: 0 };
}

/// A queue and its driver.
#[derive(Debug, Default)]
pub struct Queue {
    pub size: u16,
    table: u64,
    driver: u64,
    index: u16,
    /// Index up to which the driver has notified.
    notified: u16,
    /// `avail_event`, as the fetcher last asked for it.
    event: u16,
    pub free: Vec<u16>,
    /// Chains that were made available and not given: head, buffers, descriptors of the table they use.
    pub expected: VecDeque<(u16, Vec<Buffer>, Vec<u16>)>,
    given: Vec<Buffer>,
    pub enabled: bool,
    pub limited: bool,
    /// Segments given and not returned.
    pub out: u64,
    pub drained: bool,
    pub broken: usize,
}

#[derive(Debug)]
struct Flying {
    request: DmaReadRequest,
    due: u64,
}

pub struct Bench<const RECEIVE: bool, const CHAINS: u64, const READER: u64> {
    pub uut: Fetcher<RECEIVE, CHAINS, READER>,
    pub rng: Rng,
    pub options: Options,
    pub cycle: u64,
    pub queues: HashMap<u8, Queue>,
    /// Chains given, in order: their queue and the cycle.
    pub given: Vec<(u8, u64)>,
    pub reads: usize,
    pub polls: usize,
    memory: HashMap<u64, u8>,
    next_address: u64,
    flying: Vec<Flying>,
    landing: VecDeque<(DmaReadRequest, u64, bool)>,
    done: VecDeque<DmaDone>,
    updates: VecDeque<VirtqueueUpdate>,
    notifications: VecDeque<u8>,
    pub drains: VecDeque<u8>,
    pub credits: VecDeque<(u8, u64)>,
    /// Credit is given back by the bench itself, after a while.
    pub generous: bool,
    idles: Vec<(u64, u8)>,
    held: Option<String>,
}

impl<const RECEIVE: bool, const CHAINS: u64, const READER: u64> Bench<RECEIVE, CHAINS, READER> {
    pub fn new(seed: u64, options: Options) -> Self {
        println!("seed {seed}");
        let mut uut = Fetcher::<RECEIVE, CHAINS, READER>::default();
        uut.connect_all();
        Self {
            uut,
            rng: Rng::new(seed),
            options,
            cycle: 0,
            queues: HashMap::new(),
            given: vec![],
            reads: 0,
            polls: 0,
            memory: HashMap::new(),
            next_address: 0x10_0000,
            flying: vec![],
            landing: VecDeque::new(),
            done: VecDeque::new(),
            updates: VecDeque::new(),
            notifications: VecDeque::new(),
            drains: VecDeque::new(),
            credits: VecDeque::new(),
            generous: true,
            idles: vec![],
            held: None,
        }
    }

    /// Memory of some bytes at an address that begins `offset` after a multiple of 64.
    pub fn allocate(&mut self, bytes: u64, offset: u64) -> u64 {
        let address = self.next_address.next_multiple_of(64) + offset;
        self.next_address = address + bytes;
        address
    }
    pub fn poke(&mut self, address: u64, bytes: &[u8]) {
        bytes.iter().enumerate().for_each(|(i, byte)| {
            self.memory.insert(address + i as u64, *byte);
        });
    }

    /// A driver sets a queue up, as new.
    pub fn enable(&mut self, index: u8, size: u16) {
        let offset = 2 * self.rng.below(8);
        let table = self.allocate(16 * u64::from(size), 0);
        let driver = self.allocate(6 + 2 * u64::from(size), offset);
        self.poke(driver, &[0; 4]);
        let queue = Queue {
            size,
            table,
            driver,
            free: (0..size).rev().collect(),
            enabled: true,
            limited: index.is_multiple_of(2),
            ..Queue::default()
        };
        self.queues.insert(index, queue);
        self.tell(index, true);
    }

    fn tell(&mut self, index: u8, enabled: bool) {
        let queue = &self.queues[&index];
        let mut update = VirtqueueUpdate { valid: true, index: u64::from(index).into(), ..self.rng.value() };
        update.settings = DeviceSettings { indirect: true, early_control: false, ..update.settings };
        update.queue = Virtqueue {
            enabled,
            last: u64::from(queue.size - 1).into(),
            descriptors: queue.table.into(),
            driver: queue.driver.into(),
            ..update.queue
        };
        self.updates.push_back(update);
        (0..3).for_each(|_| self.updates.push_back(VirtqueueUpdate::default()));
    }

    /// Where its descriptors are.
    pub fn table(&self, index: u8) -> u64 {
        self.queues[&index].table
    }

    /// The queue is disabled, and to be drained.
    pub fn drain(&mut self, index: u8) {
        let queue = self.queues.get_mut(&index).expect("a queue");
        queue.enabled = false;
        self.tell(index, false);
        self.drains.push_back(index);
    }

    pub fn descriptor(&mut self, table: u64, at: u16, buffer: Buffer, flags: u16, next: u16) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&buffer.address.to_le_bytes());
        bytes[8..12].copy_from_slice(&buffer.length.to_le_bytes());
        let write = if buffer.write { ring::DESC_WRITE } else { 0 };
        bytes[12..14].copy_from_slice(&(flags | write).to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        self.poke(table + 16 * u64::from(at), &bytes);
    }

    pub fn buffers(&mut self, count: usize) -> Vec<Buffer> {
        let writable_from = if RECEIVE { 0 } else { self.rng.below(count as u64 + 1) };
        (0..count as u64)
            .map(|i| Buffer {
                address: self.rng.bits::<64>().to_u64(),
                length: self.rng.bits::<32>().to_u64() as u32,
                write: i >= writable_from,
            })
            .collect()
    }

    /// A chain of these buffers, the last `indirect` of them in a table; `false` if there are not enough descriptors.
    pub fn chain(&mut self, index: u8, buffers: &[Buffer], indirect: usize) -> bool {
        let direct = buffers.len() - indirect;
        let needed = direct + usize::from(indirect > 0);
        let queue = self.queues.get_mut(&index).expect("a queue");
        if queue.free.len() < needed {
            return false;
        }
        let mut used = vec![];
        for _ in 0..needed {
            let at = self.rng.below(queue.free.len() as u64) as usize;
            used.push(queue.free.swap_remove(at));
        }
        let table = queue.table;
        for (i, at) in used.iter().enumerate() {
            let next = used.get(i + 1);
            let flags = if next.is_some() { ring::DESC_NEXT } else { 0 };
            let next = next.copied().unwrap_or(self.rng.below(65536) as u16);
            if i < direct {
                self.descriptor(table, *at, buffers[i], flags, next);
            } else {
                let spare = self.rng.below((64 - direct - indirect) as u64 + 1) as u16;
                let entries = indirect as u16 + spare;
                let offset = 4 * self.rng.below(16);
                let address = self.allocate(16 * u64::from(entries), offset);
                let length = 16 * u32::from(entries);
                let write = self.rng.bit();
                self.descriptor(table, *at, Buffer { address, length, write }, ring::DESC_INDIRECT, next);
                // The first is where the table begins, the others anywhere.
                let mut places: Vec<u16> = (1..entries).collect();
                let mut order = vec![0];
                while order.len() < indirect {
                    let at = self.rng.below(places.len() as u64) as usize;
                    order.push(places.swap_remove(at));
                }
                for (j, at) in order.iter().enumerate() {
                    let next = order.get(j + 1);
                    let flags = if next.is_some() { ring::DESC_NEXT } else { 0 };
                    let next = next.copied().unwrap_or(self.rng.below(65536) as u16);
                    self.descriptor(address, *at, buffers[direct + j], flags, next);
                }
            }
        }
        self.publish(index, used[0]);
        let queue = self.queues.get_mut(&index).expect("a queue");
        queue.expected.push_back((used[0], buffers.to_vec(), used));
        true
    }

    /// Makes a head available.
    pub fn publish(&mut self, index: u8, head: u16) {
        let queue = &self.queues[&index];
        let entry = queue.driver + ring::AVAIL_RING + 2 * u64::from(queue.index & (queue.size - 1));
        let next = queue.index.wrapping_add(1);
        self.poke(entry, &head.to_le_bytes());
        self.set_index(index, next);
    }
    pub fn set_index(&mut self, index: u8, value: u16) {
        let driver = self.queues[&index].driver;
        self.poke(driver + ring::AVAIL_INDEX, &value.to_le_bytes());
        self.queues.get_mut(&index).expect("a queue").index = value;
    }

    /// The driver notifies, if the device asked for it (§2.7.10).
    pub fn kick(&mut self, index: u8) {
        let queue = self.queues.get_mut(&index).expect("a queue");
        let (new, old) = (queue.index, queue.notified);
        queue.notified = new;
        if new.wrapping_sub(queue.event).wrapping_sub(1) < new.wrapping_sub(old) {
            self.notifications.push_back(index);
        }
    }
    pub fn notify(&mut self, index: u8) {
        self.notifications.push_back(index);
    }

    fn asked(&mut self, request: DmaReadRequest) {
        let context = request.context.to_u64();
        assert!(context < 96 && request.address.to_u64().is_multiple_of(4) && request.length.any());
        assert!(!self.flying.iter().any(|f| f.request.context == request.context), "a context twice");
        self.reads += 1;
        self.polls += usize::from(context >= 80);
        let (least, most) = self.options.latency;
        let due = self.cycle + least + self.rng.below(most - least + 1);
        self.flying.push(Flying { request, due });
    }

    /// What lands in this cycle.
    fn land(&mut self) -> LandingWrite {
        if let Some(at) = self.flying.iter().position(|f| f.due <= self.cycle) {
            let flying = self.flying.remove(at);
            let failed = self.rng.below(10_000) < self.options.fail;
            self.landing.push_back((flying.request, 0, failed));
        }
        let Some((request, begin, failed)) = self.landing.front_mut() else { return LandingWrite::default() };
        let (request, begin_now, failed) = (*request, *begin, *failed);
        let (write, count) =
            dma::landing(&request, begin_now, |at| self.memory.get(&at).copied().unwrap_or(0xee));
        *begin += count;
        if *begin == request.length.to_u64() || failed {
            self.landing.pop_front();
            let status = if failed { DmaStatus::Failed } else { DmaStatus::Ok };
            self.done.push_back(DmaDone { context: request.context, status });
        }
        if failed {
            return LandingWrite::default();
        }
        write
    }

    fn segment(&mut self, segment: Segment) {
        let index = segment.queue.to_u64() as u8;
        let queue = self.queues.get_mut(&index).expect("a queue");
        if segment.drain {
            assert!(!queue.enabled && queue.given.is_empty() && !queue.drained);
            queue.drained = true;
            return;
        }
        assert!(!queue.drained, "a segment behind the token");
        let (head, buffers, used) = queue.expected.front().expect("a chain that was not made available");
        let expected = buffers[queue.given.len()];
        let buffer = Buffer {
            address: segment.address.to_u64(),
            length: segment.length.to_u64() as u32,
            write: segment.write,
        };
        assert_eq!((segment.head.to_u64() as u16, buffer), (*head, expected), "queue {index:#x}");
        queue.given.push(buffer);
        assert_eq!(segment.last, queue.given.len() == buffers.len());
        if queue.limited {
            queue.out += 1;
            assert!(queue.out <= ROOM, "more than there is room for");
        }
        if segment.last {
            queue.free.extend(used);
            let count = queue.given.len() as u64;
            queue.given.clear();
            queue.expected.pop_front();
            self.given.push((index, self.cycle));
            if queue.limited && self.generous {
                self.credits.push_back((index, count));
            }
        }
    }

    pub fn step(&mut self) {
        self.uut.update.next = self.updates.pop_front().unwrap_or_default();
        let waits = !self.updates.is_empty();
        let ring = if waits { None } else { self.notifications.pop_front() };
        self.uut.notify.next = Notification {
            valid: ring.is_some(),
            index: ring.map_or(self.rng.bits(), |q| u64::from(q).into()),
        };
        let credit = if self.rng.chance(1, 3) { self.credits.pop_front() } else { None };
        self.uut.credit.next = match credit {
            Some((index, count)) => {
                let queue = self.queues.get_mut(&index).expect("a queue");
                queue.out -= count;
                Credit { valid: queue.enabled, queue: u64::from(index).into(), segments: count.into() }
            }
            None => Credit::default(),
        };
        self.uut.drain.valid.next = !waits && !self.drains.is_empty();
        self.uut.drain.data.next = self.drains.front().map_or(self.rng.bits(), |q| u64::from(*q).into());
        let ready = self.idles.iter().position(|(due, _)| *due <= self.cycle);
        self.uut.idle_done.valid.next = ready.is_some();
        self.uut.idle_done.data.next = ready.map_or(self.rng.bits(), |i| u64::from(self.idles[i].1).into());
        let done = self.done.pop_front();
        self.uut.read_done.valid.next = done.is_some();
        self.uut.read_done.data.next = done.unwrap_or_else(|| self.rng.value());
        self.uut.landing.next = self.land();
        self.uut.read.ready.next = self.rng.chance(self.options.read, 100);
        self.uut.segments.ready.next = self.rng.chance(self.options.segments, 100);
        self.uut.idle.ready.next = self.rng.bit();
        self.uut.broken.ready.next = self.rng.bit();
        low(&mut self.uut);

        assert!(self.uut.read_done.ready.val());
        if !self.drains.is_empty() && !waits && self.uut.drain.ready.val() {
            self.drains.pop_front();
        }
        if let Some(at) = ready
            && self.uut.idle_done.ready.val()
        {
            self.idles.swap_remove(at);
        }
        if self.uut.read.valid.val() && self.uut.read.ready.val() {
            self.asked(self.uut.read.data.val());
        }
        if self.uut.segments.valid.val() {
            let now = format!("{:?}", self.uut.segments.data.val());
            assert!(self.held.as_ref().is_none_or(|held| *held == now), "a word that waits changes");
            self.held = (!self.uut.segments.ready.val()).then_some(now);
            if self.uut.segments.ready.val() {
                self.segment(self.uut.segments.data.val());
            }
        }
        if self.uut.idle.valid.val() && self.uut.idle.ready.val() {
            let idle = self.uut.idle.data.val();
            let index = idle.queue.to_u64() as u8;
            self.queues.get_mut(&index).expect("a queue").event = idle.next.to_u64() as u16;
            let due = self.cycle + 1 + self.rng.below(50);
            self.idles.push((due, index));
        }
        if self.uut.broken.valid.val() && self.uut.broken.ready.val() {
            let index = self.uut.broken.data.val().to_u64() as u8;
            self.queues.get_mut(&index).expect("a queue").broken += 1;
        }
        step(&mut self.uut);
        self.cycle += 1;
    }

    pub fn run(&mut self, cycles: u64) {
        (0..cycles).for_each(|_| self.step());
    }

    /// Until nothing is under way; fails if that does not come.
    pub fn settle(&mut self) {
        let limit = self.cycle + 30_000;
        let mut rest = 0;
        while rest < 20 {
            self.step();
            let idle = self.flying.is_empty()
                && self.landing.is_empty()
                && self.updates.is_empty()
                && self.notifications.is_empty()
                && self.idles.is_empty()
                && self.drains.is_empty()
                && !self.uut.busy.val();
            rest = if idle { rest + 1 } else { 0 };
            assert!(self.cycle < limit, "it hangs: {:?}", self.queues);
        }
    }
}
