//! What a namespace may hold, block by block.

use std::ops::Range;

/// Bytes of a logical block.
pub const BLOCK: usize = 512;

/// Contents that a block was given.
#[derive(Debug, Clone, Copy)]
struct Version {
    /// Which: 0 is zeroes.
    stamp: u64,
    /// The cycle in which the host knew that it was written; none before that.
    done: Option<u64>,
}

#[derive(Debug, Clone)]
struct Block {
    /// What it may hold after a power cut, oldest first. All but the last are done; the last one that is done is what a
    /// read must give.
    versions: Vec<Version>,
    readers: u32,
    writing: bool,
}

/// A model of a namespace. Commands in flight do not overlap, unless both read.
#[derive(Debug, Clone)]
pub struct Disk {
    blocks: Vec<Block>,
    /// Writes are durable only when flushed.
    volatile: bool,
}

/// The contents of `stamp` for a block.
pub fn contents(stamp: u64, block: u64) -> [u8; BLOCK] {
    let mut data = [0; BLOCK];
    if stamp != 0 {
        for (word, bytes) in (0..).zip(data.as_chunks_mut::<8>().0) {
            *bytes = (stamp << 24 | block << 8 | word).to_le_bytes();
        }
    }
    data
}

impl Disk {
    /// `blocks` blocks of zeroes.
    pub fn new(blocks: u64, volatile: bool) -> Self {
        let versions = vec![Version { stamp: 0, done: Some(0) }];
        let block = Block { versions, readers: 0, writing: false };
        Self { blocks: vec![block; blocks as usize], volatile }
    }

    fn range(&mut self, range: &Range<u64>) -> &mut [Block] {
        &mut self.blocks[range.start as usize..range.end as usize]
    }

    /// Whether no command in flight stands in the way.
    pub fn is_free(&self, range: &Range<u64>, write: bool) -> bool {
        let blocks = &self.blocks[range.start as usize..range.end as usize];
        blocks.iter().all(|block| !block.writing && (!write || block.readers == 0))
    }

    pub fn begin_read(&mut self, range: &Range<u64>) {
        self.range(range).iter_mut().for_each(|block| block.readers += 1);
    }

    pub fn end_read(&mut self, range: &Range<u64>) {
        self.range(range).iter_mut().for_each(|block| block.readers -= 1);
    }

    pub fn begin_write(&mut self, range: &Range<u64>, stamp: u64) {
        for block in self.range(range) {
            block.writing = true;
            block.versions.push(Version { stamp, done: None });
        }
    }

    /// A write has completed in cycle `now`.
    pub fn end_write(&mut self, range: &Range<u64>, now: u64, durable: bool) {
        let durable = durable || !self.volatile;
        for block in self.range(range) {
            block.writing = false;
            if durable {
                block.versions.drain(..block.versions.len() - 1);
            }
            if let Some(version) = block.versions.last_mut() {
                version.done = Some(now);
            }
        }
    }

    /// A flush that was submitted in that cycle has completed: what was done before is durable.
    pub fn flushed(&mut self, submitted: u64) {
        for block in &mut self.blocks {
            let durable = |version: &Version| version.done.is_some_and(|done| done <= submitted);
            let kept = block.versions.iter().rposition(durable).unwrap_or(0);
            block.versions.drain(..kept);
        }
    }

    /// What a read must give.
    pub fn expected(&self, block: u64) -> [u8; BLOCK] {
        let done = self.blocks[block as usize].versions.iter().rfind(|version| version.done.is_some());
        contents(done.map_or(0, |version| version.stamp), block)
    }

    /// Takes what a block turned out to hold: one of its versions, or this fails. Gives how many newer ones it lost
    /// and how many older ones were replaced.
    pub fn settle(&mut self, block: u64, found: &[u8]) -> (usize, usize) {
        let state = &mut self.blocks[block as usize];
        let held = state.versions.iter().rposition(|version| contents(version.stamp, block) == found);
        let Some(held) = held else {
            let word = u64::from_le_bytes(found[..8].try_into().unwrap());
            panic!("block {block} may hold {:x?} and begins with {word:#x}", state.versions);
        };
        let outcome = (state.versions.len() - 1 - held, held);
        let stamp = state.versions[held].stamp;
        *state = Block { versions: vec![Version { stamp, done: Some(0) }], readers: 0, writing: false };
        outcome
    }
}
