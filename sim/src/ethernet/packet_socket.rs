//! An AF_PACKET socket on an interface of this host (packet(7)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::os::{self, Received};
use super::{Wire, write_frame};

/// Bytes of the `virtio_net_hdr` in front of each frame (PACKET_VNET_HDR): it says what the sender left to do.
const HEADER: usize = 10;
/// VIRTIO_NET_HDR_F_NEEDS_CSUM.
const NEEDS_CSUM: u8 = 1;
/// Where a VLAN tag is: behind the addresses.
const TAG: usize = 12;

/// All frames that reach an interface, and a way out of it.
pub(super) struct PacketSocket {
    socket: OwnedFd,
    name: String,
    warned: AtomicBool,
}

impl PacketSocket {
    pub(super) fn open(name: &str) -> io::Result<Self> {
        Ok(Self { socket: os::packet_socket(name)?, name: name.to_owned(), warned: AtomicBool::new(false) })
    }

    /// Makes a complete frame of what the kernel gave: its length, or 0 if it cannot be made one.
    fn complete(&self, buffer: &mut [u8], len: usize, received: &Received) -> usize {
        // flags, gso_type, hdr_len, gso_size, csum_start, csum_offset (virtio 1.2 §5.1.6).
        let header = received.header;
        let word = |at: usize| usize::from(u16::from_ne_bytes([header[at], header[at + 1]]));
        if header[1] != 0 {
            if !self.warned.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "{}: frames larger than its MTU are lost; turn them off at their sender: ethtool -K DEVICE tso off gso off",
                    self.name
                );
            }
            return 0;
        }
        if header[0] & NEEDS_CSUM != 0 && !fill_checksum(&mut buffer[..len], word(6), word(8)) {
            return 0;
        }
        match received.tag {
            Some(tag) if len >= TAG && len + tag.len() <= buffer.len() => {
                buffer.copy_within(TAG..len, TAG + tag.len());
                buffer[TAG..TAG + tag.len()].copy_from_slice(&tag);
                len + tag.len()
            }
            Some(_) => 0,
            None => len,
        }
    }
}

/// Fills in the Internet checksum from `start` on, at `start + offset`, where its pseudo header's sum is; `false` if that is
/// not inside of the frame.
fn fill_checksum(frame: &mut [u8], start: usize, offset: usize) -> bool {
    if start + offset + 2 > frame.len() {
        return false;
    }
    let sum: u32 = frame[start..]
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = !((folded & 0xffff) + (folded >> 16)) as u16;
    // 0 says in UDP that there is none.
    let checksum = if folded == 0 { u16::MAX } else { folded };
    frame[start + offset..][..2].copy_from_slice(&checksum.to_be_bytes());
    true
}

impl Wire for PacketSocket {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        let mut packet = vec![0; HEADER];
        packet.extend_from_slice(frame);
        write_frame(&self.socket, &packet)
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match os::receive_packet(&self.socket, buffer) {
            Ok((len, received)) => Ok(Some(self.complete(buffer, len, &received))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_left_to_the_receiver_is_filled_in() {
        // A UDP datagram from 192.0.2.1:7 to 192.0.2.2:9 with "hi".
        let mut frame = vec![0, 7, 0, 9, 0, 10, 0, 0, b'h', b'i'];
        let pseudo: u32 = 0xc000 + 0x0201 + 0xc000 + 0x0202 + 17 + 10;
        let pseudo = (pseudo & 0xffff) + (pseudo >> 16);
        frame[6..8].copy_from_slice(&(pseudo as u16).to_be_bytes());
        assert!(fill_checksum(&mut frame, 0, 6));
        let total: u32 =
            frame.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u32>()
                + pseudo;
        assert_eq!((total & 0xffff) + (total >> 16), 0xffff);
        assert!(!fill_checksum(&mut frame, 8, 1), "beyond the end");
    }
}
