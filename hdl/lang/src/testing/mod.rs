//! Testbenches: in Rust alone, and against the Verilated Verilog.
mod differential;
mod observe;
mod rng;
mod verilator;
mod yosys;

pub use differential::{Difference, compare, differential};
pub use rng::Rng;
pub use verilator::{Verilator, VerilatorError};
pub use yosys::{Yosys, YosysError};

use crate::Synchronous;
use rust_hdl_core::prelude::{Block, Clock, simulate};

/// More passes than any block needs to settle; a combinational loop never does.
const PASSES: usize = 1000;

/// Lets the inputs take effect without a clock edge; read the combinational outputs after it.
///
/// # Panics
/// When the block does not settle.
pub fn settle<B: Block>(uut: &mut B) {
    assert!(simulate(uut, PASSES), "the block does not settle: a combinational loop");
}

/// One clock cycle: inputs settle with the clock low, then the clock rises.
///
/// Set inputs (`uut.x.next = …`), call `step`, and read outputs: they show the state after the edge and the same inputs.
///
/// # Panics
/// When the block does not settle.
pub fn step<B: Block + Synchronous>(uut: &mut B) {
    low(uut);
    uut.drive(Clock::from(true));
    settle(uut);
}

/// The first half of [`step`]: the clock falls and the inputs settle. Read here what holds *before* the edge, such as a
/// `ready` that answers this cycle's `valid`.
///
/// # Panics
/// When the block does not settle.
pub fn low<B: Block + Synchronous>(uut: &mut B) {
    uut.drive(Clock::from(false));
    settle(uut);
}
