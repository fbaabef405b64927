//! Can this machine's KVM run a guest at speed?
//!
//! Some machines have a /dev/kvm that emulates guest kernel mode instruction by instruction: a Linux
//! guest would need hours there. CPU flags do not tell; a counting loop at CPL 0 does.

use std::time::{Duration, Instant};

use kvm_bindings::kvm_regs;
use kvm_ioctls::VcpuExit;

use crate::kvm;

/// A KVM slower than this cannot boot a guest in reasonable time. An emulated host (QEMU TCG with
/// nested SVM) reaches some 50 million and more, a paravirtual instruction emulator 1 to 2 million.
const ENOUGH: u64 = 6_000_000;

/// Iterations of the loop: some 5 ms where instructions are emulated one by one.
const ITERATIONS: u16 = 4_000;
/// Real mode, CPL 0: `mov cx, ITERATIONS; 1: inc ax; loop 1b; hlt`.
const COUNTING_LOOP: [u8; 7] = {
    let [low, high] = ITERATIONS.to_le_bytes();
    [0xb9, low, high, 0x40, 0xe2, 0xfd, 0xf4]
};
/// Instructions that [`COUNTING_LOOP`] executes.
const INSTRUCTIONS: u64 = 2 + 2 * ITERATIONS as u64;
/// Time for repeated runs, and how many there are at least.
const BUDGET: Duration = Duration::from_millis(40);
const RUNS: usize = 5;

/// What [`probe`] found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// A guest kernel can run here.
    pub usable: bool,
    /// Speed of the loop; none if it did not run.
    pub instructions_per_second: Option<u64>,
    /// One line for the user: why, and what to do.
    pub detail: String,
}

/// Runs the loop (under 50 ms) and judges the result.
pub fn probe() -> Verdict {
    match measure() {
        Ok(rate) => judge(rate),
        Err(error) => Verdict {
            usable: false,
            instructions_per_second: None,
            detail: format!("{error}; run it in the lab instead: cargo xtask lab"),
        },
    }
}

fn judge(rate: u64) -> Verdict {
    let (millions, tenths) = (rate / 1_000_000, rate / 100_000 % 10);
    let usable = rate >= ENOUGH;
    let detail = if usable {
        format!("{millions}.{tenths} million instructions/s in guest kernel mode")
    } else {
        format!(
            "guest kernel mode runs at {millions}.{tenths} million instructions/s, a guest needs {} million; \
             run it in the lab instead: cargo xtask lab",
            ENOUGH / 1_000_000
        )
    };
    Verdict { usable, instructions_per_second: Some(rate), detail }
}

/// Instructions per second of the loop: the fastest of the runs that fit into [`BUDGET`], since the
/// first one pays for page faults and translation, and others may share the machine.
fn measure() -> Result<u64, kvm::Error> {
    let mut machine = Machine::new()?;
    let start = Instant::now();
    let (mut best, mut runs) = (0, 0);
    while runs < RUNS || start.elapsed() < BUDGET && best < ENOUGH {
        let nanoseconds = u64::try_from(machine.run()?.as_nanos()).unwrap_or(u64::MAX).max(1);
        best = best.max(INSTRUCTIONS * 1_000_000_000 / nanoseconds);
        runs += 1;
    }
    Ok(best)
}

/// A virtual machine with the loop in it.
struct Machine {
    vcpu: kvm::Vcpu,
    start: kvm_regs,
}

impl Machine {
    fn new() -> Result<Self, kvm::Error> {
        const CODE: u64 = 0x1000;
        let refused = |error| kvm::Error::call("set up a vCPU", error);
        let memory = kvm::Region::scratch(CODE, &COUNTING_LOOP)?;
        let vcpu = kvm::Guest::new(&kvm::open()?, vec![memory])?.vcpu(0)?;
        let mut sregs = vcpu.fd.get_sregs().map_err(refused)?;
        sregs.cs.base = 0;
        sregs.cs.selector = 0;
        vcpu.fd.set_sregs(&sregs).map_err(refused)?;
        Ok(Self { vcpu, start: kvm_regs { rip: CODE, rflags: 2, ..Default::default() } })
    }

    /// Time of one run of the loop.
    fn run(&mut self) -> Result<Duration, kvm::Error> {
        self.vcpu.fd.set_regs(&self.start).map_err(|error| kvm::Error::call("set up a vCPU", error))?;
        let start = Instant::now();
        match self.vcpu.fd.run().map_err(|error| kvm::Error::call("run a vCPU", error))? {
            VcpuExit::Hlt => Ok(start.elapsed()),
            exit => Err(kvm::Error::Probe(format!("{exit:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_emulator_is_refused_with_advice() {
        let verdict = judge(1_600_000);
        assert!(!verdict.usable);
        assert!(verdict.detail.contains("1.6 million"), "{}", verdict.detail);
        assert!(verdict.detail.contains("cargo xtask lab"), "{}", verdict.detail);
    }

    #[test]
    fn an_emulated_host_is_accepted() {
        assert!(judge(50_000_000).usable);
    }
}
