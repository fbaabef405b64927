//! What the specification makes of a chain (virtio 1.2 §5.1.6.5, §2.7.4.2).

use super::memory::Memory;

/// Bytes of a command that the card looks at.
pub const BYTES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Buffer {
    pub address: u64,
    pub length: u32,
    pub write: bool,
}

#[derive(Debug, Clone)]
pub struct Chain {
    pub queue: u8,
    pub head: u16,
    pub buffers: Vec<Buffer>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    Command { bytes: [u8; BYTES], length: u16, ack: u64 },
    Broken,
}

/// Bytes that may be read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    pub address: u64,
    pub bytes: u64,
}

impl Chain {
    /// The first bytes of what is device-readable, buffer by buffer.
    pub fn spans(&self) -> Vec<Span> {
        let mut left = BYTES as u64;
        let mut spans = vec![];
        for buffer in self.buffers.iter().take_while(|buffer| !buffer.write) {
            let bytes = left.min(u64::from(buffer.length));
            left -= bytes;
            if bytes > 0 {
                spans.push(Span { address: buffer.address, bytes });
            }
        }
        spans
    }

    pub fn outcome(&self, memory: &Memory) -> Outcome {
        let readable = self.buffers.iter().take_while(|buffer| !buffer.write).count();
        let (read, write) = self.buffers.split_at(readable);
        let ack = write.iter().find(|buffer| buffer.length > 0);
        let (Some(ack), true) = (ack, write.iter().all(|buffer| buffer.write)) else {
            return Outcome::Broken;
        };
        let mut bytes = [0; BYTES];
        let here = self
            .spans()
            .into_iter()
            .flat_map(|span| (0..span.bytes).map(move |i| memory.read(span.address.wrapping_add(i))));
        for (byte, value) in bytes.iter_mut().zip(here) {
            *byte = value;
        }
        let length: u64 = read.iter().map(|buffer| u64::from(buffer.length)).sum();
        Outcome::Command { bytes, length: length.min(0xffff) as u16, ack: ack.address }
    }
}
