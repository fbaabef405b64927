//! From a transfer to chunks: the walk over PRP entries and lists.

use nitride_abi::nvme::Status;
use nitride_lang::prelude::*;

use super::record::{Chunk, Event, Job, Start};
use crate::bus::{DmaDone, DmaReadRequest, DmaStatus, Landing, LandingWrite};
use crate::dma::LandingRam;
use crate::free_list::FreeList;

const PRP_OFFSET_INVALID: u64 = Status::PRP_OFFSET_INVALID.bits() as u64;
const DATA_TRANSFER_ERROR: u64 = Status::DATA_TRANSFER_ERROR.bits() as u64;
/// PRP entries that are fetched at once: what a slot's part of the list RAM holds.
const WINDOW: u64 = 32;

/// What the splitter does.
#[derive(Clone, Copy, Debug, PartialEq, LogicState)]
enum State {
    /// Takes a fetched list, a new job or a waiting one.
    Take,
    /// The job's RAM is addressed.
    Load,
    /// The job is read.
    Read,
    /// The chunk is sized, the list RAM is read.
    Size,
    /// The next host page is found.
    Page,
    /// A chunk buffer is taken and the chunk sent.
    Send,
    /// The command's part is reported.
    Report,
    /// What is left goes back to wait.
    Store,
    /// List entries are asked for; the job is parked until they are there.
    Fetch,
    /// The job cannot go on.
    Fail,
}

/// Cuts jobs into chunks of at most 4 KiB, one chunk of a job at a time, round robin over the jobs.
///
/// A job that needs list entries is parked while they are fetched, and others go on.
///
/// Latency: 4 cycles from a job to its first chunk; throughput: a chunk every 8 cycles. Back-pressure:
/// waits for a chunk buffer and for the mover of the chunk's direction.
#[derive(LogicBlock, Default)]
pub struct Splitter {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// New jobs.
    pub start: Sink<Start>,
    /// Chunks of reads (media to host).
    pub read: Source<Chunk>,
    /// Their buffers, coming back.
    pub read_free: Sink<Bits<5>>,
    /// Chunks of writes (host to media).
    pub write: Source<Chunk>,
    /// Their buffers, coming back.
    pub write_free: Sink<Bits<5>>,
    /// Fetches of PRP lists; context is the slot.
    pub list: Source<DmaReadRequest>,
    /// Their ends. Always ready.
    pub list_done: Sink<DmaDone>,
    /// The lists themselves.
    pub landing: Signal<In, LandingWrite>,
    /// Parts that started, jobs that failed.
    pub event: Source<Event>,
    state: Reg<State>,
    slot: Reg<Bits<6>>,
    job: Reg<Job>,
    length: Reg<Bits<13>>,
    crosses: Reg<Bit>,
    page: Reg<Bits<64>>,
    status: Reg<Bits<15>>,
    jobs: Ram<Job, 6>,
    waiting: Fifo<Bits<6>, 7>,
    fetched: Fifo<DmaDone, 7>,
    lists: LandingRam<{ Landing::LISTS }, 9>,
    read_ids: FreeList<5>,
    write_ids: FreeList<5>,
}

impl Logic for Splitter {
    #[hdl]
    fn update(&mut self) {
        Sink::<Bits<5>>::link(&mut self.read_free, &mut self.read_ids.give);
        Sink::<Bits<5>>::link(&mut self.write_free, &mut self.write_ids.give);
        Sink::<DmaDone>::link(&mut self.list_done, &mut self.fetched.sink);
        let state = self.state.q.val();
        let slot = self.slot.q.val();
        let job = self.job.q.val();

        self.jobs.read_address.next = slot;
        self.jobs.write_address.next = slot;
        self.jobs.write_data.next = job;
        self.jobs.write_enable.next = false;
        self.lists.write.next = self.landing.val();
        self.lists.row.next = cat2::<6, 3, 9>(slot, job.index.get_bits::<3>(2));
        let entries = self.lists.data.val();
        let half =
            if job.index.get_bit(1) { entries.get_bits::<128>(128) } else { entries.get_bits::<128>(0) };
        let entry = if job.index.get_bit(0) { half.get_bits::<64>(64) } else { half.get_bits::<64>(0) };

        // Bytes beyond the current host page, and how far the list goes on in its own page: its last entry there
        // points to more list if there are more pages than one (NVMe 1.4 §4.3).
        let rest = job.remaining - bit_cast::<21, 13>(job.left);
        let pages = bit_cast::<10, 9>((rest - 1).get_bits::<9>(12)) + 1;
        let to_end = bits::<10>(512) - bit_cast::<10, 9>(job.pointer.get_bits::<9>(3));
        let chained = (to_end == 1) & (pages > 1);
        let within = if to_end < pages { to_end } else { pages };
        let fetch = if within < WINDOW { within } else { bits::<10>(WINDOW) };

        let room = bits::<13>(4096) - bit_cast::<13, 12>(job.media.get_bits::<12>(0));
        let size =
            if bit_cast::<21, 13>(room) < job.remaining { room } else { job.remaining.get_bits::<13>(0) };
        let length = self.length.q.val();
        let second = length - job.left;
        let last = job.remaining == bit_cast::<21, 13>(length);
        // Nothing is left of the current page: the chunk lies in the next one alone.
        let whole = self.crosses.q.val() & (job.left == 0);

        self.start.ready.next = false;
        self.fetched.source.ready.next = false;
        self.waiting.source.ready.next = false;
        self.waiting.sink.valid.next = false;
        self.waiting.sink.data.next = slot;
        self.list.valid.next = false;
        self.event.valid.next = false;
        self.read.valid.next = false;
        self.write.valid.next = false;
        self.read_ids.take.ready.next = false;
        self.write_ids.take.ready.next = false;
        match state {
            State::Take => {
                if self.fetched.source.valid.val() {
                    let done = self.fetched.source.data.val();
                    self.fetched.source.ready.next = true;
                    self.slot.d.next = done.context.get_bits::<6>(0);
                    self.status.d.next = DATA_TRANSFER_ERROR.into();
                    self.state.d.next = if done.status == DmaStatus::Ok { State::Load } else { State::Fail };
                } else if self.start.valid.val() {
                    self.start.ready.next = true;
                    self.slot.d.next = self.start.data.val().slot;
                    self.job.d.next = self.start.data.val().job;
                    self.state.d.next = State::Size;
                } else if self.waiting.source.valid.val() {
                    self.waiting.source.ready.next = true;
                    self.slot.d.next = self.waiting.source.data.val();
                    self.state.d.next = State::Load;
                }
            }
            State::Load => self.state.d.next = State::Read,
            State::Read => {
                self.job.d.next = self.jobs.read_data.val();
                self.state.d.next = State::Size;
            }
            State::Size => {
                self.length.d.next = size;
                self.crosses.d.next = size > job.left;
                self.state.d.next = State::Page;
            }
            State::Page => {
                self.state.d.next = State::Send;
                if self.crosses.q.val() {
                    self.page.d.next = if job.list { entry } else { job.pointer };
                    if job.list & (job.window == 0) {
                        self.state.d.next = State::Fetch;
                    } else if job.list & chained {
                        self.job.d.next.pointer = entry;
                        self.job.d.next.window = 0.into();
                        self.state.d.next =
                            if entry.get_bits::<12>(0).any() { State::Fail } else { State::Fetch };
                    } else if job.list {
                        self.job.d.next.pointer = job.pointer + 8;
                        self.job.d.next.index = job.index + 1;
                        self.job.d.next.window = job.window - 1;
                        if entry.get_bits::<12>(0).any() {
                            self.state.d.next = State::Fail;
                        }
                    }
                    self.status.d.next = PRP_OFFSET_INVALID.into();
                }
            }
            State::Send => {
                if job.write {
                    self.write.valid.next = self.write_ids.take.valid.val();
                    self.write_ids.take.ready.next = self.write.ready.val();
                    if self.write_ids.take.valid.val() & self.write.ready.val() {
                        self.state.d.next = State::Report;
                    }
                } else {
                    self.read.valid.next = self.read_ids.take.valid.val();
                    self.read_ids.take.ready.next = self.read.ready.val();
                    if self.read_ids.take.valid.val() & self.read.ready.val() {
                        self.state.d.next = State::Report;
                    }
                }
            }
            State::Report => {
                self.event.valid.next = true;
                if self.event.ready.val() {
                    self.job.d.next.media = job.media + bit_cast::<48, 13>(length);
                    self.job.d.next.remaining = job.remaining - bit_cast::<21, 13>(length);
                    if self.crosses.q.val() {
                        self.job.d.next.host = self.page.q.val() + bit_cast::<64, 13>(second);
                        self.job.d.next.left = bits::<13>(4096) - second;
                    } else {
                        self.job.d.next.host = job.host + bit_cast::<64, 13>(length);
                        self.job.d.next.left = job.left - length;
                    }
                    self.state.d.next = if last { State::Take } else { State::Store };
                }
            }
            State::Store => {
                self.jobs.write_enable.next = true;
                self.waiting.sink.valid.next = true;
                self.state.d.next = State::Take;
            }
            State::Fetch => {
                self.list.valid.next = true;
                self.jobs.write_enable.next = self.list.ready.val();
                self.jobs.write_data.next.index = 0.into();
                self.jobs.write_data.next.window = fetch.get_bits::<6>(0);
                if self.list.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
            State::Fail => {
                self.event.valid.next = true;
                if self.event.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
        }

        self.list.data.next = DmaReadRequest {
            function: job.function,
            address: job.pointer,
            length: bit_cast::<11, 10>(fetch) << 1,
            destination: cat2::<3, 15, 18>(
                bits::<3>(Landing::LISTS),
                bit_cast::<15, 12>(cat2::<6, 6, 12>(slot, bits::<6>(0))),
            ),
            context: bit_cast::<8, 6>(slot),
        };
        let chunk = Chunk {
            id: if job.write { self.write_ids.take.data.val() } else { self.read_ids.take.data.val() },
            slot: slot,
            function: job.function,
            media: job.media,
            length: length,
            first: if whole { self.page.q.val() } else { job.host },
            first_length: if self.crosses.q.val() & !whole { job.left } else { length },
            second: self.page.q.val(),
        };
        self.read.data.next = chunk;
        self.write.data.next = chunk;
        self.event.data.next = Event {
            slot: slot,
            start: state == State::Report,
            end: false,
            last: last | (state == State::Fail),
            flush: last & job.force_unit_access & (state == State::Report),
            volume: job.volume,
            status: if state == State::Fail { self.status.q.val() } else { 0.into() },
        };
    }
}
