//! A run: the same commands to both sides, and the comparison of what becomes of them.

use std::sync::Arc;

use nitride_abi::nvme::command::{admin, log_page};
use nitride_abi::nvme::{Sqe, Status, log};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::generate::{Generator, Planned};
use super::side::{Completion, Side};
use super::{NAMESPACES, Outcome, Report, Subject, Touch, list, reference};
use crate::nvme_model::ModelFunction;

/// Entries of an admin queue that has place for all event requests and a command.
const ENTRIES_FOR_REQUESTS: u32 = 8;
/// An opcode that the card does not know.
const UNKNOWN: u8 = 0xff;

pub(super) struct Run {
    pub reference: Arc<ModelFunction>,
    pub model: Side,
    pub tested: Side,
    pub random: StdRng,
    pub generator: Generator,
    touch: Option<Touch>,
    interrupt: bool,
    /// Vectors that were raised since the last reset.
    vectors: u8,
    /// Commands have failed together: the Error Information log has them in any order.
    unordered: bool,
    /// Commands were in flight in a reset: of the data units it is not known how many moved.
    pub inexact: bool,
}

impl Run {
    pub fn new(subject: Subject, seed: u64) -> Outcome<Self> {
        let reference = Arc::new(reference(subject.function));
        Ok(Self {
            model: Side::new(reference.clone(), subject.patience)?,
            tested: Side::new(subject.tested, subject.patience)?,
            reference,
            random: StdRng::seed_from_u64(seed),
            generator: Generator::default(),
            touch: subject.touch,
            interrupt: subject.interrupt,
            vectors: 0,
            unordered: false,
            inexact: false,
        })
    }

    pub fn all(&mut self, commands: usize, report: &mut Report) -> Outcome<()> {
        self.bring_up()?;
        while report.commands < commands {
            match self.random.random_range(0..100) {
                0..2 => {
                    report.resets += 1;
                    if self.random.random_bool(0.3) {
                        self.both(Side::function_level_reset)?;
                    }
                    self.bring_up()?;
                }
                2..4 if self.interrupt => self.interrupt(report)?,
                4..6 => self.bad_doorbell(report)?,
                6..8 => self.change_namespace(report)?,
                8..20 => {
                    let planned = self.generator.admin(&mut self.random, &self.model);
                    self.order_errors(&planned, report)?;
                    self.batch(&[planned], report)?;
                    self.ensure_io_queue(report)?;
                }
                _ => {
                    let depth = *[1, 1, 2, 4, 8, 16, 32].get(self.random.random_range(0..7)).unwrap_or(&1);
                    let batch = self.generator.io(&mut self.random, &self.model, depth);
                    self.batch(&batch, report)?;
                }
            }
        }
        self.compare_media(report)
    }

    pub fn both(&mut self, mut act: impl FnMut(&mut Side) -> Outcome<()>) -> Outcome<()> {
        act(&mut self.model)?;
        act(&mut self.tested).map_err(|error| format!("function under test: {error}"))
    }

    pub fn bring_up(&mut self) -> Outcome<()> {
        let entries = self.random.random_range(2..=64);
        self.generator.requests.clear();
        self.generator.may_request = entries >= ENTRIES_FOR_REQUESTS;
        self.vectors = 0;
        self.unordered = false;
        self.both(|side| side.bring_up(entries))?;
        // As hosts do at once; more requests come at random.
        if self.generator.may_request {
            for sqe in self.generator.ask_for_events() {
                self.batch(&[Planned::plain(0, sqe)], &mut Report::default())?;
            }
        }
        self.ensure_io_queue(&mut Report::default())
    }

    /// Creates plain queue pairs until there are two.
    fn ensure_io_queue(&mut self, report: &mut Report) -> Outcome<()> {
        for _ in 0..4 {
            if self.model.io_queues().count() >= 2 {
                return Ok(());
            }
            for planned in Generator::queue_pair(&mut self.random, &self.model) {
                self.batch(&[planned], report)?;
            }
        }
        Err("no I/O queue can be created".into())
    }

    /// Writes a doorbell with a value that its queue does not have, or one of no queue.
    fn bad_doorbell(&mut self, report: &mut Report) -> Outcome<()> {
        let (offset, value) = self.model.bad_doorbell(&mut self.random);
        self.both(|side| side.write(offset, value))?;
        self.batch(&[], report)
    }

    /// Tells both of a change of a namespace, which stays as it is.
    fn change_namespace(&mut self, report: &mut Report) -> Outcome<()> {
        let Some(touch) = &self.touch else { return Ok(()) };
        let nsid = [1, 2, 4][self.random.random_range(0..3)];
        let namespace =
            self.reference.with_controller(|controller| controller.namespaces[nsid as usize - 1].clone());
        self.reference.change_namespace(nsid, namespace);
        touch(nsid)?;
        self.batch(&[], report)
    }

    /// Before the Error Information log is read, makes its entries those of commands that failed one by one.
    fn order_errors(&mut self, planned: &Planned, report: &mut Report) -> Outcome<()> {
        let page = log_page::LID.get(planned.sqe.cdw10[0] as u64) as u8;
        if planned.sqe.opcode != admin::GET_LOG_PAGE || page != log::ERROR_INFORMATION || !self.unordered {
            return Ok(());
        }
        for _ in 0..log::error::ENTRIES {
            let sqe = Sqe { opcode: UNKNOWN, cid: self.generator.cid(), ..Sqe::default() };
            self.batch(&[Planned::plain(0, sqe)], report)?;
        }
        self.unordered = false;
        Ok(())
    }

    /// Puts the commands into both, and rings.
    pub fn submit(&mut self, batch: &[Planned]) -> Outcome<()> {
        self.both(|side| {
            for planned in batch {
                planned.prepare(side)?;
            }
            for planned in batch {
                side.put(planned.queue, &planned.sqe)?;
            }
            side.ring(batch.iter().map(|planned| planned.queue))
        })
    }

    /// Puts the commands into both, and compares what becomes of them, and which event requests end.
    pub fn batch(&mut self, batch: &[Planned], report: &mut Report) -> Outcome<()> {
        report.depth = report.depth.max(batch.len());
        self.submit(batch)?;
        let expected = self.model.drain(None)?;
        let actual =
            self.tested.drain(Some(expected.len())).map_err(|error| format!("{error} in {}", list(batch)))?;
        for planned in batch {
            self.compare(planned, &expected, &actual, report)?;
        }
        self.compare_events(batch, &expected, &actual, report)?;
        let failed = expected.iter().filter(|cqe| !cqe.status.is_success()).count();
        self.unordered |= failed > 1;
        // A vector may come again for a completion that an earlier one has announced: late, not wrong.
        let vectors = self.model.interrupts(None);
        self.vectors |= vectors;
        let seen = self.tested.interrupts(Some(vectors));
        if vectors & !seen != 0 || seen & !self.vectors != 0 {
            return Err(format!(
                "interrupt vectors {seen:#010b} instead of {vectors:#010b} after {}",
                list(batch)
            ));
        }
        Ok(())
    }

    /// Compares the completions of event requests of before, and finds those of no command.
    fn compare_events(
        &mut self,
        batch: &[Planned],
        expected: &[Completion],
        actual: &[Completion],
        report: &mut Report,
    ) -> Outcome<()> {
        let mut swapped = Vec::new();
        let earlier = |cqe: &&Completion| !batch.iter().any(|p| cqe.is_of(p.queue, p.sqe.cid));
        for cqe in expected.iter().filter(earlier) {
            self.generator.requests.retain(|cid| !cqe.is_of(0, *cid));
            report.events += usize::from(cqe.status.is_success());
            if !actual.contains(cqe) {
                let chosen = self.other_request(cqe, expected, actual);
                let chosen = chosen.ok_or_else(|| {
                    format!("an event request that should end with {cqe:?}: {actual:?} in {}", list(batch))
                })?;
                swapped.push(chosen);
            }
        }
        let known = |cqe: &Completion| {
            expected.iter().any(|other| other.same_command(cqe))
                || swapped.iter().any(|cid| cqe.is_of(0, *cid))
        };
        if let Some(stray) = actual.iter().find(|cqe| !known(cqe)) {
            return Err(format!("a completion of no command: {stray:?} in {}", list(batch)));
        }
        let requests = batch.iter().filter(|planned| planned.requests_event());
        let waiting = requests.filter(|p| !expected.iter().any(|cqe| cqe.is_of(p.queue, p.sqe.cid)));
        self.generator.requests.extend(waiting.map(|planned| planned.sqe.cid));
        Ok(())
    }

    /// The request by which the function under test tells an event that the model told by another: which of those that wait is for
    /// a device to choose. From here on the model has kept the one that the function keeps.
    fn other_request(
        &mut self,
        told: &Completion,
        expected: &[Completion],
        actual: &[Completion],
    ) -> Option<u16> {
        let same = |cqe: &&Completion| (cqe.status, cqe.result) == (told.status, told.result);
        let new = |cqe: &&Completion| !expected.iter().any(|other| other.same_command(cqe));
        let cid = actual
            .iter()
            .filter(same)
            .filter(new)
            .find_map(|cqe| self.generator.requests.iter().copied().find(|cid| cqe.is_of(0, *cid)))?;
        let kept = told.cid();
        self.reference.with_controller(|controller| controller.exchange_request(cid, kept));
        self.generator
            .requests
            .iter_mut()
            .filter(|request| **request == cid)
            .for_each(|request| *request = kept);
        Some(cid)
    }

    fn compare(
        &mut self,
        planned: &Planned,
        expected: &[Completion],
        actual: &[Completion],
        report: &mut Report,
    ) -> Outcome<()> {
        let find =
            |side: &[Completion]| side.iter().find(|cqe| cqe.is_of(planned.queue, planned.sqe.cid)).copied();
        let (expected, actual) = (find(expected), find(actual));
        let answers = |cqe: Option<Completion>| cqe.map(|cqe| (cqe.status, cqe.result));
        if answers(expected) != answers(actual) {
            let say = |cqe: Option<Completion>| {
                cqe.map_or("nothing".into(), |cqe| format!("{} with {:#x}", cqe.status, cqe.result))
            };
            return Err(format!("{planned}: {} instead of {}", say(actual), say(expected)));
        }
        report.commands += 1;
        let Some(cqe) = expected else { return Ok(()) };
        report.succeeded += usize::from(cqe.status.is_success());
        if cqe.status.is_success() {
            self.model.note(&planned.sqe, planned.queue);
            self.tested.note(&planned.sqe, planned.queue);
        }
        if matches!(cqe.status, Status::PRP_OFFSET_INVALID | Status::DATA_TRANSFER_ERROR) {
            return self.heal(planned);
        }
        if self.inexact && planned.reads_smart() {
            return Ok(());
        }
        for (start, end) in &planned.memory {
            let (model, tested) = (self.model.bytes(*start, *end), self.tested.bytes(*start, *end));
            if model != tested {
                let at = (0..model.len()).find(|at| model[*at] != tested[*at]).unwrap_or(0);
                let (is, should) = (tested[at], model[at]);
                return Err(format!(
                    "{planned}: byte {:#x} of memory is {is:#04x} instead of {should:#04x}",
                    start + at
                ));
            }
        }
        Ok(())
    }

    /// After a failed transfer the blocks or the memory hold anything: writes zeroes to both.
    fn heal(&mut self, planned: &Planned) -> Outcome<()> {
        self.forget_memory(planned)?;
        let Some(sqe) = planned.healing() else { return Ok(()) };
        let planned = Planned::plain(planned.queue, sqe);
        self.batch(&[planned], &mut Report::default())
    }

    /// Zeroes the memory that a command may have changed.
    pub fn forget_memory(&mut self, planned: &Planned) -> Outcome<()> {
        let memory = planned.memory.clone();
        self.both(|side| memory.iter().try_for_each(|(start, end)| side.fill(*start, &vec![0; end - start])))
    }

    /// Reads all blocks of all namespaces.
    fn compare_media(&mut self, report: &mut Report) -> Outcome<()> {
        for (nsid, shape) in (1..).zip(NAMESPACES) {
            let Some(shape) = shape else { continue };
            let step = (64 << 10) >> shape.block_shift();
            for lba in (0..shape.blocks).step_by(step) {
                let blocks = (step as u64).min(shape.blocks - lba);
                let queue = self.model.io_queues().next().ok_or("no I/O queue is left")?;
                let planned = self.generator.read(&mut self.random, queue, nsid, lba, blocks as u32, shape);
                self.batch(&[planned], report)?;
            }
        }
        Ok(())
    }
}
