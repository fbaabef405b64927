//! The engines against software models of the host and the card's RAMs.

mod bench;
mod host;
mod leaves;
mod reader;
mod writer;
