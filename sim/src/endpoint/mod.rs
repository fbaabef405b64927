//! One function of a simulated card, as vfio-pci gives it to a process.

mod config;
mod msix;

use std::sync::Arc;

use nitride_driver::{Access, Bar, Error, Function, Info, Interrupts, Memory, Result, WIDTHS};
use parking_lot::Mutex;

use crate::firmware::{FunctionKind, PciFunction, reg};
use crate::root::{Failure, HostRequest, MapError};
use crate::simulator::{Command, Simulator};
use config::{Effect, VirtualConfig};

const CONFIG_SIZE: u16 = 4096;

/// A function of a simulated card: the back end of [`Function`].
///
/// What its user must not touch is virtual: BARs, memory space enable, a VF's IDs, the power state, MSI-X
/// enable. Writes to configuration space reach the function where vfio-pci lets them, and are dropped elsewhere;
/// a write of Initiate Function Level Reset is [`Function::reset`]. Writes to the MSI-X table and pending
/// bits are dropped, since [`Function::set_msix`] owns them.
///
/// Dropping an endpoint ends the function's bus mastering, its DMA mappings and its interrupts. It resets
/// nothing, since a PF's reset would take its VFs along: who hands a function on to another user calls
/// [`Function::reset`].
pub struct Endpoint {
    simulator: Simulator,
    function: PciFunction,
    info: Info,
    state: Mutex<State>,
}

/// What the endpoint keeps beside the function.
struct State {
    config: VirtualConfig,
    /// Vectors whose table entry is programmed and not masked.
    unmasked: Vec<bool>,
    enabled: bool,
}

impl Endpoint {
    pub(crate) fn new(simulator: Simulator, function: PciFunction) -> Self {
        let bars = function
            .bars
            .map(|bar| bar.map(|bar| Bar { size: bar.size, wide: bar.wide, prefetchable: bar.prefetchable }));
        let info = Info {
            name: format!("sim:{}", function.number),
            bars,
            msix_vectors: function.msix_vectors(),
            config_size: CONFIG_SIZE,
        };
        let state = State {
            config: VirtualConfig::new(&function),
            unmasked: vec![false; usize::from(info.msix_vectors)],
            enabled: false,
        };
        Self { simulator, function, info, state: Mutex::new(state) }
    }

    /// The function behind it.
    pub fn function(&self) -> &PciFunction {
        &self.function
    }

    fn gone(&self, error: impl std::fmt::Display) -> Error {
        Error::Gone { name: self.info.name.clone(), detail: error.to_string() }
    }

    fn failed(what: &'static str, failure: Failure) -> Error {
        let status = match failure {
            Failure::Status(status) => status.name(),
            Failure::Poisoned => "poisoned data",
            Failure::Timeout => "completion timeout",
            Failure::Invalid => "impossible request",
        };
        Error::Completion { what, status }
    }

    /// Bus address of a checked access to a BAR.
    fn bar_address(&self, what: &'static str, bar: u8, offset: u64, len: usize) -> Result<u64> {
        let out = |detail| Error::OutOfRange { what, detail };
        let place = self.function.bars.get(usize::from(bar)).copied().flatten();
        let place = place.ok_or_else(|| out(format!("the function has no BAR {bar}")))?;
        if !WIDTHS.contains(&len) {
            return Err(out(format!("{len} bytes, not 1, 2, 4 or 8")));
        }
        if !offset.is_multiple_of(len as u64) {
            return Err(out(format!("offset {offset:#x} is not a multiple of {len}")));
        }
        if offset >= place.size {
            return Err(out(format!("offset {offset:#x} is past BAR {bar}'s {:#x} bytes", place.size)));
        }
        Ok(place.address + offset)
    }

    fn config_range(what: &'static str, offset: u16, len: usize) -> Result<()> {
        if usize::from(offset) + len > usize::from(CONFIG_SIZE) {
            let detail = format!("{len} bytes at {offset:#x} reach past configuration space's {CONFIG_SIZE}");
            return Err(Error::OutOfRange { what, detail });
        }
        Ok(())
    }

    /// Reads the DWs that hold the range from the function itself.
    fn read_words(&self, what: &'static str, offset: u16, len: usize) -> Result<Vec<u32>> {
        let first = offset & !3;
        let last = (offset + len as u16 - 1) & !3;
        let function = self.function.number;
        let requests: Vec<_> = (first..=last)
            .step_by(4)
            .map(|offset| HostRequest::ConfigRead { function, offset, len: 4 })
            .collect();
        let outcomes = self.simulator.requests(&requests).map_err(|error| self.gone(error))?;
        let word = |data: Vec<u8>| data.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        outcomes.into_iter().map(|outcome| outcome.map(word).map_err(|f| Self::failed(what, f))).collect()
    }

    fn reset_locked(&self, state: &mut State) -> Result<()> {
        let number = self.function.number;
        let result = self.simulator.call(move |core| {
            core.routes.clear_from(number, 0);
            core.system.reset(number)
        });
        state.config.reset();
        state.unmasked.fill(false);
        state.enabled = false;
        result.map_err(|error| self.gone(error))?.map_err(|error| Error::Io {
            what: "function level reset".into(),
            source: std::io::Error::other(error),
        })
    }
}

impl Function for Endpoint {
    fn info(&self) -> &Info {
        &self.info
    }

    fn config_read(&self, offset: u16, data: &mut [u8]) -> Result<()> {
        Self::config_range("configuration read", offset, data.len())?;
        if data.is_empty() {
            return Ok(());
        }
        let state = self.state.lock();
        let words = self.read_words("configuration read", offset, data.len())?;
        let first = offset & !3;
        for (byte, at) in data.iter_mut().zip(offset..) {
            let dw = at & !3;
            let word = state.config.read(dw, words[usize::from((dw - first) / 4)]);
            *byte = word.to_le_bytes()[usize::from(at % 4)];
        }
        Ok(())
    }

    fn config_write(&self, offset: u16, data: &[u8]) -> Result<()> {
        Self::config_range("configuration write", offset, data.len())?;
        let mut state = self.state.lock();
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u16;
            let len = (4 - usize::from(at % 4)).min(data.len() - done);
            let mut value = [0; 4];
            value[..len].copy_from_slice(&data[done..done + len]);
            done += len;
            match state.config.write(at, len as u8, u32::from_le_bytes(value)) {
                Effect::None => {}
                Effect::Reset => self.reset_locked(&mut state)?,
                Effect::Write { offset, len, mask, value } => {
                    let function = self.function.number;
                    // What the user may not change keeps the value that it has.
                    let kept = if mask == u32::MAX >> (32 - 8 * u32::from(len)) {
                        0
                    } else {
                        let words = self.read_words("configuration write", offset, usize::from(len))?;
                        words[0] >> (8 * (offset % 4)) & !mask
                    };
                    let value = value & mask | kept;
                    let request = HostRequest::ConfigWrite { function, offset, len, value };
                    let mut outcomes =
                        self.simulator.requests(&[request]).map_err(|error| self.gone(error))?;
                    if let Some(Err(failure)) = outcomes.pop() {
                        return Err(Self::failed("configuration write", failure));
                    }
                }
            }
        }
        Ok(())
    }

    fn bar_read(&self, bar: u8, offset: u64, data: &mut [u8]) -> Result<()> {
        let address = self.bar_address("BAR read", bar, offset, data.len())?;
        let request = HostRequest::MemoryRead { address, len: data.len() as u16 };
        let mut outcomes = self.simulator.requests(&[request]).map_err(|error| self.gone(error))?;
        match outcomes.pop() {
            Some(Ok(read)) if read.len() == data.len() => {
                data.copy_from_slice(&read);
                Ok(())
            }
            Some(Err(failure)) => Err(Self::failed("BAR read", failure)),
            _ => Err(Self::failed("BAR read", Failure::Timeout)),
        }
    }

    fn bar_write(&self, bar: u8, offset: u64, data: &[u8]) -> Result<()> {
        let address = self.bar_address("BAR write", bar, offset, data.len())?;
        if msix::owns(&self.function, bar, offset) {
            return Ok(());
        }
        let mut value = [0; 8];
        value[..data.len()].copy_from_slice(data);
        let write = Command::Write { address, len: data.len() as u8, value: u64::from_le_bytes(value) };
        self.simulator.send(write).map_err(|error| self.gone(error))
    }

    fn set_msix(&self, vectors: Interrupts<'_>) -> Result<()> {
        self.set_vectors(vectors)
    }

    fn dma_map(&self, iova: u64, memory: Arc<Memory>, access: Access) -> Result<()> {
        let number = self.function.number;
        let result = self.simulator.call(move |core| core.system.map(number, iova, memory, access));
        result.map_err(|error| self.gone(error))?.map_err(|error| map_error("DMA map", iova, error))
    }

    fn dma_unmap(&self, iova: u64, len: u64) -> Result<()> {
        let number = self.function.number;
        let result = self.simulator.call(move |core| core.system.unmap(number, iova, len));
        result.map_err(|error| self.gone(error))?.map_err(|error| map_error("DMA unmap", iova, error))
    }

    fn reset(&self) -> Result<()> {
        self.reset_locked(&mut self.state.lock())
    }

    fn cycles(&self) -> Option<u64> {
        self.simulator.with(|system| system.cycle()).ok()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let number = self.function.number;
        let memory = if self.function.kind == FunctionKind::Physical { reg::COMMAND_MEMORY } else { 0 };
        // A simulation that has stopped has nothing left to close.
        let _ = self.simulator.call(move |core| {
            core.routes.clear_from(number, 0);
            core.system.unmap_all(number);
            core.system.config(number, reg::COMMAND, 2, Some(memory))
        });
    }
}

fn map_error(what: &'static str, iova: u64, error: MapError) -> Error {
    Error::OutOfRange { what, detail: format!("{iova:#x}: {error}") }
}

impl Endpoint {
    /// Writes the MSI-X capability's enable bit.
    fn enable_msix(
        system: &mut crate::System,
        function: &PciFunction,
        on: bool,
    ) -> std::result::Result<(), Failure> {
        let Some(msix) = function.msix else { return Ok(()) };
        let value = if on { reg::MSIX_ENABLE } else { 0 };
        system.config(function.number, msix.capability + reg::MSIX_CONTROL, 2, Some(value)).map(drop)
    }
}
