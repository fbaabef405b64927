//! Messages of the vfio-user protocol on a stream, with the file descriptors that come along.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nitride_driver::vfio_user::protocol::{HEADER, Header, MAX_FDS};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

/// Longest payload that a client may send: a region write of [`MAX_TRANSFER`] bytes and its 16-byte head.
const MAX_PAYLOAD: usize = 16 + MAX_TRANSFER;
/// Longest data of one region access (`max_data_xfer_size`).
pub(super) const MAX_TRANSFER: usize = 4096;

/// A request as it came.
#[derive(Debug)]
pub(super) struct Message {
    pub header: Header,
    /// What follows the header.
    pub payload: Vec<u8>,
    /// The file descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

/// The next message; `None` at the end of the stream.
pub(super) fn receive(stream: &mut UnixStream) -> io::Result<Option<Message>> {
    let mut bytes = [0; HEADER];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut fds = Vec::new();
    let read = loop {
        let slice = &mut [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(&*stream, slice, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => break 0,
            other => break other?.bytes,
        }
    };
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if read == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut bytes[read..])?;
    let header = Header::from_bytes(&bytes);
    let length = (header.size as usize).checked_sub(HEADER).filter(|length| *length <= MAX_PAYLOAD);
    let Some(length) = length else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("message of {} bytes", header.size)));
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload)?;
    Ok(Some(Message { header, payload, fds }))
}

/// Sends a reply.
pub(super) fn send(stream: &mut UnixStream, header: &Header, payload: &[u8]) -> io::Result<()> {
    let head = header.to_bytes();
    let sent = stream.write_vectored(&[IoSlice::new(&head), IoSlice::new(payload)])?;
    if sent < HEADER {
        stream.write_all(&head[sent..])?;
    }
    stream.write_all(&payload[sent.saturating_sub(HEADER)..])
}
