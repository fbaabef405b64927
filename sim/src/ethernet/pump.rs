//! A thread between a port and what its cable leads to.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::cable::Cable;
use super::{Wire, frame_buffer};
use crate::simulator::Command;
use crate::{Error, Simulator};

/// Frames that are handed to the simulation at once.
const BATCH: usize = 64;

/// Carries frames until it is dropped.
pub(crate) struct Pump {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Pump {
    /// Connects a port to `wire` until that fails.
    pub(super) fn wire(simulator: &Simulator, port: usize, wire: Arc<dyn Wire>) -> io::Result<Self> {
        let simulator = simulator.clone();
        Self::spawn(port, move |stop| {
            if let Err(error) = carry(&simulator, port, &wire, stop) {
                tracing::error!("Ethernet port {port}: {error}; its link is down");
            }
        })
    }

    /// Connects a port to another card whenever that is there.
    pub(super) fn cable(simulator: &Simulator, port: usize, mut cable: Cable) -> io::Result<Self> {
        let simulator = simulator.clone();
        Self::spawn(port, move |stop| {
            loop {
                match cable.connect(stop) {
                    Ok(None) => return,
                    Ok(Some(wire)) => {
                        let wire: Arc<dyn Wire> = Arc::new(wire);
                        match carry(&simulator, port, &wire, stop) {
                            Ok(()) => return,
                            Err(error) => tracing::info!("Ethernet port {port}: {error}; its link is down"),
                        }
                    }
                    Err(error) => return tracing::error!("Ethernet port {port}: {error}; its link is down"),
                }
            }
        })
    }

    fn spawn(port: usize, work: impl FnOnce(&OwnedFd) + Send + 'static) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let seen = Arc::clone(&stop);
        let thread =
            std::thread::Builder::new().name(format!("ethernet {port}")).spawn(move || work(&seen))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits until there is something on `descriptor`; `false` if it is time to stop.
pub(super) fn wait(descriptor: std::os::fd::BorrowedFd<'_>, stop: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(&descriptor, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
    loop {
        match poll(&mut fds, None) {
            Ok(_) => return Ok(fds[1].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Carries frames both ways until it is time to stop; the error says why the wire is gone.
fn carry(simulator: &Simulator, port: usize, wire: &Arc<dyn Wire>, stop: &OwnedFd) -> io::Result<()> {
    let sender = Arc::clone(wire);
    let call = |work: Box<dyn FnOnce(&mut crate::System) + Send>| {
        simulator.send(Command::Call(Box::new(move |core| work(&mut core.system)))).map_err(stopped)
    };
    call(Box::new(move |system| {
        system.ethernet(port).connect(Box::new(move |frame| sender.send(frame).is_ok()));
    }))?;
    let result = loop {
        match wait(wire.descriptor(), stop) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
        match batch(wire.as_ref()) {
            Ok(frames) => call(Box::new(move |system| {
                for frame in &frames {
                    system.ethernet(port).send(frame);
                }
            }))?,
            Err(error) => break Err(error),
        }
    };
    call(Box::new(move |system| system.ethernet(port).disconnect()))?;
    result
}

fn batch(wire: &dyn Wire) -> io::Result<Vec<Vec<u8>>> {
    let mut buffer = frame_buffer();
    let mut frames = Vec::new();
    while frames.len() < BATCH
        && let Some(len) = wire.receive(&mut buffer)?
    {
        frames.push(buffer[..len].to_vec());
    }
    Ok(frames)
}

fn stopped(error: Error) -> io::Error {
    io::Error::other(error)
}
