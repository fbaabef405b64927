//! Primitives of which the card is made. Each says its latency, its throughput and its back-pressure.
mod fifo;
mod mux;
mod ram;
mod reg;
mod select;
mod stream;
mod width;

pub use fifo::{Fifo, RegFifo, Skid};
pub use mux::{StreamArbiter, StreamMux};
pub use ram::{Ram, Ram2, Rom};
pub use reg::Reg;
pub use select::{Arbiter, Counter, PriorityEncoder, lowest_one, one_hot_index};
pub use stream::{Sink, Source};
pub use width::{Narrow, Part, Wide, Widen};
