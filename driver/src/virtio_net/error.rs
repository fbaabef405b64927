//! What can go wrong with a network device.

/// An error of the virtio-net driver. One line: what was asked, what is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The function, or the way to it, failed.
    #[error(transparent)]
    Function(#[from] crate::Error),
    /// The function is no virtio network device, or not one that this driver can use.
    #[error("{name}: {detail}")]
    NotNetwork {
        /// The function.
        name: String,
        /// What it has instead.
        detail: String,
    },
    /// The device does not keep to the specification, or has given up (DEVICE_NEEDS_RESET).
    #[error("{what}: {detail}")]
    Device {
        /// What the driver was doing.
        what: &'static str,
        /// What it saw.
        detail: String,
    },
    /// The device answered a control command with VIRTIO_NET_ERR.
    #[error("{command}: the device refused it")]
    Refused {
        /// The command.
        command: &'static str,
    },
    /// The caller asked for what no device can do.
    #[error("{what}: {detail}")]
    Invalid {
        /// What was asked for.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}

/// The result of every operation of the driver.
pub type Result<T> = std::result::Result<T, Error>;
