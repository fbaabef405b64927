//! The terminal in raw mode, and back again however the process ends.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use vmm_sys_util::signal::register_signal_handler;

/// The terminal's mode before it was made raw.
static BEFORE: OnceLock<Termios> = OnceLock::new();
/// Whether the terminal is in raw mode now.
static RAW: AtomicBool = AtomicBool::new(false);

/// Raw mode, for as long as the value lives.
#[derive(Debug)]
pub struct Raw(());

impl Raw {
    /// Makes the terminal on standard input raw. None if it is not a terminal.
    pub fn new() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = BEFORE.get_or_init(|| before).clone();
        raw.make_raw();
        let panic = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            panic(info);
        }));
        tcsetattr(stdin.as_fd(), OptionalActions::Now, &raw)?;
        RAW.store(true, Ordering::SeqCst);
        Ok(Some(Self(())))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal its mode back; a signal handler may call it.
fn restore() {
    if RAW.swap(false, Ordering::SeqCst)
        && let Some(before) = BEFORE.get()
    {
        // There is nobody left to tell if this fails.
        let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Now, before);
    }
}

/// Prints a line of the VMM's own on standard error, whatever mode the terminal is in.
pub fn say(line: &str) {
    let end = if RAW.load(Ordering::SeqCst) { "\r\n" } else { "\n" };
    // There is nobody left to tell if this fails.
    let _ = write!(io::stderr().lock(), "nitride: {line}{end}");
}

/// Signals that end a process and mean nothing to this one.
const FATAL: [libc::c_int; 12] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
    libc::SIGTRAP,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];

/// From now on, signals that end the process restore the terminal first.
pub fn restore_on_fatal_signals() -> io::Result<()> {
    for signal in FATAL {
        register_signal_handler(signal, fatal).map_err(io::Error::from)?;
    }
    register_signal_handler(libc::SIGSYS, refused).map_err(io::Error::from)
}

extern "C" fn fatal(signal: libc::c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    restore();
    // SAFETY: both calls are async-signal-safe (POSIX.1-2017 §2.4.3) and take plain integers.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// A system call that a seccomp filter refused.
extern "C" fn refused(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    /// Where SIGSYS' `si_syscall` is in `siginfo_t` on x86-64 Linux, which libc does not name.
    const SI_SYSCALL: usize = 24;
    restore();
    // SAFETY: the kernel hands a handler of SIGSYS a `siginfo_t` of 128 bytes with the number there.
    let number = unsafe { info.cast::<u8>().add(SI_SYSCALL).cast::<u32>().read_unaligned() };
    let mut text = *b"nitride: a seccomp filter refused system call     \n";
    let mut rest = number;
    for digit in text[46..50].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    // SAFETY: write and _exit are async-signal-safe; the buffer is ours and has this length.
    unsafe {
        libc::write(libc::STDERR_FILENO, text.as_ptr().cast(), text.len());
        libc::_exit(128 + libc::SIGSYS);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::process::{Command, ExitStatus, Stdio};

    use rustix::fs::{Mode, OFlags, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::LocalModes;

    use super::*;

    /// Runs `body` in a child of its own with a terminal as standard input, and gives back the child's
    /// status and whether the terminal's line discipline is as it was.
    fn in_child(test: &str, body: impl FnOnce()) -> (ExitStatus, bool) {
        const ROLE: &str = "NITRIDE_TERMINAL_TEST";
        if std::env::var(ROLE).as_deref() == Ok(test) {
            restore_on_fatal_signals().unwrap();
            body();
            std::process::exit(0);
        }
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave: OwnedFd = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let modes = |fd: &OwnedFd| tcgetattr(fd).unwrap().local_modes;
        let before = modes(&slave);
        assert!(before.contains(LocalModes::ICANON | LocalModes::ECHO));
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", &format!("terminal::tests::{test}")]).env(ROLE, test);
        child.stdin(Stdio::from(slave.try_clone().unwrap())).stdout(Stdio::null()).stderr(Stdio::null());
        let status = child.status().unwrap();
        (status, modes(&slave) == before)
    }

    fn raw() -> Raw {
        let raw = Raw::new().unwrap().unwrap();
        assert!(!tcgetattr(io::stdin()).unwrap().local_modes.contains(LocalModes::ECHO));
        raw
    }

    #[test]
    fn the_terminal_is_restored_when_raw_mode_ends() {
        let (status, restored) = in_child("the_terminal_is_restored_when_raw_mode_ends", || drop(raw()));
        assert!(status.success() && restored, "{status}");
    }

    #[test]
    fn the_terminal_is_restored_by_a_panic() {
        let (status, restored) = in_child("the_terminal_is_restored_by_a_panic", || {
            let raw = raw();
            std::mem::forget(raw);
            let _ = std::thread::spawn(|| panic!("as a vCPU's thread might")).join();
        });
        assert!(status.success() && restored, "{status}");
    }

    #[test]
    fn the_terminal_is_restored_by_a_fatal_signal() {
        let (status, restored) = in_child("the_terminal_is_restored_by_a_fatal_signal", || {
            std::mem::forget(raw());
            std::process::abort();
        });
        assert!(!status.success() && restored, "{status}");
    }

    #[test]
    fn the_terminal_is_restored_when_a_filter_refuses_a_call() {
        let (status, restored) = in_child("the_terminal_is_restored_when_a_filter_refuses_a_call", || {
            std::mem::forget(raw());
            crate::seccomp::apply(crate::seccomp::Thread::Main).unwrap();
            drop(std::fs::File::open("/etc/passwd"));
        });
        assert!(restored, "{status}");
        assert_eq!(status.code(), Some(128 + libc::SIGSYS));
    }
}
