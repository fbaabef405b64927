//! The end of a chunk.

use nitride_lang::prelude::*;

use super::record::{Chunk, Ended, Event};

/// What the closer does.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum State {
    /// Waits for a chunk that is over.
    Take,
    /// Its slot is read.
    Read,
    /// Its slot is there.
    Keep,
    /// It is reported.
    Report,
    /// Its buffer is given back.
    Free,
}

/// Reports each chunk that is over as an ended part of its command, and then gives its buffer back.
///
/// Latency: 3 cycles; throughput: a chunk every 5 cycles. Back-pressure: holds one chunk.
#[derive(LogicBlock, Default)]
pub struct Closer {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A chunk that starts this cycle, with `opens`.
    pub chunk: Signal<In, Chunk>,
    /// `chunk` starts.
    pub opens: Signal<In, Bit>,
    /// Chunks that are over.
    pub ended: Sink<Ended>,
    /// Parts that ended.
    pub event: Source<Event>,
    /// Buffers to be used again.
    pub free: Source<Bits<5>>,
    state: Reg<State>,
    held: Reg<Ended>,
    slot: Reg<Bits<6>>,
    slots: Ram<Bits<6>, 5>,
}

impl Logic for Closer {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let held = self.held.q.val();
        self.slots.write_enable.next = self.opens.val();
        self.slots.write_address.next = self.chunk.val().id;
        self.slots.write_data.next = self.chunk.val().slot;
        self.slots.read_address.next = held.id;
        self.ended.ready.next = state == State::Take;
        self.event.valid.next = state == State::Report;
        self.event.data.next = Event {
            slot: self.slot.q.val(),
            start: false,
            end: true,
            last: false,
            flush: false,
            volume: 0.into(),
            status: held.status,
        };
        self.free.valid.next = state == State::Free;
        self.free.data.next = held.id;
        match state {
            State::Take => {
                if self.ended.valid.val() {
                    self.held.d.next = self.ended.data.val();
                    self.state.d.next = State::Read;
                }
            }
            State::Read => self.state.d.next = State::Keep,
            State::Keep => {
                self.slot.d.next = self.slots.read_data.val();
                self.state.d.next = State::Report;
            }
            State::Report => {
                if self.event.ready.val() {
                    self.state.d.next = State::Free;
                }
            }
            State::Free => {
                if self.free.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
        }
    }
}
