//! A simulated card with a volume on each of its virtual functions.

use std::sync::Arc;
use std::time::Duration;

use nitride_abi::card::{PF_MANAGEMENT, VF_STORAGE_FIRST};
use nitride_driver::management::{Management, Volume};
use nitride_driver::nvme::{Nvme, Options as NvmeOptions, Wait};
use nitride_sim::{Card, Options, Simulator};

use crate::Error;

/// Size of each volume.
const BYTES: u64 = 16 << 20;
/// Media addresses from one volume to the next.
const STRIDE: u64 = 1 << 30;
/// Commands in flight on a queue at most.
pub const DEPTH: u32 = 32;

/// A card, and a driver on each of its functions.
pub struct System {
    simulator: Simulator,
    functions: Vec<Nvme>,
    _images: Vec<tempfile::NamedTempFile>,
}

impl System {
    /// Boots a card and opens its first `functions` virtual functions.
    pub fn start(functions: u8) -> Result<Self, Error> {
        let simulator = Simulator::start(Box::new(Card::new()), Options::default())?;
        let management = Management::open(Arc::new(simulator.endpoint(PF_MANAGEMENT)?))?;
        let (mut images, mut drivers) = (Vec::new(), Vec::new());
        for index in 0..functions {
            let image = tempfile::NamedTempFile::new()?;
            image.as_file().set_len(BYTES)?;
            let (base, path) = (STRIDE * u64::from(index), image.path().to_owned());
            simulator.with(move |system| system.media().attach(base, &path, false))??;
            images.push(image);
            // Controller 0 is the physical function's.
            let volume = Volume { base, blocks: BYTES / 512, large_blocks: false, read_only: false };
            management.set_volume(index + 1, 1, volume)?;
            let function = Arc::new(simulator.endpoint(VF_STORAGE_FIRST + index)?);
            let options =
                NvmeOptions { queue_entries: DEPTH + 1, wait: Wait::Poll, ..NvmeOptions::default() };
            drivers.push(Nvme::open(function, options)?);
        }
        Ok(Self { simulator, functions: drivers, _images: images })
    }

    /// The drivers of the functions.
    pub fn functions(&self) -> &[Nvme] {
        &self.functions
    }

    /// Clock cycles that have passed. Some were not simulated, as nothing would have happened in them.
    pub fn clock(&self) -> Result<u64, Error> {
        Ok(self.simulator.with(|system| system.cycle())?)
    }

    /// Cycles that were simulated, and the processor time that took.
    pub fn speed(&self) -> Result<(u64, Duration), Error> {
        let speed = self.simulator.speed()?;
        Ok((speed.cycles, speed.busy))
    }

    /// Thousands of cycles a second that an idle card is simulated at, if every cycle is.
    pub fn idle_kilohertz(&self, cycles: u32) -> Result<f64, Error> {
        let (_, before) = self.speed()?;
        self.simulator.with(move |system| (0..cycles).for_each(|_| system.step()))?;
        let (_, after) = self.speed()?;
        Ok(f64::from(cycles) / after.saturating_sub(before).as_secs_f64() / 1e3)
    }

    /// The share of a core that this process takes for `time` while nobody uses the card.
    pub fn idle_cpu(&self, time: Duration) -> Result<f64, Error> {
        let (cycles, _) = self.speed()?;
        let before = processor_time()?;
        std::thread::sleep(time);
        let used = processor_time()?.saturating_sub(before);
        if self.speed()?.0 != cycles {
            return Err("the card was not idle".into());
        }
        Ok(used.as_secs_f64() / time.as_secs_f64())
    }
}

/// Time on a processor of all threads of this process (Linux, proc(5), /proc/PID/task/TID/schedstat).
fn processor_time() -> Result<Duration, Error> {
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        sum += text.split_whitespace().next().unwrap_or("0").parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}
