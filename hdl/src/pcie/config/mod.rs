//! The configuration space of all functions.

mod control;
mod settings;
mod store;

pub use control::Config;
#[cfg(test)]
pub use {
    settings::Settings,
    store::{Access, Operation, Place, Store},
};
