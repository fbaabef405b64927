//! Controller registers and the waits on them (NVMe 1.4 §3.1, §7.6).

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nitride_abi::nvme::register::{self, aqa, cap, cc, csts};
use nitride_abi::nvme::{CQE_SHIFT, Field, SQE_SHIFT};

use super::error::{Error, Result};
use crate::function::Function;

/// The registers of a controller.
pub(super) struct Registers {
    function: Arc<dyn Function>,
    capabilities: u64,
}

impl Registers {
    /// Reads CAP and checks that the driver can work with it.
    pub fn new(function: Arc<dyn Function>) -> Result<Self> {
        let mut bytes = [0; 8];
        function.bar_read(0, register::CAP, &mut bytes)?;
        let registers = Self { function, capabilities: u64::from_le_bytes(bytes) };
        let what = "looking at the controller";
        let problem = |detail: &str| Err(Error::Controller { what, detail: detail.into() });
        if registers.capabilities == u64::MAX {
            return problem("its registers read as all ones; is its memory space enabled?");
        }
        if registers.field(cap::CSS) & 1 == 0 || registers.field(cap::MPSMIN) != 0 {
            return problem("it has no NVM command set or no 4 KiB pages");
        }
        if registers.field(cap::DSTRD) != 0 {
            return problem("its doorbells are not 4 bytes apart");
        }
        Ok(registers)
    }

    fn field(&self, field: Field) -> u64 {
        field.get(self.capabilities)
    }

    /// Most entries of an I/O queue.
    pub fn queue_entries(&self) -> u32 {
        self.field(cap::MQES) as u32 + 1
    }

    /// How long the controller may take to become ready or not ready.
    fn timeout(&self) -> Duration {
        Duration::from_millis(500) * (self.field(cap::TO) as u32).max(1)
    }

    pub fn version(&self) -> Result<u32> {
        self.read(register::VS)
    }

    fn read(&self, offset: u64) -> Result<u32> {
        let mut bytes = [0; 4];
        self.function.bar_read(0, offset, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn write(&self, offset: u64, value: u32) -> Result<()> {
        Ok(self.function.bar_write(0, offset, &value.to_le_bytes())?)
    }

    /// Whether the controller reports a fatal error or does not answer any more.
    pub fn is_fatal(&self) -> Result<bool> {
        Ok(csts::CFS.get(self.read(register::CSTS)? as u64) == 1)
    }

    /// Controller reset: EN to 0, until the controller is not ready.
    pub fn disable(&self) -> Result<()> {
        self.write(register::CC, 0)?;
        self.wait("controller reset", |status| csts::RDY.get(status) == 0)
    }

    /// Enables the controller with an admin queue pair of `entries` entries.
    pub fn enable(&self, entries: u32, submission: u64, completion: u64) -> Result<()> {
        let last = entries as u64 - 1;
        self.write(register::AQA, aqa::ACQS.set(aqa::ASQS.set(0, last), last) as u32)?;
        for (offset, base) in [(register::ASQ, submission), (register::ACQ, completion)] {
            self.write(offset, base as u32)?;
            self.write(offset + 4, (base >> 32) as u32)?;
        }
        let sizes = cc::IOCQES.set(cc::IOSQES.set(0, SQE_SHIFT as u64), CQE_SHIFT as u64);
        self.write(register::CC, cc::EN.set(sizes, 1) as u32)?;
        self.wait("enabling the controller", |status| csts::RDY.get(status) == 1)
    }

    /// Normal shutdown: what was written is durable afterwards.
    pub fn shutdown(&self) -> Result<()> {
        let config = self.read(register::CC)? as u64;
        self.write(register::CC, cc::SHN.set(config, 1) as u32)?;
        self.wait("shutdown of the controller", |status| csts::SHST.get(status) == csts::SHST_COMPLETE)
    }

    fn wait(&self, what: &'static str, done: impl Fn(u64) -> bool) -> Result<()> {
        let deadline = Instant::now() + self.timeout();
        loop {
            let status = self.read(register::CSTS)?;
            let late = Instant::now() > deadline;
            let detail = match status {
                u32::MAX => "its registers read as all ones".into(),
                status if done(status as u64) => return Ok(()),
                status if csts::CFS.get(status as u64) == 1 => "it reports a fatal status".into(),
                _ if late => format!("not done after {} s", self.timeout().as_secs()),
                _ => {
                    thread::sleep(Duration::from_micros(100));
                    continue;
                }
            };
            return Err(Error::Controller { what, detail });
        }
    }
}
