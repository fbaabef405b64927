//! The storage engine: I/O commands between host memory and the media.

mod closer;
mod decoder;
mod engine;
mod flusher;
mod ranges;
mod reads;
mod record;
mod segmenter;
mod splitter;
#[cfg(test)]
mod tests;
mod tracker;
mod volume_table;
mod writes;

pub use engine::Engine;
pub use record::{AxiAddress, AxiRead, AxiResponse, AxiWrite};
pub use volume_table::VolumeTable;
