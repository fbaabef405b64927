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
                self.pair.kick()?;
                return InFlight { queue: self, tag: Some(tag) }.await;
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

/// Takes in completions at each interrupt, and looks for overdue commands now and then.
async fn serve(pair: QueuePair, event: AsyncFd<OwnedFd>, room: Arc<Notify>) {
    let mut check = tokio::time::interval(STALLED.min(pair.shared.options.timeout / 4));
    loop {
        let overdue = tokio::select! {
            ready = event.readable() => {
                let Ok(mut ready) = ready else { return };
                drain(ready.get_inner());
                ready.clear_ready();
                false
            }
            _ = check.tick() => true,
        };
        let processed = lock(pair.queue()).process();
        room.notify_waiters();
        if let Err(error) = processed {
            tracing::error!(%error, "the queue cannot be served");
            return;
        }
        if overdue {
            let pair = pair.clone();
            match tokio::task::spawn_blocking(move || pair.look_after()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "recovery failed"),
                Err(_) => return,
            }
            room.notify_waiters();
        }
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
