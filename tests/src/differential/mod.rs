//! Random NVMe commands on two functions at once: the model, and the one under test.
//!
//! Both get the same submission queue entries over the same memory layout; statuses, results, data,
//! interrupts and, in the end, the media are compared. What the specification leaves undefined (the order
//! of commands in flight, data after a failed transfer) is kept out of the comparison by construction:
//! commands that are in flight together touch different blocks and different memory.
//!
//! A run is determined by its seed. A mismatch says what was asked, what the model and what the function under
//! test answered, and the seed.

mod generate;
mod pointer;
mod side;

use std::fmt;
use std::sync::Arc;

use nitride_abi::card::PF_STORAGE;
use nitride_abi::nvme::{Sqe, Status};
use nitride_driver::Function;
use nitride_driver::management::{self, Management, Volume};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::nvme_model::{Controller, ModelFunction, Namespace};
use generate::{Generator, Planned};
use side::{Completion, Side};

/// The namespaces that the function under test must have, with media of zeroes.
pub const NAMESPACES: [Option<Shape>; 4] = [
    Some(Shape { blocks: 8192, format: 0, read_only: false }),
    Some(Shape { blocks: 1024, format: 1, read_only: false }),
    None,
    Some(Shape { blocks: 256, format: 0, read_only: true }),
];

/// A namespace of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Its size in blocks.
    pub blocks: u64,
    /// Its LBA format, an index of [`nitride_abi::nvme::LBA_FORMATS`].
    pub format: u8,
    /// It is write protected.
    pub read_only: bool,
}

impl Shape {
    fn block_shift(self) -> u8 {
        nitride_abi::nvme::LBA_FORMATS[self.format as usize]
    }
}

/// The model with [`NAMESPACES`], as the given function of the card.
pub fn reference(function: u8) -> ModelFunction {
    let namespaces = NAMESPACES.map(|shape| {
        let namespace = Namespace::new(shape?.blocks, shape?.format);
        Some(if shape?.read_only { namespace.read_only() } else { namespace })
    });
    ModelFunction::new("model", Controller::new(function, namespaces))
}

/// Gives a controller of a card the volumes of [`NAMESPACES`], on the media from byte `base` on, which must be zeroes
/// there. Returns where they end.
pub fn attach(card: &Management, controller: u8, base: u64) -> management::Result<u64> {
    let mut end = base;
    for (nsid, shape) in (1..).zip(NAMESPACES) {
        let Some(shape) = shape else {
            card.clear_volume(controller, nsid)?;
            continue;
        };
        let Shape { blocks, read_only, .. } = shape;
        let volume = Volume { base: end, blocks, large_blocks: shape.block_shift() == 12, read_only };
        card.set_volume(controller, nsid, volume)?;
        end = (end + (blocks << shape.block_shift())).next_multiple_of(4096);
    }
    Ok(end)
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Commands that were compared.
    pub commands: usize,
    /// Those that succeeded.
    pub succeeded: usize,
    /// Controller resets and function level resets in between.
    pub resets: usize,
    /// Most commands in flight at once.
    pub depth: usize,
}

/// A difference between the model and the function under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The run's seed.
    pub seed: u64,
    /// Commands that were compared before.
    pub commands: usize,
    /// What differed.
    pub detail: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, after {} commands: {}", self.seed, self.commands, self.detail)
    }
}

impl std::error::Error for Mismatch {}

type Outcome<T> = Result<T, String>;

/// Runs `commands` random commands on `tested`, which is PF2, and on a fresh model.
pub fn run(tested: Arc<dyn Function>, seed: u64, commands: usize) -> Result<Report, Mismatch> {
    run_as(PF_STORAGE, tested, seed, commands)
}

/// As [`run`], for `tested` being another NVMe function of the card.
pub fn run_as(
    function: u8,
    tested: Arc<dyn Function>,
    seed: u64,
    commands: usize,
) -> Result<Report, Mismatch> {
    let mut report = Report::default();
    let outcome = Run::new(function, tested, seed).and_then(|mut run| run.all(commands, &mut report));
    outcome.map(|()| report).map_err(|detail| Mismatch { seed, commands: report.commands, detail })
}

struct Run {
    model: Side,
    tested: Side,
    random: StdRng,
    generator: Generator,
    /// Vectors that were raised since the last reset.
    vectors: u8,
}

impl Run {
    fn new(function: u8, tested: Arc<dyn Function>, seed: u64) -> Outcome<Self> {
        Ok(Self {
            model: Side::new(Arc::new(reference(function)))?,
            tested: Side::new(tested)?,
            random: StdRng::seed_from_u64(seed),
            generator: Generator::default(),
            vectors: 0,
        })
    }

    fn all(&mut self, commands: usize, report: &mut Report) -> Outcome<()> {
        self.bring_up()?;
        while report.commands < commands {
            match self.random.random_range(0..100) {
                0..3 => {
                    report.resets += 1;
                    if self.random.random_bool(0.3) {
                        self.both(Side::function_level_reset)?;
                    }
                    self.bring_up()?;
                }
                3..15 => {
                    let planned = self.generator.admin(&mut self.random, &self.model);
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

    fn both(&mut self, mut act: impl FnMut(&mut Side) -> Outcome<()>) -> Outcome<()> {
        act(&mut self.model)?;
        act(&mut self.tested).map_err(|error| format!("function under test: {error}"))
    }

    fn bring_up(&mut self) -> Outcome<()> {
        let entries = self.random.random_range(2..=64);
        self.generator.forget_events();
        self.vectors = 0;
        self.both(|side| side.bring_up(entries))?;
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

    /// Puts the commands into both, and compares what becomes of them.
    fn batch(&mut self, batch: &[Planned], report: &mut Report) -> Outcome<()> {
        report.depth = report.depth.max(batch.len());
        self.both(|side| {
            for planned in batch {
                planned.prepare(side)?;
            }
            for planned in batch {
                side.put(planned.queue, &planned.sqe)?;
            }
            side.ring(batch.iter().map(|planned| planned.queue))
        })?;
        let expected = self.model.drain(None)?;
        let actual =
            self.tested.drain(Some(expected.len())).map_err(|error| format!("{error} in {}", list(batch)))?;
        for planned in batch {
            self.compare(planned, &expected, &actual, report)?;
        }
        if let Some(stray) = actual.iter().find(|cqe| !expected.iter().any(|other| other.same_command(cqe))) {
            return Err(format!("a completion of no command: {stray:?} in {}", list(batch)));
        }
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
        let memory = planned.memory.clone();
        self.both(|side| {
            memory.iter().try_for_each(|(start, end)| side.fill(*start, &vec![0; end - start]))
        })?;
        let Some(sqe) = planned.healing() else { return Ok(()) };
        let planned = Planned::plain(planned.queue, sqe);
        self.batch(&[planned], &mut Report::default())
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

fn list(batch: &[Planned]) -> String {
    batch.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A submission queue entry as messages show it.
fn show(sqe: &Sqe) -> String {
    format!(
        "opcode {:02x}h flags {:02x}h cid {} nsid {:x}h prp1 {:x}h prp2 {:x}h cdw10.. {:x?}",
        sqe.opcode, sqe.flags, sqe.cid, sqe.nsid, sqe.prp1, sqe.prp2, sqe.cdw10
    )
}
