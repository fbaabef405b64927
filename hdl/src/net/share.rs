//! One client of the DMA reader's for all that reads of virtqueues.

use nitride_lang::prelude::*;

use super::records::RingReader;
use crate::bus::{DmaDone, DmaReadRequest};

/// Readers.
const READERS: usize = RingReader::CONTEXTS.len();

/// Merges the reads of four blocks, by [`RingReader`], into one client's, round robin. A block's contexts begin at 0 on its side, and at
/// [`RingReader::CONTEXTS`] on the other.
///
/// Latency 0 both ways, a request a cycle.
#[derive(LogicBlock, Default)]
pub struct Share {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// The blocks' reads. Their contexts are less than 96, 96, 32 and 32.
    pub request: [Sink<DmaReadRequest>; READERS],
    /// Their ends, one cycle each: the blocks are always ready.
    pub done: [Source<DmaDone>; READERS],
    /// All reads.
    pub read: Source<DmaReadRequest>,
    /// All ends; always ready.
    pub read_done: Sink<DmaDone>,
    merge: StreamArbiter<DmaReadRequest, READERS>,
}

impl Logic for Share {
    #[hdl]
    fn update(&mut self) {
        Source::<DmaReadRequest>::link(&mut self.read, &mut self.merge.source);
        self.merge.last.next = !bits::<READERS>(0);
        self.read_done.ready.next = true;
        let done = self.read_done.data.val();
        let mut beyond = false;
        for i in 0..READERS {
            // From the last block down to the first: whose contexts begin at the done one's or below is it.
            let reader = READERS - 1 - i;
            let first = RingReader::CONTEXTS[reader];
            let request = self.request[reader].data.val();
            self.merge.sink[reader].valid.next = self.request[reader].valid.val();
            self.merge.sink[reader].data.next =
                DmaReadRequest { context: request.context + first, ..request };
            self.request[reader].ready.next = self.merge.sink[reader].ready.val();

            let reached = if reader == 0 { true } else { done.context >= first };
            self.done[reader].valid.next = self.read_done.valid.val() && reached && !beyond;
            self.done[reader].data.next = DmaDone { context: done.context - first, status: done.status };
            beyond = reached;
        }
    }
}
