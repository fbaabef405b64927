//! The asynchronous edge, on tokio: commands as futures. Inside it is the same poll-mode queue.
#![allow(unsafe_code)]

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::command::Command;
use super::error::{Error, Result};
use super::pair::QueuePair;
use super::queue::{Report, Tag};
use super::shared::{STALLED, drain, lock};

/// A queue pair whose commands are futures.
///
/// A future that is dropped leaves its command in flight; the command's memory stays mapped until it ends.
pub struct AsyncQueue {
    pair: QueuePair,
    /// Told whenever slots may have become free.
    room: Arc<Notify>,
    task: JoinHandle<()>,
}

impl AsyncQueue {
    /// Serves `pair`, of a controller that was opened with [`super::Wait::Interrupt`], from a task of the
    /// current tokio runtime.
    pub fn new(pair: QueuePair) -> Result<Self> {
        let io = |source| crate::Error::Io { what: "waiting for interrupts".into(), source };
        let event = pair
            .shared
            .events
            .get(pair.index + 1)
            .ok_or(crate::Error::Unsupported { what: "waiting for interrupts" })?;
        let event = event.try_clone().map_err(io)?;
        // SAFETY: the `AsyncFd` owns the `OwnedFd`, which is open and the same file until it is dropped.
        let event = unsafe { AsyncFd::register_with_interest(event, Interest::READABLE) };
        let event = event.map_err(|error| io(error.into()))?;
        let room = Arc::new(Notify::new());
        let task = tokio::spawn(serve(pair.clone(), event, room.clone()));
        Ok(Self { pair, room, task })
    }

    /// Executes a command: its result, dword 0 of its completion. It waits for room in the queue.
    pub async fn execute(&self, command: &Command<'_>) -> Result<u32> {
        loop {
            let room = self.room.notified();
            if let Some(tag) = self.pair.put(command, Report::Ask)? {
                let in_flight = InFlight { queue: self, tag: Some(tag) };
                self.pair.kick()?;
                return in_flight.await;
            }
            room.await;
        }
    }
}

impl Drop for AsyncQueue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves the queue until the card is gone; then commands in flight end with that.
async fn serve(pair: QueuePair, event: AsyncFd<OwnedFd>, room: Arc<Notify>) {
    if let Err(error) = look(&pair, &event, &room).await {
        tracing::error!(%error, "the queue cannot be served any more");
        lock(pair.queue()).give_up();
        room.notify_waiters();
    }
}

/// Takes in completions at each interrupt, and looks after slow commands now and then.
async fn look(pair: &QueuePair, event: &AsyncFd<OwnedFd>, room: &Notify) -> Result<()> {
    let io = |source| crate::Error::Io { what: "waiting for an interrupt".into(), source };
    let mut check = tokio::time::interval(STALLED.min(pair.shared.options.timeout / 4));
    loop {
        tokio::select! {
            ready = event.readable() => {
                let mut ready = ready.map_err(io)?;
                drain(ready.get_inner());
                ready.clear_ready();
            }
            _ = check.tick() => {
                let pair = pair.clone();
                let looked = tokio::task::spawn_blocking(move || pair.look_after()).await;
                looked.map_err(|error| io(error.into()))??;
            }
        }
        lock(pair.queue()).process()?;
        room.notify_waiters();
    }
}

/// A command in flight.
struct InFlight<'a> {
    queue: &'a AsyncQueue,
    tag: Option<Tag>,
}

impl Future for InFlight<'_> {
    type Output = Result<u32>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(tag) = self.tag else {
            let detail = "polled after it ended".into();
            return Poll::Ready(Err(Error::Invalid { command: "command", detail }));
        };
        let mut queue = lock(self.queue.pair.queue());
        // The interrupt may have come before there was a waker.
        queue.process()?;
        if let Some(outcome) = queue.take(tag) {
            drop(queue);
            self.tag = None;
            self.queue.room.notify_waiters();
            Poll::Ready(outcome)
        } else {
            queue.wake_on_end(tag, context.waker());
            Poll::Pending
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(tag) = self.tag {
            lock(self.queue.pair.queue()).abandon(tag);
        }
    }
}
