//! Frames on the exception path: what stands in front of them.

/// Size of the header in front of each frame between the switch and the slow path.
pub const HEADER_BYTES: usize = 16;
/// Byte 0. To the host: the port that the frame came in by. From the host: the port of [`action`].
pub const PORT: usize = 0;
/// Byte 1. To the host: a [`reason`]. From the host: an [`action`].
pub const KIND: usize = 1;

/// Why a frame is on the exception path.
pub mod reason {
    /// No flow and no rule knows it.
    pub const MISS: u8 = 0;
    /// A rule sends it here.
    pub const RULE: u8 = 1;
    /// A mirrored copy.
    pub const MIRROR: u8 = 2;
}

/// What the switch does with a frame of the slow path.
pub mod action {
    /// Send it out of the port, past all tables.
    pub const OUTPUT: u8 = 0;
    /// Treat it as if it had come in by the port.
    pub const INPUT: u8 = 1;
}
