//! When a chain goes back.

use nitride_lang::prelude::*;

use super::records::Asked;
use crate::bus::DmaDone;
use crate::net::records::Used;

/// Gives chains back when their writes were handed over, and passes tokens, all in order. What the link refused is lost, as any posted write is.
///
/// One a cycle.
#[derive(LogicBlock, Default)]
pub struct Finisher {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// What was asked for.
    pub asked: Sink<Asked>,
    /// Ends, in order; always ready.
    pub write_done: Sink<DmaDone>,
    /// Chains that go back, and tokens.
    pub used: Source<Used>,
    /// Rows of the launch ring that are free again.
    pub launched: Signal<Out, Bits<8>>,
    /// Something is in here.
    pub busy: Signal<Out, Bit>,
    done: Reg<Bits<9>>,
    out: RegFifo<Used, 2>,
}

impl Logic for Finisher {
    #[hdl]
    fn update(&mut self) {
        Source::<Used>::link(&mut self.used, &mut self.out.source);
        self.write_done.ready.next = true;
        let asked = self.asked.data.val();
        let done = self.done.q.val();
        let ended = !asked.write || done.any();
        let tells = asked.drain || asked.chain_last;
        let go = ended && self.out.sink.ready.val();
        self.asked.ready.next = go;
        let over = go && self.asked.valid.val();
        self.out.sink.valid.next = over && tells;
        self.out.sink.data.next = Used {
            queue: asked.queue,
            drain: asked.drain,
            head: asked.head,
            length: bit_cast::<32, 14>(asked.length),
            last: asked.frame_last,
        };
        self.launched.next = if over { asked.rows } else { bits::<8>(0) };
        let one = if self.write_done.valid.val() { bits::<9>(1) } else { bits::<9>(0) };
        self.done.d.next = done + one - if over && asked.write { bits::<9>(1) } else { bits::<9>(0) };
        self.busy.next = self.asked.valid.val() || self.out.level.val().any();
    }
}
