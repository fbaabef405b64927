//! A queue pair with its commands in flight: slots, data pointers, time stamps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use nitride_abi::nvme::command::dsm;
use nitride_abi::nvme::{Cqe, PAGE, Sqe, Status};

use super::error::{Error, Result};
use super::ring::Ring;
use crate::dma::{Dma, DmaSpace};
use crate::function::Function;

/// Bytes of a slot's page: a PRP list, or the ranges of a Dataset Management command.
const SLOT_PAGE: usize = PAGE as usize;

/// Names a command in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag {
    slot: u16,
    sequence: u32,
}

impl Tag {
    /// A small number, unique among the commands in flight on a queue: below its depth.
    pub fn index(self) -> usize {
        self.slot as usize
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Completed(u32, Status),
    Reset,
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    /// In flight.
    Pending,
    /// In flight, but nobody wants to know of it any more.
    Abandoned,
    Ended(End),
}

/// Whom the end of a command is reported to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// To [`Queue::next_finished`].
    Poll,
    /// To whoever asks [`Queue::take`] for it.
    Ask,
}

struct Slot {
    state: State,
    sequence: u32,
    command: &'static str,
    submitted: Instant,
    report: Report,
    /// Keeps the data's memory mapped while the card may use it.
    buffer: Option<Dma>,
    waker: Option<Waker>,
}

/// What a command transfers.
pub(super) enum Data<'a> {
    None,
    /// `len` bytes of DMA memory from an offset on.
    Buffer(&'a Dma, usize, usize),
    /// Ranges of a Dataset Management command (first block, blocks), 256 at most.
    Ranges(&'a [(u64, u32)]),
}

/// A queue pair and its slots. The command identifier is the slot's number.
pub(super) struct Queue {
    ring: Ring,
    slots: Box<[Slot]>,
    free: Vec<u16>,
    finished: VecDeque<u16>,
    pages: Dma,
}

impl Queue {
    pub fn new(function: Arc<dyn Function>, space: &DmaSpace, id: u16, entries: u32) -> Result<Self> {
        let depth = entries as usize - 1;
        let now = Instant::now();
        let slot = |_| Slot {
            state: State::Free,
            sequence: 0,
            command: "",
            submitted: now,
            report: Report::Poll,
            buffer: None,
            waker: None,
        };
        Ok(Self {
            ring: Ring::new(function, space, id, entries)?,
            slots: (0..depth).map(slot).collect(),
            free: (0..depth as u16).rev().collect(),
            finished: VecDeque::with_capacity(depth),
            pages: space.allocate(depth * SLOT_PAGE)?,
        })
    }

    pub fn ring(&mut self) -> &mut Ring {
        &mut self.ring
    }

    pub fn depth(&self) -> usize {
        self.slots.len()
    }

    /// Commands in flight, or ended and not reported yet.
    pub fn in_use(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Puts a command into the queue; `None` when all slots are in use. [`Ring::ring`] starts it.
    pub fn put(
        &mut self,
        mut sqe: Sqe,
        data: &Data<'_>,
        command: &'static str,
        report: Report,
    ) -> Result<Option<Tag>> {
        let Some(index) = self.free.last().copied() else { return Ok(None) };
        let page = index as usize * SLOT_PAGE;
        let buffer = match *data {
            Data::None => None,
            Data::Ranges(ranges) => {
                for (at, (lba, blocks)) in (page..page + SLOT_PAGE).step_by(dsm::RANGE_BYTES).zip(ranges) {
                    self.pages.store_qword(at, (*blocks as u64) << 32);
                    self.pages.store_qword(at + 8, *lba);
                }
                sqe.prp1 = self.pages.iova() + page as u64;
                None
            }
            Data::Buffer(dma, offset, len) => {
                let inside = offset.checked_add(len).is_some_and(|end| end <= dma.len());
                if !inside || !offset.is_multiple_of(4) || len == 0 {
                    let detail =
                        format!("{len} bytes at {offset:#x} of {dma:?} are not inside or not dword-aligned");
                    return Err(Error::Invalid { command, detail });
                }
                (sqe.prp1, sqe.prp2) = self.point(page, dma.iova() + offset as u64, len as u64);
                Some(dma.clone())
            }
        };
        self.free.pop();
        sqe.cid = index;
        self.ring.put(&sqe);
        let slot = &mut self.slots[index as usize];
        slot.sequence = slot.sequence.wrapping_add(1);
        slot.state = State::Pending;
        slot.submitted = Instant::now();
        (slot.command, slot.report, slot.buffer) = (command, report, buffer);
        Ok(Some(Tag { slot: index, sequence: slot.sequence }))
    }

    /// PRP1 and PRP2 for `len` bytes at `address` (NVMe 1.4 §4.3). A list fits into the slot's page: it has at
    /// most 512 entries, and the largest transfer 256 pages.
    fn point(&self, page: usize, address: u64, len: u64) -> (u64, u64) {
        let second = (address / PAGE + 1) * PAGE;
        let end = address + len;
        if end <= second {
            return (address, 0);
        }
        if end <= second + PAGE {
            return (address, second);
        }
        let pages = (second..end).step_by(PAGE as usize);
        for (entry, target) in (page..page + SLOT_PAGE).step_by(8).zip(pages) {
            self.pages.store_qword(entry, target);
        }
        (address, self.pages.iova() + page as u64)
    }

    /// Starts what was put, and takes in what the controller has completed. Returns how many commands ended.
    pub fn process(&mut self) -> Result<usize> {
        self.ring.ring()?;
        let mut count = 0;
        while let Some(cqe) = self.ring.take() {
            count += 1;
            self.complete(&cqe);
        }
        if count > 0 {
            self.ring.release()?;
        }
        Ok(count)
    }

    fn complete(&mut self, cqe: &Cqe) {
        let in_flight = self.slots.get(cqe.cid as usize).is_some_and(Slot::is_in_flight);
        if in_flight {
            self.end(cqe.cid, End::Completed(cqe.result, cqe.status));
        } else {
            tracing::warn!(
                queue = self.ring.id(),
                cid = cqe.cid,
                "a completion of a command that is not in flight"
            );
        }
    }

    fn end(&mut self, index: u16, end: End) {
        let slot = &mut self.slots[index as usize];
        slot.buffer = None;
        if slot.state == State::Abandoned {
            slot.free();
            self.free.push(index);
            return;
        }
        slot.state = State::Ended(end);
        if slot.report == Report::Poll {
            self.finished.push_back(index);
        }
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }

    /// The next command that ended and is reported by polling.
    pub fn next_finished(&mut self) -> Option<(Tag, Result<u32>)> {
        let index = self.finished.pop_front()?;
        let tag = Tag { slot: index, sequence: self.slots[index as usize].sequence };
        self.take(tag).map(|outcome| (tag, outcome))
    }

    /// How a command ended, once it did; its tag is of no use afterwards.
    pub fn take(&mut self, tag: Tag) -> Option<Result<u32>> {
        let slot = self.slot(tag)?;
        let State::Ended(end) = slot.state else { return None };
        let command = slot.command;
        slot.free();
        self.free.push(tag.slot);
        Some(match end {
            End::Completed(result, status) if status.is_success() => Ok(result),
            End::Completed(_, status) => Err(Error::Status { command, status }),
            End::Reset => Err(Error::Reset { command }),
            End::Gone => {
                let name = self.ring.function().info().name.clone();
                Err(crate::Error::Gone { name, detail: format!("{command} was in flight") }.into())
            }
        })
    }

    fn slot(&mut self, tag: Tag) -> Option<&mut Slot> {
        self.slots.get_mut(tag.slot as usize).filter(|slot| slot.sequence == tag.sequence)
    }

    /// Has `waker` woken when the command ends.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code))]
    pub fn wake_on_end(&mut self, tag: Tag, waker: &Waker) {
        if let Some(slot) = self.slot(tag) {
            slot.waker = Some(waker.clone());
        }
    }

    /// Gives up interest in a command: its slot and its buffer are free when it ends.
    pub fn abandon(&mut self, tag: Tag) {
        if self.take(tag).is_none()
            && let Some(slot) = self.slot(tag)
        {
            slot.state = State::Abandoned;
            slot.waker = None;
        }
    }

    /// A command that has been in flight for longer than `limit`, and its description.
    pub fn overdue(&self, limit: Duration) -> Option<(u16, &'static str)> {
        let now = Instant::now();
        let late = |slot: &Slot| slot.is_in_flight() && now.duration_since(slot.submitted) > limit;
        self.slots.iter().position(late).map(|index| (index as u16, self.slots[index].command))
    }

    /// Whether the command of that identifier is in flight.
    pub fn is_in_flight(&self, cid: u16) -> bool {
        self.slots.get(cid as usize).is_some_and(Slot::is_in_flight)
    }

    /// Starts afresh on a controller that was just reset: commands in flight end as [`Error::Reset`].
    pub fn restart(&mut self) {
        self.ring.restart();
        self.end_all(End::Reset);
    }

    /// The card is gone: commands in flight end with that.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code))]
    pub fn give_up(&mut self) {
        self.end_all(End::Gone);
    }

    fn end_all(&mut self, end: End) {
        for index in 0..self.slots.len() as u16 {
            if self.is_in_flight(index) {
                self.end(index, end);
            }
        }
    }
}

impl Slot {
    fn is_in_flight(&self) -> bool {
        matches!(self.state, State::Pending | State::Abandoned)
    }

    fn free(&mut self) {
        self.state = State::Free;
        self.buffer = None;
        self.waker = None;
    }
}
