//! A machine: made from its description and its functions, run, ended.

use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nitride_driver::{Access, Function};
use parking_lot::Mutex;
use serde_json::{Value, json};
use vmm_sys_util::signal::Killable;

use crate::api::{self, Api};
use crate::boot;
use crate::config::Config;
use crate::cpu::{self, Ended, Run};
use crate::devices::{Devices, Power};
use crate::event::Event;
use crate::irq::{Messages, Router};
use crate::kvm::{self, Guest, Vcpu};
use crate::layout::{COM1_IRQ, KVM_IDENTITY_MAP, KVM_TSS, POWER_BUTTON_IRQ};
use crate::pci::ports::Ports;
use crate::pci::{Device, Root};
use crate::seccomp::{self, Thread};
use crate::serial::Console;
use crate::stats::Exits;
use crate::supervisor::{Stop, Supervisor};
use crate::{acpi, memory, terminal};

/// How long a thread that was kicked may take before it is kicked again.
const KICK_AGAIN: Duration = Duration::from_millis(1);

/// Why a machine cannot be made or run. One line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// KVM does not do what is needed.
    #[error(transparent)]
    Kvm(#[from] kvm::Error),
    /// Kernel, initrd or command line.
    #[error(transparent)]
    Boot(#[from] boot::Error),
    /// A function.
    #[error(transparent)]
    Function(#[from] nitride_driver::Error),
    /// A function that cannot be a device of the machine.
    #[error("{0}")]
    Device(String),
    /// The control socket.
    #[error(transparent)]
    Api(#[from] api::Error),
    /// System call filters.
    #[error(transparent)]
    Seccomp(#[from] seccomp::Error),
    /// The file for statistics.
    #[error("cannot write {}: {source}", .path.display())]
    Stats {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// An operating-system call failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// KVM, or the VMM, gave up on a running guest.
    #[error("the guest cannot go on: {0}")]
    Failed(String),
}

/// How a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The guest switched the machine off.
    Off,
    /// The guest asked for a reset.
    Reset,
    /// The guest crashed: why.
    Crashed(String),
    /// Somebody outside stopped it.
    Stopped(Stop),
}

/// A machine that is ready to run.
pub struct Vm {
    vcpus: Vec<Vcpu>,
    run: Run,
    supervisor: Supervisor,
    ended: Arc<(Mutex<Option<Ended>>, Event)>,
    stats: Option<(PathBuf, File)>,
    description: Value,
    seccomp: bool,
}

impl Vm {
    /// Makes the machine that `config` describes, with `functions` as its PCI devices, in this order.
    ///
    /// `config.functions` is not looked at: who calls has opened them.
    pub fn new(config: &Config, functions: Vec<Arc<dyn Function>>) -> Result<Self, Error> {
        let io = |what| move |source| Error::Io { what, source };
        let kvm = kvm::open()?;
        let regions = memory::allocate(&config.layout)?;
        let tables = acpi::tables(&config.layout, config.cpus);
        let entry = boot::load(&memory::for_loader(&regions)?, &config.layout, &config.boot(), &tables)?;

        let guest = Guest::new(&kvm, regions)?;
        let refused = |what| move |error| kvm::Error::call(what, error);
        guest.fd().set_identity_map_address(KVM_IDENTITY_MAP).map_err(refused("place its identity map"))?;
        guest.fd().set_tss_address(KVM_TSS).map_err(refused("place its task state"))?;
        let router = Arc::new(Router::new(Arc::clone(&guest))?);
        let vcpus = (0..config.cpus).map(|id| {
            let vcpu = guest.vcpu(id)?;
            cpu::setup(&kvm, &vcpu, id, config.cpus, entry)?;
            Ok(vcpu)
        });
        let vcpus = vcpus.collect::<Result<Vec<_>, kvm::Error>>()?;

        let stop = Arc::new(AtomicBool::new(false));
        let console = Arc::new(Console::new(Arc::clone(&stop)).map_err(io("make a console"))?);
        router.pin(COM1_IRQ, &console.interrupt)?;
        let power_button = Event::new().map_err(io("make a power button"))?;
        router.pin(POWER_BUTTON_IRQ, &power_button)?;
        let mut devices = Vec::new();
        for function in functions {
            for region in guest.memory() {
                function.dma_map(region.address, Arc::clone(&region.memory), Access::ReadWrite)?;
            }
            let messages: Arc<dyn Messages> = router.clone();
            devices
                .push(Device::new(function, messages, |count| router.reserve(count)).map_err(Error::Device)?);
        }
        let root = Root::new(devices, &config.layout).map_err(Error::Device)?;
        let ports = Ports::default();
        let devices = Arc::new(Devices { console: Arc::clone(&console), root, ports, power_button });
        let run = Run { devices, exits: Arc::default(), stop };

        let ended = Arc::new((Mutex::new(None), Event::new().map_err(io("make an event"))?));
        let api = config.api_socket.as_deref().map(Api::new).transpose()?;
        let supervisor = Supervisor::new(console, api).map_err(io("take over signals"))?;
        let stats = config.stats.clone().map(|path| match File::create(&path) {
            Ok(file) => Ok((path, file)),
            Err(source) => Err(Error::Stats { path, source }),
        });
        let memory: usize = guest.memory().iter().map(|region| region.memory.len()).sum();
        let description = json!({ "state": "running", "cpus": config.cpus, "memory": memory });
        Ok(Self {
            vcpus,
            run,
            supervisor,
            ended,
            stats: stats.transpose()?,
            description,
            seccomp: config.seccomp,
        })
    }

    /// Exits by reason, counted while the machine runs.
    pub fn exits(&self) -> Arc<Exits> {
        Arc::clone(&self.run.exits)
    }

    /// Runs the machine to its end, with the console on this process' standard input and output.
    ///
    /// The calling thread keeps its system call filter.
    pub fn run(mut self) -> Result<Outcome, Error> {
        let io = |what| move |source| Error::Io { what, source };
        cpu::install_kick().map_err(io("handle signals"))?;
        terminal::restore_on_fatal_signals().map_err(io("handle signals"))?;
        let mut threads = Vec::new();
        for (id, vcpu) in self.vcpus.drain(..).enumerate() {
            let (run, ended, seccomp) = (self.run.clone(), Arc::clone(&self.ended), self.seccomp);
            let body = move || vcpu_thread(vcpu, &run, &ended, seccomp);
            let thread = std::thread::Builder::new().name(format!("vcpu{id}")).spawn(body);
            threads.push(thread.map_err(io("start a thread"))?);
        }
        let outcome = self.supervise();
        self.run.stop.store(true, Ordering::SeqCst);
        threads.into_iter().for_each(stop);
        self.write_stats()?;
        outcome
    }

    /// Waits for the end of the machine.
    fn supervise(&mut self) -> Result<Outcome, Error> {
        let _raw = terminal::Raw::new().map_err(|source| Error::Io { what: "use the terminal", source })?;
        if self.seccomp {
            seccomp::apply(Thread::Main)?;
        }
        let (run, description) = (&self.run, &self.description);
        let stopped = self.supervisor.wait(&self.ended.1, |request| answer(run, description, request));
        let ended = self.ended.0.lock().take().unwrap_or(Ended::Stopped);
        match (ended, stopped) {
            (Ended::Power(Power::Off), _) => Ok(Outcome::Off),
            (Ended::Power(Power::Reset), _) => Ok(Outcome::Reset),
            (Ended::Crashed(why), _) => Ok(Outcome::Crashed(why)),
            (Ended::Failed(why), _) => Err(Error::Failed(why)),
            (Ended::Stopped, Ok(Some(stop))) => Ok(Outcome::Stopped(stop)),
            (Ended::Stopped, Ok(None)) => Err(Error::Failed("its vCPUs stopped".to_owned())),
            (Ended::Stopped, Err(source)) => Err(Error::Io { what: "wait for the guest", source }),
        }
    }

    fn write_stats(&mut self) -> Result<(), Error> {
        let Some((path, file)) = &mut self.stats else { return Ok(()) };
        let json = json!({ "exits": self.run.exits.to_json() });
        writeln!(file, "{json:#}").map_err(|source| Error::Stats { path: path.clone(), source })
    }
}

/// Runs a vCPU, and tells the first reason for the machine to end.
fn vcpu_thread(mut vcpu: Vcpu, run: &Run, ended: &(Mutex<Option<Ended>>, Event), seccomp: bool) {
    let result = if seccomp { seccomp::apply(Thread::Vcpu) } else { Ok(()) };
    let end = match result {
        Ok(()) => catch_unwind(AssertUnwindSafe(|| run.run(&mut vcpu)))
            .unwrap_or_else(|_| Ended::Failed("a vCPU's thread panicked".to_owned())),
        Err(error) => Ended::Failed(error.to_string()),
    };
    if end != Ended::Stopped {
        ended.0.lock().get_or_insert(end);
        // An event that cannot be signalled is signalled already.
        let _ = ended.1.signal();
    }
}

/// Waits for a thread that was told to stop, and makes it notice.
fn stop(thread: JoinHandle<()>) {
    while !thread.is_finished() {
        // A thread that cannot be signalled has just ended.
        let _ = thread.kill(cpu::kick_signal());
        std::thread::sleep(KICK_AGAIN);
    }
    // It catches its panics itself.
    let _ = thread.join();
}

/// Answers a request on the control socket.
fn answer(run: &Run, description: &Value, request: api::Request) -> Value {
    match request {
        api::Request::Stop => json!({}),
        api::Request::PowerButton => {
            // An event that cannot be signalled is signalled already.
            let _ = run.devices.power_button.signal();
            json!({})
        }
        api::Request::Exits => json!({ "exits": run.exits.to_json() }),
        api::Request::Status => {
            let mut status = description.clone();
            let devices = run.devices.root.devices().iter().enumerate();
            status["functions"] = devices
                .map(|(index, device)| {
                    let address = format!("0000:00:{:02x}.0", index + 1);
                    json!({ "address": address, "name": device.function().info().name, "failed": device.failed() })
                })
                .collect();
            status
        }
    }
}
