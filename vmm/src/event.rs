//! Event file descriptors that both KVM and a function take.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// A counter that one side signals and another waits for.
#[derive(Debug)]
pub struct Event(EventFd);

impl Event {
    /// A new event, not signalled.
    pub fn new() -> io::Result<Self> {
        EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map(Self)
    }

    /// Signals it.
    pub fn signal(&self) -> io::Result<()> {
        self.0.write(1)
    }

    /// Takes back all signals so far.
    pub fn clear(&self) {
        // An error says that there was none.
        let _ = self.0.read();
    }

    /// Whether it is signalled.
    pub fn is_signalled(&self) -> bool {
        let mut fds = [PollFd::new(self, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// The event as the KVM crates take it.
    pub fn kvm(&self) -> &EventFd {
        &self.0
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to `self.0`, which closes it no sooner than the borrow ends.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}
