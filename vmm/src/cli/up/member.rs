//! A process of a session, and what it says.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::{LOOK, PATIENCE};

/// Lines that are kept.
const LINES: usize = 500;

/// What a process has said. Clones share it.
#[derive(Clone)]
pub struct Log {
    name: String,
    lines: Arc<Mutex<VecDeque<String>>>,
    file: Option<Arc<File>>,
    /// Lines go to standard output as well.
    shown: bool,
}

impl Log {
    pub fn new(name: &str, file: Option<File>, shown: bool) -> Self {
        Self { name: name.to_owned(), lines: Arc::default(), file: file.map(Arc::new), shown }
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what comes from a process until that ends.
    fn follow(&self, output: impl Read + Send + 'static) -> JoinHandle<()> {
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n') {
                let Ok(line) = line else { return };
                let line = String::from_utf8_lossy(&line);
                // A guest may write what a terminal would obey.
                let line: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
                if let Some(mut file) = log.file.as_deref() {
                    let _ = writeln!(file, "{line}");
                }
                if log.shown {
                    let _ = writeln!(std::io::stdout(), "{:>8} | {line}", log.name);
                }
                let mut lines = log.lines();
                if lines.len() == LINES {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        })
    }
}

/// A running process. It is told to end when this is dropped, and killed if it does not.
pub struct Member {
    child: Child,
    log: Log,
    readers: Vec<JoinHandle<()>>,
}

impl Member {
    /// Starts this program with other arguments, in a process group of its own: Ctrl-C is for this process alone, which ends the others in order.
    pub fn start(arguments: &[&OsStr], log: Log) -> Result<Self> {
        let program = std::env::current_exe().context("this program's own file")?;
        let mut command = Command::new(program);
        command.args(arguments).process_group(0).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {}", log.name))?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let readers = output.map(|output| log.follow(output)).into_iter();
        let readers = readers.chain(errors.map(|errors| log.follow(errors))).collect();
        Ok(Self { child, log, readers })
    }

    pub fn name(&self) -> &str {
        &self.log.name
    }

    /// Its status, if it has ended. All that it said is there then.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait().with_context(|| format!("waiting for {}", self.log.name))?;
        if status.is_some() {
            for reader in self.readers.drain(..) {
                let _ = reader.join();
            }
        }
        Ok(status)
    }

    /// Whether a line begins like this.
    pub fn said(&self, start: &str) -> bool {
        self.log.lines().iter().any(|line| line.starts_with(start))
    }

    /// The last `count` lines.
    pub fn tail(&self, count: usize) -> Vec<String> {
        let lines = self.log.lines();
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }

    pub fn last_line(&self) -> String {
        let lines = self.log.lines();
        let line = lines.iter().rev().find(|line| !line.trim().is_empty());
        line.map_or("it said nothing".to_owned(), |line| line.trim_start_matches("nitride: ").to_owned())
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It fails where the process has ended, which is what is wanted.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let start = Instant::now();
        let mut asked = false;
        while self.ended().is_ok_and(|status| status.is_none()) {
            if !asked {
                self.terminate();
                asked = true;
            }
            if start.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(LOOK / 10);
        }
    }
}
