//! Random expressions, from `generator.rs`.
use super::CYCLES;
use nitride_lang::prelude::*;
use nitride_lang::testing::{Rng, differential};

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum Kind {
    #[default]
    A,
    B,
    C,
    D,
}

#[hdl_fn]
fn helper<const N: usize>(a: Bits<N>, c: Bit) -> Bits<N> {
    let y = if c { a + 1 } else { !a };
    y ^ (a >> 1)
}

include!(concat!(env!("OUT_DIR"), "/random.rs"));

#[test]
fn random_expressions() {
    println!("NITRIDE_EXPRESSIONS={SEED} builds the same expressions");
    differential("random_0", Random0::default, Random0::drive, CYCLES);
    differential("random_1", Random1::default, Random1::drive, CYCLES);
    differential("random_2", Random2::default, Random2::drive, CYCLES);
    differential("random_3", Random3::default, Random3::drive, CYCLES);
}
