//! Resets with commands in flight.

use nitride_abi::nvme::command::{admin, io};
use nitride_abi::nvme::log::{self, smart};
use nitride_abi::nvme::{Sqe, command::NSID_ALL};
use rand::Rng;

use super::generate::Planned;
use super::run::Run;
use super::side::{DATA, IOVA, Side};
use super::{NAMESPACES, Outcome, Report};

/// Most blocks of a Write Zeroes command.
const MOST_BLOCKS: u64 = 1 << 16;

impl Run {
    /// Resets both, of which the function under test has commands in flight, and brings them into the same state again: what
    /// the commands may have changed is made zeroes, and the model's counters are made those of the function.
    pub fn interrupt(&mut self, report: &mut Report) -> Outcome<()> {
        let depth = self.random.random_range(1..=32);
        let batch = self.generator.io(&mut self.random, &self.model, depth);
        self.submit(&batch)?;
        report.interrupted += 1;
        if self.random.random_bool(0.5) {
            self.both(Side::function_level_reset)?;
        }
        self.bring_up()?;
        for planned in &batch {
            self.forget_memory(planned)?;
            self.zero_blocks(planned)?;
        }
        self.adopt_counters()
    }

    /// Zeroes the blocks that a command may have changed.
    fn zero_blocks(&mut self, planned: &Planned) -> Outcome<()> {
        for (nsid, first, end, changes) in &planned.blocks {
            let shape = nsid.checked_sub(1).and_then(|index| *NAMESPACES.get(index as usize)?);
            let Some(shape) = shape.filter(|shape| !shape.read_only && *end <= shape.blocks) else {
                continue;
            };
            let blocks = end - first;
            if !changes || blocks == 0 || blocks > MOST_BLOCKS {
                continue;
            }
            debug_assert!(*first < shape.blocks);
            let queue = self.model.io_queues().next().ok_or("no I/O queue is left")?;
            let cdw10 = [*first as u32, (first >> 32) as u32, blocks as u32 - 1, 0, 0, 0];
            let sqe = Sqe {
                opcode: io::WRITE_ZEROES,
                cid: self.generator.cid(),
                nsid: *nsid,
                cdw10,
                ..Sqe::default()
            };
            self.batch(&[Planned::plain(queue, sqe)], &mut Report::default())?;
        }
        Ok(())
    }

    /// Gives the model the counts that the function under test has.
    fn adopt_counters(&mut self) -> Outcome<()> {
        let sqe = Sqe {
            opcode: admin::GET_LOG_PAGE,
            cid: self.generator.cid(),
            nsid: NSID_ALL,
            prp1: IOVA + DATA as u64,
            cdw10: [(log::size(log::SMART) as u32 / 4 - 1) << 16 | u32::from(log::SMART), 0, 0, 0, 0, 0],
            ..Sqe::default()
        };
        self.batch(&[Planned::plain(0, sqe)], &mut Report::default())?;
        let page = self.tested.bytes(DATA, DATA + log::size(log::SMART));
        let count =
            |at: usize| (0..8).fold(0u64, |count, byte| count | (page[at + byte] as u64) << (8 * byte));
        self.reference.with_controller(|controller| {
            let counters = controller.counters();
            counters.reads = count(smart::HOST_READ_COMMANDS);
            counters.writes = count(smart::HOST_WRITE_COMMANDS);
            counters.errors = count(smart::ERROR_ENTRIES);
        });
        self.inexact = true;
        // The two pages differ in the counts that were adopted, and in data units.
        self.both(|side| side.fill(DATA, &vec![0; log::size(log::SMART)]))
    }
}
