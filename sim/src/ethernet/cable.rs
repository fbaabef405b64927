//! A cable between ports of two simulated cards: a Unix socket of sequenced packets, one a frame.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect,
    listen, recv, send, socket_with, sockopt,
};

use super::Wire;
use super::pump::wait;

/// Bytes of frames that wait in the socket.
const BUFFER: usize = 4 << 20;
/// How often a socket is looked for that comes and goes.
const ATTEMPTS: u32 = 16;

/// One end of a cable. Whoever is there first listens at the socket's path; it goes when the other end has come.
pub(super) struct Cable {
    path: PathBuf,
    end: End,
}

enum End {
    Connected(OwnedFd),
    Listening(OwnedFd),
    Loose,
}

impl Cable {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let mut cable = Self { path: path.to_owned(), end: End::Loose };
        cable.plug_in()?;
        Ok(cable)
    }

    /// The connection to the other card, when it is there; `None` if it is time to stop.
    pub(super) fn connect(&mut self, stop: &OwnedFd) -> io::Result<Option<Frames>> {
        loop {
            match std::mem::replace(&mut self.end, End::Loose) {
                End::Connected(socket) => return Ok(Some(Frames(socket))),
                End::Loose => self.plug_in()?,
                End::Listening(listener) => {
                    let come = wait(listener.as_fd(), stop);
                    fs::remove_file(&self.path)?;
                    if !come? {
                        return Ok(None);
                    }
                    match accept_with(&listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                        Ok(socket) => self.end = End::Connected(prepare(socket)?),
                        // It was gone again.
                        Err(Errno::CONNABORTED | Errno::AGAIN) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }

    fn plug_in(&mut self) -> io::Result<()> {
        let address = SocketAddrUnix::new(&self.path)?;
        for _ in 0..ATTEMPTS {
            let socket = socket_with(
                AddressFamily::UNIX,
                SocketType::SEQPACKET,
                SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
                None,
            )?;
            match connect(&socket, &address) {
                Ok(()) => {
                    self.end = End::Connected(prepare(socket)?);
                    return Ok(());
                }
                Err(Errno::CONNREFUSED) if fs::metadata(&self.path)?.file_type().is_socket() => {
                    // Left by a card that was killed.
                    fs::remove_file(&self.path)?;
                }
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            match bind(&socket, &address) {
                Ok(()) => {
                    fs::set_permissions(&self.path, fs::Permissions::from_mode(0o600))?;
                    listen(&socket, 1)?;
                    self.end = End::Listening(socket);
                    return Ok(());
                }
                Err(Errno::ADDRINUSE) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        if let End::Listening(_) = self.end {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn prepare(socket: OwnedFd) -> io::Result<OwnedFd> {
    sockopt::set_socket_send_buffer_size(&socket, BUFFER)?;
    Ok(socket)
}

/// A connection to another card.
pub(super) struct Frames(OwnedFd);

impl Wire for Frames {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        Ok(send(&self.0, frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)?)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match recv(&self.0, buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err(io::Error::other("the other card is gone")),
            Ok((len, _)) => Ok(Some(len)),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
