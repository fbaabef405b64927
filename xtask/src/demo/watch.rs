//! A guest's console: kept as a whole, and shown where the demo's script speaks.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What the guest's script begins its lines with.
const PREFIX: &str = "guest: ";
/// Its last line when all went well.
const PASSED: &str = "PASSED";

/// Takes the console's output. Clones share what was seen.
#[derive(Clone)]
pub struct Watch(Arc<Mutex<State>>);

struct State {
    name: &'static str,
    log: File,
    start: Instant,
    line: Vec<u8>,
    passed: bool,
}

impl Watch {
    /// Shows lines under `name`, with the time since `start`.
    pub fn new(name: &'static str, start: Instant, log: File) -> Self {
        Self(Arc::new(Mutex::new(State { name, log, start, line: Vec::new(), passed: false })))
    }

    /// Whether the guest said that all went well.
    pub fn passed(&self) -> bool {
        self.lock().passed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Watch {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut state = self.lock();
        state.log.write_all(bytes)?;
        for &byte in bytes {
            if byte == b'\n' {
                state.line_ends();
            } else {
                state.line.push(byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.lock().log.flush()
    }
}

impl State {
    fn line_ends(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        // The console's other writers, the kernel for one, leave their marks before the text.
        let Some(text) = line.trim_end().split_once(PREFIX).map(|(_, text)| text) else { return };
        self.passed |= text == PASSED;
        println!("{:6.1} s  {:>5}: {text}", self.start.elapsed().as_secs_f32(), self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_verdict_passes() {
        let mut watch = Watch::new("alice", Instant::now(), tempfile::tempfile().unwrap());
        watch.write_all(b"PASSED\nguest: FAILED: not PASSED\r\nguest: PAS").unwrap();
        assert!(!watch.passed());
        watch.write_all(b"SED\r\n").unwrap();
        assert!(watch.passed());
    }
}
