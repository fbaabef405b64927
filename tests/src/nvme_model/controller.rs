//! The controller: registers, doorbells, fetching and completing commands (NVMe 1.4 §3.1, §7.2).

use nitride_abi::card::{BAR0_DOORBELLS, NAMESPACES, QUEUES};
use nitride_abi::nvme::register::{self, aqa, cc, csts};
use nitride_abi::nvme::{CAP_VALUE, Cqe, PAGE, Status, VERSION};

use super::events::Events;
use super::features::Features;
use super::host::HostMemory;
use super::logs::{Counters, Logs};
use super::namespace::Namespace;
use super::queue::{CompletionQueue, SubmissionQueue};

/// One NVMe controller of the card.
#[derive(Debug, Clone)]
pub struct Controller {
    /// Its namespaces; index 0 is NSID 1.
    pub namespaces: [Option<Namespace>; NAMESPACES],
    pub(super) function: u8,
    pub(super) submission_queues: [Option<SubmissionQueue>; QUEUES],
    pub(super) completion_queues: [Option<CompletionQueue>; QUEUES],
    pub(super) features: Features,
    pub(super) events: Events,
    pub(super) logs: Logs,
    cc: u32,
    csts: u32,
    aqa: u32,
    asq: u64,
    acq: u64,
    /// A bit a vector.
    interrupts: u8,
    pub(super) defect: Defect,
}

/// How a controller is defective, so that drivers' ways out can be tested.
#[derive(Debug, Clone, Default)]
pub(super) enum Defect {
    #[default]
    None,
    /// It fetches no I/O command.
    Hangs,
    /// It fetches I/O commands, and holds them until they are aborted: completion queue, completion.
    Holds(Vec<(usize, Cqe)>),
}

impl Controller {
    /// A controller out of reset. `function` is its number on the card; it shows in the Identify data.
    pub fn new(function: u8, namespaces: [Option<Namespace>; NAMESPACES]) -> Self {
        Self {
            namespaces,
            function,
            submission_queues: Default::default(),
            completion_queues: Default::default(),
            features: Features::default(),
            events: Events::default(),
            logs: Logs::default(),
            cc: 0,
            csts: 0,
            aqa: 0,
            asq: 0,
            acq: 0,
            interrupts: 0,
            defect: Defect::None,
        }
    }

    /// Reads 1, 2, 4 or 8 aligned bytes at `offset` of BAR0's registers and doorbells.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        for (address, byte) in (offset..).zip(data) {
            *byte = (self.register(address & !3) >> (8 * (address & 3))) as u8;
        }
    }

    fn register(&self, offset: u64) -> u32 {
        match offset {
            register::CAP => CAP_VALUE as u32,
            0x04 => (CAP_VALUE >> 32) as u32,
            register::VS => VERSION,
            register::CC => self.cc,
            register::CSTS => self.csts,
            register::AQA => self.aqa,
            register::ASQ => self.asq as u32,
            0x2c => (self.asq >> 32) as u32,
            register::ACQ => self.acq as u32,
            0x34 => (self.acq >> 32) as u32,
            _ => 0,
        }
    }

    /// Writes 1, 2, 4 or 8 aligned bytes at `offset` of BAR0's registers and doorbells, and does all
    /// the work that comes of it.
    pub fn write(&mut self, offset: u64, data: &[u8], host: &mut dyn HostMemory) {
        for (address, bytes) in (offset..).step_by(4).zip(data.as_chunks::<4>().0) {
            let value = u32::from_le_bytes(*bytes);
            if address >= BAR0_DOORBELLS {
                self.doorbell(address - BAR0_DOORBELLS, value);
            } else {
                self.set_register(address, value);
            }
        }
        self.run(host);
    }

    fn set_register(&mut self, offset: u64, value: u32) {
        let page_bits = !(PAGE as u32 - 1);
        match offset {
            register::CC => self.configure(value & cc::WRITABLE),
            register::AQA => self.aqa = value & aqa::WRITABLE,
            register::ASQ => self.asq = self.asq >> 32 << 32 | (value & page_bits) as u64,
            0x2c => self.asq = self.asq as u32 as u64 | (value as u64) << 32,
            register::ACQ => self.acq = self.acq >> 32 << 32 | (value & page_bits) as u64,
            0x34 => self.acq = self.acq as u32 as u64 | (value as u64) << 32,
            _ => {}
        }
    }

    fn configure(&mut self, value: u32) {
        let (was_enabled, value64) = (cc::EN.get(self.cc as u64) == 1, value as u64);
        self.cc = value;
        match (was_enabled, cc::EN.get(value64) == 1) {
            (true, false) => self.controller_reset(),
            (false, true) => self.enable(),
            _ => {}
        }
        if cc::SHN.get(value64) != 0 {
            self.csts = csts::SHST.set(self.csts as u64, csts::SHST_COMPLETE) as u32;
        }
    }

    fn controller_reset(&mut self) {
        self.submission_queues = Default::default();
        self.completion_queues = Default::default();
        self.features = Features::default();
        self.interrupts = 0;
        self.csts = 0;
        self.defect = Defect::None;
    }

    fn enable(&mut self) {
        let (config, aqa) = (self.cc as u64, self.aqa as u64);
        let (sq_last, cq_last) = (aqa::ASQS.get(aqa) as u32, aqa::ACQS.get(aqa) as u32);
        let unsupported = [cc::MPS, cc::CSS, cc::AMS].iter().any(|field| field.get(config) != 0);
        if unsupported || sq_last == 0 || cq_last == 0 {
            self.csts = csts::CFS.mask() as u32;
            return;
        }
        self.csts = csts::RDY.mask() as u32;
        self.events = Events::default();
        self.logs.remove_errors();
        self.submission_queues[0] = Some(SubmissionQueue::new(self.asq, sq_last + 1, 0));
        self.completion_queues[0] = Some(CompletionQueue::new(self.acq, cq_last + 1, Some(0)));
    }

    /// Replaces a namespace, and tells the host if it wants to know.
    pub fn change_namespace(&mut self, nsid: u32, namespace: Option<Namespace>, host: &mut dyn HostMemory) {
        let index = nsid as usize - 1;
        self.namespaces[index] = namespace;
        self.namespace_changed(index);
        self.tell(host);
    }

    /// What the log pages count.
    pub fn counters(&mut self) -> &mut Counters {
        &mut self.logs.counters
    }

    /// Makes the controller defective: it fetches no I/O command until it is reset.
    pub fn hang_until_reset(&mut self) {
        self.defect = Defect::Hangs;
    }

    /// Makes the controller defective: it holds every I/O command until that is aborted, or until a reset.
    pub fn hold_until_abort(&mut self) {
        self.defect = Defect::Holds(Vec::new());
    }

    /// Aborts a command that a defect holds: whether there is such a command.
    pub(super) fn abort_held(&mut self, host: &mut dyn HostMemory, queue: u16, cid: u16) -> bool {
        let Defect::Holds(held) = &mut self.defect else { return false };
        let Some(index) = held.iter().position(|(_, cqe)| (cqe.sq_id, cqe.cid) == (queue, cid)) else {
            return false;
        };
        let (target, cqe) = held.remove(index);
        self.complete(host, target, Cqe { status: Status::ABORT_REQUESTED, ..cqe });
        true
    }

    pub(super) fn complete(&mut self, host: &mut dyn HostMemory, target: usize, cqe: Cqe) {
        if let Some(cq) = &mut self.completion_queues[target] {
            cq.post(host, cqe);
            self.interrupts |= cq.vector.map_or(0, |vector| 1 << vector);
        }
    }

    /// Function Level Reset: every register and the state behind it, but not the counters of the SMART log.
    pub fn function_level_reset(&mut self) {
        self.controller_reset();
        (self.cc, self.aqa, self.asq, self.acq) = (0, 0, 0, 0);
    }

    /// Whether commands are fetched.
    pub(super) fn is_running(&self) -> bool {
        self.csts == csts::RDY.mask() as u32
    }

    fn doorbell(&mut self, offset: u64, value: u32) {
        if !self.is_running() {
            return;
        }
        let (queue, value) = ((offset / 8) as usize, value & 0xffff);
        let pointer = if offset.is_multiple_of(8) {
            let sq = self.submission_queues.get_mut(queue).and_then(Option::as_mut);
            sq.map(|sq| (sq.size, &mut sq.tail))
        } else {
            let cq = self.completion_queues.get_mut(queue).and_then(Option::as_mut);
            cq.map(|cq| (cq.size, &mut cq.head))
        };
        match pointer {
            Some((size, pointer)) if value < size => *pointer = value,
            Some(_) => {
                self.events.invalid_value = true;
                self.logs.fail_doorbell(Status::INVALID_FIELD);
            }
            None => {
                self.events.invalid_register = true;
                self.logs.fail_doorbell(Status::INVALID_QUEUE_ID);
            }
        }
    }

    /// Executes what is queued, one command a queue and turn, until nothing is left or nothing can complete.
    pub fn run(&mut self, host: &mut dyn HostMemory) {
        let mut progress = true;
        while progress {
            progress = false;
            self.tell(host);
            for queue in 0..QUEUES {
                progress |= self.step(queue, host);
            }
        }
    }

    /// Executes one command of `queue`, if it has one and its completion queue has room.
    fn step(&mut self, queue: usize, host: &mut dyn HostMemory) -> bool {
        if !self.is_running() || queue > 0 && matches!(self.defect, Defect::Hangs) {
            return false;
        }
        let Some(sq) = &mut self.submission_queues[queue] else { return false };
        let target = sq.completion_queue;
        let full = self.completion_queues[target].as_ref().is_none_or(CompletionQueue::is_full);
        if sq.is_empty() || full {
            return false;
        }
        let Ok(sqe) = sq.fetch(host) else {
            self.csts |= csts::CFS.mask() as u32;
            return false;
        };
        let cqe = Cqe { sq_head: sq.head as u16, sq_id: queue as u16, cid: sqe.cid, ..Cqe::default() };
        let outcome = match &mut self.defect {
            Defect::Holds(held) if queue > 0 => {
                held.push((target, cqe));
                Ok(None)
            }
            _ if queue == 0 => self.execute_admin(host, &sqe),
            _ => self.execute_io(host, &sqe).map(|()| Some(0)),
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(result)) => self.complete(host, target, Cqe { result, ..cqe }),
            Err(status) => {
                self.logs.fail_command(queue, &sqe, status);
                self.complete(host, target, Cqe { status, ..cqe });
            }
        }
        true
    }

    pub(super) fn io_queue_exists(&self) -> bool {
        self.submission_queues[1..].iter().any(Option::is_some)
            || self.completion_queues[1..].iter().any(Option::is_some)
    }

    /// The MSI-X vectors with a new completion since the last call, a bit each.
    pub fn take_interrupts(&mut self) -> u8 {
        std::mem::take(&mut self.interrupts)
    }
}

#[cfg(test)]
#[path = "controller_tests.rs"]
mod tests;
