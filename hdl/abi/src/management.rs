//! The management function's registers: PF0's BAR0.
//!
//! Registers are 64 bits wide and 8-byte aligned; any of their bytes may be accessed, inside of one
//! register per access. What is not listed reads as 0 and ignores writes.

/// Identification, read only: [`MAGIC`].
pub const IDENTIFICATION: u64 = 0x0000;
/// `b"NITRIDE\0"`, read as one little-endian word.
pub const MAGIC: u64 = u64::from_le_bytes(*b"NITRIDE\0");

/// Version of this register layout, read only: major in bits 31:16, minor in bits 15:0.
/// A driver refuses another major version; a higher minor version only adds registers.
pub const VERSION: u64 = 0x0008;
/// The layout described here.
pub const VERSION_VALUE: u64 = 0x0001_0000;

/// What the card was built with, read only: [`Profile`].
pub const PROFILE: u64 = 0x0010;

/// The card's profile as [`PROFILE`] tells it. Bits 7:0 VFs of the storage function, 15:8 namespaces of a controller,
/// 23:16 queue pairs of a controller, 31:24 counters, 63:32 zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// VFs of PF2: there are this many NVMe controllers and one more.
    pub vfs: u8,
    /// Namespaces of a controller.
    pub namespaces: u8,
    /// Queue pairs of a controller, the admin queues included.
    pub queues: u8,
    /// Counters from [`COUNTERS`] on.
    pub counters: u8,
}

impl Profile {
    /// Takes the register's value apart.
    #[must_use]
    pub const fn decode(value: u64) -> Self {
        Self {
            vfs: value as u8,
            namespaces: (value >> 8) as u8,
            queues: (value >> 16) as u8,
            counters: (value >> 24) as u8,
        }
    }

    /// The register's value.
    #[must_use]
    pub const fn encode(self) -> u64 {
        self.vfs as u64
            | (self.namespaces as u64) << 8
            | (self.queues as u64) << 16
            | (self.counters as u64) << 24
    }
}

/// Volume window: selects an entry of the volume table, bits 5:0 = [`volume_index`]. Writing it also loads the
/// entry into the window's other registers, so that it can be read back.
pub const VOLUME_INDEX: u64 = 0x0040;
/// Volume window: [`VOLUME_ATTACHED`], [`VOLUME_READ_ONLY`], [`VOLUME_LARGE_BLOCKS`].
pub const VOLUME_FLAGS: u64 = 0x0048;
/// Volume window: byte address on the media, bits 47:12. Bits 11:0 are read-only zero.
pub const VOLUME_BASE: u64 = 0x0050;
/// Volume window: size in logical blocks, bits 39:0.
pub const VOLUME_BLOCKS: u64 = 0x0058;
/// Volume window: a write of any value makes flags, base and size the selected entry's, all at once, and tells its
/// controller that a namespace changed (an asynchronous event, NVMe 1.4 §5.2). Reads as 0.
pub const VOLUME_COMMIT: u64 = 0x0060;

/// [`VOLUME_FLAGS`]: the namespace exists.
pub const VOLUME_ATTACHED: u64 = 1 << 0;
/// [`VOLUME_FLAGS`]: writes are refused.
pub const VOLUME_READ_ONLY: u64 = 1 << 1;
/// [`VOLUME_FLAGS`]: logical blocks of 4 KiB; else of 512 bytes.
pub const VOLUME_LARGE_BLOCKS: u64 = 1 << 2;
/// Bits of [`VOLUME_FLAGS`] that are there.
pub const VOLUME_FLAGS_MASK: u64 = VOLUME_ATTACHED | VOLUME_READ_ONLY | VOLUME_LARGE_BLOCKS;
/// Bits of [`VOLUME_BASE`] that are there.
pub const VOLUME_BASE_MASK: u64 = (1 << 48) - (1 << 12);
/// Bits of [`VOLUME_BLOCKS`] that are there.
pub const VOLUME_BLOCKS_MASK: u64 = (1 << 40) - 1;

/// Entries of the volume table.
pub const VOLUMES: usize = crate::card::CONTROLLERS * crate::card::NAMESPACES;

/// The volume table's entry of a controller's namespace. None if there is no such controller or namespace
/// (`nsid` counts from 1).
#[must_use]
pub const fn volume_index(controller: u8, nsid: u32) -> Option<u8> {
    if (controller as usize) < crate::card::CONTROLLERS && nsid >= 1 && nsid <= crate::card::NAMESPACES as u32
    {
        Some(controller * crate::card::NAMESPACES as u8 + (nsid - 1) as u8)
    } else {
        None
    }
}

/// The first counter. Counter `i` is at `COUNTERS + 8 * i`: 64 bits, read only, from 0 at the card's reset, wraps.
/// Two 32-bit reads of one counter may straddle an increment: read high, low, high.
pub const COUNTERS: u64 = 0x0100;
/// How many counters there are; also the width of the card's event pulses.
pub const COUNTER_COUNT: usize = 16;

/// A counter: its number is its place from [`COUNTERS`] on and its bit among the card's event pulses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Counter {
    /// TLPs dropped as malformed (PCIe 4.0 §2.2.2, §2.3).
    Malformed = 0,
    /// Requests received poisoned (PCIe 4.0 §2.7.2).
    Poisoned = 1,
    /// Requests refused as Unsupported Request, posted ones included.
    Unsupported = 2,
    /// Requests refused with Completer Abort, and posted writes that the card's registers can't take.
    Aborted = 3,
    /// Configuration requests completed.
    Configuration = 4,
    /// Register reads of BAR0s.
    RegisterReads = 5,
    /// Register writes of BAR0s, doorbells included.
    RegisterWrites = 6,
    /// Function-level resets begun, VFs that were disabled included.
    Resets = 7,
    /// Completions that belong to no request of the card (PCIe 4.0 §2.3.2).
    UnexpectedCompletions = 8,
    /// Read requests without their completions in time (PCIe 4.0 §2.8).
    Timeouts = 9,
    /// Memory read TLPs sent.
    DmaReads = 10,
    /// Memory write TLPs sent, interrupts not included.
    DmaWrites = 11,
    /// Reads of host memory that failed: UR, CA or poisoned data.
    DmaFailures = 12,
    /// MSI-X messages sent.
    Interrupts = 13,
    /// NVMe commands fetched.
    Commands = 14,
    /// NVMe commands that completed with a status other than Successful Completion.
    CommandErrors = 15,
}

impl Counter {
    /// All counters, in their order.
    pub const ALL: [Self; COUNTER_COUNT] = [
        Self::Malformed,
        Self::Poisoned,
        Self::Unsupported,
        Self::Aborted,
        Self::Configuration,
        Self::RegisterReads,
        Self::RegisterWrites,
        Self::Resets,
        Self::UnexpectedCompletions,
        Self::Timeouts,
        Self::DmaReads,
        Self::DmaWrites,
        Self::DmaFailures,
        Self::Interrupts,
        Self::Commands,
        Self::CommandErrors,
    ];

    /// Byte offset in BAR0.
    #[must_use]
    pub const fn offset(self) -> u64 {
        COUNTERS + 8 * self as u64
    }

    /// Its bit among the event pulses.
    #[must_use]
    pub const fn bit(self) -> usize {
        self as usize
    }

    /// A name for people and machines, in lower case with underscores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Poisoned => "poisoned",
            Self::Unsupported => "unsupported",
            Self::Aborted => "aborted",
            Self::Configuration => "configuration",
            Self::RegisterReads => "register_reads",
            Self::RegisterWrites => "register_writes",
            Self::Resets => "resets",
            Self::UnexpectedCompletions => "unexpected_completions",
            Self::Timeouts => "timeouts",
            Self::DmaReads => "dma_reads",
            Self::DmaWrites => "dma_writes",
            Self::DmaFailures => "dma_failures",
            Self::Interrupts => "interrupts",
            Self::Commands => "commands",
            Self::CommandErrors => "command_errors",
        }
    }
}

/// Port window: selects a port of the switch, bits 4:0. Writing it also loads the port into the window's other registers.
pub const PORT_INDEX: u64 = 0x0200;
/// Port window: [`PORT_ENABLED`], [`PORT_CHECK_MAC`], [`PORT_CHECK_IPV4`]; the network in bits 15:8.
pub const PORT_FLAGS: u64 = 0x0208;
/// Port window: MAC address, bits 47:0, the first byte lowest.
pub const PORT_MAC: u64 = 0x0210;
/// Port window: IPv4 address, bits 31:0, the first byte lowest.
pub const PORT_IPV4: u64 = 0x0218;
/// Port window: a write of any value makes the window the selected port's settings, all at once. Reads as 0.
pub const PORT_COMMIT: u64 = 0x0220;

/// [`PORT_FLAGS`]: frames pass.
pub const PORT_ENABLED: u64 = 1 << 0;
/// [`PORT_FLAGS`]: frames that come in have to have the port's MAC address as their source.
pub const PORT_CHECK_MAC: u64 = 1 << 1;
/// [`PORT_FLAGS`]: IPv4 and ARP that come in have to have the port's IPv4 address as the sender's.
pub const PORT_CHECK_IPV4: u64 = 1 << 2;
/// [`PORT_FLAGS`]: the lowest bit of the network, which has 8.
pub const PORT_NETWORK_SHIFT: u32 = 8;

/// Forwarding window: MAC address in bits 47:0, the first byte lowest; network in bits 55:48.
pub const FORWARD_KEY: u64 = 0x0240;
/// Forwarding window: port, bits 4:0.
pub const FORWARD_PORT: u64 = 0x0248;
/// Forwarding window: a write of 1 inserts the entry (or moves it to the port), of 0 removes it. Reads 1 if the last command was carried out,
/// 0 if there was no room.
pub const FORWARD_COMMAND: u64 = 0x0250;
/// Bits of [`FORWARD_KEY`] below the network.
pub const FORWARD_NETWORK_SHIFT: u32 = 48;

/// Group window: a network, bits 7:0.
pub const GROUP_NETWORK: u64 = 0x0260;
/// Group window: a write makes bits 31:0, a bit a port, the network's members. Reads as 0.
pub const GROUP_MEMBERS: u64 = 0x0268;

/// Assignment window: a network device, bits 3:0.
pub const ASSIGNMENT_DEVICE: u64 = 0x0280;
/// Assignment window: its MAC address, bits 47:0, the first byte lowest.
pub const ASSIGNMENT_MAC: u64 = 0x0288;
/// Assignment window: a write gives the device its MAC address, the MTU in bits 15:0, [`ASSIGNMENT_LINK_UP`], [`ASSIGNMENT_ANNOUNCE`]; its driver
/// is told. Reads as 0.
pub const ASSIGNMENT_COMMIT: u64 = 0x0290;
/// [`ASSIGNMENT_COMMIT`]: the link is up.
pub const ASSIGNMENT_LINK_UP: u64 = 1 << 16;
/// [`ASSIGNMENT_COMMIT`]: the driver shall announce itself in its network.
pub const ASSIGNMENT_ANNOUNCE: u64 = 1 << 17;

/// Counters of the port that [`PORT_INDEX`] selects: packets of a [`PortEvent`] at `PORT_COUNTERS + 16 * event`, their bytes 8 bytes after
/// that. 64 bits, read only, from 0 at the card's reset, wrap.
pub const PORT_COUNTERS: u64 = 0x0400;
/// How many events of a port there can be.
pub const PORT_EVENTS: usize = 16;
/// Ports of the switch: those of network devices, then the Ethernet ports.
pub const PORTS: usize = crate::card::DEVICES + crate::card::ETHERNET_PORTS;

/// What is counted of frames, by port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PortEvent {
    /// Came in.
    Received = 0,
    /// Left.
    Sent = 1,
    /// Came in, and dropped: too short or too long for a frame, or headers that are not whole.
    Malformed = 2,
    /// Came in by a port that is not enabled.
    Disabled = 3,
    /// Came in with a source MAC address that is not the port's.
    SourceMac = 4,
    /// Came in with a sender's IPv4 address that is not the port's.
    SourceIpv4 = 5,
    /// Came in, and there was nowhere to send it to.
    NoDestination = 6,
    /// Came in while there was no room for it.
    IngressFull = 7,
    /// Was to leave, and its queue had no room.
    EgressFull = 8,
    /// Was to leave, and the device's driver had no buffer for it, or is not there.
    NoBuffer = 9,
}

impl PortEvent {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Received,
        Self::Sent,
        Self::Malformed,
        Self::Disabled,
        Self::SourceMac,
        Self::SourceIpv4,
        Self::NoDestination,
        Self::IngressFull,
        Self::EgressFull,
        Self::NoBuffer,
    ];

    /// Byte offset of its packets' counter in BAR0.
    #[must_use]
    pub const fn packets_offset(self) -> u64 {
        PORT_COUNTERS + 16 * self as u64
    }

    /// Byte offset of its bytes' counter in BAR0.
    #[must_use]
    pub const fn bytes_offset(self) -> u64 {
        self.packets_offset() + 8
    }

    /// A name for people and machines, in lower case with underscores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Sent => "sent",
            Self::Malformed => "malformed",
            Self::Disabled => "disabled",
            Self::SourceMac => "source_mac",
            Self::SourceIpv4 => "source_ipv4",
            Self::NoDestination => "no_destination",
            Self::IngressFull => "ingress_full",
            Self::EgressFull => "egress_full",
            Self::NoBuffer => "no_buffer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_indices_are_dense_and_checked() {
        assert_eq!(volume_index(0, 1), Some(0));
        assert_eq!(volume_index(15, 4), Some(63));
        assert_eq!(volume_index(16, 1), None);
        assert_eq!(volume_index(0, 0), None);
        assert_eq!(volume_index(0, 5), None);
    }

    #[test]
    fn counters_are_numbered_by_their_place() {
        for (i, c) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(c.bit(), i);
            assert_eq!(c.offset(), COUNTERS + 8 * i as u64);
        }
    }

    #[test]
    fn the_profile_survives_its_register() {
        let p = Profile { vfs: 8, namespaces: 4, queues: 8, counters: 16 };
        assert_eq!(Profile::decode(p.encode()), p);
    }
}
