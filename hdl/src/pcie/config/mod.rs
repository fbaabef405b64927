//! The configuration space of all functions.

mod control;
mod errors;
mod settings;
mod store;

pub use control::Config;
#[cfg(test)]
pub use {
    errors::ErrorLog,
    settings::Settings,
    store::{Access, Operation, Place, Store},
};
