//! From a command to the parts of the engine that carry it out.

use nitride_abi::card::{MDTS, NAMESPACES};
use nitride_abi::nvme::Status;
use nitride_abi::nvme::command::{NSID_ALL, io};
use nitride_lang::prelude::*;

use super::record::{Event, FlushRequest, Job, RangeList, Start};
use super::volume_table::VolumeTable;
use crate::bus::{Command, MediaOperation, MediaRequest, VolumeUpdate};
use crate::function::function_of;

const FLUSH: u64 = io::FLUSH as u64;
const WRITE: u64 = io::WRITE as u64;
const READ: u64 = io::READ as u64;
const WRITE_ZEROES: u64 = io::WRITE_ZEROES as u64;
const DATASET_MANAGEMENT: u64 = io::DATASET_MANAGEMENT as u64;
const ALL: u64 = NSID_ALL as u64;
const PAGE: u64 = 4096;
const LARGEST: u64 = PAGE << MDTS;

const INVALID_OPCODE: u64 = Status::INVALID_OPCODE.bits() as u64;
const INVALID_NAMESPACE: u64 = Status::INVALID_NAMESPACE.bits() as u64;
const INVALID_FIELD: u64 = Status::INVALID_FIELD.bits() as u64;
const WRITE_PROTECTED: u64 = Status::WRITE_PROTECTED.bits() as u64;
const LBA_OUT_OF_RANGE: u64 = Status::LBA_OUT_OF_RANGE.bits() as u64;
const PRP_OFFSET_INVALID: u64 = Status::PRP_OFFSET_INVALID.bits() as u64;

/// What the decoder does.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum State {
    /// Takes a command.
    Take,
    /// The volume table is read.
    Look,
    /// The command is checked against its volume.
    Check,
    /// Its transfer is worked out.
    Plan,
    /// It is refused.
    Refuse,
    /// A read or write starts.
    Transfer,
    /// A flush starts.
    Flush,
    /// A range of zeroes is asked of the media.
    Zero,
    /// That range is the command's only part.
    Note,
    /// A range list starts.
    Ranges,
}

/// Checks each I/O command against its namespace and starts it.
///
/// Checks come in this order: opcode, namespace, size, LBA range, write protection, PRP offsets.
///
/// Latency: 5 cycles; throughput: a command every 5 cycles. Back-pressure: holds one command until
/// whoever carries it out took it.
#[derive(LogicBlock, Default)]
pub struct Decoder {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// I/O commands.
    pub command: Sink<Command>,
    /// Changes of the volume table.
    pub volume: Signal<In, VolumeUpdate>,
    /// Reads and writes, to the splitter.
    pub start: Source<Start>,
    /// Dataset management, to the range walker.
    pub ranges: Source<RangeList>,
    /// Flushes, to the flusher.
    pub flush: Source<FlushRequest>,
    /// Write Zeroes, to the media.
    pub media: Source<MediaRequest>,
    /// Refusals, and the start of Write Zeroes.
    pub event: Source<Event>,
    state: Reg<State>,
    held: Reg<Command>,
    status: Reg<Bits<15>>,
    address: Reg<Bits<48>>,
    bytes: Reg<Bits<29>>,
    volumes: VolumeTable,
}

impl Logic for Decoder {
    #[hdl]
    fn update(&mut self) {
        let command = self.held.q.val();
        let state = self.state.q.val();

        let index = cat2::<4, 2, 6>(command.controller, (command.nsid - 1).get_bits::<2>(0));
        self.volumes.update.next = self.volume.val();
        self.volumes.index.next = index;
        let volume = self.volumes.volume.val();

        let opcode = command.opcode;
        let deallocate = command.cdw11.get_bit(2);
        let moves = opcode == READ || opcode == WRITE;
        let writes =
            opcode == WRITE || opcode == WRITE_ZEROES || (opcode == DATASET_MANAGEMENT && deallocate);
        let ranged = moves || opcode == WRITE_ZEROES;
        let known = ranged || opcode == FLUSH || opcode == DATASET_MANAGEMENT;
        let every = opcode == FLUSH && command.nsid == ALL && command.flags == 1;
        let named = command.nsid != 0 && command.nsid <= NAMESPACES as u64;

        // The block range, against the volume's size.
        let blocks = bit_cast::<29, 16>(command.cdw12.get_bits::<16>(0)) + 1;
        let lba = cat2::<8, 32, 40>(command.cdw11.get_bits::<8>(0), command.cdw10);
        let end = bit_cast::<41, 40>(lba) + bit_cast::<41, 29>(blocks);
        let outside = command.cdw11.get_bits::<24>(8).any() | (end > bit_cast::<41, 40>(volume.blocks));
        let bytes = if volume.large_blocks { blocks << 12 } else { blocks << 9 };
        let offset =
            if volume.large_blocks { bit_cast::<48, 40>(lba) << 12 } else { bit_cast::<48, 40>(lba) << 9 };

        // The host pages (NVMe 1.4 §4.3): a second one, or a list of them, where the first does not hold all.
        let all = self.bytes.q.val();
        let left = bits::<13>(PAGE) - bit_cast::<13, 12>(command.prp1.get_bits::<12>(0));
        let beyond = all > bit_cast::<29, 13>(left);
        let list = all > bit_cast::<29, 13>(left) + PAGE;
        let aligned =
            if list { !command.prp2.get_bits::<3>(0).any() } else { !command.prp2.get_bits::<12>(0).any() };
        let pages_valid = !command.prp1.get_bits::<2>(0).any() & (aligned | !beyond);

        self.command.ready.next = false;
        self.start.valid.next = false;
        self.ranges.valid.next = false;
        self.flush.valid.next = false;
        self.media.valid.next = false;
        self.event.valid.next = false;
        match state {
            State::Take => {
                self.command.ready.next = true;
                self.held.d.next = self.command.data.val();
                if self.command.valid.val() {
                    self.state.d.next = State::Look;
                }
            }
            State::Look => self.state.d.next = State::Check,
            State::Check => {
                self.bytes.d.next = bytes;
                self.address.d.next = volume.base + offset;
                self.state.d.next = State::Refuse;
                if !known {
                    self.status.d.next = INVALID_OPCODE.into();
                } else if !named && !every {
                    self.status.d.next = INVALID_NAMESPACE.into();
                } else if (!volume.attached && !every) || (moves && bytes > LARGEST) {
                    self.status.d.next = INVALID_FIELD.into();
                } else if ranged && outside {
                    self.status.d.next = LBA_OUT_OF_RANGE.into();
                } else if writes && volume.read_only {
                    self.status.d.next = WRITE_PROTECTED.into();
                } else {
                    self.status.d.next = 0.into();
                    self.state.d.next = State::Plan;
                }
            }
            State::Plan => {
                if opcode == FLUSH {
                    self.state.d.next = State::Flush;
                } else if opcode == WRITE_ZEROES {
                    self.state.d.next = State::Zero;
                } else if opcode == DATASET_MANAGEMENT {
                    self.state.d.next = State::Ranges;
                } else if pages_valid {
                    self.state.d.next = State::Transfer;
                } else {
                    self.status.d.next = PRP_OFFSET_INVALID.into();
                    self.state.d.next = State::Refuse;
                }
            }
            State::Refuse => {
                self.event.valid.next = true;
                if self.event.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
            State::Transfer => {
                self.start.valid.next = true;
                if self.start.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
            State::Flush => {
                self.flush.valid.next = true;
                if self.flush.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
            State::Zero => {
                self.media.valid.next = true;
                if self.media.ready.val() {
                    self.state.d.next = State::Note;
                }
            }
            State::Note => {
                self.event.valid.next = true;
                if self.event.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
            State::Ranges => {
                self.ranges.valid.next = true;
                if self.ranges.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
        }

        let durable = command.cdw12.get_bit(30);
        self.start.data.next = Start {
            slot: command.slot,
            job: Job {
                write: opcode == WRITE,
                force_unit_access: durable & (opcode == WRITE),
                function: function_of(command.controller),
                volume: index,
                media: self.address.q.val(),
                remaining: all.get_bits::<21>(0),
                host: command.prp1,
                left: left,
                pointer: command.prp2,
                list: list,
                index: 0.into(),
                window: 0.into(),
            },
        };
        self.ranges.data.next = RangeList {
            slot: command.slot,
            function: function_of(command.controller),
            count: command.cdw10.get_bits::<8>(0),
            deallocate: deallocate,
            prp1: command.prp1,
            prp2: command.prp2,
            volume: volume,
        };
        self.flush.data.next = FlushRequest { slot: command.slot, all: every, volume: index };
        self.media.data.next = MediaRequest {
            operation: MediaOperation::WriteZeroes,
            address: self.address.q.val(),
            length: bit_cast::<48, 29>(all),
            id: command.slot,
        };
        self.event.data.next = Event {
            slot: command.slot,
            start: state == State::Note,
            end: false,
            last: true,
            flush: durable & (state == State::Note),
            volume: index,
            status: self.status.q.val(),
        };
    }
}
