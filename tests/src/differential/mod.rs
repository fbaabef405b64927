//! Random NVMe commands on two functions at once: the model, and the one under test.
//!
//! Both get the same submission queue entries over the same memory layout; statuses, results, data,
//! interrupts and, in the end, the media are compared. What the specification leaves undefined (the order
//! of commands in flight, data after a failed transfer) is kept out of the comparison by construction:
//! commands that are in flight together touch different blocks and different memory.
//!
//! A run is determined by its seed. A mismatch says what was asked, what the model and what the function under
//! test answered, and the seed.

mod fault;
mod generate;
mod interruption;
mod pointer;
mod run;
mod side;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nitride_abi::card::{PF_STORAGE, VFS, controller_of};
use nitride_abi::nvme::Sqe;
use nitride_driver::Function;
use nitride_driver::management::{self, Management, Volume};

use crate::nvme_model::{Controller, ModelFunction, Namespace};
pub use fault::{Fault, Faulty};
use generate::Planned;
use run::Run;

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
/// there, `gap` bytes apart (a multiple of 4 KiB). Returns where they lie.
pub fn attach(
    card: &Management,
    controller: u8,
    base: u64,
    gap: u64,
) -> management::Result<Vec<std::ops::Range<u64>>> {
    let (mut next, mut places) = (base, Vec::new());
    for (nsid, shape) in (1..).zip(NAMESPACES) {
        let Some(shape) = shape else {
            card.clear_volume(controller, nsid)?;
            continue;
        };
        let Shape { blocks, read_only, .. } = shape;
        let volume = Volume { base: next, blocks, large_blocks: shape.block_shift() == 12, read_only };
        card.set_volume(controller, nsid, volume)?;
        let end = next + (blocks << shape.block_shift());
        places.push(next..end);
        next = end.next_multiple_of(4096) + gap;
    }
    Ok(places)
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
    /// Asynchronous events that were told.
    pub events: usize,
    /// Resets of either kind with commands in flight.
    pub interrupted: usize,
}

/// How the function under test is told that a namespace (NSID) changed, as PF0 does.
pub type Touch = Box<dyn Fn(u32) -> Result<(), String> + Send>;

/// A function under test, and what is done with it.
pub struct Subject {
    /// Its number on the card.
    pub function: u8,
    /// It.
    pub tested: Arc<dyn Function>,
    /// For namespace change events; without it there are none.
    pub touch: Option<Touch>,
    /// Resets with commands in flight.
    pub interrupt: bool,
    /// How long it may do nothing while it should.
    pub patience: Duration,
}

impl Subject {
    /// PF2, with neither namespace changes nor resets with commands in flight.
    pub fn new(tested: Arc<dyn Function>) -> Self {
        Self { function: PF_STORAGE, tested, touch: None, interrupt: false, patience: Duration::from_mins(1) }
    }

    /// A function of a card, whose namespaces PF0 attaches anew from time to time.
    pub fn on_card(function: u8, tested: Arc<dyn Function>, card: Arc<Management>) -> Self {
        let touch = move |nsid| {
            let controller = controller_of(function, VFS).ok_or("not an NVMe function")?;
            let volume = card.volume(controller, nsid).map_err(|error| error.to_string())?;
            let volume = volume.ok_or("no such volume")?;
            card.set_volume(controller, nsid, volume).map_err(|error| error.to_string())
        };
        Self { function, touch: Some(Box::new(touch)), ..Self::new(tested) }
    }
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
    run_on(Subject::new(tested), seed, commands)
}

/// As [`run`], for any subject.
pub fn run_on(subject: Subject, seed: u64, commands: usize) -> Result<Report, Mismatch> {
    let mut report = Report::default();
    let outcome = Run::new(subject, seed).and_then(|mut run| run.all(commands, &mut report));
    outcome.map(|()| report).map_err(|detail| Mismatch { seed, commands: report.commands, detail })
}

/// As [`run_on`], for several functions at the same time, each with a model and a seed of its own (`seed`, `seed` + 1, …): each
/// function's commands are determined, how they meet those of the others is not.
pub fn run_together(subjects: Vec<Subject>, seed: u64, commands: usize) -> Result<Vec<Report>, Mismatch> {
    std::thread::scope(|scope| {
        let runs: Vec<_> = (seed..)
            .zip(subjects)
            .map(|(seed, subject)| scope.spawn(move || run_on(subject, seed, commands)))
            .collect();
        let panicked = || Mismatch { seed, commands: 0, detail: "a run panicked".into() };
        runs.into_iter().map(|run| run.join().unwrap_or_else(|_| Err(panicked()))).collect()
    })
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
