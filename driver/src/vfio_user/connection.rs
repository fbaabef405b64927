//! One connection to a vfio-user server: requests, replies, and what is left when the server dies.

use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::protocol::{Command, HEADER, Header, MAX_MESSAGE, flags};

/// How long a server may take for an answer. A simulated card resets in well under a second.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Most file descriptors in one message.
const MAX_FDS: usize = 16;
/// Most bytes of a reply; none of a correct server comes near.
const MAX_REPLY: u32 = 1 << 16;

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server refused with this error number.
    Refused(i32),
    /// The connection is of no more use.
    Gone(String),
}

pub(super) type Outcome<T> = Result<T, Failure>;

pub(super) struct Connection {
    stream: UnixStream,
    next_id: u16,
    /// Why the connection is of no more use.
    dead: Option<String>,
}

impl Connection {
    pub fn open(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { stream, next_id: 0, dead: None })
    }

    /// Sends a command and waits for its reply, of which the part after the header goes to the front
    /// of `reply`. Returns how much of it the server filled.
    pub fn request(
        &mut self,
        command: Command,
        body: &[u8],
        fds: &[BorrowedFd<'_>],
        reply: &mut [u8],
    ) -> Outcome<usize> {
        self.guarded(|connection| {
            let id = connection.send(command, 0, body, fds)?;
            connection.receive(command, id, reply)
        })
    }

    /// Sends a command that has no reply.
    pub fn post(&mut self, command: Command, body: &[u8]) -> Outcome<()> {
        self.guarded(|connection| connection.send(command, flags::NO_REPLY, body, &[]).map(|_| ()))
    }

    /// After a failure in mid-message nothing that follows can be understood: the connection ends.
    fn guarded<T>(&mut self, exchange: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if let Some(reason) = &self.dead {
            return Err(Failure::Gone(reason.clone()));
        }
        let outcome = exchange(self);
        if let Err(Failure::Gone(reason)) = &outcome {
            self.dead = Some(reason.clone());
            let _already_closed = self.stream.shutdown(std::net::Shutdown::Both);
        }
        outcome
    }

    fn send(&mut self, command: Command, flags: u32, body: &[u8], fds: &[BorrowedFd<'_>]) -> Outcome<u16> {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let size = HEADER + body.len();
        let header = Header { id, command: command as u16, size: size as u32, flags, error: 0 };
        let mut message = [0; MAX_MESSAGE];
        message[..HEADER].copy_from_slice(&header.to_bytes());
        message[HEADER..size].copy_from_slice(body);

        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Failure::Gone(format!("{} file descriptors do not fit into one message", fds.len())));
        }
        let mut sent = 0;
        while sent < size {
            let part = [IoSlice::new(&message[sent..size])];
            match rustix::net::sendmsg(&self.stream, &part, &mut ancillary, SendFlags::NOSIGNAL) {
                Ok(0) => return Err(Failure::Gone("it closed the connection".into())),
                Ok(count) => {
                    sent += count;
                    ancillary.clear();
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(gone(&error.into())),
            }
        }
        Ok(id)
    }

    fn receive(&mut self, command: Command, id: u16, reply: &mut [u8]) -> Outcome<usize> {
        loop {
            let mut bytes = [0; HEADER];
            self.stream.read_exact(&mut bytes).map_err(|error| gone(&error))?;
            let header = Header::from_bytes(&bytes);
            let len = header.size.wrapping_sub(HEADER as u32);
            if header.flags & flags::TYPE != flags::REPLY || len > MAX_REPLY {
                return Err(Failure::Gone(format!("it sent what is not a reply ({header:?})")));
            }
            let mine = header.id == id && header.command == command as u16;
            let taken = if mine { (len as usize).min(reply.len()) } else { 0 };
            self.stream.read_exact(&mut reply[..taken]).map_err(|error| gone(&error))?;
            self.discard(len as usize - taken)?;
            match (mine, header.flags & flags::ERROR != 0) {
                (true, false) => return Ok(taken),
                (true, true) => return Err(Failure::Refused(header.error as i32)),
                // Some servers answer a command without a reply when it fails.
                (false, true) => tracing::warn!(command = header.command, "the card refused a posted write"),
                (false, false) => {
                    return Err(Failure::Gone(format!("it answered something else ({header:?})")));
                }
            }
        }
    }

    fn discard(&mut self, mut len: usize) -> Outcome<()> {
        let mut sink = [0; 256];
        while len > 0 {
            let part = len.min(sink.len());
            self.stream.read_exact(&mut sink[..part]).map_err(|error| gone(&error))?;
            len -= part;
        }
        Ok(())
    }
}

fn gone(error: &io::Error) -> Failure {
    Failure::Gone(match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            "it closed the connection".into()
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("it did not answer within {} s", TIMEOUT.as_secs())
        }
        _ => error.to_string(),
    })
}
