//! When a command is complete.

use nitride_lang::prelude::*;

use super::record::{Event, FlushRequest};
use crate::bus::CommandResult;

/// What is known of a command.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Progress {
    /// Parts started less parts ended, modulo 2^10: an end can be seen before its start.
    parts: Bits<10>,
    last: Bit,
    flush: Bit,
    volume: Bits<6>,
    status: Bits<15>,
}

/// What the tracker does.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum State {
    /// Takes an event.
    Take,
    /// The command's progress is read.
    Load,
    /// The event is added to it.
    Add,
    /// The command is complete.
    Complete,
    /// The command's data are to be flushed first.
    Flush,
}

/// Adds up the events of each command, and completes it when all its parts ended.
///
/// Latency: 3 cycles from the last event; throughput: an event every 3 cycles. Back-pressure: holds one event.
#[derive(LogicBlock, Default)]
pub struct Tracker {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// What happens.
    pub event: Sink<Event>,
    /// Flushes of commands whose data are on the media.
    pub flush: Source<FlushRequest>,
    /// Commands that are complete.
    pub result: Source<CommandResult>,
    state: Reg<State>,
    held: Reg<Event>,
    now: Reg<Progress>,
    progress: Ram<Progress, 6>,
}

impl Logic for Tracker {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let event = self.held.q.val();
        let before = self.progress.read_data.val();
        let now = self.now.q.val();

        let started = if event.start { before.parts + 1 } else { before.parts };
        let after = Progress {
            parts: if event.end { started - 1 } else { started },
            last: before.last || event.last,
            flush: before.flush || event.flush,
            volume: if event.flush { event.volume } else { before.volume },
            status: if before.status.any() { before.status } else { event.status },
        };
        let whole = after.last && !after.parts.any();

        self.progress.read_address.next = event.slot;
        self.progress.write_address.next = event.slot;
        self.progress.write_enable.next = state == State::Add;
        self.progress.write_data.next = if whole { Progress::default() } else { after };
        self.event.ready.next = state == State::Take;
        self.result.valid.next = state == State::Complete;
        self.result.data.next = CommandResult { slot: event.slot, status: now.status, dw0: 0.into() };
        self.flush.valid.next = state == State::Flush;
        self.flush.data.next = FlushRequest { slot: event.slot, all: false, volume: now.volume };
        match state {
            State::Take => {
                self.held.d.next = self.event.data.val();
                if self.event.valid.val() {
                    self.state.d.next = State::Load;
                }
            }
            State::Load => self.state.d.next = State::Add,
            State::Add => {
                self.now.d.next = after;
                if whole {
                    self.state.d.next =
                        if after.flush && !after.status.any() { State::Flush } else { State::Complete };
                } else {
                    self.state.d.next = State::Take;
                }
            }
            State::Complete => {
                if self.result.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
            State::Flush => {
                if self.flush.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
        }
    }
}
