//! A user-space NVMe driver on the [`Function`] seam.
//!
//! ```no_run
//! use std::sync::Arc;
//! use nitride_driver::VfioUser;
//! use nitride_driver::nvme::{Command, Nvme, Options};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let function = Arc::new(VfioUser::open("/run/nitride/pf2.sock".as_ref())?);
//! let nvme = Nvme::open(function, Options::default())?;
//! let queue = nvme.queue_pair(0).ok_or("no queue pair")?;
//! let buffer = nvme.allocate(4096)?;
//! queue.execute(&Command::Read { namespace: 1, lba: 0, blocks: 8, buffer: &buffer, offset: 0 })?;
//! # Ok(())
//! # }
//! ```
//!
//! A command that gets no answer within [`Options::timeout`] is aborted; if that does not help, the
//! controller is reset, its queues are created again, and all commands that were in flight end as
//! [`Error::Reset`].

#[cfg(feature = "tokio")]
mod asynchronous;
mod command;
mod error;
mod identify;
mod pair;
mod queue;
mod registers;
mod ring;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use nitride_abi::nvme::Sqe;

use crate::dma::Dma;
use crate::function::Function;
use queue::Data;
use shared::Shared;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncQueue;
pub use command::Command;
pub use error::{Error, Result};
pub use identify::{ControllerInfo, NamespaceInfo};
pub use pair::QueuePair;
pub use queue::Tag;

/// How the driver learns that a command has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// By looking at the completion queues.
    Poll,
    /// By MSI-X interrupts.
    Interrupt,
}

/// How to open a controller.
#[derive(Debug, Clone)]
pub struct Options {
    /// I/O queue pairs to create, if the controller has as many.
    pub queue_pairs: usize,
    /// Entries of each I/O queue; one less is the number of commands in flight.
    pub queue_entries: u32,
    /// Interrupts or polling.
    pub wait: Wait,
    /// How long a command may take.
    pub timeout: Duration,
}

impl Default for Options {
    /// One queue pair of 128 entries, interrupts, 30 seconds.
    fn default() -> Self {
        Self { queue_pairs: 1, queue_entries: 128, wait: Wait::Interrupt, timeout: Duration::from_secs(30) }
    }
}

/// An NVMe controller in use by this process.
///
/// It is disabled when the last handle on it (this one, its queue pairs') goes.
#[derive(Clone)]
pub struct Nvme {
    shared: Arc<Shared>,
}

impl Nvme {
    /// Resets the controller, identifies it and its namespaces, and creates its I/O queues.
    pub fn open(function: Arc<dyn Function>, options: Options) -> Result<Self> {
        Ok(Self { shared: Arc::new(Shared::open(function, options)?) })
    }

    /// What the controller says of itself.
    pub fn controller(&self) -> &ControllerInfo {
        &self.shared.controller
    }

    /// The namespaces that were active when the controller was opened.
    pub fn namespaces(&self) -> &[NamespaceInfo] {
        &self.shared.namespaces
    }

    /// The number of I/O queue pairs.
    pub fn queue_pairs(&self) -> usize {
        self.shared.queues.len()
    }

    /// The I/O queue pair `index`, from 0 on.
    pub fn queue_pair(&self, index: usize) -> Option<QueuePair> {
        (index < self.queue_pairs()).then(|| QueuePair { shared: self.shared.clone(), index })
    }

    /// DMA memory for data, zeroed.
    pub fn allocate(&self, len: usize) -> Result<Dma> {
        Ok(self.shared.space.allocate(len)?)
    }

    /// Executes an admin command that transfers up to `buffer.len()` bytes; its result is dword 0 of the
    /// completion. The command identifier and the data pointer are the driver's.
    pub fn admin(&self, sqe: Sqe, buffer: Option<&Dma>) -> Result<u32> {
        let data = buffer.map_or(Data::None, |buffer| Data::Buffer(buffer, 0, buffer.len()));
        self.shared.admin(sqe, &data, "admin command")
    }

    /// Controller reset: the queues are created again, commands in flight end as [`Error::Reset`].
    pub fn reset(&self) -> Result<()> {
        self.shared.reset_once(self.shared.generation())
    }

    /// How often the controller was reset since it was opened.
    pub fn resets(&self) -> u32 {
        self.shared.generation()
    }

    /// Whether the controller reports a fatal error (CSTS.CFS): only [`Nvme::reset`] helps then.
    pub fn is_fatal(&self) -> Result<bool> {
        self.shared.is_fatal()
    }

    /// Normal shutdown (NVMe 1.4 §7.6.2): all that was written is durable. No command works afterwards.
    pub fn shutdown(self) -> Result<()> {
        self.shared.shutdown()
    }

    /// The function that the controller is.
    pub fn function(&self) -> &Arc<dyn Function> {
        &self.shared.function
    }
}
