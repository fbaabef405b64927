//! Tests of the target side: each block against its Verilog, and the whole from the link's side.

mod differential;
mod enumeration;
mod errors;
mod host;
mod interrupts;
mod masks;
mod network;
mod requests;
