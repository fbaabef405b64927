//! The card daemon: one card, a vfio-user socket for each of its functions.

mod client;
pub mod config;
mod message;
mod server;

pub use server::Server;
