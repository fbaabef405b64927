//! COM1: the guest's console on standard input and output.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use vm_superio::Trigger;
use vm_superio::serial::{Serial, SerialEvents};

use crate::event::Event;

/// What begins an escape sequence on the terminal: Ctrl-A.
const ESCAPE: u8 = 0x01;

struct Interrupt(Arc<Event>);

impl Trigger for Interrupt {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.signal()
    }
}

/// Tells the thread that feeds the console that there is room again.
struct Drained(Arc<Event>);

impl SerialEvents for Drained {
    fn buffer_read(&self) {}
    fn out_byte(&self) {}
    fn tx_lost_byte(&self) {}
    fn in_buffer_empty(&self) {
        // An event that cannot be signalled is signalled already.
        let _ = self.0.signal();
    }
}

/// Where the guest's output goes.
struct Output {
    stopped: Arc<AtomicBool>,
}

impl Write for Output {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        // A reader that stalls must not keep the machine from stopping: no retry after a signal then.
        loop {
            match rustix::io::write(io::stdout(), data) {
                Err(rustix::io::Errno::INTR) if !self.stopped.load(Ordering::SeqCst) => {}
                result => return Ok(result?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A 16550A on standard input and output.
pub struct Console {
    serial: Mutex<Serial<Interrupt, Drained, Output>>,
    /// The interrupt line.
    pub interrupt: Arc<Event>,
    /// Signalled when the guest has read all input.
    pub drained: Arc<Event>,
}

impl Console {
    /// A console whose output gives up once `stopped` is set.
    pub fn new(stopped: Arc<AtomicBool>) -> io::Result<Self> {
        let (interrupt, drained) = (Arc::new(Event::new()?), Arc::new(Event::new()?));
        let (trigger, events) = (Interrupt(Arc::clone(&interrupt)), Drained(Arc::clone(&drained)));
        let serial = Mutex::new(Serial::with_events(trigger, events, Output { stopped }));
        Ok(Self { serial, interrupt, drained })
    }

    /// A guest's read of register `offset` (0 to 7).
    pub fn read(&self, offset: u8) -> u8 {
        self.serial.lock().read(offset)
    }

    /// A guest's write of register `offset` (0 to 7).
    pub fn write(&self, offset: u8, value: u8) {
        // Output that nobody takes is lost, as on a line without a listener.
        let _ = self.serial.lock().write(offset, value);
    }

    /// Bytes of input that the guest can take now.
    pub fn room(&self) -> usize {
        self.serial.lock().fifo_capacity()
    }

    /// Hands the guest input, at most [`Console::room`] bytes.
    pub fn input(&self, data: &[u8]) {
        // The only error is a trigger that is pending already.
        let _ = self.serial.lock().enqueue_raw_bytes(data);
    }
}

/// What a user typed, after escape sequences.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// Bytes for the guest.
    Input(Vec<u8>),
    /// Ctrl-A x: end the machine.
    Quit,
}

/// Finds escape sequences in what is typed: Ctrl-A x quits, Ctrl-A Ctrl-A is one Ctrl-A.
#[derive(Debug, Default)]
pub struct Escapes {
    pending: bool,
}

impl Escapes {
    /// Takes the next bytes from the terminal.
    pub fn feed(&mut self, data: &[u8]) -> Typed {
        let mut input = Vec::with_capacity(data.len());
        for byte in data {
            match (self.pending, *byte) {
                (false, ESCAPE) => self.pending = true,
                (true, b'x' | b'X') => return Typed::Quit,
                (_, byte) => {
                    self.pending = false;
                    input.push(byte);
                }
            }
        }
        Typed::Input(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escape_may_be_split_over_reads() {
        let mut escapes = Escapes::default();
        assert_eq!(escapes.feed(b"ab\x01"), Typed::Input(b"ab".to_vec()));
        assert_eq!(escapes.feed(b"x"), Typed::Quit);
    }

    #[test]
    fn a_doubled_escape_is_input() {
        let mut escapes = Escapes::default();
        assert_eq!(escapes.feed(b"\x01\x01x"), Typed::Input(b"\x01x".to_vec()));
    }

    #[test]
    fn other_keys_after_an_escape_are_input() {
        let mut escapes = Escapes::default();
        assert_eq!(escapes.feed(b"\x01cx"), Typed::Input(b"cx".to_vec()));
    }

    #[test]
    fn input_raises_the_interrupt_once_the_guest_wants_it_and_tells_when_it_is_read() {
        let console = Console::new(Arc::default()).unwrap();
        console.write(1, 1);
        console.input(b"hi");
        assert!(console.interrupt.is_signalled());
        assert_eq!((console.read(0), console.read(0)), (b'h', b'i'));
        assert!(console.drained.is_signalled());
        assert_eq!(console.read(5) & 1, 0);
    }
}
