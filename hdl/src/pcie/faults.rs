//! Errors on their way to the configuration space.

use nitride_lang::prelude::*;

use crate::bus::{ErrorPulse, ErrorReport};

/// Places where errors are found: refused requests, completions that are cut, the DMA reader.
const SOURCES: usize = 3;

/// Brings the errors of all blocks together, round robin. Latency 0 for requests', else 1 cycle.
///
/// Requests wait until their error was taken. A pulse that comes while the one before it of the same place still waits is not logged: the
/// registers tell the first one.
#[derive(LogicBlock, Default)]
pub struct Faults {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Of requests.
    pub requests: Sink<ErrorReport>,
    /// Of completions' framing, and of the card's reads.
    pub found: [Signal<In, ErrorPulse>; 2],
    /// All of them.
    pub source: Source<ErrorReport>,
    /// An error waits.
    pub busy: Signal<Out, Bit>,
    waiting: [Reg<ErrorPulse>; 2],
    merge: StreamArbiter<ErrorReport, SOURCES>,
}

impl Logic for Faults {
    #[hdl]
    fn update(&mut self) {
        self.requests.link(&mut self.merge.sink[0]);
        self.source.link(&mut self.merge.source);
        self.merge.last.next = !bits::<SOURCES>(0);
        let mut busy = false;
        for i in 0..2 {
            let waiting = self.waiting[i].q.val();
            self.merge.sink[i + 1].valid.next = waiting.valid;
            self.merge.sink[i + 1].data.next = waiting.report;
            if !waiting.valid {
                self.waiting[i].d.next = self.found[i].val();
            } else if self.merge.sink[i + 1].ready.val() {
                self.waiting[i].d.next.valid = false;
            }
            busy = busy || waiting.valid || self.found[i].val().valid;
        }
        self.busy.next = busy;
    }
}
