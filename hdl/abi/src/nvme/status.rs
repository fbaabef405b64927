//! Statuses (NVMe 1.4 §4.6.1, Figures 125 to 129).

use core::fmt;

/// The Status Field of a completion without the phase tag, 15 bits: SC in 7:0, SCT in 10:8, CRD in
/// 12:11, M in 13, DNR in 14.
///
/// The constants are what the card answers, Do Not Retry included: it is 1 wherever the same command
/// would fail again.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Status(u16);

const DNR: u16 = 1 << 14;

/// Status code type 0, generic command status (Figure 126).
const GENERIC: u16 = 0;
/// Status code type 1, command specific status (Figure 128).
const SPECIFIC: u16 = 1;
/// Status code type 2, media and data integrity errors (Figure 130).
const MEDIA: u16 = 2;

const fn retry(kind: u16, code: u16) -> Status {
    Status(kind << 8 | code)
}

const fn fatal(kind: u16, code: u16) -> Status {
    Status(kind << 8 | code | DNR)
}

impl Status {
    /// Successful Completion.
    pub const SUCCESS: Self = retry(GENERIC, 0x00);
    /// Invalid Command Opcode.
    pub const INVALID_OPCODE: Self = fatal(GENERIC, 0x01);
    /// Invalid Field in Command.
    pub const INVALID_FIELD: Self = fatal(GENERIC, 0x02);
    /// Data Transfer Error: a DMA of the command failed.
    pub const DATA_TRANSFER_ERROR: Self = retry(GENERIC, 0x04);
    /// Internal Error.
    pub const INTERNAL_ERROR: Self = retry(GENERIC, 0x06);
    /// Command Abort Requested.
    pub const ABORT_REQUESTED: Self = retry(GENERIC, 0x07);
    /// Command Aborted due to SQ Deletion.
    pub const ABORTED_SQ_DELETION: Self = retry(GENERIC, 0x08);
    /// Invalid Namespace or Format.
    pub const INVALID_NAMESPACE: Self = fatal(GENERIC, 0x0b);
    /// Command Sequence Error.
    pub const COMMAND_SEQUENCE_ERROR: Self = fatal(GENERIC, 0x0c);
    /// PRP Offset Invalid.
    pub const PRP_OFFSET_INVALID: Self = fatal(GENERIC, 0x13);
    /// Namespace is Write Protected.
    pub const WRITE_PROTECTED: Self = fatal(GENERIC, 0x20);
    /// LBA Out of Range.
    pub const LBA_OUT_OF_RANGE: Self = fatal(GENERIC, 0x80);
    /// Completion Queue Invalid.
    pub const COMPLETION_QUEUE_INVALID: Self = fatal(SPECIFIC, 0x00);
    /// Invalid Queue Identifier.
    pub const INVALID_QUEUE_ID: Self = fatal(SPECIFIC, 0x01);
    /// Invalid Queue Size.
    pub const INVALID_QUEUE_SIZE: Self = fatal(SPECIFIC, 0x02);
    /// Asynchronous Event Request Limit Exceeded.
    pub const ASYNC_LIMIT_EXCEEDED: Self = fatal(SPECIFIC, 0x05);
    /// Invalid Interrupt Vector.
    pub const INVALID_VECTOR: Self = fatal(SPECIFIC, 0x08);
    /// Invalid Log Page.
    pub const INVALID_LOG_PAGE: Self = fatal(SPECIFIC, 0x09);
    /// Invalid Queue Deletion.
    pub const INVALID_QUEUE_DELETION: Self = fatal(SPECIFIC, 0x0c);
    /// Feature Identifier Not Saveable.
    pub const FEATURE_NOT_SAVEABLE: Self = fatal(SPECIFIC, 0x0d);
    /// Write Fault.
    pub const WRITE_FAULT: Self = retry(MEDIA, 0x80);
    /// Unrecovered Read Error.
    pub const UNRECOVERED_READ_ERROR: Self = retry(MEDIA, 0x81);

    /// The status of 15 bits as they lie in a completion, without the phase tag.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0x7fff)
    }

    /// Its 15 bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// SC, the status code.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0 as u8
    }

    /// SCT, the status code type (3 bits).
    #[must_use]
    pub const fn kind(self) -> u8 {
        (self.0 >> 8) as u8 & 7
    }

    /// DNR: the same command would fail again.
    #[must_use]
    pub const fn do_not_retry(self) -> bool {
        self.0 & DNR != 0
    }

    /// Whether the command did what it should.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.kind() == 0 && self.code() == 0
    }

    /// The specification's words for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match (self.kind(), self.code()) {
            (0, 0x00) => "Successful Completion",
            (0, 0x01) => "Invalid Command Opcode",
            (0, 0x02) => "Invalid Field in Command",
            (0, 0x03) => "Command ID Conflict",
            (0, 0x04) => "Data Transfer Error",
            (0, 0x05) => "Commands Aborted due to Power Loss Notification",
            (0, 0x06) => "Internal Error",
            (0, 0x07) => "Command Abort Requested",
            (0, 0x08) => "Command Aborted due to SQ Deletion",
            (0, 0x0b) => "Invalid Namespace or Format",
            (0, 0x0c) => "Command Sequence Error",
            (0, 0x13) => "PRP Offset Invalid",
            (0, 0x20) => "Namespace is Write Protected",
            (0, 0x80) => "LBA Out of Range",
            (0, 0x81) => "Capacity Exceeded",
            (0, 0x82) => "Namespace Not Ready",
            (1, 0x00) => "Completion Queue Invalid",
            (1, 0x01) => "Invalid Queue Identifier",
            (1, 0x02) => "Invalid Queue Size",
            (1, 0x03) => "Abort Command Limit Exceeded",
            (1, 0x05) => "Asynchronous Event Request Limit Exceeded",
            (1, 0x08) => "Invalid Interrupt Vector",
            (1, 0x09) => "Invalid Log Page",
            (1, 0x0a) => "Invalid Format",
            (1, 0x0c) => "Invalid Queue Deletion",
            (1, 0x0d) => "Feature Identifier Not Saveable",
            (1, 0x0e) => "Feature Not Changeable",
            (2, 0x80) => "Write Fault",
            (2, 0x81) => "Unrecovered Read Error",
            (2, 0x85) => "Compare Failure",
            (2, 0x86) => "Access Denied",
            (2, 0x87) => "Deallocated or Unwritten Logical Block",
            (7, _) => "vendor specific status",
            _ => "unknown status",
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (type {}, code {:02x}h", self.name(), self.kind(), self.code())?;
        f.write_str(if self.do_not_retry() { ", do not retry)" } else { ")" })
    }
}
