//! What the main thread waits for while vCPUs run: the end, signals, the console's input, the control socket.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use serde_json::Value;

use crate::api::{Api, Request};
use crate::event::Event;
use crate::serial::{Console, Escapes, Typed};
use crate::signals::Signals;

/// Who outside of the guest stopped a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// A client of the control socket.
    Api,
    /// Ctrl-A x on the console.
    Console,
    /// A signal, by number.
    Signal(i32),
}

/// The main thread's event loop.
pub struct Supervisor {
    signals: Signals,
    console: Arc<Console>,
    escapes: Escapes,
    /// Input has not ended.
    input: bool,
    api: Option<Api>,
}

impl Supervisor {
    /// Takes over the signals that end a process, in this thread and those that it starts from now on.
    pub fn new(console: Arc<Console>, api: Option<Api>) -> io::Result<Self> {
        Ok(Self { signals: Signals::new()?, console, escapes: Escapes::default(), input: true, api })
    }

    /// Waits until `ended` is signalled (none) or somebody outside stops the machine.
    pub fn wait(
        &mut self,
        ended: &Event,
        mut answer: impl FnMut(Request) -> Value,
    ) -> io::Result<Option<Stop>> {
        loop {
            // The terminal is not read while the guest has no room for what is typed.
            let room = self.input && self.console.room() > 0;
            let stdin = io::stdin();
            let mut fds = vec![
                PollFd::new(ended, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
                PollFd::new(&*self.console.drained, PollFlags::IN),
            ];
            fds.extend(room.then(|| PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)));
            let fixed = fds.len();
            let api = self.api.iter().flat_map(Api::fds);
            fds.extend(api.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result?,
            };
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            if ready[0] {
                return Ok(None);
            }
            if let Some(signal) = self.signals.next() {
                return Ok(Some(Stop::Signal(signal)));
            }
            if ready[2] {
                self.console.drained.clear();
            }
            if room && ready[3] && self.read_input()? {
                return Ok(Some(Stop::Console));
            }
            if ready[fixed..].contains(&true) && self.serve(&mut answer) {
                return Ok(Some(Stop::Api));
            }
        }
    }

    /// Hands typed bytes to the guest; `true` if they ask to quit.
    fn read_input(&mut self) -> io::Result<bool> {
        let mut data = [0; 64];
        let len = data.len().min(self.console.room());
        let len = match rustix::io::read(io::stdin(), &mut data[..len]) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(false),
            // A terminal that is gone is an input that has ended.
            Err(rustix::io::Errno::IO) => 0,
            result => result?,
        };
        self.input = len > 0;
        match self.escapes.feed(&data[..len]) {
            Typed::Quit => return Ok(true),
            Typed::Input(input) => self.console.input(&input),
        }
        Ok(false)
    }

    /// Serves the control socket; `true` if a client asked to stop.
    fn serve(&mut self, answer: &mut impl FnMut(Request) -> Value) -> bool {
        let mut stop = false;
        if let Some(api) = &mut self.api {
            api.serve(|request| {
                stop |= request == Request::Stop;
                answer(request)
            });
        }
        stop
    }
}
