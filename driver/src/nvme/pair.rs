//! A queue pair: submit and poll, or one command at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::command::Command;
use super::error::{Error, Result};
use super::identify::NamespaceInfo;
use super::queue::{Report, Tag};
use super::shared::{STALLED, Shared, lock, pause};

/// A handle on an I/O queue pair. Clones are the same queue pair; they may be used from several threads,
/// though a queue pair a thread is faster.
///
/// Poll mode: [`QueuePair::submit`] until it returns `None`, [`QueuePair::poll`] for what has ended. Nothing
/// is allocated on the way.
#[derive(Clone)]
pub struct QueuePair {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
}

impl QueuePair {
    /// How many commands can be in flight.
    pub fn depth(&self) -> usize {
        lock(self.queue()).depth()
    }

    /// Commands in flight, or ended and not polled yet.
    pub fn in_use(&self) -> usize {
        lock(self.queue()).in_use()
    }

    pub(super) fn queue(&self) -> &std::sync::Mutex<super::queue::Queue> {
        &self.shared.queues[self.index]
    }

    fn namespace(&self, command: &Command<'_>) -> NamespaceInfo {
        let id = command.namespace();
        let known = self.shared.namespaces.iter().find(|namespace| namespace.id == id).copied();
        // The card refuses what it does not have; until then any block size will do.
        known.unwrap_or(NamespaceInfo { id, blocks: 0, block_shift: 9, read_only: false, nguid: [0; 16] })
    }

    pub(super) fn put(&self, command: &Command<'_>, report: Report) -> Result<Option<Tag>> {
        let namespace = self.namespace(command);
        let name = command.name();
        if let Command::Read { blocks, .. } | Command::Write { blocks, .. } = *command {
            let (bytes, limit) =
                ((blocks as usize) << namespace.block_shift, self.shared.controller.max_transfer);
            if bytes > limit {
                let detail = format!("{bytes} bytes; the controller transfers up to {limit} at once");
                return Err(Error::Invalid { command: name, detail });
            }
        }
        let (sqe, data) = command.encode(&namespace)?;
        lock(self.queue()).put(sqe, &data, name, report)
    }

    /// Puts a command into the queue; `None` when the queue is full. It starts with the next
    /// [`QueuePair::kick`] or [`QueuePair::poll`].
    pub fn submit(&self, command: &Command<'_>) -> Result<Option<Tag>> {
        self.put(command, Report::Poll)
    }

    /// Starts all commands that were submitted.
    pub fn kick(&self) -> Result<()> {
        Ok(lock(self.queue()).ring().ring()?)
    }

    /// Starts what was submitted and reports every submitted command that has ended since the last time.
    /// Returns how many. `report` must not use this queue pair.
    pub fn poll(&self, mut report: impl FnMut(Tag, Result<u32>)) -> Result<usize> {
        let mut queue = lock(self.queue());
        queue.process()?;
        let mut count = 0;
        while let Some((tag, outcome)) = queue.next_finished() {
            report(tag, outcome);
            count += 1;
        }
        Ok(count)
    }

    /// Sleeps until the controller raises the queue's interrupt, for at most `limit`. When polling, it only
    /// lets another thread run.
    pub fn wait(&self, limit: Duration) -> Result<()> {
        pause(self.shared.events.get(self.index + 1), limit)
    }

    /// Looks after commands that take long: a card that is gone and a controller with a fatal error are noticed
    /// after a second; a command that is overdue is aborted, or else the controller is reset and set up again. To be
    /// called now and then (not more than a few times a second) in poll mode; [`QueuePair::execute`] does it by itself.
    pub fn look_after(&self) -> Result<()> {
        self.shared.look_after(self.index).map(|_| ())
    }

    /// Executes one command: its result, dword 0 of its completion.
    pub fn execute(&self, command: &Command<'_>) -> Result<u32> {
        let limit = self.shared.options.timeout;
        let interval = limit.min(STALLED);
        let mut look = Instant::now() + interval;
        let mut aborted = false;
        let mut tag = None;
        loop {
            if tag.is_none() {
                tag = self.put(command, Report::Ask)?;
            }
            let mut queue = lock(self.queue());
            queue.process()?;
            if let Some(outcome) = tag.and_then(|tag| queue.take(tag)) {
                return match outcome {
                    Err(Error::Status { command, .. }) if aborted => {
                        Err(Error::Aborted { command, after: limit })
                    }
                    outcome => outcome,
                };
            }
            drop(queue);
            if Instant::now() > look {
                match self.shared.look_after(self.index) {
                    Ok(abort) => aborted |= abort.is_some(),
                    Err(error) => {
                        if let Some(tag) = tag {
                            lock(self.queue()).abandon(tag);
                        }
                        return Err(error);
                    }
                }
                look = Instant::now() + interval;
            }
            // Other threads on this queue pair may take in the completion and its interrupt: look again soon.
            self.wait(Duration::from_millis(10))?;
        }
    }
}
