//! How the surroundings behave, and the seeds of random tests.

use nitride_lang::testing::Rng;

/// Seeds of random tests; `NITRIDE_SEED` in the environment repeats one.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("NITRIDE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0xc700..0xc700 + count).collect(),
    }
}

/// How the surroundings behave; chances are in a hundred cycles.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Cycles from a DMA to its end.
    pub latency: (u64, u64),
    pub segment: u32,
    pub read: u32,
    pub write: u32,
    pub command: u32,
    pub answer: u32,
    pub used: u32,
    pub broken: u32,
    /// Reads that fail, in a thousand.
    pub fail: u32,
}

impl Options {
    /// All at once, with a round trip of 100 cycles.
    pub const FAST: Self = Self {
        latency: (100, 100),
        segment: 100,
        read: 100,
        write: 100,
        command: 100,
        answer: 100,
        used: 100,
        broken: 100,
        fail: 0,
    };
    pub fn random(rng: &mut Rng) -> Self {
        Self {
            latency: (rng.below(20), rng.pick(&[20, 60, 120])),
            segment: rng.pick(&[20, 60, 100]),
            read: rng.pick(&[20, 60, 100]),
            write: rng.pick(&[20, 60, 100]),
            command: rng.pick(&[20, 60, 100]),
            answer: rng.pick(&[20, 60, 100]),
            used: rng.pick(&[10, 50, 100]),
            broken: rng.pick(&[10, 50, 100]),
            fail: 0,
        }
    }
    pub fn latency(&self, rng: &mut Rng) -> u64 {
        self.latency.0 + rng.below(self.latency.1 - self.latency.0 + 1)
    }
}
