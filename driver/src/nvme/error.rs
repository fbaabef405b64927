//! What can go wrong with an NVMe controller.

use std::time::Duration;

use nitride_abi::nvme::Status;

/// An NVMe error. One line: what was asked, what is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The function, or the way to it, failed.
    #[error(transparent)]
    Function(#[from] crate::Error),
    /// The controller completed a command with an error.
    #[error("{command}: {status}")]
    Status {
        /// The command.
        command: &'static str,
        /// What the controller said.
        status: Status,
    },
    /// The command did not complete in time, and the controller aborted it.
    #[error("{command}: aborted after {} s without an answer", after.as_secs_f32())]
    Aborted {
        /// The command.
        command: &'static str,
        /// The time it was given.
        after: Duration,
    },
    /// The command was lost in a controller reset, its own time-out's or another's. It may or may not have
    /// taken effect; the controller works again.
    #[error("{command}: lost in a controller reset; it may be sent again")]
    Reset {
        /// The command.
        command: &'static str,
    },
    /// The controller does not do what an NVMe controller must, or has nothing that this driver could use.
    #[error("{what}: {detail}")]
    Controller {
        /// What the driver was doing.
        what: &'static str,
        /// What it saw.
        detail: String,
    },
    /// The caller asked for what no controller can do.
    #[error("{command}: {detail}")]
    Invalid {
        /// The command.
        command: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

/// The result of every operation of the driver.
pub type Result<T> = std::result::Result<T, Error>;
