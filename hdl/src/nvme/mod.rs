//! The NVMe front end: registers, queues, admin commands, completions (NVMe 1.4).

mod admin;
mod changes;
mod coalesce;
mod errors;
mod events;
mod fetch;
mod front;
mod lifecycle;
mod post;
mod queues;
mod records;
mod registers;
mod retire;
mod slots;
mod smart;

pub use front::{Front, FrontEvents};

#[cfg(test)]
mod tests;
