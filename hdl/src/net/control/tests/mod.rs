//! The parts' Verilog against their simulation, and all of it against a host.

mod bench;
mod commands;
mod hostile;
mod leaves;
mod memory;
mod model;
mod options;
mod random;
