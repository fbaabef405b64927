//! PCIe: the target side and the transmitter.

mod completer;
mod config;
mod decoder;
mod faults;
mod front;
mod messenger;
mod msix;
mod receiver;
pub mod request;
mod target;
mod transmitter;
mod window;

pub use completer::Completer;
pub use config::Config;
pub use front::Front;
pub use msix::Msix;
pub use receiver::Receiver;
pub use target::Target;
pub use transmitter::Transmitter;
pub use window::Window;

#[cfg(test)]
mod tests;
