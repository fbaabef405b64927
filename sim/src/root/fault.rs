//! Reads of the card that the host is told to fail.

use std::ops::Range;

use nitride_abi::tlp::{POISONED, Status};

use super::dma::{DmaRequest, failed};
use crate::tlp::Tlp;

/// How a read fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFaultKind {
    /// Completed with UR.
    UnsupportedRequest,
    /// Completed with CA.
    CompleterAbort,
    /// Completed with poisoned data (PCIe 4.0 §2.7.2).
    Poisoned,
    /// Not completed.
    Dropped,
    /// Its last completion does not come.
    Truncated,
}

/// Reads of a function that fail: those that touch a range of its I/O virtual addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFault {
    /// The function's number.
    pub function: u8,
    /// I/O virtual addresses.
    pub range: Range<u64>,
    /// How they fail.
    pub kind: ReadFaultKind,
}

impl ReadFault {
    pub(crate) fn concerns(&self, request: &DmaRequest) -> bool {
        let access = request.access();
        self.function == request.requester as u8
            && access.address < self.range.end
            && self.range.start < access.address + access.len as u64
    }
}

impl ReadFaultKind {
    /// What becomes of the completions of a read.
    pub(crate) fn spoil(self, request: &DmaRequest, mut completions: Vec<Tlp>) -> Vec<Tlp> {
        match self {
            Self::UnsupportedRequest => vec![failed(request, Status::UnsupportedRequest)],
            Self::CompleterAbort => vec![failed(request, Status::CompleterAbort)],
            Self::Poisoned => {
                for tlp in &mut completions {
                    POISONED.set(&mut tlp.header, 1);
                }
                completions
            }
            Self::Dropped => Vec::new(),
            Self::Truncated => {
                completions.pop();
                completions
            }
        }
    }
}
