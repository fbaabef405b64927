//! Interrupt messages of the card, and where they go.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// An MSI-X message that reached the host: a write to 0xfee00000..=0xfeefffff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupt {
    /// When it arrived.
    pub cycle: u64,
    /// The number of the function that sent it.
    pub function: u8,
    /// Message address.
    pub address: u64,
    /// Message data.
    pub data: u32,
}

/// Event file descriptors by function and message data: the host's interrupt remapping.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    targets: HashMap<(u8, u32), OwnedFd>,
}

impl Routes {
    pub(crate) fn set(&mut self, function: u8, vector: u32, target: OwnedFd) {
        self.targets.insert((function, vector), target);
    }

    /// Takes away the routes of a function's vectors from `first` on.
    pub(crate) fn clear_from(&mut self, function: u8, first: u32) {
        self.targets.retain(|(f, vector), _| *f != function || *vector < first);
    }

    pub(crate) fn remove(&mut self, function: u8, vector: u32) {
        self.targets.remove(&(function, vector));
    }

    /// Signals an interrupt's target; `false` if it has none, or one that takes no event now.
    pub(crate) fn deliver(&self, interrupt: &Interrupt) -> bool {
        let Some(target) = self.targets.get(&(interrupt.function, interrupt.data)) else { return false };
        // The descriptor is a client's and need not be an eventfd: a write must never block the simulation.
        let mut ready = [PollFd::new(target, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut ready, Some(&now)), Ok(1))
            && ready[0].revents().contains(PollFlags::OUT)
            && rustix::io::write(target, &1u64.to_ne_bytes()) == Ok(8)
    }
}
