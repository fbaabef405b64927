//! What a system is built with.

use std::path::PathBuf;

/// Everything that can be chosen about a simulation. The default is a host as servers have it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The PCIe link and the host behind it.
    pub link: LinkOptions,
    /// The media behind the card.
    pub media: MediaOptions,
    /// Seed of every random choice; the same seed and requests give the same run, cycle by cycle.
    pub seed: u64,
    /// Where to write a waveform (needs the crate's feature `trace`).
    pub trace: Option<Trace>,
    /// Where to log every TLP: pcapng if the name ends in `.pcapng`, else text (see the module `log`).
    pub tlp_log: Option<PathBuf>,
}

/// A waveform of every signal of the card, in VCD.
#[derive(Debug, Clone)]
pub struct Trace {
    /// The file, which is replaced.
    pub path: PathBuf,
    /// The first cycle in it.
    pub from_cycle: u64,
}

/// The PCIe link and the root complex.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// Cycles from the card to the host's memory, and as many back: 125 are 500 ns at 250 MHz.
    pub latency: u64,
    /// Max_Payload_Size in bytes that firmware programs, if the card is capable of it: 128 to 4096.
    pub max_payload: u16,
    /// Max_Read_Request_Size in bytes that firmware programs: 128 to 4096.
    pub max_read_request: u16,
    /// Firmware sets Extended Tag Field Enable where it is supported: 8-bit tags, else 5-bit ones.
    pub extended_tags: bool,
    /// Read completion boundary in bytes, 64 or 128.
    pub read_completion_boundary: u16,
    /// TLPs of each kind (posted, non-posted, completion) that the host has credits for.
    pub credits: [u16; 3],
    /// Take every liberty that the specification gives a host: completions split anywhere on the read
    /// completion boundary, reads of different tags served in any order and their completions interleaved,
    /// posted requests ahead of non-posted ones.
    pub disorder: bool,
    /// Chance in percent, each cycle, that the host holds up `rx` or `tx`.
    pub stall_percent: u8,
    /// Cycles after which a request of the host without its completion fails.
    pub completion_timeout: u64,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            latency: 125,
            max_payload: 256,
            max_read_request: 512,
            extended_tags: true,
            read_completion_boundary: 64,
            credits: [128; 3],
            disorder: true,
            stall_percent: 0,
            completion_timeout: 1_000_000,
        }
    }
}

/// The media's timing.
#[derive(Debug, Clone)]
pub struct MediaOptions {
    /// Cycles from a read's address to its first data.
    pub read_latency: u64,
    /// Cycles from a write's last data to its response.
    pub write_latency: u64,
    /// Cycles that a flush, discard or write-zeroes takes.
    pub command_latency: u64,
    /// Reads, and writes, that may be outstanding.
    pub outstanding: usize,
    /// Answer transactions of different IDs in random order.
    pub disorder: bool,
    /// Keep writes from the file until they are flushed, so that [`crate::Media::power_cut`] can lose them.
    pub volatile: bool,
}

impl Default for MediaOptions {
    fn default() -> Self {
        Self {
            read_latency: 25,
            write_latency: 25,
            command_latency: 25,
            outstanding: 64,
            disorder: true,
            volatile: false,
        }
    }
}
