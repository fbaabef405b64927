//! What travels between the card's blocks. Every stream is ready/valid (`Source`/`Sink` of
//! `nitride-lang`); what is called an update is a broadcast with a `valid` of its own that nobody can hold up.

use nitride_lang::prelude::*;

use crate::profile::DATA_BITS;

/// A beat of a TLP, as `docs/interfaces.md` has it.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct TlpBeat {
    /// The header, DW 0 in bits 31:0; the same in every beat of a TLP.
    pub hdr: Bits<128>,
    /// The payload, from its first DW at bit 0 of the first beat.
    pub data: Bits<DATA_BITS>,
    /// The TLP's last beat.
    pub last: Bit,
}

/// A register access of one function: 1 to 8 bytes inside of one aligned 8-byte word of BAR0.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct RegisterRequest {
    /// Write; else read. Each read is answered by one [`RegisterResponse`], in order; writes by nothing.
    pub write: Bit,
    /// The function whose BAR0 was hit.
    pub function: Bits<5>,
    /// Byte offset in BAR0, a multiple of 8.
    pub offset: Bits<14>,
    /// Write data in its byte lanes.
    pub data: Bits<64>,
    /// Bytes that are accessed.
    pub enable: Bits<8>,
}

/// The answer to a register read: the whole aligned 8-byte word.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct RegisterResponse {
    /// The word; bytes that were not asked for are don't-care.
    pub data: Bits<64>,
}

/// The configuration of one function, as far as other blocks obey it. All 0 for a VF that is not enabled.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct FunctionState {
    /// Bus Master Enable: the function may issue memory requests.
    pub bus_master: Bit,
    /// Memory Space Enable (a PF's), VF MSE (its VFs').
    pub memory: Bit,
    /// MSI-X Enable.
    pub msix_enable: Bit,
    /// MSI-X Function Mask.
    pub msix_mask: Bit,
}

/// Sent by the configuration space whenever a function's state changes; receivers keep a RAM of states.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct FunctionUpdate {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// Which function.
    pub function: Bits<5>,
    /// Its state from now on.
    pub state: FunctionState,
}

/// What the host configured for the whole card.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct LinkConfig {
    /// Bus number, captured from configuration writes (PCIe 4.0 §2.2.6.2). The card's requester ID is `{bus, function}`.
    pub bus: Bits<8>,
    /// Max_Payload_Size, encoded (0: 128 bytes), as function 0 has it.
    pub mps: Bits<3>,
    /// Max_Read_Request_Size, encoded (0: 128 bytes), as PF2 has it.
    pub mrrs: Bits<3>,
    /// Extended Tag Field Enable, as PF2 has it: 8-bit tags, else 5-bit ones (PCIe 4.0 §2.2.6.2).
    pub extended_tags: Bit,
    /// Completion Timeout Disable, as PF2 has it (PCIe 4.0 §7.5.3.16).
    pub timeout_disable: Bit,
}

/// Errors that a function's registers tell (PCIe 4.0 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum ErrorKind {
    /// A posted request was refused.
    #[default]
    UnsupportedPosted,
    /// A non-posted request was refused: advisory, since its completion tells (§6.2.3.2.4.1).
    UnsupportedNonPosted,
    /// A request got Completer Abort: advisory too.
    Aborted,
    /// A poisoned request was dropped.
    Poisoned,
    /// A malformed TLP was dropped.
    Malformed,
    /// A completion belongs to no request: advisory (§6.2.3.2.4.5).
    Unexpected,
    /// A read of the card's got no completion in time.
    Timeout,
    /// A read of the card's got poisoned data.
    PoisonedCompletion,
    /// A read of the card's got Unsupported Request: no error of the card's, but Status tells (§7.5.1.1.4).
    MasterAborted,
    /// A read of the card's got Completer Abort: the same.
    TargetAborted,
}

/// An error to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct ErrorReport {
    /// Which error.
    pub kind: ErrorKind,
    /// It belongs to `function`, if that is there; else to no function, and all PFs log it (§6.2.4).
    pub specific: Bit,
    /// The function.
    pub function: Bits<5>,
    /// The TLP's header; all ones where there is none.
    pub header: Bits<128>,
}

/// An error that was found in this cycle.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct ErrorPulse {
    /// The rest holds something.
    pub valid: Bit,
    /// The error.
    pub report: ErrorReport,
}

/// Where bytes of a DMA are inside of the card: a DW address in a space of banked RAMs, `{region, row, lane}`.
/// A row is 32 bytes in 8 banks of one DW. Reads land in [`Landing`] regions, writes are launched from [`Launch`] regions.
pub type BufferAddress = Bits<18>;

/// Regions of DMA reads' destinations.
pub struct Landing;
impl Landing {
    /// Data of write commands: 32 chunks of 128 rows (4 KiB).
    pub const CHUNKS: u64 = 0;
    /// Submission queue entries: 64 command slots of 2 rows.
    pub const ENTRIES: u64 = 1;
    /// PRP lists: 64 command slots of 8 rows (256 bytes).
    pub const LISTS: u64 = 2;
    /// Ranges of the dataset-management command at work: 8 rows (256 bytes).
    pub const RANGES: u64 = 3;
    /// Descriptors of chains that drivers send: 64 slots of 32 rows (64 descriptors).
    pub const TRANSMIT_CHAINS: u64 = 4;
    /// Frames that drivers send, a ring of 1,024 rows.
    pub const FRAMES: u64 = 5;
    /// Descriptors of chains that drivers receive into: 64 slots of 32 rows (64 descriptors).
    pub const RECEIVE_CHAINS: u64 = 6;
    /// What else of virtqueues is read, `net::records::RingReader` by `RingReader`.
    pub const RINGS: u64 = 7;
}

/// Regions of DMA writes' sources.
pub struct Launch;
impl Launch {
    /// Data of read commands: 32 chunks of 128 rows (4 KiB).
    pub const CHUNKS: u64 = 0;
    /// Pages that the admin engine makes: 2 of 128 rows.
    pub const PAGES: u64 = 1;
    /// Completion queue entries: 64 of one row, in its lower 16 bytes.
    pub const COMPLETIONS: u64 = 2;
    /// Elements of used rings.
    pub const USED: u64 = 3;
    /// Frames for drivers: a ring of 1,024 rows.
    pub const FRAMES: u64 = 4;
    /// Answers to control commands: one DW.
    pub const ANSWERS: u64 = 5;
}

/// A read of host memory into a landing region.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct DmaReadRequest {
    /// The requester.
    pub function: Bits<5>,
    /// Host (bus) byte address, a multiple of 4.
    pub address: Bits<64>,
    /// DWs, 1 to 1024. It may cross 4 KiB boundaries: the engine splits.
    pub length: Bits<11>,
    /// Where the first DW goes; the rest follows consecutively, across rows.
    pub destination: BufferAddress,
    /// Returned with [`DmaDone`].
    pub context: Bits<8>,
}

/// A write of host memory from a launch region.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct DmaWriteRequest {
    /// The requester.
    pub function: Bits<5>,
    /// Host (bus) byte address, a multiple of 4.
    pub address: Bits<64>,
    /// DWs, 1 to 1024. It may cross 4 KiB boundaries: the engine splits.
    pub length: Bits<11>,
    /// Bytes of the first DW that are written; of an only DW those that `last` has too. Together with `last` without a hole
    /// (PCIe 4.0 §2.2.5).
    pub first: Bits<4>,
    /// Bytes of the last DW that are written.
    pub last: Bits<4>,
    /// Where the first DW is; the rest follows consecutively, across rows.
    pub source: BufferAddress,
    /// Returned with [`DmaDone`].
    pub context: Bits<8>,
}

/// How a DMA ended.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum DmaStatus {
    /// All data arrived, or was handed to the link in order.
    #[default]
    Ok,
    /// Bus Master Enable was 0: nothing was requested.
    NotEnabled,
    /// Unsupported Request, Completer Abort or a poisoned completion.
    Failed,
    /// No completion in time.
    Timeout,
}

/// The end of one DMA request: exactly one for each that was accepted. Receivers are always ready.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct DmaDone {
    /// The request's.
    pub context: Bits<8>,
    /// How it went.
    pub status: DmaStatus,
}

/// A write into landing RAMs, one row or the end of one and the start of the next: the bank of lane b takes
/// DW b of `data` at `row + wrap[b]` if `enable[b]`. `row` is `{region, row}`.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct LandingWrite {
    /// Banks that are written.
    pub enable: Bits<8>,
    /// Banks that take the next row.
    pub wrap: Bits<8>,
    /// `{region (3), row (12)}`.
    pub row: Bits<15>,
    /// DW b for the bank of lane b.
    pub data: Bits<DATA_BITS>,
}

/// A read of launch RAMs: the bank of lane b reads `row + wrap[b]`; the data come one cycle later.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct LaunchRead {
    /// Banks that read the next row.
    pub wrap: Bits<8>,
    /// `{region (3), row (12)}`.
    pub row: Bits<15>,
}

/// A request for an interrupt message. It follows on the link whatever was handed to the link before it.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct InterruptRequest {
    /// The requester.
    pub function: Bits<5>,
    /// MSI-X vector.
    pub vector: Bits<3>,
}

/// A submission queue entry that was fetched (NVMe 1.4 §4.2), with the slot it was given.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Command {
    /// Command slot: 64 in all, shared by all controllers.
    pub slot: Bits<6>,
    /// NVMe controller (see `abi::card::controller_of`).
    pub controller: Bits<4>,
    /// Opcode.
    pub opcode: Bits<8>,
    /// Command DW0 bits 15:8: FUSE and PSDT.
    pub flags: Bits<8>,
    /// Command Identifier.
    pub cid: Bits<16>,
    /// Namespace identifier.
    pub nsid: Bits<32>,
    /// PRP entry 1.
    pub prp1: Bits<64>,
    /// PRP entry 2.
    pub prp2: Bits<64>,
    /// Command DWs 10 to 15, DW 10 least significant.
    pub cdw10: Bits<32>,
    /// Command DW 11.
    pub cdw11: Bits<32>,
    /// Command DW 12.
    pub cdw12: Bits<32>,
    /// Command DW 13.
    pub cdw13: Bits<32>,
    /// Command DW 14.
    pub cdw14: Bits<32>,
    /// Command DW 15.
    pub cdw15: Bits<32>,
}

/// The result of a [`Command`]: exactly one for each.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct CommandResult {
    /// The command's slot.
    pub slot: Bits<6>,
    /// Status field without the phase tag: DNR, M, CRD (2), SCT (3), SC (8) (NVMe 1.4 §4.6.1).
    pub status: Bits<15>,
    /// Completion queue entry DW0.
    pub dw0: Bits<32>,
}

/// What a namespace of a controller is mapped onto. Index of the table: `{controller (4), nsid - 1 (2)}`.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Volume {
    /// The namespace exists.
    pub attached: Bit,
    /// Writes are refused (NVMe 1.4: Namespace is Write Protected).
    pub read_only: Bit,
    /// Logical blocks of 4 KiB; else of 512 bytes.
    pub large_blocks: Bit,
    /// Byte address on the media, a multiple of 4 KiB.
    pub base: Bits<48>,
    /// Size in logical blocks.
    pub blocks: Bits<40>,
}

/// Sent by PF0's registers when a volume is attached, changed or detached; receivers keep a RAM of volumes.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct VolumeUpdate {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// `{controller (4), nsid - 1 (2)}`.
    pub index: Bits<6>,
    /// The volume from now on.
    pub volume: Volume,
}

/// What the media does beside reading and writing.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum MediaOperation {
    /// Make durable what was written in the range.
    #[default]
    Flush,
    /// The range's contents may be given up; it reads as zeroes.
    Discard,
    /// The range reads as zeroes, durably as any write.
    WriteZeroes,
}

/// A request to the media.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct MediaRequest {
    /// What to do.
    pub operation: MediaOperation,
    /// First byte, a multiple of 512.
    pub address: Bits<48>,
    /// Bytes, a multiple of 512.
    pub length: Bits<48>,
    /// Returned with the response.
    pub id: Bits<6>,
}

/// The answer to a [`MediaRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct MediaResponse {
    /// The request's.
    pub id: Bits<6>,
    /// It failed.
    pub error: Bit,
}
