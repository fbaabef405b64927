//! One of the two functions of a run, with the host's side of its queues.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nitride_abi::card::{MSIX_VECTORS, QUEUES};
use nitride_abi::nvme::command::{admin, queue as q};
use nitride_abi::nvme::register::{self, cq_head_doorbell, csts, sq_tail_doorbell};
use nitride_abi::nvme::{CQE_BYTES, Cqe, SQE_BYTES, Sqe, Status};
use nitride_driver::{Access, Function, Memory};
use rand::Rng;
use rand::rngs::StdRng;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};

use super::Outcome;

/// I/O virtual address of the memory, above 32 bits.
pub(super) const IOVA: u64 = 0x12_4000_0000;
/// Bytes of the memory.
pub(super) const MEMORY: usize = 16 << 20;
/// Where in the memory commands' data begins; queues are before it.
pub(super) const DATA: usize = 1 << 20;
const COMPLETION_QUEUES: usize = 768 << 10;

/// Offset in the memory of a submission queue, 64 KiB each.
pub(super) fn submission_queue(id: usize) -> usize {
    id * (64 << 10)
}

/// Offset in the memory of a completion queue, 16 KiB each.
pub(super) fn completion_queue(id: usize) -> usize {
    COMPLETION_QUEUES + id * (16 << 10)
}

/// A completion, as far as both sides must agree on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Completion {
    sq: u16,
    cid: u16,
    pub status: Status,
    pub result: u32,
}

impl Completion {
    pub fn is_of(&self, queue: usize, cid: u16) -> bool {
        (self.sq as usize, self.cid) == (queue, cid)
    }

    pub fn cid(&self) -> u16 {
        self.cid
    }

    pub fn same_command(&self, other: &Self) -> bool {
        (self.sq, self.cid) == (other.sq, other.cid)
    }
}

#[derive(Clone)]
struct Submission {
    size: u32,
    tail: u32,
    target: usize,
}

#[derive(Clone)]
struct Target {
    size: u32,
    head: u32,
    phase: bool,
}

/// A function, its memory and its queues.
pub(super) struct Side {
    function: Arc<dyn Function>,
    memory: Arc<Memory>,
    events: Vec<OwnedFd>,
    submissions: [Option<Submission>; QUEUES],
    targets: [Option<Target>; QUEUES],
    /// How long the function may do nothing while it should.
    patience: Duration,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Side {
    pub fn new(function: Arc<dyn Function>, patience: Duration) -> Outcome<Self> {
        let memory = Arc::new(Memory::new("differential", MEMORY, false).map_err(text)?);
        function.dma_map(IOVA, memory.clone(), Access::ReadWrite).map_err(text)?;
        let new = || eventfd(0, EventfdFlags::NONBLOCK).map_err(text);
        let events = (0..MSIX_VECTORS).map(|_| new()).collect::<Outcome<_>>()?;
        let (submissions, targets) = Default::default();
        let side = Self { function, memory, events, submissions, targets, patience };
        side.prepare_function()?;
        Ok(side)
    }

    fn prepare_function(&self) -> Outcome<()> {
        self.function.config_write(4, &[0x06, 0x04]).map_err(text)?;
        let vectors: Vec<_> = self.events.iter().map(|event| Some(event.as_fd())).collect();
        self.function.set_msix(&vectors).map_err(text)
    }

    pub fn function_level_reset(&mut self) -> Outcome<()> {
        self.function.reset().map_err(text)?;
        self.prepare_function()
    }

    pub fn write(&self, offset: u64, value: u32) -> Outcome<()> {
        self.function.bar_write(0, offset, &value.to_le_bytes()).map_err(text)
    }

    fn wait_ready(&self, ready: u64) -> Outcome<()> {
        let deadline = Instant::now() + self.patience;
        loop {
            let mut status = [0; 4];
            self.function.bar_read(0, register::CSTS, &mut status).map_err(text)?;
            let status = u32::from_le_bytes(status);
            if csts::RDY.get(status as u64) == ready {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("CSTS stays {status:#x}, RDY should be {ready}"));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Controller reset, and enable with admin queues of `entries` entries.
    pub fn bring_up(&mut self, entries: u32) -> Outcome<()> {
        self.write(register::CC, 0)?;
        self.wait_ready(0)?;
        self.interrupts(None);
        self.submissions = Default::default();
        self.targets = Default::default();
        // An old phase tag would look like a completion.
        self.fill(completion_queue(0), &[0; 16 << 10])?;
        self.targets[0] = Some(Target { size: entries, head: 0, phase: true });
        self.submissions[0] = Some(Submission { size: entries, tail: 0, target: 0 });
        self.write(register::AQA, (entries - 1) << 16 | (entries - 1))?;
        for (offset, base) in [(register::ASQ, submission_queue(0)), (register::ACQ, completion_queue(0))] {
            let base = IOVA + base as u64;
            self.function.bar_write(0, offset, &base.to_le_bytes()).map_err(text)?;
        }
        self.write(register::CC, 0x0046_0001)?;
        self.wait_ready(1)
    }

    pub fn has_no_submission_queue(&self, id: usize) -> bool {
        self.submissions.get(id).is_none_or(Option::is_none)
    }

    pub fn has_no_completion_queue(&self, id: usize) -> bool {
        self.targets.get(id).is_none_or(Option::is_none)
    }

    /// I/O submission queues that exist.
    pub fn io_queues(&self) -> impl Iterator<Item = usize> {
        (1..QUEUES).filter(|id| self.submissions[*id].is_some())
    }

    /// Commands that a submission queue takes before its head moves.
    pub fn room(&self, queue: usize) -> usize {
        self.submissions[queue].as_ref().map_or(0, |sq| sq.size as usize - 1)
    }

    /// The offset of a doorbell and a value that its queue does not have, or a doorbell of no queue with any value.
    pub fn bad_doorbell(&self, random: &mut StdRng) -> (u64, u32) {
        let queue = random.random_range(0..2 * QUEUES);
        let (doorbell, size) = if random.random_bool(0.5) {
            let size = self.submissions.get(queue).and_then(Option::as_ref).map(|sq| sq.size);
            (sq_tail_doorbell(queue as u16), size)
        } else {
            let size = self.targets.get(queue).and_then(Option::as_ref).map(|cq| cq.size);
            (cq_head_doorbell(queue as u16), size)
        };
        // The upper half of a doorbell does not count.
        (doorbell, random.random_range(size.unwrap_or(0)..1 << 16) | random.random::<u32>() << 16)
    }

    /// Keeps the books after a command that succeeded.
    pub fn note(&mut self, sqe: &Sqe, queue: usize) {
        let (cdw10, cdw11) = (sqe.cdw10[0] as u64, sqe.cdw10[1] as u64);
        let (id, size) = (q::QID.get(cdw10) as usize, q::QSIZE.get(cdw10) as u32 + 1);
        match sqe.opcode {
            _ if queue != 0 => {}
            admin::CREATE_CQ => self.targets[id] = Some(Target { size, head: 0, phase: true }),
            admin::CREATE_SQ => {
                let target = q::CQID.get(cdw11) as usize;
                self.submissions[id] = Some(Submission { size, tail: 0, target });
            }
            admin::DELETE_SQ => self.submissions[id] = None,
            admin::DELETE_CQ => self.targets[id] = None,
            _ => {}
        }
    }

    /// Writes `data` into the memory.
    pub fn fill(&self, offset: usize, data: &[u8]) -> Outcome<()> {
        if self.memory.write(offset, data) { Ok(()) } else { Err(format!("no memory at {offset:#x}")) }
    }

    /// A copy of the memory's bytes from `start` to `end`.
    pub fn bytes(&self, start: usize, end: usize) -> Vec<u8> {
        let mut bytes = vec![0; end - start];
        assert!(self.memory.read(start, &mut bytes), "a range of the run's memory");
        bytes
    }

    pub fn put(&mut self, queue: usize, sqe: &Sqe) -> Outcome<()> {
        let sq = self.submissions[queue].as_mut().ok_or("a command for a queue that does not exist")?;
        let at = submission_queue(queue) + sq.tail as usize * SQE_BYTES;
        sq.tail = (sq.tail + 1) % sq.size;
        self.fill(at, &sqe.to_bytes())
    }

    pub fn ring(&self, queues: impl Iterator<Item = usize>) -> Outcome<()> {
        for queue in queues.collect::<BTreeSet<_>>() {
            let tail = self.submissions[queue].as_ref().map_or(0, |sq| sq.tail);
            self.write(sq_tail_doorbell(queue as u16), tail)?;
        }
        Ok(())
    }

    /// Takes completions: as many as `count`, and then any that should not be; without a count, as many
    /// as come at once.
    pub fn drain(&mut self, count: Option<usize>) -> Outcome<Vec<Completion>> {
        let mut taken = Vec::new();
        let mut deadline = Instant::now() + self.patience;
        loop {
            let before = taken.len();
            for queue in 0..QUEUES {
                self.drain_queue(queue, &mut taken)?;
            }
            if taken.len() > before {
                deadline = Instant::now() + self.patience;
                continue;
            }
            match count {
                Some(count) if taken.len() < count => {
                    if Instant::now() > deadline {
                        return Err(format!("{} completions instead of {count}", taken.len()));
                    }
                    std::thread::sleep(Duration::from_micros(20));
                }
                _ => return Ok(taken),
            }
        }
    }

    fn drain_queue(&mut self, queue: usize, taken: &mut Vec<Completion>) -> Outcome<()> {
        let Some(mut target) = self.targets[queue].clone() else { return Ok(()) };
        let first = target.head;
        loop {
            let at = completion_queue(queue) + target.head as usize * CQE_BYTES;
            // The last dword is written with or after the others, and read before them.
            let phase = self.bytes(at + 14, at + 15)[0] & 1 == 1;
            if phase != target.phase {
                break;
            }
            std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
            let mut bytes = [0; CQE_BYTES];
            bytes.copy_from_slice(&self.bytes(at, at + CQE_BYTES));
            let cqe = Cqe::from_bytes(&bytes);
            let sq = self.submissions.get(cqe.sq_id as usize).and_then(Option::as_ref);
            if sq.is_none_or(|sq| sq.target != queue || cqe.sq_head as u32 >= sq.size) {
                return Err(format!("completion queue {queue} has {cqe:?}"));
            }
            taken.push(Completion { sq: cqe.sq_id, cid: cqe.cid, status: cqe.status, result: cqe.result });
            target.head = (target.head + 1) % target.size;
            target.phase ^= target.head == 0;
        }
        if target.head != first {
            self.write(cq_head_doorbell(queue as u16), target.head)?;
        }
        self.targets[queue] = Some(target);
        Ok(())
    }

    /// The vectors that were raised since the last time, a bit each. Waits for those of `expected`.
    pub fn interrupts(&self, expected: Option<u8>) -> u8 {
        let mut raised = 0;
        for (vector, event) in self.events.iter().enumerate() {
            if expected.is_some_and(|expected| expected >> vector & 1 == 1) {
                let mut fds = [PollFd::from_borrowed_fd(event.as_fd(), PollFlags::IN)];
                // A time-out shows as a vector that was not raised.
                let _ = rustix::event::poll(&mut fds, Timespec::try_from(self.patience).ok().as_ref());
            }
            let read = rustix::io::read(event, &mut [0; 8]).is_ok();
            raised |= u8::from(read) << vector;
        }
        raised
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // Failures mean that the card is gone, which the run has reported.
        let _ = self.write(register::CC, 0).and_then(|()| self.wait_ready(0));
        let _ = self.function.set_msix(&[]);
        let _ = self.function.dma_unmap(IOVA, MEMORY as u64);
    }
}
