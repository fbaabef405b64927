//! DMA engines, shared by all functions.
//!
//! [`Reader`] brings host memory into landing RAMs, [`Writer`] takes it from launch RAMs to the host. Both serve five
//! clients, cut what they are asked for into TLPs at Max_Read_Request_Size or Max_Payload_Size (and so at 4 KiB), stop
//! at Bus Master Enable, and answer every request with exactly one `DmaDone`.

mod banks;
mod free_list;
mod header;
mod intake;
mod issuer;
mod lanes;
mod matcher;
mod placer;
mod reader;
mod requests;
mod splitter;
mod writer;

pub use banks::{LandingRam, LaunchRam};
pub use reader::Reader;
pub use writer::Writer;

/// Clients of each engine.
pub const CLIENTS: usize = 5;

#[cfg(test)]
mod tests;
