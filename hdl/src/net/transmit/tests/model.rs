//! What becomes of a chain, from the specification (virtio 1.2 §5.1.6.2) and RFC 1071.

use nitride_abi::card::function_of_device;
use nitride_abi::virtio::net::{FRAME_BYTES, header};

/// The longest chain that is read.
pub const LONGEST: u64 = (header::BYTES + FRAME_BYTES) as u64;

/// A buffer as its descriptor has it.
#[derive(Debug, Clone)]
pub struct Buffer {
    pub address: u64,
    pub length: u32,
    pub write: bool,
    /// What is there, if it is to be read.
    pub bytes: Vec<u8>,
}

/// A chain of a transmit queue.
#[derive(Debug, Clone)]
pub struct Chain {
    pub queue: u8,
    pub head: u16,
    pub buffers: Vec<Buffer>,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Frame(Vec<u8>),
    Broken,
    Dropped,
}

/// DWs that are read, in order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    pub function: u8,
    pub address: u64,
    pub dwords: u64,
}

impl Chain {
    pub fn device(&self) -> u8 {
        self.queue >> 3
    }

    /// What comes of it on an enabled queue when all reads go well.
    pub fn outcome(&self, csum: bool) -> Outcome {
        if self.buffers.iter().any(|buffer| buffer.write) {
            return Outcome::Broken;
        }
        if self.buffers.iter().map(|buffer| u64::from(buffer.length)).sum::<u64>() > LONGEST {
            return Outcome::Dropped;
        }
        let bytes: Vec<u8> = self.buffers.iter().flat_map(|buffer| buffer.bytes.clone()).collect();
        if bytes.len() < header::BYTES {
            return Outcome::Broken;
        }
        let (head, frame) = bytes.split_at(header::BYTES);
        let field = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
        let (start, offset) = (field(header::CSUM_START), field(header::CSUM_OFFSET));
        let mut frame = frame.to_vec();
        if head[header::GSO_TYPE] != 0 {
            return Outcome::Broken;
        }
        if head[header::FLAGS] & header::NEEDS_CSUM != 0 {
            if !csum || start > frame.len() || start + offset + 2 > frame.len() {
                return Outcome::Broken;
            }
            let sum = !sum(&frame[start..]);
            let stored = if sum == 0 { 0xffff } else { sum };
            frame[start + offset..][..2].copy_from_slice(&stored.to_be_bytes());
        }
        if frame.len() < 14 { Outcome::Dropped } else { Outcome::Frame(frame) }
    }

    /// What may be read of it, and has to be if its queue is enabled.
    pub fn reads(&self) -> Vec<Span> {
        let mut spans = vec![];
        let mut total = 0;
        for buffer in &self.buffers {
            total += u64::from(buffer.length);
            if buffer.write || total > LONGEST {
                break;
            }
            if buffer.length > 0 {
                let address = buffer.address & !3;
                let end = buffer.address + u64::from(buffer.length);
                let function = function_of_device(self.device());
                spans.push(Span { function, address, dwords: (end - address).div_ceil(4) });
            }
        }
        spans
    }
}

/// The one's complement sum of 16-bit words in network order (RFC 1071 §1).
pub fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// A header in front of a frame.
pub fn header(flags: u8, gso: u8, start: u16, offset: u16) -> [u8; header::BYTES] {
    let mut bytes = [0; header::BYTES];
    bytes[header::FLAGS] = flags;
    bytes[header::GSO_TYPE] = gso;
    bytes[header::CSUM_START..][..2].copy_from_slice(&start.to_le_bytes());
    bytes[header::CSUM_OFFSET..][..2].copy_from_slice(&offset.to_le_bytes());
    bytes
}
