//! What all handles on a controller share: bring-up, admin commands, recovery.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nitride_abi::nvme::command::{self, abort, admin, features, queue as q};
use nitride_abi::nvme::{Sqe, feature};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};

use super::error::{Error, Result};
use super::identify::{ControllerInfo, NamespaceInfo};
use super::queue::{Data, Queue, Report};
use super::registers::Registers;
use super::{Options, Wait};
use crate::dma::{Dma, DmaSpace};
use crate::function::Function;

/// From when on it is looked whether the controller still works; nothing reads registers before.
pub(super) const STALLED: Duration = Duration::from_secs(1);
/// Entries of the admin queues.
const ADMIN_ENTRIES: u32 = 32;

pub(super) struct Shared {
    pub options: Options,
    pub function: Arc<dyn Function>,
    pub space: DmaSpace,
    registers: Registers,
    admin: Mutex<Queue>,
    /// I/O queue pairs; index 0 is queue 1.
    pub queues: Vec<Mutex<Queue>>,
    /// An event file descriptor a vector, the admin queue's first; empty when polling.
    pub events: Vec<OwnedFd>,
    pub controller: ControllerInfo,
    pub namespaces: Vec<NamespaceInfo>,
    /// Counts controller resets.
    generation: AtomicU32,
}

/// A queue is consistent between any two calls of its methods, so a panic elsewhere does not spoil it.
pub(super) fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn open(function: Arc<dyn Function>, options: Options) -> Result<Self> {
        enable_bus_master(&*function)?;
        let registers = Registers::new(function.clone())?;
        registers.disable()?;
        let space = DmaSpace::new(function.clone());
        let events = match options.wait {
            Wait::Poll => Vec::new(),
            Wait::Interrupt => interrupts(&*function)?,
        };
        let mut admin = Queue::new(function.clone(), &space, 0, ADMIN_ENTRIES)?;
        let (submission, completion) = admin.ring().bases();
        registers.enable(ADMIN_ENTRIES, submission, completion)?;

        let mut runner = Admin { queue: &mut admin, events: &events, limit: options.timeout };
        let buffer = space.allocate(command::identify::BYTES)?;
        let data = runner.identify(command::identify::CNS_CONTROLLER, 0, &buffer)?;
        let controller = ControllerInfo::parse(&data, registers.version()?, registers.queue_entries());
        let namespaces = runner.namespaces(&buffer)?;
        let granted = runner.set_number_of_queues(options.queue_pairs)?;
        let vectors = if events.is_empty() { usize::from(u16::MAX) } else { events.len().saturating_sub(1) };
        let count = options.queue_pairs.min(granted).min(vectors);
        if count == 0 {
            let detail = "it has no I/O queue or no interrupt vector left for one".into();
            return Err(Error::Controller { what: "opening the controller", detail });
        }
        let entries = options.queue_entries.clamp(2, controller.queue_entries.max(2));
        let mut queues = Vec::with_capacity(count);
        for id in 1..=count as u16 {
            let mut queue = Queue::new(function.clone(), &space, id, entries)?;
            runner.create_queue(&mut queue)?;
            queues.push(Mutex::new(queue));
        }
        Ok(Self {
            options,
            function,
            space,
            registers,
            admin: Mutex::new(admin),
            queues,
            events,
            controller,
            namespaces,
            generation: AtomicU32::new(0),
        })
    }

    /// Executes an admin command.
    pub fn admin(&self, sqe: Sqe, data: &Data<'_>, command: &'static str) -> Result<u32> {
        let mut queue = lock(&self.admin);
        Admin { queue: &mut queue, events: &self.events, limit: self.options.timeout }.run(sqe, data, command)
    }

    /// Normal shutdown.
    pub fn shutdown(&self) -> Result<()> {
        self.registers.shutdown()
    }

    /// How often the controller was reset since it was opened.
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Looks after commands of `queue` (an index) that take long: finds out whether the card and the controller
    /// still work, and aborts one that is overdue or else resets the controller. Returns the description of what
    /// was aborted.
    pub fn look_after(&self, queue: usize) -> Result<Option<&'static str>> {
        let generation = self.generation();
        let limit = self.options.timeout;
        if lock(&self.queues[queue]).overdue(limit.min(STALLED)).is_none() {
            return Ok(None);
        }
        if self.registers.is_fatal()? {
            self.reset_once(generation)?;
            return Ok(None);
        }
        let Some((cid, command)) = lock(&self.queues[queue]).overdue(limit) else { return Ok(None) };
        let sqid = queue as u64 + 1;
        tracing::warn!(queue = sqid, cid, command, "no answer in time: aborting");
        let cdw10 = abort::CID.set(abort::SQID.set(0, sqid), cid as u64) as u32;
        let sqe = Sqe { opcode: admin::ABORT, cdw10: [cdw10, 0, 0, 0, 0, 0], ..Sqe::default() };
        let answer = self.admin(sqe, &Data::None, "abort");
        if let Ok(result) = answer {
            // The aborted command's own completion may come a little after that of the Abort.
            let grace = Instant::now() + limit.min(Duration::from_secs(1));
            while result & abort::NOT_ABORTED == 0 && Instant::now() < grace {
                let mut queue = lock(&self.queues[queue]);
                queue.process()?;
                if !queue.is_in_flight(cid) {
                    return Ok(Some(command));
                }
                drop(queue);
                std::thread::yield_now();
            }
        }
        self.reset_once(generation)?;
        Ok(None)
    }

    /// Resets the controller, if that was not done since `generation` was read.
    pub fn reset_once(&self, generation: u32) -> Result<()> {
        let mut admin = lock(&self.admin);
        if self.generation() != generation {
            return Ok(());
        }
        let mut queues: Vec<_> = self.queues.iter().map(lock).collect();
        tracing::warn!(function = self.function.info().name, "resetting the controller");
        self.registers.disable()?;
        // The controller is quiet: all that was in flight is lost.
        self.generation.fetch_add(1, Ordering::AcqRel);
        admin.restart();
        for queue in &mut queues {
            queue.restart();
        }
        let (submission, completion) = admin.ring().bases();
        self.registers.enable(ADMIN_ENTRIES, submission, completion)?;
        let mut runner = Admin { queue: &mut admin, events: &self.events, limit: self.options.timeout };
        runner.set_number_of_queues(queues.len())?;
        for queue in &mut queues {
            runner.create_queue(queue)?;
        }
        Ok(())
    }

    /// Whether the controller reports a fatal error.
    pub fn is_fatal(&self) -> Result<bool> {
        self.registers.is_fatal()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The queues' memory is unmapped next: the controller must have let go of it. An error means that
        // the card is gone already.
        let _ = self.registers.disable();
        if !self.events.is_empty() {
            let _ = self.function.set_msix(&[]);
        }
    }
}

/// Runs admin commands one at a time.
struct Admin<'a> {
    queue: &'a mut Queue,
    events: &'a [OwnedFd],
    limit: Duration,
}

impl Admin<'_> {
    fn run(&mut self, sqe: Sqe, data: &Data<'_>, command: &'static str) -> Result<u32> {
        let deadline = Instant::now() + self.limit;
        let full = || Error::Controller {
            what: command,
            detail: "the admin queue is full of commands without an answer".into(),
        };
        let tag = self.queue.put(sqe, data, command, Report::Ask)?.ok_or_else(full)?;
        loop {
            self.queue.process()?;
            if let Some(outcome) = self.queue.take(tag) {
                return outcome;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.queue.abandon(tag);
                let detail = format!("no answer within {} s", self.limit.as_secs_f32());
                return Err(Error::Controller { what: command, detail });
            }
            pause(self.events.first(), left)?;
        }
    }

    fn identify(&mut self, cns: u8, nsid: u32, buffer: &Dma) -> Result<[u8; command::identify::BYTES]> {
        let sqe = Sqe { opcode: admin::IDENTIFY, nsid, cdw10: [cns as u32, 0, 0, 0, 0, 0], ..Sqe::default() };
        self.run(sqe, &Data::Buffer(buffer, 0, command::identify::BYTES), "identify")?;
        let mut data = [0; command::identify::BYTES];
        buffer.read(0, &mut data)?;
        Ok(data)
    }

    /// The active namespaces that the driver can use; the first 1,024 of them.
    fn namespaces(&mut self, buffer: &Dma) -> Result<Vec<NamespaceInfo>> {
        let list = self.identify(command::identify::CNS_ACTIVE_NAMESPACES, 0, buffer)?;
        let ids = list.as_chunks::<4>().0.iter().map(|id| u32::from_le_bytes(*id)).take_while(|id| *id != 0);
        let mut namespaces = Vec::new();
        for id in ids {
            let data = self.identify(command::identify::CNS_NAMESPACE, id, buffer)?;
            if let Some(namespace) = NamespaceInfo::parse(id, &data) {
                namespaces.push(namespace);
            } else {
                tracing::warn!(id, "a namespace without blocks or of a format that is not supported");
            }
        }
        Ok(namespaces)
    }

    /// Asks for I/O queue pairs; returns how many there are.
    fn set_number_of_queues(&mut self, count: usize) -> Result<usize> {
        let last = (count.clamp(1, 0xffff) - 1) as u64;
        let value = feature::NCQ.set(feature::NSQ.set(0, last), last) as u32;
        let cdw10 = features::FID.set(0, feature::NUMBER_OF_QUEUES as u64) as u32;
        let sqe = Sqe { opcode: admin::SET_FEATURES, cdw10: [cdw10, value, 0, 0, 0, 0], ..Sqe::default() };
        let granted = self.run(sqe, &Data::None, "set features (number of queues)")? as u64;
        Ok(feature::NSQ.get(granted).min(feature::NCQ.get(granted)) as usize + 1)
    }

    /// Creates the completion and the submission queue of an I/O queue pair, with the vector of its number.
    fn create_queue(&mut self, queue: &mut Queue) -> Result<()> {
        let ring = queue.ring();
        let (id, (submission, completion)) = (ring.id() as u64, ring.bases());
        let cdw10 = q::QSIZE.set(q::QID.set(0, id), ring.entries() as u64 - 1) as u32;
        let contiguous = q::PC.mask();
        let vector = if self.events.is_empty() { 0 } else { q::IV.set(q::IEN.mask(), id) };
        let create = |opcode, prp1, cdw11: u64| Sqe {
            opcode,
            prp1,
            cdw10: [cdw10, cdw11 as u32, 0, 0, 0, 0],
            ..Sqe::default()
        };
        self.run(
            create(admin::CREATE_CQ, completion, contiguous | vector),
            &Data::None,
            "create I/O completion queue",
        )?;
        let sqe = create(admin::CREATE_SQ, submission, q::CQID.set(contiguous, id));
        self.run(sqe, &Data::None, "create I/O submission queue")?;
        Ok(())
    }
}

/// Waits for an interrupt for at most `limit`, or lets another thread run when there are none.
pub(super) fn pause(event: Option<&OwnedFd>, limit: Duration) -> Result<()> {
    let Some(event) = event else {
        std::thread::yield_now();
        return Ok(());
    };
    // A limit that does not fit is as good as none.
    let limit = Timespec::try_from(limit).ok();
    let mut fds = [PollFd::from_borrowed_fd(event.as_fd(), PollFlags::IN)];
    match rustix::event::poll(&mut fds, limit.as_ref()) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Ok(()),
        Ok(_) => {
            drain(event);
            Ok(())
        }
        Err(error) => {
            Err(crate::Error::Io { what: "waiting for an interrupt".into(), source: error.into() }.into())
        }
    }
}

/// Takes note of the interrupts so far.
pub(super) fn drain(event: &OwnedFd) {
    // Nothing to read is fine: another thread was faster.
    let _ = rustix::io::read(event, &mut [0; 8]);
}

fn interrupts(function: &dyn Function) -> Result<Vec<OwnedFd>> {
    let new = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    let events: std::result::Result<Vec<_>, _> = (0..function.info().msix_vectors).map(|_| new()).collect();
    let failed = |error: rustix::io::Errno| crate::Error::Io {
        what: "creating event file descriptors".into(),
        source: error.into(),
    };
    let events = events.map_err(failed)?;
    let vectors: Vec<_> = events.iter().map(|event| Some(event.as_fd())).collect();
    function.set_msix(&vectors)?;
    Ok(events)
}

/// Memory space and bus master enable in the Command register (PCIe 4.0 §7.5.1.1.3).
fn enable_bus_master(function: &dyn Function) -> Result<()> {
    const COMMAND: u16 = 0x04;
    let mut command = [0; 2];
    function.config_read(COMMAND, &mut command)?;
    command[0] |= 0x06;
    Ok(function.config_write(COMMAND, &command)?)
}
