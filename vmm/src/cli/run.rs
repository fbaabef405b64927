//! `nitride run`: a virtual machine with functions of a card.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use nitride::config::{Config, Description, parse_size};
use nitride::vm::{Outcome, Vm};
use nitride::{Stop, address_bits, probe};
use nitride_driver::{Function, Vfio, VfioUser, vfio};

/// The guest asked for a reset: who wants that runs the command again.
const RESET: u8 = 3;
/// The guest crashed.
const CRASHED: u8 = 4;
/// Added to the number of a signal that ended the machine, as shells do.
const SIGNAL: u8 = 128;

/// Boots a kernel in a virtual machine whose PCI devices are functions of a card. The console is on this
/// terminal; Ctrl-A x ends the machine. Flags override the file.
///
/// Exit codes: 0 the guest switched off, or Ctrl-A x or the API stopped it; 3 it asked for a reset;
/// 4 it crashed; 128 + n signal n ended it; 1 an error; 2 a usage error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Description of the machine (TOML)
    file: Option<PathBuf>,
    /// Kernel: vmlinux ELF (with or without PVH entry) or bzImage
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Initial RAM disk
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Kernel command line [default: console=ttyS0 panic=-1]
    #[arg(long, value_name = "TEXT")]
    cmdline: Option<String>,
    /// Virtual CPUs, 1 to 8 [default: 1]
    #[arg(long, value_name = "N")]
    cpus: Option<u8>,
    /// Memory: MiB, or with the suffix K, M or G [default: 256M]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    /// PCI function: the vfio-user socket of a card's daemon, or the PCI address of a function that is
    /// bound to vfio-pci; may be given several times
    #[arg(long = "function", value_name = "SOCKET|ADDRESS")]
    functions: Vec<String>,
    /// Unix socket for control: a JSON object a line, {"op": "status"}, {"op": "exits"}, {"op": "power_button"} or
    /// {"op": "stop"}
    #[arg(long, value_name = "PATH")]
    api_socket: Option<PathBuf>,
    /// Write exits by reason to this file (JSON) at the end
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,
    /// Do not filter system calls
    #[arg(long)]
    no_seccomp: bool,
}

/// Runs the machine to its end.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = config(args)?;
    config.boot().check()?;
    let verdict = probe::probe();
    if !verdict.usable {
        bail!("this machine's KVM cannot run a guest: {}", verdict.detail);
    }
    let functions = config.functions.iter().map(|name| open(name)).collect::<anyhow::Result<_>>()?;
    let code = match Vm::new(&config, functions)?.run()? {
        Outcome::Off | Outcome::Stopped(Stop::Api | Stop::Console) => 0,
        Outcome::Reset => RESET,
        Outcome::Crashed(why) => {
            eprintln!("nitride: the guest crashed: {why}");
            CRASHED
        }
        Outcome::Stopped(Stop::Signal(signal)) => SIGNAL.saturating_add(signal as u8),
    };
    Ok(ExitCode::from(code))
}

fn config(args: Args) -> anyhow::Result<Config> {
    let file = args.file.as_deref().map(Description::read).transpose()?.unwrap_or_default();
    let flags = Description {
        kernel: args.kernel,
        initrd: args.initrd,
        cmdline: args.cmdline,
        cpus: args.cpus,
        memory: args.memory,
        functions: args.functions,
        api_socket: args.api_socket,
        stats: args.stats,
        seccomp: args.no_seccomp.then_some(false),
    };
    let host = rustix::system::sysinfo();
    let host_memory = host.totalram.saturating_mul(host.mem_unit.into());
    Ok(file.overridden_by(flags).check(host_memory, address_bits())?)
}

/// The function that `name` names.
fn open(name: &str) -> anyhow::Result<Arc<dyn Function>> {
    Ok(match vfio::parse_address(name) {
        Some(address) => Arc::new(Vfio::open(&address)?),
        None => Arc::new(VfioUser::open(name.as_ref())?),
    })
}
