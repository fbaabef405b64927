//! The parts' Verilog against their simulation, and all of it against a host.

mod bench;
mod checksums;
mod figures;
mod frames;
mod host;
mod hostile;
mod leaves;
mod model;
mod options;
