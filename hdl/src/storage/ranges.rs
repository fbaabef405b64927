//! Dataset Management: deallocating ranges of blocks (NVMe 1.4 §6.7).

use nitride_abi::nvme::Status;
use nitride_lang::prelude::*;

use super::record::{Event, RangeList};
use crate::bus::{DmaDone, DmaReadRequest, DmaStatus, Landing, LandingWrite, MediaOperation, MediaRequest};
use crate::dma::LandingRam;

const LBA_OUT_OF_RANGE: u64 = Status::LBA_OUT_OF_RANGE.bits() as u64;
const PRP_OFFSET_INVALID: u64 = Status::PRP_OFFSET_INVALID.bits() as u64;
const DATA_TRANSFER_ERROR: u64 = Status::DATA_TRANSFER_ERROR.bits() as u64;
/// Bytes of the list that are fetched at once: 16 ranges.
const WINDOW: u64 = 256;
const PAGE: u64 = 4096;

/// What the walker does.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum State {
    /// Takes a list.
    Take,
    /// Its pages are checked.
    Check,
    /// The window is laid out.
    Window,
    /// The part of it in the first page is fetched.
    First,
    /// The part of it in the second page is fetched.
    Second,
    /// It is on its way.
    Wait,
    /// A range is read.
    Load,
    /// A range is kept.
    Keep,
    /// A range is checked.
    Judge,
    /// A range is given to the media.
    Discard,
    /// It is reported as a part of the command.
    Note,
    /// The next range.
    Next,
    /// The list is over.
    Finish,
}

/// Walks the ranges of one command at a time and gives each to the media.
///
/// Ranges are carried out in order; the first bad one ends the command. Without the Deallocate attribute there is nothing
/// to do. Latency: a DMA round trip for each 16 ranges, 6 cycles a range. Back-pressure: one list at a time.
#[derive(LogicBlock, Default)]
pub struct Ranges {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Commands.
    pub list: Sink<RangeList>,
    /// Fetches of ranges; the context is 80h.
    pub dma: Source<DmaReadRequest>,
    /// Their ends. Always ready.
    pub done: Sink<DmaDone>,
    /// The ranges.
    pub landing: Signal<In, LandingWrite>,
    /// To the media.
    pub media: Source<MediaRequest>,
    /// Parts that started, and the end of the list.
    pub event: Source<Event>,
    state: Reg<State>,
    held: Reg<RangeList>,
    // Byte of the list at which the window starts, and the range in it.
    position: Reg<Bits<13>>,
    index: Reg<Bits<4>>,
    first: Reg<Bits<13>>,
    second: Reg<Bits<13>>,
    pending: Reg<Bits<2>>,
    range: Reg<Bits<128>>,
    length: Reg<Bits<44>>,
    address: Reg<Bits<48>>,
    status: Reg<Bits<15>>,
    window: LandingRam<{ Landing::RANGES }, 3>,
}

impl Logic for Ranges {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let list = self.held.q.val();
        let position = self.position.q.val();
        let total = (bit_cast::<13, 8>(list.count) + 1) << 4;

        // How much of the window lies in each page.
        let offset = bit_cast::<13, 12>(list.prp1.get_bits::<12>(0)) + position;
        let rest = total - position;
        let size = if rest < WINDOW { rest } else { bits::<13>(WINDOW) };
        let room = if offset < PAGE { bits::<13>(PAGE) - offset } else { bits::<13>(0) };
        let first = if size < room { size } else { room };
        let crosses = bit_cast::<14, 12>(list.prp1.get_bits::<12>(0)) + bit_cast::<14, 13>(total) > PAGE;
        let beyond = if offset < PAGE { bits::<13>(0) } else { offset - PAGE };

        let range = self.range.q.val();
        let blocks = range.get_bits::<32>(32);
        let end = bit_cast::<41, 40>(range.get_bits::<40>(64)) + bit_cast::<41, 32>(blocks);
        let outside = range.get_bits::<24>(104).any() || end > bit_cast::<41, 40>(list.volume.blocks);
        let lba = bit_cast::<48, 40>(range.get_bits::<40>(64));
        let row = self.window.data.val();
        let done = self.done.data.val();

        self.window.write.next = self.landing.val();
        self.window.row.next = self.index.q.val().get_bits::<3>(1);
        self.list.ready.next = state == State::Take;
        self.done.ready.next = true;
        self.dma.valid.next = state == State::First || state == State::Second;
        self.media.valid.next = state == State::Discard;
        self.event.valid.next = state == State::Note || state == State::Finish;
        match state {
            State::Take => {
                self.held.d.next = self.list.data.val();
                self.position.d.next = 0.into();
                self.status.d.next = 0.into();
                if self.list.valid.val() {
                    self.state.d.next = State::Check;
                }
            }
            State::Check => {
                self.state.d.next = if list.deallocate { State::Window } else { State::Finish };
                let misplaced =
                    list.prp1.get_bits::<2>(0).any() || (crosses && list.prp2.get_bits::<12>(0).any());
                if list.deallocate && misplaced {
                    self.status.d.next = PRP_OFFSET_INVALID.into();
                    self.state.d.next = State::Finish;
                }
            }
            State::Window => {
                self.index.d.next = 0.into();
                self.first.d.next = first;
                self.second.d.next = size - first;
                self.pending.d.next = 0.into();
                self.state.d.next = if first.any() { State::First } else { State::Second };
            }
            State::First => {
                if self.dma.ready.val() {
                    self.state.d.next = if self.second.q.val().any() { State::Second } else { State::Wait };
                }
            }
            State::Second => {
                if self.dma.ready.val() {
                    self.state.d.next = State::Wait;
                }
            }
            State::Wait => {
                if self.pending.q.val() == 0 {
                    self.state.d.next = if self.status.q.val().any() { State::Finish } else { State::Load };
                }
            }
            State::Load => self.state.d.next = State::Keep,
            State::Keep => {
                self.range.d.next = if self.index.q.val().get_bit(0) {
                    row.get_bits::<128>(128)
                } else {
                    row.get_bits::<128>(0)
                };
                self.state.d.next = State::Judge;
            }
            State::Judge => {
                let wide = bit_cast::<44, 32>(blocks);
                self.length.d.next = if list.volume.large_blocks { wide << 12 } else { wide << 9 };
                self.address.d.next =
                    list.volume.base + if list.volume.large_blocks { lba << 12 } else { lba << 9 };
                if !blocks.any() {
                    self.state.d.next = State::Next;
                } else if outside {
                    self.status.d.next = LBA_OUT_OF_RANGE.into();
                    self.state.d.next = State::Finish;
                } else {
                    self.state.d.next = State::Discard;
                }
            }
            State::Discard => {
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
                self.index.d.next = self.index.q.val() + 1;
                self.position.d.next = position + 16;
                if position + 16 == total {
                    self.state.d.next = State::Finish;
                } else {
                    self.state.d.next = if self.index.q.val().all() { State::Window } else { State::Load };
                }
            }
            State::Finish => {
                if self.event.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
        }
        // Fetches that are on their way; one may end while another is asked for.
        let asked = (state == State::First || state == State::Second) && self.dma.ready.val();
        if asked && !self.done.valid.val() {
            self.pending.d.next = self.pending.q.val() + 1;
        }
        if self.done.valid.val() {
            if !asked {
                self.pending.d.next = self.pending.q.val() - 1;
            }
            if done.status != DmaStatus::Ok {
                self.status.d.next = DATA_TRANSFER_ERROR.into();
            }
        }

        let second = state == State::Second;
        let lane = if second { self.first.q.val().get_bits::<8>(2) } else { bits::<8>(0) };
        self.dma.data.next = DmaReadRequest {
            function: list.function,
            address: if second {
                list.prp2 + bit_cast::<64, 13>(beyond)
            } else {
                list.prp1 + bit_cast::<64, 13>(position)
            },
            length: (if second { self.second.q.val() } else { self.first.q.val() }).get_bits::<11>(2),
            destination: bits::<18>(Landing::RANGES << 15) | bit_cast::<18, 8>(lane),
            context: bits::<8>(0x80),
        };
        self.media.data.next = MediaRequest {
            operation: MediaOperation::Discard,
            address: self.address.q.val(),
            length: bit_cast::<48, 44>(self.length.q.val()),
            id: list.slot,
        };
        self.event.data.next = Event {
            slot: list.slot,
            start: state == State::Note,
            end: false,
            last: state == State::Finish,
            flush: false,
            volume: 0.into(),
            status: if state == State::Finish { self.status.q.val() } else { bits::<15>(0) },
        };
    }
}
