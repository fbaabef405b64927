//! The whole card when things go wrong around it: power cuts, failing media, failing DMA, resets at any moment.

mod controller;
mod disk;
mod dma_errors;
mod driver;
mod host;
mod media_errors;
mod power_cut;
mod resets;
