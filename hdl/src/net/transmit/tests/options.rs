//! How the surroundings behave, and the seeds of random tests.

use nitride_lang::testing::Rng;

/// Seeds of random tests; `NITRIDE_SEED` in the environment repeats one.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("NITRIDE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0x7a00..0x7a00 + count).collect(),
    }
}

/// How the surroundings behave; chances are in a hundred cycles.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Cycles from a read to its first byte.
    pub latency: (u64, u64),
    /// Reads are answered in any order, in turns; else in order.
    pub shuffle: bool,
    /// Reads that may be under way.
    pub reads: usize,
    pub segment: u32,
    pub read: u32,
    pub packet: u32,
    pub used: u32,
    pub broken: u32,
    /// Reads that fail, in a thousand.
    pub fail: u32,
}

impl Options {
    /// All at once, with a round trip of 250 cycles.
    pub const FAST: Self = Self {
        latency: (250, 250),
        shuffle: false,
        reads: 32,
        segment: 100,
        read: 100,
        packet: 100,
        used: 100,
        broken: 100,
        fail: 0,
    };
    pub fn random(rng: &mut Rng) -> Self {
        Self {
            latency: (rng.below(20), rng.pick(&[20, 100, 300])),
            shuffle: true,
            reads: rng.pick(&[8, 32, 1000]),
            segment: rng.pick(&[20, 60, 100]),
            read: rng.pick(&[10, 60, 100]),
            packet: rng.pick(&[10, 50, 90, 100]),
            used: rng.pick(&[5, 50, 100]),
            broken: rng.pick(&[1, 50, 100]),
            fail: 0,
        }
    }
}
