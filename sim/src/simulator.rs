//! A system on a thread of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use crate::Error;
use crate::counters::Counters;
use crate::edge::Edge;
use crate::endpoint::Endpoint;
use crate::firmware::Topology;
use crate::interrupts::Routes;
use crate::options::Options;
use crate::root::{Failure, HostRequest, Outcome, Ticket};
use crate::system::System;

/// Requests that may wait in the channel; then senders do.
const CHANNEL: usize = 1024;
/// Requests of the host under way at which no more are taken from the channel.
const BACKLOG: usize = 512;
/// Cycles between two looks at the channel while the card is busy.
const LOOK: u64 = 8;

/// Cycles that a card has to come to rest when the simulation ends.
const FINISH: u64 = 10_000_000;

/// Where outcomes go: a channel that several requests may share, and which of them this is.
pub(crate) type Reply = (Sender<(usize, Outcome)>, usize);
type Call = Box<dyn FnOnce(&mut Core) + Send>;

/// What clients send to the thread. It is carried out in order.
pub(crate) enum Command {
    Request(HostRequest, Reply),
    /// 1 to 8 bytes of memory space, in the low bytes.
    Write {
        address: u64,
        len: u8,
        value: u64,
    },
    Call(Call),
    Stop,
}

/// What the thread owns.
pub(crate) struct Core {
    pub(crate) system: System,
    pub(crate) routes: Routes,
    replies: HashMap<Ticket, Reply>,
    /// Cycles that were simulated before the thread began.
    before: u64,
}

/// How fast the simulation runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// Cycles of the card that were simulated.
    pub cycles: u64,
    /// The processor time that took.
    pub busy: Duration,
}

impl Speed {
    /// Thousands of cycles a second of a core.
    #[allow(clippy::cast_precision_loss)]
    pub fn kilohertz(&self) -> f64 {
        self.cycles as f64 / self.busy.as_secs_f64().max(1e-9) / 1e3
    }
}

struct Shared {
    commands: SyncSender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
    topology: Arc<Topology>,
}

/// A handle on a running system. Clones are handles on the same; when the last one and all [`Endpoint`]s are
/// dropped, the simulation ends.
#[derive(Clone)]
pub struct Simulator {
    shared: Arc<Shared>,
}

impl Simulator {
    /// Builds a system around `edge`, boots it, and lets it run on a thread of its own.
    ///
    /// The thread sleeps while the card is idle and nobody asks for anything.
    pub fn start(edge: Box<dyn Edge>, options: Options) -> Result<Self, Error> {
        let mut system = System::new(edge, options)?;
        let topology = system.boot()?;
        let before = system.counters().simulated;
        // The standard library's channel drops what is left in it with its receiver: whoever waits for a reply then
        // learns that there will be none.
        let (commands, receiver) = sync_channel(CHANNEL);
        let core = Core { system, routes: Routes::default(), replies: HashMap::new(), before };
        let thread = std::thread::Builder::new().name("card".into()).spawn(move || core.run(&receiver));
        let thread = Mutex::new(Some(thread.map_err(Error::Thread)?));
        Ok(Self { shared: Arc::new(Shared { commands, thread, topology }) })
    }

    /// The functions that were found.
    pub fn topology(&self) -> &Topology {
        &self.shared.topology
    }

    /// A function's endpoint. Two endpoints of one function share the function, not what they virtualise.
    pub fn endpoint(&self, number: u8) -> Result<Endpoint, Error> {
        let function = self.topology().function(number).ok_or(Error::NoFunction(number))?;
        Ok(Endpoint::new(self.clone(), function.clone()))
    }

    /// Runs `work` on the system, between two cycles, and gives its result.
    pub fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut System) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.call(move |core| work(&mut core.system))
    }

    /// What was done so far.
    pub fn counters(&self) -> Result<Counters, Error> {
        self.with(|system| system.counters())
    }

    /// How fast it ran so far, by the processor time of its thread: neither its sleep nor other threads count.
    pub fn speed(&self) -> Result<Speed, Error> {
        self.call(|core| Speed {
            cycles: core.system.counters().simulated - core.before,
            busy: processor_time(),
        })
    }

    /// Ends the simulation after the requests that were made so far, with the media durable.
    /// Whoever uses it afterwards learns that it has stopped.
    pub fn stop(&self) {
        let _ = self.shared.commands.send(Command::Stop);
        if let Some(thread) = self.shared.thread.lock().take() {
            let _ = thread.join();
        }
    }

    pub(crate) fn send(&self, command: Command) -> Result<(), Error> {
        self.shared.commands.send(command).map_err(|_| Error::Stopped)
    }

    pub(crate) fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Core) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, receiver) = channel();
        self.send(Command::Call(Box::new(move |core| {
            let _ = sender.send(work(core));
        })))?;
        receiver.recv().map_err(|_| Error::Stopped)
    }

    /// Makes requests and waits for all their outcomes.
    pub(crate) fn requests(&self, requests: &[HostRequest]) -> Result<Vec<Outcome>, Error> {
        let (sender, receiver) = channel();
        for (index, request) in requests.iter().enumerate() {
            self.send(Command::Request(*request, (sender.clone(), index)))?;
        }
        drop(sender);
        let mut outcomes = vec![Err(Failure::Timeout); requests.len()];
        for _ in requests {
            let (index, outcome) = receiver.recv().map_err(|_| Error::Stopped)?;
            outcomes[index] = outcome;
        }
        Ok(outcomes)
    }
}

impl Core {
    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            while self.system.backlog() < BACKLOG {
                match commands.try_recv() {
                    Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return self.finish(),
                    Ok(command) => self.carry_out(command),
                    Err(TryRecvError::Empty) => break,
                }
            }
            if self.system.is_idle() {
                self.deliver();
                if let Err(error) = self.system.flush_log() {
                    tracing::warn!("TLP log: {error}");
                }
                match commands.recv() {
                    Err(_) | Ok(Command::Stop) => return self.finish(),
                    Ok(command) => {
                        self.carry_out(command);
                    }
                }
                continue;
            }
            for _ in 0..LOOK {
                self.system.advance();
            }
            self.deliver();
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Request(request, reply) => {
                let ticket = self.system.request(request);
                self.replies.insert(ticket, reply);
            }
            Command::Write { address, len, value } => {
                let len = usize::from(len).min(8);
                if let Err(failure) = self.system.memory_write(address, &value.to_le_bytes()[..len]) {
                    tracing::warn!("write of {len} bytes at {address:#x}: {failure}");
                }
            }
            Command::Call(call) => {
                call(self);
                self.deliver();
            }
            Command::Stop => {}
        }
    }

    /// Hands out interrupts and outcomes: interrupts first, as a read's completion pushes them ahead of itself.
    fn deliver(&mut self) {
        while let Some(interrupt) = self.system.take_interrupt() {
            if !self.routes.deliver(&interrupt) {
                self.system.interrupt_lost(interrupt.function);
            }
        }
        while let Some((ticket, outcome)) = self.system.take_finished() {
            if let Some((sender, index)) = self.replies.remove(&ticket) {
                let _ = sender.send((index, outcome));
            }
        }
    }

    fn finish(mut self) {
        // What clients posted before they left is still to reach the media.
        if !self.system.settle(FINISH) {
            tracing::warn!("the card was still busy {FINISH} cycles after its last request");
        }
        self.deliver();
        if let Err(error) = self.system.media().flush() {
            tracing::error!("{error}");
        }
    }
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
