//! The end of a command, after its completion queue entry.

use nitride_lang::prelude::*;

use super::records::{Freed, Over, QueueOperation, QueueRequest, Signalled};

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Interrupt,
    Release,
}

/// Interrupts for a command whose entry is on the link, then gives back its slot.
///
/// 2 cycles a command when nobody holds it up.
#[derive(LogicBlock, Default)]
pub struct Retire {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Commands that are over.
    pub over: Sink<Over>,
    /// Interrupts.
    pub interrupt: Source<Signalled>,
    /// To the queues, as [`Client::RELEASE`](super::records::Client::RELEASE).
    pub request: Source<QueueRequest>,
    /// Slots that come back.
    pub freed: Signal<Out, Freed>,
    state: Reg<State>,
}

impl Logic for Retire {
    #[hdl]
    fn update(&mut self) {
        let over = self.over.data.val();
        let valid = self.over.valid.val();
        let interrupting = self.state.q.val() == State::Interrupt;
        let releasing = self.state.q.val() == State::Release;
        if interrupting && valid && (!over.interrupt || self.interrupt.ready.val()) {
            self.state.d.next = State::Release;
        }
        let released = releasing && self.request.ready.val();
        if released {
            self.state.d.next = State::Interrupt;
        }
        self.over.ready.next = released;
        self.interrupt.valid.next = interrupting && valid && over.interrupt;
        // I/O submission queues post to I/O completion queues only.
        self.interrupt.data.next =
            Signalled { controller: over.owner.controller, vector: over.vector, io: over.owner.queue != 0 };
        self.request.valid.next = releasing;
        self.request.data.next = QueueRequest {
            operation: QueueOperation::Release,
            controller: over.owner.controller,
            queue: over.owner.queue,
            value: bits::<16>(0),
            base: bits::<52>(0),
            completion_queue: bits::<3>(0),
            vector: bits::<3>(0),
            interrupt: false,
            dry: false,
        };
        self.freed.next = Freed { valid: released, slot: over.slot };
    }
}
