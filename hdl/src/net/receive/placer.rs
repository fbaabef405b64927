//! Frames, from their beats to the launch ring.

use nitride_abi::virtio::net::header;
use nitride_lang::prelude::*;

use super::records::{Asked, BEAT, HEADER, Planned, Portion, ROW_BITS, WRITE};
use crate::bus::{DmaWriteRequest, Launch, LaunchRead};
use crate::dma::LaunchRam;
use crate::function::function_of_device;
use crate::net::lanes::{from_lane, turn_up};
use crate::net::records::{EgressBeat, rows_of};
use crate::profile::DATA_BITS;

/// Rows of the launch ring.
const ROWS: u64 = 1 << ROW_BITS;
/// Bytes in front of the header in its row: it ends where the frame begins.
const BEFORE: u64 = BEAT - HEADER;
/// Where the number of buffers is in the header's row, in bits.
const NUM_BUFFERS: u64 = 8 * (BEFORE + header::NUM_BUFFERS as u64);

#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum State {
    /// Takes a portion.
    Take,
    /// There is room for its rows: the first row is read.
    Begin,
    /// A row is placed a cycle.
    Place,
    /// The write is asked for.
    Ask,
}

/// 32 bytes of two rows, one behind the other, from byte `shift` of the first on.
#[hdl_fn]
fn joined(low: Bits<DATA_BITS>, high: Bits<DATA_BITS>, shift: Bits<5>) -> Bits<DATA_BITS> {
    let of_low = from_lane(shift);
    turn_up((low & of_low) | (high & !of_low), bits::<5>(0) - shift)
}

/// Keeps frames in a RAM of 32 KiB, and places header and frame in the launch ring, portion by portion, each from a row's start on, with its
/// first byte in the lane's byte that it has in host memory.
///
/// The header lies in a row of its own in front of the frame's first, so that both are one stream. A portion costs 3 cycles and one for each row;
/// one of more than 4 KiB is written in pieces.
#[derive(LogicBlock, Default)]
pub struct Placer {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Frames, in the order in which they are planned.
    pub packet: Sink<EgressBeat>,
    /// Where their bytes go, and tokens.
    pub portion: Sink<Portion>,
    /// Frames whose portions are there.
    pub planned: Sink<Planned>,
    /// Rows of the frame RAM that are free again.
    pub freed: Signal<Out, Bits<9>>,
    /// Writes.
    pub write: Source<DmaWriteRequest>,
    /// What is to be waited for.
    pub asked: Source<Asked>,
    /// Rows of the launch ring that are free again.
    pub launched: Signal<In, Bits<8>>,
    /// The DMA engine's reads of the launch ring.
    pub launch: Signal<In, LaunchRead>,
    /// As [`LaunchRam`] has it.
    pub launch_data: Signal<Out, Bits<DATA_BITS>>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    frames: Ram<Bits<DATA_BITS>, ROW_BITS>,
    ring: LaunchRam<{ Launch::FRAMES }, ROW_BITS>,
    /// Frames that are whole.
    whole: Reg<Bits<11>>,
    written: Reg<Bits<ROW_BITS>>,
    /// The frame's first row, and the bytes of header and frame that were placed: the header begins at byte [`BEFORE`] of the row in front.
    first: Reg<Bits<ROW_BITS>>,
    placed: Reg<Bits<15>>,
    state: Reg<State>,
    now: Reg<Portion>,
    plan: Reg<Planned>,
    /// Between two portions of a frame.
    begun: Reg<Bit>,
    /// Bytes written to the chain so far.
    length: Reg<Bits<14>>,
    /// The stream's row that is read, and rows that are still to be placed.
    row: Reg<Bits<10>>,
    rows: Reg<Bits<9>>,
    /// The row that was read before, and whether what the RAM gives is the header.
    low: Reg<Bits<DATA_BITS>>,
    at_header: Reg<Bit>,
    /// `low` is a row of the portion.
    primed: Reg<Bit>,
    place: Reg<Bits<ROW_BITS>>,
    start: Reg<Bits<ROW_BITS>>,
    level: Reg<Bits<11>>,
    requests: Fifo<DmaWriteRequest, 3>,
    asks: Fifo<Asked, 8>,
}

impl Logic for Placer {
    #[hdl]
    fn update(&mut self) {
        Source::<DmaWriteRequest>::link(&mut self.write, &mut self.requests.source);
        Source::<Asked>::link(&mut self.asked, &mut self.asks.source);
        self.ring.launch.next = self.launch.val();
        self.launch_data.next = self.ring.data.val();

        // Beats come in; whoever let them come has kept rows free for them.
        let beat = self.packet.data.val();
        let comes = self.packet.valid.val();
        self.packet.ready.next = true;
        self.frames.write_address.next = self.written.q.val();
        self.frames.write_data.next = beat.data;
        self.frames.write_enable.next = comes;
        if comes {
            self.written.d.next = self.written.q.val() + 1;
        }

        let state = self.state.q.val();
        let offered = self.portion.data.val();
        let now = self.now.q.val();
        let begun = self.begun.q.val();
        let plan = self.plan.q.val();
        let begins = !offered.drain && !begun;
        let there = self.planned.valid.val() && self.whole.q.val().any();
        let takes = state == State::Take
            && self.portion.valid.val()
            && self.asks.level.val() <= 250
            && (!begins || there);
        self.portion.ready.next = takes;
        self.planned.ready.next = takes && begins;

        // As much of the portion as one write takes.
        let offset = now.address.get_bits::<2>(0);
        let most = bits::<14>(WRITE) - bit_cast::<14, 2>(offset);
        let bytes = if now.bytes < most { now.bytes } else { most };
        let final_write = now.bytes <= most;
        let rows = rows_of(bytes + bit_cast::<14, 2>(offset));
        let begin = self.placed.q.val() + BEFORE - bit_cast::<15, 2>(offset);
        let shift = begin.get_bits::<5>(0);
        let fits = self.level.q.val() + bit_cast::<11, 9>(rows) <= ROWS && self.requests.sink.ready.val();
        let row = if state == State::Begin { begin.get_bits::<10>(5) } else { self.row.q.val() };
        self.frames.read_address.next = self.first.q.val() + row - 1;
        self.at_header.d.next = row == 0;
        let header = bit_cast::<DATA_BITS, 8>(plan.chains) << NUM_BUFFERS;
        let data = if self.at_header.q.val() { header } else { self.frames.read_data.val() };
        self.low.d.next = data;

        // The first row that is read fills `low`; from then on each completes one.
        let placing = state == State::Place;
        let primed = self.primed.q.val();
        let puts = placing && primed;
        self.ring.write_row.next = self.place.q.val();
        self.ring.write_data.next = joined(self.low.q.val(), data, shift);
        self.ring.write_enable.next = if puts { bits::<8>(0xff) } else { bits::<8>(0) };
        if puts {
            self.place.d.next = self.place.q.val() + 1;
            self.rows.d.next = self.rows.q.val() - 1;
        }
        let last_row = puts && self.rows.q.val() == 1;
        self.row.d.next = row + 1;

        let asking = state == State::Ask;
        let dwords = (bytes + bit_cast::<14, 2>(offset) + 3).get_bits::<11>(2);
        let end = (bytes + bit_cast::<14, 2>(offset)).get_bits::<2>(0);
        let length = self.length.q.val() + bytes;
        self.requests.sink.valid.next = asking;
        self.requests.sink.data.next = DmaWriteRequest {
            function: function_of_device(now.queue.get_bits::<4>(3)),
            address: now.address - bit_cast::<64, 2>(offset),
            length: dwords,
            first: bits::<4>(0xf) << offset,
            last: if end.any() { bits::<4>(0xf) >> (bits::<2>(0) - end) } else { bits::<4>(0xf) },
            source: (bit_cast::<18, ROW_BITS>(self.start.q.val()) << 3) | (Launch::FRAMES << 15),
            context: bits::<8>(0),
        };
        let empty = takes && (offered.drain || !offered.bytes.any());
        self.asks.sink.valid.next = asking || (empty && (offered.drain || offered.chain_last));
        self.asks.sink.data.next = if asking {
            Asked {
                write: true,
                rows: rows.get_bits::<8>(0),
                queue: now.queue,
                drain: false,
                chain_last: now.chain_last && final_write,
                frame_last: now.frame_last && final_write,
                head: now.head,
                length: length,
            }
        } else {
            Asked {
                write: false,
                rows: bits::<8>(0),
                queue: offered.queue,
                drain: offered.drain,
                chain_last: offered.chain_last && !offered.drain,
                frame_last: offered.frame_last && !offered.drain,
                head: offered.head,
                length: self.length.q.val(),
            }
        };

        let of_chain_over =
            (asking && final_write && now.chain_last) || (empty && !offered.drain && offered.chain_last);
        if of_chain_over {
            self.length.d.next = bits::<14>(0);
        } else if asking {
            self.length.d.next = length;
        }
        let frame_over =
            (asking && final_write && now.frame_last) || (empty && !offered.drain && offered.frame_last);
        let rows_over = if takes && begins { self.planned.data.val().rows } else { plan.rows };
        self.freed.next = if frame_over { rows_over } else { bits::<9>(0) };
        self.first.d.next = if frame_over {
            self.first.q.val() + bit_cast::<ROW_BITS, 9>(rows_over)
        } else {
            self.first.q.val()
        };
        self.placed.d.next = if frame_over {
            bits::<15>(0)
        } else if asking {
            self.placed.q.val() + bit_cast::<15, 14>(bytes)
        } else {
            self.placed.q.val()
        };
        if takes && !offered.drain {
            self.begun.d.next = !frame_over;
        } else if frame_over {
            self.begun.d.next = false;
        }
        let arrives = if comes && beat.last { bits::<11>(1) } else { bits::<11>(0) };
        let goes = if takes && begins { bits::<11>(1) } else { bits::<11>(0) };
        self.whole.d.next = self.whole.q.val() + arrives - goes;
        let given = if state == State::Begin && fits { bit_cast::<11, 9>(rows) } else { bits::<11>(0) };
        self.level.d.next = self.level.q.val() + given - bit_cast::<11, 8>(self.launched.val());

        self.primed.d.next = placing;
        match state {
            State::Take => {
                if takes {
                    self.now.d.next = offered;
                    if begins {
                        self.plan.d.next = self.planned.data.val();
                    }
                    self.state.d.next = if empty { State::Take } else { State::Begin };
                }
            }
            State::Begin => {
                if fits {
                    self.start.d.next = self.place.q.val();
                    self.rows.d.next = rows;
                    self.state.d.next = State::Place;
                }
            }
            State::Place => {
                if last_row {
                    self.state.d.next = State::Ask;
                }
            }
            State::Ask => {
                self.now.d.next.address = now.address + bit_cast::<64, 14>(bytes);
                self.now.d.next.bytes = now.bytes - bytes;
                self.state.d.next = if final_write { State::Take } else { State::Begin };
            }
        }
        self.busy.next = state != State::Take
            || begun
            || self.whole.q.val().any()
            || self.requests.level.val().any()
            || self.asks.level.val().any();
    }
}
