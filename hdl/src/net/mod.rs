//! virtio-net functions (virtio 1.2 §5.1). `docs/network.md` is the guide.

mod fetch;
mod receive;
pub mod records;
pub mod registers;
mod returner;
mod transmit;

pub use fetch::Fetcher;
pub use receive::Receive;
pub use returner::Returner;
pub use transmit::Transmit;

#[cfg(test)]
mod tests;
