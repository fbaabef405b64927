//! Which function of which card a command is about.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nitride_driver::{Function, Vfio, VfioUser, vfio};
use serde_json::json;

use super::ctl;

/// Where a function is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Socket(PathBuf),
    Device(String),
    Simulated,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("name a socket, a PCI address, or `sim`".into());
        }
        if text == "sim" {
            return Ok(Self::Simulated);
        }
        if let Some(address) = vfio::parse_address(text) {
            return Ok(Self::Device(address));
        }
        Ok(Self::Socket(text.into()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Device(address) => f.write_str(address),
            Self::Simulated => f.write_str("sim"),
        }
    }
}

impl Target {
    /// Opens the function; nothing where it is one of a card that is yet to be simulated.
    pub fn open(&self) -> Result<Option<Arc<dyn Function>>> {
        Ok(match self {
            Self::Socket(path) => Some(Arc::new(VfioUser::open(path)?)),
            Self::Device(address) => Some(Arc::new(Vfio::open(address)?)),
            Self::Simulated => None,
        })
    }

    /// Clock cycles of the card so far: its simulator's, here or in the daemon whose control socket is next to the function's.
    pub fn clock(&self, function: &dyn Function) -> Result<u64> {
        if let Some(cycles) = function.cycles() {
            return Ok(cycles);
        }
        let Self::Socket(socket) = self else { bail!("only a simulated card has one") };
        let control = socket.with_file_name("control.sock");
        let counters = ctl::ask(&control, &json!({ "command": "counters" }))?;
        counters["clock"].as_u64().with_context(|| format!("{} does not tell the clock", control.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pci_address_is_told_from_a_socket() {
        assert_eq!("01:00.2".parse(), Ok(Target::Device("0000:01:00.2".into())));
        assert_eq!("sim".parse(), Ok(Target::Simulated));
        assert_eq!("run/pf2.sock".parse(), Ok(Target::Socket("run/pf2.sock".into())));
        assert!("".parse::<Target>().is_err());
    }
}
