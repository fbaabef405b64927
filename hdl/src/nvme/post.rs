//! From a command's result to its completion queue entry.

use nitride_abi::nvme::{CQE_BYTES, cqe};
use nitride_lang::prelude::*;

use super::records::{
    Assigned, Client, Counted, Ending, Failure, Finished, Formed, Memo, Over, Owner, QueueAnswer,
    QueueOperation, QueueOutcome, QueueRequest,
};
use crate::bus::{CommandResult, DmaDone, DmaWriteRequest, Launch, LaunchRead};
use crate::dma::LaunchRam;
use crate::function::function_of;
use crate::profile::DATA_BITS;

/// DWs of an entry.
const ENTRY_DWORDS: u64 = CQE_BYTES as u64 / 4;
/// The lanes of a row that an entry fills.
const ENTRY_LANES: u64 = (1 << ENTRY_DWORDS) - 1;

/// First bit of the Status Code Type in a status field without the phase tag (NVMe 1.4 §4.6.1).
const STATUS_TYPE: usize = 8;
/// Status Code Type: Media and Data Integrity Errors.
const MEDIA_ERROR: u64 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Take,
    Look,
    Ask,
    Answer,
    Log,
    Write,
    Over,
}

/// A completion queue entry (NVMe 1.4 §4.6) in the lower half of a row.
#[hdl_fn]
fn entry(finished: Finished, answer: QueueAnswer, queue: Bits<3>, cid: Bits<16>) -> Bits<DATA_BITS> {
    bit_cast::<DATA_BITS, 32>(finished.dw0)
        | (bit_cast::<DATA_BITS, 12>(answer.head) << cqe::SQHD as u64)
        | (bit_cast::<DATA_BITS, 3>(queue) << cqe::SQID as u64)
        | (bit_cast::<DATA_BITS, 16>(cid) << cqe::CID as u64)
        | (bit_cast::<DATA_BITS, 1>(answer.phase.into()) << cqe::PHASE as u64)
        | (bit_cast::<DATA_BITS, 15>(finished.status) << cqe::STATUS as u64)
}

/// Posts completions.
///
/// A result becomes a DMA write about 10 cycles later, one result at a time. Every command has had a place in its
/// completion queue kept for it, so nothing here waits for a host. An error is in the log before its completion is written.
#[derive(LogicBlock, Default)]
pub struct Post {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Results of I/O commands.
    pub io: Sink<CommandResult>,
    /// Other commands that are over: admin commands, refused ones.
    pub finished: [Sink<Finished>; 2],
    /// Slots that were given.
    pub assigned: Signal<In, Assigned>,
    /// What is to be known of their commands.
    pub formed: Signal<In, Formed>,
    /// To the queues, as [`Client::POST`].
    pub request: Source<QueueRequest>,
    /// From the queues.
    pub answer: Signal<In, QueueAnswer>,
    /// Writes of entries; their context is the slot.
    pub entry: Source<DmaWriteRequest>,
    /// Their ends; always ready.
    pub entry_done: Sink<DmaDone>,
    /// The DMA engine's reads of the entries.
    pub launch: Signal<In, LaunchRead>,
    /// As [`LaunchRam`] has it.
    pub launch_data: Signal<Out, Bits<DATA_BITS>>,
    /// Commands whose entry was handed to the link, or that have none.
    pub over: Source<Over>,
    /// For the SMART log.
    pub counted: Signal<Out, Counted>,
    /// For the Error Information log.
    pub failure: Source<Failure>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    arbiter: StreamArbiter<Finished, 3>,
    owners: Ram<Owner, 6>,
    memos: Ram<Memo, 6>,
    /// The interrupt of a slot's entry that is on its way to the link.
    posted: Ram<Over, 6>,
    entries: LaunchRam<{ Launch::COMPLETIONS }, 6>,
    outcomes: Fifo<Over, 6>,
    state: Reg<State>,
    finished_now: Reg<Finished>,
    owner: Reg<Owner>,
    memo: Reg<Memo>,
    address: Reg<Bits<64>>,
    /// An entry was handed over in the last cycle, of which slot.
    done: Reg<Bit>,
}

impl Logic for Post {
    #[hdl]
    fn update(&mut self) {
        let result = self.io.data.val();
        self.arbiter.sink[0].data.next =
            Finished { ending: Ending::Post, slot: result.slot, status: result.status, dw0: result.dw0 };
        self.arbiter.sink[0].valid.next = self.io.valid.val();
        self.io.ready.next = self.arbiter.sink[0].ready.val();
        for i in 0..2 {
            Sink::<Finished>::link(&mut self.finished[i], &mut self.arbiter.sink[i + 1]);
        }
        self.arbiter.last.next = bits::<3>(7);

        self.owners.write_address.next = self.assigned.val().slot;
        self.owners.write_data.next = self.assigned.val().owner;
        self.owners.write_enable.next = self.assigned.val().valid;
        self.memos.write_address.next = self.formed.val().slot;
        self.memos.write_data.next = self.formed.val().memo;
        self.memos.write_enable.next = self.formed.val().valid;

        let state = self.state.q.val();
        let offered = self.arbiter.source.data.val();
        let finished = self.finished_now.q.val();
        let owner = self.owner.q.val();
        let answer = self.answer.val();
        let answered = answer.valid && answer.client == Client::POST as u64;
        let success = finished.status == 0;
        let memo = self.memo.q.val();
        self.owners.read_address.next = offered.slot;
        self.memos.read_address.next = offered.slot;
        self.arbiter.source.ready.next = state == State::Take;
        self.counted.next = Counted {
            valid: state == State::Answer && answered,
            controller: owner.controller,
            read: success && memo.read,
            write: success && memo.write,
            media_error: finished.status.get_bits::<3>(STATUS_TYPE) == MEDIA_ERROR,
            namespace: (memo.nsid - 1).get_bits::<2>(0),
            blocks: memo.blocks,
        };
        self.failure.valid.next = state == State::Log;
        self.failure.data.next = Failure {
            controller: owner.controller,
            queue: bit_cast::<16, 3>(owner.queue),
            cid: memo.cid,
            status: finished.status,
            lba: memo.lba,
            nsid: memo.nsid,
        };
        self.entries.write_row.next = finished.slot;
        self.entries.write_data.next = entry(finished, answer, owner.queue, memo.cid);
        self.entries.write_enable.next = 0.into();
        self.posted.write_address.next = finished.slot;
        self.posted.write_data.next =
            Over { slot: finished.slot, owner: owner, interrupt: answer.interrupt, vector: answer.vector };
        self.posted.write_enable.next = false;
        self.entry.valid.next = state == State::Write;
        match state {
            State::Take => {
                if self.arbiter.source.valid.val() {
                    self.finished_now.d.next = offered;
                    self.state.d.next = State::Look;
                }
            }
            State::Look => {
                self.owner.d.next = self.owners.read_data.val();
                self.memo.d.next = self.memos.read_data.val();
                self.state.d.next =
                    if self.owners.read_data.val().internal { State::Over } else { State::Ask };
            }
            State::Ask => {
                if self.request.ready.val() {
                    self.state.d.next = State::Answer;
                }
            }
            State::Answer => {
                if answered {
                    if answer.outcome == QueueOutcome::Done {
                        self.address.d.next = answer.address;
                        self.entries.write_enable.next = bits::<8>(ENTRY_LANES);
                        self.posted.write_enable.next = true;
                        self.state.d.next = if success { State::Write } else { State::Log };
                    } else {
                        self.state.d.next = State::Over;
                    }
                }
            }
            State::Log => {
                if self.failure.ready.val() {
                    self.state.d.next = State::Write;
                }
            }
            State::Write => {
                if self.entry.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
            State::Over => {
                if !self.done.q.val() {
                    self.state.d.next = State::Take;
                }
            }
        }
        self.request.valid.next = state == State::Ask;
        self.request.data.next = QueueRequest {
            operation: match finished.ending {
                Ending::Post => QueueOperation::Post,
                Ending::Withdraw => QueueOperation::Withdraw,
                Ending::Fail => QueueOperation::Fail,
            },
            controller: owner.controller,
            queue: owner.queue,
            value: bits::<16>(0),
            base: bits::<52>(0),
            completion_queue: bits::<3>(0),
            vector: bits::<3>(0),
            interrupt: false,
            dry: false,
        };
        self.entry.data.next = DmaWriteRequest {
            function: function_of(owner.controller),
            address: self.address.q.val(),
            length: bits::<11>(ENTRY_DWORDS),
            first: bits::<4>(0xf),
            last: bits::<4>(0xf),
            source: cat2::<3, 15, 18>(bits::<3>(Launch::COMPLETIONS), bit_cast::<15, 6>(finished.slot) << 3),
            context: bit_cast::<8, 6>(finished.slot),
        };
        self.entries.launch.next = self.launch.val();
        self.launch_data.next = self.entries.data.val();

        // The DMA engine's ends go first, for it does not wait. An entry that could not be written is lost, as any
        // posted write is.
        self.entry_done.ready.next = true;
        self.posted.read_address.next = self.entry_done.data.val().context.get_bits::<6>(0);
        self.done.d.next = self.entry_done.valid.val();
        self.outcomes.sink.data.next = if self.done.q.val() {
            self.posted.read_data.val()
        } else {
            Over { slot: finished.slot, owner: owner, interrupt: false, vector: bits::<3>(0) }
        };
        self.outcomes.sink.valid.next = self.done.q.val() || state == State::Over;
        Source::<Over>::link(&mut self.over, &mut self.outcomes.source);
        self.busy.next = state != State::Take
            || self.arbiter.source.valid.val()
            || self.done.q.val()
            || self.outcomes.level.val().any();
    }
}
