//! `--on sim`: a function of a card that is simulated in this process.

use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use nitride_abi::card::{PF_MANAGEMENT, VF_STORAGE_FIRST, VFS, controller_of};
use nitride_driver::Function;
use nitride_driver::management::{Management, Volume};
use nitride_sim::{Card, Options, Simulator};
use rustix::fs::MemfdFlags;

/// Bytes of a scratch volume.
const SCRATCH: u64 = 64 << 20;

/// The card's first VF, with `image` or a scratch volume in memory as its namespace 1. The card lives as long as it.
pub fn function(image: Option<&Path>) -> Result<Arc<dyn Function>> {
    let simulator = Simulator::start(Box::new(Card::new()), Options::default())?;
    let scratch = rustix::fs::memfd_create("scratch", MemfdFlags::CLOEXEC).context("scratch volume")?;
    rustix::fs::ftruncate(&scratch, SCRATCH).context("scratch volume")?;
    let path = image.map_or_else(|| format!("/proc/self/fd/{}", scratch.as_raw_fd()).into(), Path::to_owned);
    let bytes = simulator.with(move |system| system.media().attach(0, &path, false))??;
    let management = Management::open(Arc::new(simulator.endpoint(PF_MANAGEMENT)?))?;
    let controller = controller_of(VF_STORAGE_FIRST, VFS).context("the card's first VF is no controller")?;
    let volume = Volume { base: 0, blocks: bytes / 512, large_blocks: false, read_only: false };
    management.set_volume(controller, 1, volume)?;
    Ok(Arc::new(simulator.endpoint(VF_STORAGE_FIRST)?))
}
