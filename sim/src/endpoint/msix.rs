//! MSI-X as vfio-pci does it: the table holds messages of ours, which lead back to event file descriptors.

use std::os::fd::OwnedFd;

use nitride_abi::tlp::MSI_WINDOW;
use nitride_driver::{Error, Interrupts, Result};

use super::{Endpoint, State};
use crate::firmware::PciFunction;

/// Bytes of a table entry (PCIe 4.0 §7.7.2): address, data, vector control.
const ENTRY: u64 = 16;
const MASKED: u32 = 1;

/// Whether an access to a BAR falls into the MSI-X table or the pending bits.
pub(super) fn owns(function: &PciFunction, bar: u8, offset: u64) -> bool {
    let Some(msix) = function.msix else { return false };
    let vectors = u64::from(msix.vectors);
    let inside = |(at, start): (u8, u64), len: u64| at == bar && (start..start + len).contains(&offset);
    inside(msix.table, vectors * ENTRY) || inside(msix.pending, vectors.div_ceil(64) * 8)
}

impl Endpoint {
    pub(super) fn set_vectors(&self, vectors: Interrupts<'_>) -> Result<()> {
        let available = usize::from(self.info.msix_vectors);
        if vectors.len() > available {
            let detail = format!("{} vectors, but the function has {available}", vectors.len());
            return Err(Error::OutOfRange { what: "MSI-X", detail });
        }
        let mut targets: Vec<Option<OwnedFd>> = Vec::with_capacity(vectors.len());
        for vector in vectors {
            let target = vector.map(|fd| fd.try_clone_to_owned()).transpose();
            targets
                .push(target.map_err(|source| Error::Io { what: "MSI-X event descriptor".into(), source })?);
        }
        let mut state = self.state.lock();
        let wanted: Vec<bool> =
            (0..available).map(|vector| targets.get(vector).is_some_and(Option::is_some)).collect();
        let enable = !vectors.is_empty();
        let changed: Vec<(usize, bool)> =
            (0..available).filter(|v| wanted[*v] != state.unmasked[*v]).map(|v| (v, wanted[v])).collect();
        let toggle = enable != state.enabled;
        let function = self.function.clone();
        let programmed = self.simulator.call(move |core| {
            let number = function.number;
            if toggle && !enable {
                Self::enable_msix(&mut core.system, &function, false)?;
            }
            core.routes.clear_from(number, targets.len() as u32);
            for (target, vector) in targets.into_iter().zip(0..) {
                match target {
                    Some(target) => core.routes.set(number, vector, target),
                    None => core.routes.remove(number, vector),
                }
            }
            for (vector, on) in changed {
                let Some(address) = entry(&function, vector as u64) else { continue };
                let mut bytes = [0; ENTRY as usize];
                bytes[..8].copy_from_slice(&MSI_WINDOW.start().to_le_bytes());
                bytes[8..12].copy_from_slice(&(vector as u32).to_le_bytes());
                bytes[12..].copy_from_slice(&(if on { 0 } else { MASKED }).to_le_bytes());
                for (at, part) in (0..).step_by(8).zip(bytes.chunks(8)) {
                    core.system.memory_write(address + at, part)?;
                }
            }
            if toggle && enable {
                Self::enable_msix(&mut core.system, &function, true)?;
            }
            Ok(())
        });
        programmed.map_err(|error| self.gone(error))?.map_err(|failure| Self::failed("MSI-X", failure))?;
        let State { unmasked, enabled, .. } = &mut *state;
        *unmasked = wanted;
        *enabled = enable;
        Ok(())
    }
}

/// Bus address of a table entry.
fn entry(function: &PciFunction, vector: u64) -> Option<u64> {
    let (bar, offset) = function.msix?.table;
    let place = function.bars.get(usize::from(bar)).copied().flatten()?;
    Some(place.address + offset + vector * ENTRY)
}
