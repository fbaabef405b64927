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
/// Reads that can be under way, as a power of 2: tags, and requests that they are pieces of. A round trip of 250 cycles then takes in a
/// read every 4 cycles.
const TAG_BITS: usize = 6;
/// Bits of an 8-bit tag above its index.
const GENERATION_BITS: usize = 8 - TAG_BITS;

/// The request that a piece belongs to.
type Slot = nitride_lang::prelude::Bits<TAG_BITS>;

#[cfg(test)]
mod tests;
