//! The counters of the SMART / Health Information log (NVMe 1.4 §5.14.1.2).

use nitride_lang::prelude::*;

use super::records::Counted;

/// Successful Reads and Writes of each controller since the card started.
///
/// Takes an event each 3 cycles: they come from [`Post`](super::post::Post), which takes longer for a command.
#[derive(LogicBlock, Default)]
pub struct Smart {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Commands to count.
    pub counted: Signal<In, Counted>,
    /// Whose count to show.
    pub controller: Signal<In, Bits<4>>,
    /// Show the Writes; else the Reads.
    pub write: Signal<In, Bit>,
    /// The count, one cycle later.
    pub count: Signal<Out, Bits<64>>,
    counts: Ram2<Bits<64>, 5>,
    /// The count to raise.
    index: Reg<Bits<5>>,
    reading: Reg<Bit>,
    adding: Reg<Bit>,
}

/// `{controller, write}`.
#[hdl_fn]
fn index_of(controller: Bits<4>, write: Bit) -> Bits<5> {
    cat2::<4, 1, 5>(controller, if write { bits::<1>(1) } else { bits::<1>(0) })
}

impl Logic for Smart {
    #[hdl]
    fn update(&mut self) {
        let counted = self.counted.val();
        if counted.valid {
            self.index.d.next = index_of(counted.controller, counted.write);
        }
        self.reading.d.next = counted.valid;
        self.adding.d.next = self.reading.q.val();
        self.counts.read_address[0].next = self.index.q.val();
        self.counts.write_address.next = self.index.q.val();
        self.counts.write_data.next = self.counts.read_data[0].val() + 1;
        self.counts.write_enable.next = self.adding.q.val();
        self.counts.read_address[1].next = index_of(self.controller.val(), self.write.val());
        self.count.next = self.counts.read_data[1].val();
    }
}
