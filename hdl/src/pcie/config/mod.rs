//! The configuration space of all functions.

mod control;
mod errors;
mod physical;
mod settings;
mod store;

pub use control::Config;
pub use store::physical_of;
#[cfg(test)]
pub use {
    errors::ErrorLog,
    settings::Settings,
    store::{Access, Operation, Place, Store},
};
