//! PCIe: the target side and the transmitter.

mod transmitter;

pub use transmitter::Transmitter;
