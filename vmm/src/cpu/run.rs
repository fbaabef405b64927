//! The loop of a vCPU's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kvm_ioctls::VcpuExit;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

use crate::devices::{Devices, Power};
use crate::kvm::Vcpu;
use crate::stats::{Exit, Exits};

/// Why a vCPU stopped for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The guest used its power supply.
    Power(Power),
    /// The guest crashed: a triple fault, or a crash that it reported.
    Crashed(String),
    /// KVM cannot go on.
    Failed(String),
    /// Someone set the stop flag.
    Stopped,
}

/// What a vCPU's thread works with.
#[derive(Clone)]
pub struct Run {
    /// The machine's devices.
    pub devices: Arc<Devices>,
    /// Exits by reason.
    pub exits: Arc<Exits>,
    /// Set: vCPUs are to stop.
    pub stop: Arc<AtomicBool>,
}

/// The signal that makes a vCPU's thread look at the stop flag.
pub fn kick_signal() -> i32 {
    SIGRTMIN()
}

extern "C" fn kicked(_: i32, _: *mut libc::siginfo_t, _: *mut std::ffi::c_void) {}

/// Makes [`kick_signal`] interrupt system calls and do nothing else.
pub fn install_kick() -> std::io::Result<()> {
    register_signal_handler(kick_signal(), kicked).map_err(std::io::Error::from)
}

impl Run {
    /// Runs `vcpu` until it ends or is stopped.
    ///
    /// A kick between the look at the flag and the call into KVM is lost: who sets the flag kicks
    /// again until the thread has ended.
    pub fn run(&self, vcpu: &mut Vcpu) -> Ended {
        while !self.stop.load(Ordering::SeqCst) {
            if let Some(ended) = self.once(vcpu) {
                return ended;
            }
        }
        Ended::Stopped
    }

    fn once(&self, vcpu: &mut Vcpu) -> Option<Ended> {
        let devices = &self.devices;
        let (exit, ended) = match vcpu.fd.run() {
            Ok(VcpuExit::MmioWrite(address, data)) => (devices.memory_write(address, data), None),
            Ok(VcpuExit::MmioRead(address, data)) => (devices.memory_read(address, data), None),
            Ok(VcpuExit::IoIn(port, data)) => (devices.port_read(port, data), None),
            Ok(VcpuExit::IoOut(port, data)) => {
                let (exit, power) = devices.port_write(port, data);
                (exit, power.map(Ended::Power))
            }
            Ok(VcpuExit::Shutdown) => (Exit::Other, Some(Ended::Crashed("triple fault".to_owned()))),
            Ok(VcpuExit::Hlt | VcpuExit::IrqWindowOpen) => (Exit::Other, None),
            Ok(VcpuExit::Intr) => (Exit::Signal, None),
            Ok(exit) => (Exit::Other, Some(Ended::Failed(format!("{exit:?}")))),
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => (Exit::Signal, None),
            Err(error) => (Exit::Other, Some(Ended::Failed(error.to_string()))),
        };
        self.exits.count(exit);
        ended.map(|ended| match ended {
            Ended::Failed(what) => Ended::Failed(Self::describe(vcpu, &what)),
            ended => ended,
        })
    }

    /// Where a vCPU was when KVM gave up: what it takes to look into it.
    fn describe(vcpu: &Vcpu, what: &str) -> String {
        let at = vcpu.fd.get_regs().map_or_else(|_| "?".to_owned(), |regs| format!("{:#x}", regs.rip));
        format!("{what} at RIP {at}")
    }
}
