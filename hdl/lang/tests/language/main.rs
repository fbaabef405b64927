//! The language: what its constructs mean, what its primitives promise, and what its emitter refuses.
mod constructs;
mod faults;
mod library;
mod operators;
mod random;
mod refusals;
mod stock_emitter;

/// Random cycles for each differential test.
const CYCLES: usize = 10_000;

/// What a kernel that is not accepted is told.
#[test]
fn kernels_that_are_no_hardware_are_refused_where_they_are_wrong() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
