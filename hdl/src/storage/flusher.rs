//! Flushes, asked for by a command or by its Force Unit Access.

use nitride_lang::prelude::*;

use super::record::{Event, FlushRequest};
use super::volume_table::VolumeTable;
use crate::bus::{MediaOperation, MediaRequest, VolumeUpdate};

/// What the flusher does.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum State {
    /// Takes a request.
    Take,
    /// The volume table is addressed.
    Load,
    /// A volume is read.
    Keep,
    /// It is given to the media.
    Ask,
    /// It is reported as a part of the command.
    Note,
    /// The next volume.
    Next,
    /// All parts were started.
    Finish,
}

/// Asks the media to flush a volume, or all volumes of a controller.
///
/// Latency: 4 cycles to the first request, 5 cycles a volume. Back-pressure: one request at a time.
#[derive(LogicBlock, Default)]
pub struct Flusher {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Changes of the volume table.
    pub volume: Signal<In, VolumeUpdate>,
    /// What to flush, for which command.
    pub request: Sink<FlushRequest>,
    /// To the media.
    pub media: Source<MediaRequest>,
    /// Parts that started, and the last of them.
    pub event: Source<Event>,
    state: Reg<State>,
    held: Reg<FlushRequest>,
    index: Reg<Bits<6>>,
    address: Reg<Bits<48>>,
    length: Reg<Bits<48>>,
    volumes: VolumeTable,
}

impl Logic for Flusher {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let held = self.held.q.val();
        let index = self.index.q.val();
        self.volumes.update.next = self.volume.val();
        self.volumes.index.next = index;
        let volume = self.volumes.volume.val();

        self.request.ready.next = state == State::Take;
        self.media.valid.next = state == State::Ask;
        self.event.valid.next = state == State::Note || state == State::Finish;
        match state {
            State::Take => {
                let request = self.request.data.val();
                self.held.d.next = request;
                self.index.d.next = if request.all { request.volume & 0x3c } else { request.volume };
                if self.request.valid.val() {
                    self.state.d.next = State::Load;
                }
            }
            State::Load => self.state.d.next = State::Keep,
            State::Keep => {
                let blocks = bit_cast::<48, 40>(volume.blocks);
                self.address.d.next = volume.base;
                self.length.d.next = if volume.large_blocks { blocks << 12 } else { blocks << 9 };
                self.state.d.next = if volume.attached { State::Ask } else { State::Next };
            }
            State::Ask => {
                if self.media.ready.val() {
                    self.state.d.next = State::Note;
                }
            }
            State::Note => {
                if self.event.ready.val() {
                    self.state.d.next = State::Next;
                }
            }
            State::Next => {
                self.index.d.next = index + 1;
                self.state.d.next =
                    if held.all && !index.get_bits::<2>(0).all() { State::Load } else { State::Finish };
            }
            State::Finish => {
                if self.event.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
        }
        self.media.data.next = MediaRequest {
            operation: MediaOperation::Flush,
            address: self.address.q.val(),
            length: self.length.q.val(),
            id: held.slot,
        };
        self.event.data.next = Event {
            slot: held.slot,
            start: state == State::Note,
            end: false,
            last: state == State::Finish,
            flush: false,
            volume: 0.into(),
            status: 0.into(),
        };
    }
}
