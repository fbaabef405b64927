//! Random stimuli.
use rand::rngs::SmallRng;
use rand::{Rng as _, RngCore, SeedableRng};
use rust_hdl_core::prelude::Bits;

/// Random values from a seed, with all-zero and all-one words more often than chance has them.
pub struct Rng(SmallRng);

impl Rng {
    /// The same seed gives the same values.
    pub fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }
    /// One bit.
    pub fn bit(&mut self) -> bool {
        self.0.random()
    }
    /// True `numerator` times in `denominator`.
    pub fn chance(&mut self, numerator: u32, denominator: u32) -> bool {
        self.0.random_ratio(numerator, denominator)
    }
    /// Below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end)
    }
    /// Any 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0.next_u64()
    }
    /// `N` bits; zero or all ones one time in sixteen each.
    pub fn bits<const N: usize>(&mut self) -> Bits<N> {
        match self.below(16) {
            0 => Bits::default(),
            1 => !Bits::default(),
            _ if N <= 32 => Bits::from(self.word() & ((1 << N) - 1)),
            _ => (0..N).fold(Bits::default(), |x, i| if self.bit() { x.replace_bit(i, true) } else { x }),
        }
    }
    /// Any value of a packed type.
    pub fn value<T: crate::Packed>(&mut self) -> T {
        let mut bits: Vec<bool> = (0..T::BITS).map(|_| self.bit()).collect();
        match self.below(16) {
            0 => bits.fill(false),
            1 => bits.fill(true),
            _ => {}
        }
        T::read(&mut bits.into_iter())
    }
    /// One of `values`, which are not empty.
    pub fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}
