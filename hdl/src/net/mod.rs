//! virtio-net functions (virtio 1.2 §5.1). `docs/network.md` is the guide.

mod control;
pub mod records;
pub mod registers;
mod share;
mod transmit;

pub use control::Control;
pub use share::Share;
pub use transmit::Transmit;

#[cfg(test)]
mod tests;
