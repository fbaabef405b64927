//! Can this machine's KVM run a guest at speed?
//!
//! Some machines have a /dev/kvm that emulates guest kernel mode instruction by instruction: a Linux
//! guest would need hours there. CPU flags do not tell; a counting loop at CPL 0 does.

use std::time::{Duration, Instant};

use kvm_ioctls::{Kvm, VcpuExit};

use crate::kvm;

/// A KVM slower than this cannot boot a guest in reasonable time. An emulated host (QEMU TCG with
/// nested SVM) reaches some 50 million and more, a paravirtual instruction emulator 1 to 2 million.
const ENOUGH: u64 = 10_000_000;

/// Iterations of the first, short run: some 25 ms where instructions are emulated one by one.
const SHORT: u16 = 10_000;

/// Real mode, CPL 0: `mov cx, imm16; 1: inc ax; loop 1b; hlt`.
const fn counting_loop(iterations: u16) -> [u8; 7] {
    let [low, high] = iterations.to_le_bytes();
    [0xb9, low, high, 0x40, 0xe2, 0xfd, 0xf4]
}

/// Instructions that [`counting_loop`] executes.
const fn instructions(iterations: u16) -> u64 {
    2 + 2 * iterations as u64
}

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
    let millions = rate as f64 / 1e6;
    let usable = rate >= ENOUGH;
    let detail = if usable {
        format!("{millions:.1} million instructions/s in guest kernel mode")
    } else {
        format!(
            "guest kernel mode runs at {millions:.1} million instructions/s, a guest needs {} million; \
             run it in the lab instead: cargo xtask lab",
            ENOUGH / 1_000_000
        )
    };
    Verdict { usable, instructions_per_second: Some(rate), detail }
}

/// Instructions per second of a loop at CPL 0.
fn measure() -> Result<u64, kvm::Error> {
    let kvm = kvm::open()?;
    // The first run pays for page faults and translation; a second one, where it is cheap, does not.
    let first = run_loop(&kvm, SHORT)?;
    let time = if first < Duration::from_millis(5) { run_loop(&kvm, SHORT)?.min(first) } else { first };
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
    Ok(instructions(SHORT) * 1_000_000_000 / nanoseconds)
}

/// Time of one run of the loop in a virtual machine of its own.
fn run_loop(kvm: &Kvm, iterations: u16) -> Result<Duration, kvm::Error> {
    const CODE: u64 = 0x1000;
    let what = |what| move |error| kvm::Error::call(what, error);
    let memory = kvm::Region::scratch(CODE, &counting_loop(iterations))?;
    let mut vcpu = kvm::Guest::new(kvm, vec![memory])?.vcpu(0)?;
    let mut sregs = vcpu.fd.get_sregs().map_err(what("read vCPU registers"))?;
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    vcpu.fd.set_sregs(&sregs).map_err(what("set vCPU registers"))?;
    let mut regs = vcpu.fd.get_regs().map_err(what("read vCPU registers"))?;
    regs.rip = CODE;
    regs.rflags = 2;
    vcpu.fd.set_regs(&regs).map_err(what("set vCPU registers"))?;
    let start = Instant::now();
    match vcpu.fd.run().map_err(what("run a vCPU"))? {
        VcpuExit::Hlt => Ok(start.elapsed()),
        exit => Err(kvm::Error::Probe(format!("{exit:?}"))),
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
