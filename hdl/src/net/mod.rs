//! virtio-net functions (virtio 1.2 §5.1). `docs/network.md` is the guide.

mod control;
mod fetch;
mod lanes;
mod network;
mod receive;
pub mod records;
pub mod registers;
mod returner;
mod router;
mod share;
mod transmit;

pub use control::Control;
pub use fetch::Fetcher;
pub use network::Network;
pub use receive::Receive;
pub use returner::Returner;
pub use router::Router;
pub use share::Share;
pub use transmit::Transmit;

#[cfg(test)]
mod tests;
