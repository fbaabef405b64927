//! The card's management function, PF0: volumes and counters.
//!
//! ```no_run
//! use std::sync::Arc;
//! use nitride_driver::VfioUser;
//! use nitride_driver::management::{Management, Volume};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let card = Management::open(Arc::new(VfioUser::open("/run/nitride/pf0.sock".as_ref())?))?;
//! let volume = Volume { base: 0, blocks: 1 << 20, large_blocks: false, read_only: false };
//! card.set_volume(0, 1, volume)?;
//! # Ok(())
//! # }
//! ```

mod network;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nitride_abi::management::{
    self as registers, Counter, Profile, VOLUME_ATTACHED, VOLUME_BASE_MASK, VOLUME_BLOCKS_MASK,
    VOLUME_LARGE_BLOCKS, VOLUME_READ_ONLY, volume_index,
};

use crate::function::{self, Function};

pub use network::{Assignment, Port};

/// What can go wrong with the management function.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The function, or the way to it, failed.
    #[error(transparent)]
    Function(#[from] function::Error),
    /// The function is not a card's management function, or one of another register layout.
    #[error("{name}: {detail}")]
    NotManagement {
        /// The function.
        name: String,
        /// What it has instead.
        detail: String,
    },
    /// The card has no such volume, or cannot hold one of that shape.
    #[error("volume of controller {controller}, namespace {nsid}: {detail}")]
    Volume {
        /// Index of the NVMe controller.
        controller: u8,
        /// NSID, from 1 on.
        nsid: u32,
        /// What is wrong.
        detail: String,
    },
    /// The card has no such port, network or device, or no room in a table.
    #[error("{what}: {detail}")]
    Network {
        /// What was asked for.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
}

/// The result of every operation on the management function.
pub type Result<T> = std::result::Result<T, Error>;

/// A volume: what a namespace is on the media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    /// Byte address on the media, a multiple of 4 KiB below 2^48.
    pub base: u64,
    /// Size in logical blocks, 1 to 2^40 - 1.
    pub blocks: u64,
    /// Logical blocks of 4 KiB; else of 512 bytes.
    pub large_blocks: bool,
    /// Writes are refused.
    pub read_only: bool,
}

/// The management function of a card.
pub struct Management {
    function: Arc<dyn Function>,
    profile: Profile,
    /// Each window holds one entry at a time.
    window: Mutex<()>,
}

impl Management {
    /// Checks that `function` is a management function whose registers this driver knows.
    pub fn open(function: Arc<dyn Function>) -> Result<Self> {
        // Memory space enable (PCIe 4.0 §7.5.1.1.3).
        let mut command = [0; 2];
        function.config_read(4, &mut command)?;
        command[0] |= 0x02;
        function.config_write(4, &command)?;

        let not = |detail| Error::NotManagement { name: function.info().name.clone(), detail };
        let magic = read(&*function, registers::IDENTIFICATION)?;
        if magic != registers::MAGIC {
            return Err(not(format!(
                "not a card's management function (it identifies itself as {magic:#018x})"
            )));
        }
        let version = read(&*function, registers::VERSION)?;
        if version >> 16 != registers::VERSION_VALUE >> 16 {
            let (has, known) = (version >> 16, registers::VERSION_VALUE >> 16);
            return Err(not(format!(
                "its registers are of version {has}, this program knows version {known}"
            )));
        }
        let profile = Profile::decode(read(&*function, registers::PROFILE)?);
        Ok(Self { function, profile, window: Mutex::new(()) })
    }

    /// What the card was built with.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// The number of NVMe controllers.
    pub fn controllers(&self) -> u8 {
        self.profile.vfs.saturating_add(1)
    }

    /// The volume of a controller's namespace, if there is one.
    pub fn volume(&self, controller: u8, nsid: u32) -> Result<Option<Volume>> {
        let _window = self.select(controller, nsid)?;
        self.selected()
    }

    /// All volumes: controller, NSID, volume.
    pub fn volumes(&self) -> Result<Vec<(u8, u32, Volume)>> {
        let mut volumes = Vec::new();
        for controller in 0..self.controllers() {
            for nsid in 1..=self.profile.namespaces as u32 {
                if let Some(volume) = self.volume(controller, nsid)? {
                    volumes.push((controller, nsid, volume));
                }
            }
        }
        Ok(volumes)
    }

    /// Makes `volume` a controller's namespace, in place of what was there.
    pub fn set_volume(&self, controller: u8, nsid: u32, volume: Volume) -> Result<()> {
        let fits = volume.base & !VOLUME_BASE_MASK == 0 && volume.blocks & !VOLUME_BLOCKS_MASK == 0;
        if !fits || volume.blocks == 0 {
            let detail =
                format!("{volume:?} is not at a multiple of 4 KiB below 2^48 with 1 to 2^40 - 1 blocks");
            return Err(Error::Volume { controller, nsid, detail });
        }
        self.commit(controller, nsid, Some(volume))
    }

    /// Takes a controller's namespace away.
    pub fn clear_volume(&self, controller: u8, nsid: u32) -> Result<()> {
        self.commit(controller, nsid, None)
    }

    /// The value of every counter.
    pub fn counters(&self) -> Result<Vec<(Counter, u64)>> {
        let known = Counter::ALL.into_iter().take(self.profile.counters as usize);
        known.map(|counter| Ok((counter, read(&*self.function, counter.offset())?))).collect()
    }

    fn commit(&self, controller: u8, nsid: u32, volume: Option<Volume>) -> Result<()> {
        let _window = self.select(controller, nsid)?;
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let flags = volume.map_or(0, |volume| {
            VOLUME_ATTACHED
                | flag(volume.read_only, VOLUME_READ_ONLY)
                | flag(volume.large_blocks, VOLUME_LARGE_BLOCKS)
        });
        self.write(registers::VOLUME_FLAGS, flags)?;
        self.write(registers::VOLUME_BASE, volume.map_or(0, |volume| volume.base))?;
        self.write(registers::VOLUME_BLOCKS, volume.map_or(0, |volume| volume.blocks))?;
        self.write(registers::VOLUME_COMMIT, 1)?;
        // Selecting it again loads what the card has really stored.
        self.write_index(controller, nsid)?;
        let stored = self.selected()?;
        if stored != volume {
            return Err(Error::Volume {
                controller,
                nsid,
                detail: format!("the card stored {stored:?} for {volume:?}"),
            });
        }
        Ok(())
    }

    fn select(&self, controller: u8, nsid: u32) -> Result<MutexGuard<'_, ()>> {
        // The window is selected afresh at each use, so a panic in between leaves nothing behind.
        let window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_index(controller, nsid)?;
        Ok(window)
    }

    fn write_index(&self, controller: u8, nsid: u32) -> Result<()> {
        let exists = controller < self.controllers() && nsid <= self.profile.namespaces as u32;
        let index = volume_index(controller, nsid).filter(|_| exists).ok_or_else(|| {
            let detail = format!(
                "the card has {} controllers of {} namespaces",
                self.controllers(),
                self.profile.namespaces
            );
            Error::Volume { controller, nsid, detail }
        })?;
        self.write(registers::VOLUME_INDEX, index as u64)
    }

    fn selected(&self) -> Result<Option<Volume>> {
        let flags = read(&*self.function, registers::VOLUME_FLAGS)?;
        if flags & VOLUME_ATTACHED == 0 {
            return Ok(None);
        }
        Ok(Some(Volume {
            base: read(&*self.function, registers::VOLUME_BASE)?,
            blocks: read(&*self.function, registers::VOLUME_BLOCKS)?,
            large_blocks: flags & VOLUME_LARGE_BLOCKS != 0,
            read_only: flags & VOLUME_READ_ONLY != 0,
        }))
    }

    fn write(&self, offset: u64, value: u64) -> Result<()> {
        Ok(self.function.bar_write(0, offset, &value.to_le_bytes())?)
    }
}

fn read(function: &dyn Function, offset: u64) -> Result<u64> {
    let mut bytes = [0; 8];
    function.bar_read(0, offset, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests;
