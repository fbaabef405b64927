//! System call filters: what a thread of a running machine may ask of the kernel, and nothing else.
//!
//! A refused call raises SIGSYS, which ends the process with a line that names the call.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

/// Why a filter cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot filter system calls: {0}; --no-seccomp runs without")]
pub struct Error(String);

impl From<seccompiler::BackendError> for Error {
    fn from(error: seccompiler::BackendError) -> Self {
        Self(error.to_string())
    }
}

impl From<seccompiler::Error> for Error {
    fn from(error: seccompiler::Error) -> Self {
        Self(error.to_string())
    }
}

/// The threads of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thread {
    /// Runs a vCPU and its accesses to functions.
    Vcpu,
    /// Waits for everything else: console, control socket, signals, the end.
    Main,
}

/// Memory, locks, time, signals, the end: what Rust's runtime needs in any thread, and what both
/// threads do with descriptors that are open already.
const COMMON: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_write,
    libc::SYS_writev,
];

/// BARs and configuration space of a VFIO function are files; its back ends copy event descriptors.
const VCPU: &[i64] = &[libc::SYS_dup, libc::SYS_fcntl, libc::SYS_pread64, libc::SYS_pwrite64];

/// The control socket comes and goes, its clients come and go.
const MAIN: &[i64] = &[libc::SYS_accept4, libc::SYS_fcntl, libc::SYS_unlink];

/// ioctl numbers hold a type in bits 15:8: KVM's, VFIO's, the terminal's.
const IOCTL_TYPE: u64 = 0xff00;
const VCPU_IOCTLS: &[u64] = &[0xae00, 0x3b00];
const MAIN_IOCTLS: &[u64] = &[0x5400, 0xae00, 0x3b00];

/// Filters the calls of the calling thread from now on.
pub fn apply(thread: Thread) -> Result<(), Error> {
    let (own, ioctls) = match thread {
        Thread::Vcpu => (VCPU, VCPU_IOCTLS),
        Thread::Main => (MAIN, MAIN_IOCTLS),
    };
    let ioctls: Result<Vec<_>, Error> = ioctls.iter().map(|value| Ok(ioctl_rule(*value)?)).collect();
    let rules = COMMON.iter().chain(own).map(|call| (*call, Vec::new()));
    let rules = rules.chain([(libc::SYS_ioctl, ioctls?)]).collect();
    let filter = SeccompFilter::new(rules, SeccompAction::Trap, SeccompAction::Allow, TargetArch::x86_64)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(apply_filter(&program)?)
}

fn ioctl_rule(value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    let op = SeccompCmpOp::MaskedEq(IOCTL_TYPE);
    SeccompRule::new(vec![SeccompCondition::new(1, SeccompCmpArgLen::Dword, op, value)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// Filters live as long as their process: a child of its own tries one. The test's own name in the
    /// environment tells the child what to do.
    fn in_child(test: &str, body: impl FnOnce()) -> std::process::ExitStatus {
        const ROLE: &str = "NITRIDE_SECCOMP_TEST";
        if std::env::var(ROLE).as_deref() == Ok(test) {
            body();
            std::process::exit(0);
        }
        let path = format!("seccomp::tests::{test}");
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", &path, "--nocapture"]).env(ROLE, test).output().unwrap().status
    }

    #[test]
    fn a_vcpu_opens_no_files() {
        let status = in_child("a_vcpu_opens_no_files", || {
            apply(Thread::Vcpu).unwrap();
            drop(std::fs::File::open("/etc/passwd"));
        });
        assert_eq!(status.signal(), Some(libc::SIGSYS));
    }

    #[test]
    fn reading_writing_and_waiting_go_on() {
        let status = in_child("reading_writing_and_waiting_go_on", || {
            let event = crate::event::Event::new().unwrap();
            apply(Thread::Vcpu).unwrap();
            event.signal().unwrap();
            assert!(event.is_signalled());
            event.clear();
            println!("{:?}", vec![0; 1 << 20].len());
        });
        assert!(status.success(), "{status}");
    }

    #[test]
    fn only_ioctls_of_kvm_and_vfio_pass_in_a_vcpu() {
        let status = in_child("only_ioctls_of_kvm_and_vfio_pass_in_a_vcpu", || {
            apply(Thread::Vcpu).unwrap();
            let _ = rustix::termios::tcgetattr(std::io::stdin());
        });
        assert_eq!(status.signal(), Some(libc::SIGSYS));
    }
}
