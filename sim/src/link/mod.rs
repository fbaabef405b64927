//! The PCIe link: TLPs under way in both directions, with latency, ordering and credits.

mod downstream;
mod upstream;

pub(crate) use downstream::Downstream;
pub(crate) use upstream::{Arrival, Upstream};
