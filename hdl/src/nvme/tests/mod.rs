//! The front end's tests: leaf blocks against their Verilog, the whole against a software host.

mod directed;
mod events;
mod host;
mod hostile;
mod leaves;
