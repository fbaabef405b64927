//! The simulated card: the Verilated RTL in a PCIe host of software.
//!
//! Three levels, each usable alone:
//! - `Card`: the Verilated card and its ports, one clock edge at a time;
//! - [`System`]: a card (anything that implements [`Edge`]) with a root complex and media, deterministic
//!   for a seed, one clock cycle a [`System::step`];
//! - [`Simulator`]: a `System` on its own thread, from which come [`Endpoint`]s: the back end of
//!   [`nitride_driver::Function`] for a simulated function.

mod card;
mod counters;
pub mod daemon;
mod edge;
mod endpoint;
mod ethernet;
mod firmware;
mod interrupts;
mod link;
mod log;
mod media;
mod options;
mod pcapng;
mod root;
mod simulator;
mod system;
mod tlp;

pub use card::Card;
pub use counters::{Counters, FunctionCounters, LinkCounters};
pub use edge::{
    AxiAddress, AxiDone, AxiRead, AxiWrite, Beat, Edge, EthernetInputs, EthernetOutputs, Inputs, MediaInputs,
    MediaOperation, MediaOutputs, MediaRequest, MediaResponse, Outputs, PacketBeat,
};
pub use endpoint::Endpoint;
pub use ethernet::{AttachError, Attachment, EthernetCounters, EthernetPort, Peer};
pub use firmware::{BarAddress, FunctionKind, PciFunction, Topology};
pub use interrupts::Interrupt;
pub use media::{ErrorRange, Image, ImageError, Media};
pub use options::{LinkOptions, MediaOptions, Options, Trace};
pub use root::{Failure, HostRequest, MapError, Outcome, ReadFault, ReadFaultKind, Ticket};
pub use simulator::{Simulator, Speed};
pub use system::{BUS, System, Violation};
pub use tlp::{Class, Tlp};

/// Why a system could not be built, booted or used. One line: what was asked, what is wrong, what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the options cannot be used.
    #[error("{what} {path}: {source}")]
    File {
        /// What the file is for.
        what: &'static str,
        /// Which one.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The card does not do what a PCIe function must.
    #[error("function {function}: {what}: {detail}")]
    Card {
        /// The function's number.
        function: u8,
        /// What was asked of it.
        what: &'static str,
        /// How it answered.
        detail: String,
    },
    /// The card has no such function.
    #[error("function {0}: the card has no such function (`Topology` lists what it has)")]
    NoFunction(u8),
    /// The simulation's thread has ended.
    #[error("the simulated card has stopped")]
    Stopped,
    /// The system would not start a thread.
    #[error("simulation thread: {0}")]
    Thread(std::io::Error),
}
