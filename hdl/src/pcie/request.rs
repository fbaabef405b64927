//! What travels between the blocks of the target side.

use nitride_lang::prelude::*;

/// What a received TLP asks for.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum RequestKind {
    /// MRd.
    #[default]
    MemoryRead,
    /// MWr.
    MemoryWrite,
    /// CfgRd0.
    ConfigRead,
    /// CfgWr0.
    ConfigWrite,
    /// A non-posted request that no function of the card takes: I/O, locked, AtomicOp, configuration type 1, and any
    /// poisoned non-posted request. It gets UR (PCIe 4.0 §2.3.1).
    Refused,
    /// Not a request: a TLP was dropped as malformed.
    Malformed,
    /// Not a request: a poisoned memory write was dropped (PCIe 4.0 §2.7.2.2).
    Poisoned,
}

/// What a completion must repeat of its request, and tell of it (PCIe 4.0 §2.2.9).
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Ticket {
    /// Requester ID.
    pub requester: Bits<16>,
    /// Tag, 10 bits.
    pub tag: Bits<10>,
    /// Traffic class.
    pub traffic_class: Bits<3>,
    /// Attr: ID-based ordering (bit 2), relaxed ordering (1), no snoop (0).
    pub attributes: Bits<3>,
    /// Byte Count: 1 to 4096, 0 standing for 4096.
    pub byte_count: Bits<12>,
    /// Lower Address.
    pub lower_address: Bits<7>,
}

/// A received request, or the news of a dropped one. Its data are in the byte lanes of one aligned 8-byte word.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Request {
    /// What it is; the other fields mean something only for requests.
    pub kind: RequestKind,
    /// Came with poisoned data (EP).
    pub poisoned: Bit,
    /// It lies inside of one aligned 8-byte word (memory requests).
    pub fits: Bit,
    /// It is of two DWs (memory requests that fit).
    pub double: Bit,
    /// Byte address, a multiple of 4. Configuration requests: DW 2 of the header, `{target (16), 0 (4), register (10), 0 (2)}`.
    pub address: Bits<64>,
    /// Write data.
    pub data: Bits<64>,
    /// Bytes that are accessed.
    pub enable: Bits<8>,
    /// For the completion.
    pub ticket: Ticket,
    /// The TLP's header, for the error log.
    pub header: Bits<128>,
}

/// How a non-posted request ended.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum Outcome {
    /// SC.
    #[default]
    Success,
    /// UR.
    Unsupported,
    /// CRS: Configuration Request Retry Status.
    Retry,
    /// CA.
    Aborted,
}

/// A completion to be sent: a CplD of one or two DWs, or a Cpl.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Completion {
    /// How it ended.
    pub outcome: Outcome,
    /// It carries data.
    pub with_data: Bit,
    /// It carries two DWs.
    pub double: Bit,
    /// The data, from bit 0 on.
    pub data: Bits<64>,
    /// Completer ID.
    pub completer: Bits<16>,
    /// From the request.
    pub ticket: Ticket,
}

/// An access to configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct ConfigRequest {
    /// Write; else read. Both are answered.
    pub write: Bit,
    /// Routing ID it was sent to.
    pub target: Bits<16>,
    /// Extended register number and register number: a DW of the 4 KiB.
    pub register: Bits<10>,
    /// Write data.
    pub data: Bits<32>,
    /// Bytes that are written.
    pub enable: Bits<4>,
}

/// The answer to a [`ConfigRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct ConfigResponse {
    /// Success, Unsupported or Retry.
    pub outcome: Outcome,
    /// The DW that was read.
    pub data: Bits<32>,
}

/// Severities of an error message (PCIe 4.0 §6.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum Severity {
    /// ERR_COR.
    #[default]
    Correctable,
    /// ERR_NONFATAL.
    NonFatal,
    /// ERR_FATAL.
    Fatal,
}

/// An error message to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct ErrorMessage {
    /// The function that tells the error.
    pub function: Bits<5>,
    /// How bad it is.
    pub severity: Severity,
}

/// One 64-bit BAR as the decoder needs it.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Aperture {
    /// Memory requests to it are taken.
    pub enable: Bit,
    /// Base address in units of 16 KiB (of the BAR's size).
    pub base: Bits<50>,
}

/// Where the registers of a PF's VFs are.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct VfAperture {
    /// BAR0 of the first VF; those of the others follow.
    pub first: Aperture,
    /// How many VFs there are.
    pub count: Bits<4>,
    /// Distance of two VFs' BARs, 16 KiB or the system page size: 16 KiB (0), 64 KiB (1), 256 KiB (2), 1 MiB (3), 4 MiB (4).
    pub stride: Bits<3>,
}

/// Where the functions' registers are in the host's address space.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Apertures {
    /// BAR0 of PF0.
    pub management: Aperture,
    /// BAR0 of PF1.
    pub network: Aperture,
    /// BAR0 of PF2.
    pub storage: Aperture,
    /// BAR0 of PF1's VFs.
    pub network_vfs: VfAperture,
    /// BAR0 of PF2's VFs.
    pub storage_vfs: VfAperture,
}
