//! What travels between the parts of the control queues' engine.

use nitride_lang::prelude::*;

use crate::net::records::QueueIndex;

/// Bytes of a command that count: no command that the card knows has more that it looks at.
pub const BYTES: u64 = 16;

/// What is to become of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum Fate {
    /// It is a command that can be answered.
    #[default]
    Command,
    /// It breaks its queue.
    Broken,
    /// Its queue is disabled.
    Disabled,
}

/// Bytes of a command that lie together.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Portion {
    /// The device.
    pub device: Bits<4>,
    /// Where they are in host memory.
    pub address: Bits<64>,
    /// How many, 1 to [`BYTES`].
    pub bytes: Bits<5>,
    /// Where in the command the first of them is.
    pub position: Bits<4>,
}

/// A chain, when all of its segments were seen; or a queue's token.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Chain {
    /// The queue.
    pub queue: QueueIndex,
    /// The token; only `queue` counts in it.
    pub drain: Bit,
    /// The chain's first descriptor.
    pub head: Bits<16>,
    /// What is to become of it.
    pub fate: Fate,
    /// Device-readable bytes; 65,535 stands for more.
    pub length: Bits<16>,
    /// Address of the first device-writable byte: the answer's.
    pub ack: Bits<64>,
}
