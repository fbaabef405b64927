//! A TAP device of this host.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::os;
use super::{Wire, write_frame};

/// A TAP device without offloads: every frame is complete.
pub(super) struct Tap(OwnedFd);

impl Tap {
    /// Takes the device of that name, made if it is not there, and sets it up.
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let device = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
        os::become_tap(&device, name)?;
        if let Err(error) = os::set_up(name) {
            tracing::warn!("{name}: {error}; set it up with `ip link set {name} up`");
        }
        Ok(Self(device))
    }
}

impl Wire for Tap {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        write_frame(&self.0, frame)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::io::read(&self.0, buffer) {
            Ok(len) => Ok(Some(len)),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
