//! One load: so many commands of a kind, so many at a time.

use std::time::Duration;

use nitride_driver::Dma;
use nitride_driver::nvme::{Command, QueuePair};

use crate::Error;
use crate::system::System;

/// Commands of a load on all its functions.
const COMMANDS: u64 = 2000;
/// Logical block size in bytes.
const BLOCK: u64 = 512;
/// Blocks that are used of each volume.
const BLOCKS: u64 = 16384;

/// What the commands do.
#[derive(Clone, Copy)]
pub enum Pattern {
    Read,
    Write,
}

impl Pattern {
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// What is asked of the card.
pub struct Load {
    pub pattern: Pattern,
    /// Bytes of a command.
    pub size: u64,
    /// Commands in flight on each function.
    pub depth: u64,
    pub functions: u8,
}

/// What it took.
pub struct Outcome {
    pub commands: u64,
    clock: u64,
    simulated: u64,
    time: Duration,
}

impl Outcome {
    /// Clock cycles.
    pub fn cycles_per_command(&self) -> f64 {
        self.clock as f64 / self.commands as f64
    }

    /// Thousands of cycles that are simulated in a second of a core.
    pub fn kilohertz(&self) -> f64 {
        self.simulated as f64 / self.time.as_secs_f64() / 1e3
    }
}

/// One function's share of a load.
struct Queue {
    pair: QueuePair,
    buffer: Dma,
    submitted: u64,
    ended: u64,
}

impl Load {
    /// Runs the load; a command that fails is an error.
    pub fn run(&self, system: &System) -> Result<Outcome, Error> {
        let mut queues = Vec::new();
        for nvme in &system.functions()[..usize::from(self.functions)] {
            let pair = nvme.queue_pair(0).ok_or("the controller has no I/O queue")?;
            queues.push(Queue { pair, buffer: nvme.allocate(self.size as usize)?, submitted: 0, ended: 0 });
        }
        let share = COMMANDS / queues.len() as u64;
        let (clock, (simulated, time)) = (system.clock()?, system.speed()?);
        while queues.iter().any(|queue| queue.ended < share) {
            for queue in &mut queues {
                self.turn(queue, share)?;
            }
        }
        let (clock_after, (simulated_after, time_after)) = (system.clock()?, system.speed()?);
        Ok(Outcome {
            commands: share * queues.len() as u64,
            clock: clock_after - clock,
            simulated: simulated_after - simulated,
            time: time_after.saturating_sub(time),
        })
    }

    /// Takes what has ended and submits as many commands as there is room for.
    fn turn(&self, queue: &mut Queue, share: u64) -> Result<(), Error> {
        let mut failure = None;
        queue.ended += queue.pair.poll(|_, result| failure = result.err().or(failure.take()))? as u64;
        if let Some(error) = failure {
            return Err(error.into());
        }
        let mut submitted = false;
        while queue.submitted < share && queue.submitted - queue.ended < self.depth {
            // Neighbouring commands are on different rows of the media, as random ones are.
            let lba = queue.submitted * 4001 * (4096 / BLOCK) % BLOCKS;
            let (blocks, buffer) = ((self.size / BLOCK) as u32, &queue.buffer);
            let command = match self.pattern {
                Pattern::Read => Command::Read { namespace: 1, lba, blocks, buffer, offset: 0 },
                Pattern::Write => {
                    Command::Write { namespace: 1, lba, blocks, buffer, offset: 0, durable: false }
                }
            };
            if queue.pair.submit(&command)?.is_none() {
                break;
            }
            queue.submitted += 1;
            submitted = true;
        }
        if submitted {
            queue.pair.kick()?;
        }
        Ok(())
    }
}
