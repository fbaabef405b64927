//! Data pointers of every shape, and the defects they can have.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::side::{DATA, IOVA, MEMORY};

const PAGE: usize = 4096;
/// An I/O virtual address where nothing is mapped.
const NOWHERE: u64 = 0x7f_0000_0000;

/// Hands out the memory of one batch.
#[derive(Debug)]
pub(super) struct Space {
    next: usize,
}

impl Default for Space {
    fn default() -> Self {
        Self { next: DATA }
    }
}

impl Space {
    /// Whole pages; `None` when the memory is used up.
    fn pages(&mut self, count: usize) -> Option<usize> {
        let start = self.next;
        self.next += count * PAGE;
        (self.next <= MEMORY).then_some(start)
    }
}

/// What is wrong with a data pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    /// Some address in it is not aligned as it must be.
    Offset,
    /// A list is where nothing is mapped.
    List,
    /// Data that the card reads is where nothing is mapped.
    Data,
}

/// PRP1 and PRP2, what must be in memory for them, and where the data is.
#[derive(Debug, Clone, Default)]
pub(super) struct Pointer {
    pub prp1: u64,
    pub prp2: u64,
    /// Offsets in memory and bytes to be there.
    pub contents: Vec<(usize, Vec<u8>)>,
    /// Ranges of memory that the data pointer may reach.
    pub memory: Vec<(usize, usize)>,
    /// Where each part of the data is: offset in memory, length.
    pub parts: Vec<(usize, usize)>,
}

impl Pointer {
    /// A data pointer for `len` bytes, page-scattered, from a random dword on; `None` when memory is used up.
    pub fn new(random: &mut StdRng, space: &mut Space, len: usize, defect: Option<Defect>) -> Option<Self> {
        let offset = if random.random_bool(0.5) { 0 } else { random.random_range(0..PAGE / 4) * 4 };
        let count = (offset + len).div_ceil(PAGE).max(1);
        let base = space.pages(count)?;
        let mut order: Vec<usize> = (0..count).map(|page| base + page * PAGE).collect();
        if random.random_bool(0.5) {
            order.shuffle(random);
        }
        let mut pointer = Self { memory: vec![(base, base + count * PAGE)], ..Self::default() };
        let mut left = len;
        for (index, page) in order.iter().enumerate() {
            let start = if index == 0 { offset } else { 0 };
            let part = left.min(PAGE - start);
            pointer.parts.push((page + start, part));
            left -= part;
        }
        let mut addresses: Vec<u64> = order.iter().map(|page| IOVA + *page as u64).collect();
        addresses[0] += offset as u64;
        if defect == Some(Defect::Data) {
            let victim = random.random_range(0..count);
            addresses[victim] = NOWHERE + addresses[victim] % PAGE as u64;
        }
        if defect == Some(Defect::Offset) {
            spoil(random, &mut addresses);
        }
        pointer.prp1 = addresses[0];
        pointer.prp2 = match count {
            // Of no meaning: it must be ignored.
            1 => random.random(),
            2 => addresses[1],
            _ => pointer.lists(random, space, &addresses[1..], defect)?,
        };
        Some(pointer)
    }

    /// Lays `entries` out in lists that start anywhere in a page; returns the first one's address.
    fn lists(
        &mut self,
        random: &mut StdRng,
        space: &mut Space,
        entries: &[u64],
        defect: Option<Defect>,
    ) -> Option<u64> {
        let slots = PAGE / 8;
        let mut start = match random.random_range(0..3) {
            0 => 0,
            1 => random.random_range(0..slots),
            // Near the page's end, so that it has to be continued.
            _ => slots - random.random_range(1..=4),
        };
        let mut page = space.pages(1)?;
        let mut at = IOVA + (page + start * 8) as u64;
        if defect == Some(Defect::List) {
            at = NOWHERE + at % PAGE as u64;
        } else if defect == Some(Defect::Offset) && random.random_bool(0.3) {
            at += random.random_range(1..8);
        }
        let mut rest = entries;
        loop {
            let room = slots - start;
            if rest.len() <= room {
                self.put(page + start * 8, rest);
                return Some(at);
            }
            let (now, later) = rest.split_at(room - 1);
            let next = space.pages(1)?;
            let chain = [now, &[IOVA + next as u64]].concat();
            self.put(page + start * 8, &chain);
            (page, start, rest) = (next, 0, later);
        }
    }

    fn put(&mut self, at: usize, entries: &[u64]) {
        self.contents.push((at, entries.iter().flat_map(|entry| entry.to_le_bytes()).collect()));
    }
}

/// Spoils the alignment of one address.
fn spoil(random: &mut StdRng, addresses: &mut [u64]) {
    let victim = random.random_range(0..addresses.len());
    if victim == 0 {
        addresses[0] += random.random_range(1..4);
    } else {
        addresses[victim] += random.random_range(1..PAGE as u64);
    }
}
