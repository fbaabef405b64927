//! How often, and why, a guest made its vCPUs leave guest mode.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

/// Why a vCPU left guest mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Exit {
    /// Read of a port (the console, the clock).
    PortRead,
    /// Write to a port.
    PortWrite,
    /// Read of PCI configuration space.
    ConfigRead,
    /// Write to PCI configuration space.
    ConfigWrite,
    /// Read of a function's BAR.
    BarRead,
    /// Write to a function's BAR: a doorbell, mostly.
    BarWrite,
    /// Access to an MSI-X table or pending bit array.
    Msix,
    /// Access to an address where there is nothing.
    Nowhere,
    /// A signal of the host.
    Signal,
    /// Anything else.
    Other,
}

const NAMES: [&str; 10] = [
    "port_read",
    "port_write",
    "config_read",
    "config_write",
    "bar_read",
    "bar_write",
    "msix",
    "nowhere",
    "signal",
    "other",
];

/// Exits by reason, counted by all vCPUs.
#[derive(Debug, Default)]
pub struct Exits([AtomicU64; NAMES.len()]);

impl Exits {
    /// Counts one exit.
    pub fn count(&self, exit: Exit) {
        self.0[exit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Exits of one kind so far.
    pub fn get(&self, exit: Exit) -> u64 {
        self.0[exit as usize].load(Ordering::Relaxed)
    }

    /// All counts by name, and their sum as `total`.
    pub fn to_json(&self) -> Value {
        let counts: Vec<u64> = self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let mut map: Map<String, Value> =
            NAMES.iter().zip(&counts).map(|(name, count)| ((*name).to_owned(), (*count).into())).collect();
        map.insert("total".to_owned(), counts.iter().sum::<u64>().into());
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_reported_under_their_names() {
        let exits = Exits::default();
        exits.count(Exit::BarWrite);
        exits.count(Exit::BarWrite);
        exits.count(Exit::Other);
        let json = exits.to_json();
        assert_eq!((&json["bar_write"], &json["other"], &json["total"]), (&2.into(), &1.into(), &3.into()));
    }
}
