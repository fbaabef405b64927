//! The root complex: the host's side of every request.

mod dma;
mod fault;
mod iommu;
mod requester;

pub(crate) use dma::{DmaRequest, apply_write, completions, failed};
pub use fault::{ReadFault, ReadFaultKind};
pub(crate) use iommu::Iommu;
pub use iommu::MapError;
pub use requester::{Failure, HostRequest, Outcome, Ticket};
pub(crate) use requester::{RAW_TAGS, Requester, posted_write};
