//! Create and Delete I/O Submission and Completion Queue (NVMe 1.4 §5.3 to §5.6).

use nitride_abi::card;
use nitride_abi::nvme::Status;
use nitride_abi::nvme::command::{admin, queue};
use nitride_lang::prelude::*;

use crate::bus::Command;
use crate::nvme::records::{
    Client, Ending, Finished, QueueAnswer, QueueOperation, QueueOutcome, QueueRequest,
};

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Take,
    Check,
    Ask,
    Answer,
    Finish,
    Retry,
}

/// The ID of an I/O queue that can be.
#[hdl_fn]
fn is_queue(id: Bits<16>) -> Bit {
    id != 0 && id < card::QUEUES as u64
}

/// Creates and deletes I/O queues.
///
/// A command takes 10 cycles or so. The deletion of a submission queue with commands under way is handed back (`retry`)
/// to come again, so that it holds up no other.
#[derive(LogicBlock, Default)]
pub struct QueueCommands {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Commands.
    pub command: Sink<Command>,
    /// Commands that have to come again.
    pub retry: Source<Command>,
    /// Commands that are over.
    pub finished: Source<Finished>,
    /// To the queues, as [`Client::COMMANDS`].
    pub request: Source<QueueRequest>,
    /// From the queues.
    pub answer: Signal<In, QueueAnswer>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    state: Reg<State>,
    command_now: Reg<Command>,
    /// What is wrong whatever the queues say.
    fault: Reg<Bits<15>>,
    /// The completion queue's identifier is out of range.
    no_completion_queue: Reg<Bit>,
    status: Reg<Bits<15>>,
}

impl Logic for QueueCommands {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let command = self.command_now.q.val();
        let answer = self.answer.val();
        let answered = answer.valid && answer.client == Client::COMMANDS as u64;
        let create_completion = command.opcode == admin::CREATE_CQ as u64;
        let create_submission = command.opcode == admin::CREATE_SQ as u64;
        let creation = create_completion || create_submission;
        let id = command.cdw10.get_bits::<16>(queue::QID.lsb as usize);
        let last = command.cdw10.get_bits::<16>(queue::QSIZE.lsb as usize);
        let high = command.cdw11.get_bits::<16>(16);
        let success = bits::<15>(Status::SUCCESS.bits() as u64);
        let fault = self.fault.q.val();
        let no_completion_queue = self.no_completion_queue.q.val();
        match state {
            State::Take => {
                if self.command.valid.val() {
                    self.command_now.d.next = self.command.data.val();
                    self.state.d.next = State::Check;
                }
            }
            State::Check => {
                self.no_completion_queue.d.next = create_submission && !is_queue(high);
                self.fault.d.next = if !creation {
                    success
                } else if last == 0 || last >= card::QUEUE_ENTRIES as u64 {
                    bits::<15>(Status::INVALID_QUEUE_SIZE.bits() as u64)
                } else if !command.cdw11.get_bit(queue::PC.lsb as usize) {
                    bits::<15>(Status::INVALID_FIELD.bits() as u64)
                } else if create_completion && high >= card::MSIX_VECTORS as u64 {
                    bits::<15>(Status::INVALID_VECTOR.bits() as u64)
                } else if command.prp1.get_bits::<12>(0) != 0 {
                    bits::<15>(Status::PRP_OFFSET_INVALID.bits() as u64)
                } else {
                    success
                };
                self.status.d.next = bits::<15>(Status::INVALID_QUEUE_ID.bits() as u64);
                self.state.d.next = if is_queue(id) { State::Ask } else { State::Finish };
            }
            State::Ask => {
                if self.request.ready.val() {
                    self.state.d.next = State::Answer;
                }
            }
            State::Answer => {
                if answered {
                    self.state.d.next = State::Finish;
                    match answer.outcome {
                        QueueOutcome::Busy => {
                            self.state.d.next = State::Retry;
                        }
                        QueueOutcome::Exists => {
                            self.status.d.next = bits::<15>(Status::INVALID_QUEUE_ID.bits() as u64);
                        }
                        QueueOutcome::Missing => {
                            if create_submission && !no_completion_queue {
                                self.status.d.next =
                                    bits::<15>(Status::COMPLETION_QUEUE_INVALID.bits() as u64);
                            } else {
                                self.status.d.next = bits::<15>(Status::INVALID_QUEUE_ID.bits() as u64);
                            }
                        }
                        QueueOutcome::InUse => {
                            self.status.d.next = bits::<15>(Status::INVALID_QUEUE_DELETION.bits() as u64);
                        }
                        QueueOutcome::Done | QueueOutcome::Dropped | QueueOutcome::Full => {
                            self.status.d.next = if no_completion_queue {
                                bits::<15>(Status::INVALID_QUEUE_ID.bits() as u64)
                            } else {
                                fault
                            };
                        }
                    }
                }
            }
            State::Finish => {
                if self.finished.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
            State::Retry => {
                if self.retry.ready.val() {
                    self.state.d.next = State::Take;
                }
            }
        }
        self.command.ready.next = state == State::Take;
        self.retry.valid.next = state == State::Retry;
        self.retry.data.next = command;
        self.finished.valid.next = state == State::Finish;
        self.finished.data.next = Finished {
            ending: Ending::Post,
            slot: command.slot,
            status: self.status.q.val(),
            dw0: bits::<32>(0),
        };
        self.request.valid.next = state == State::Ask;
        self.request.data.next = QueueRequest {
            operation: if create_completion {
                QueueOperation::CreateCompletion
            } else if create_submission {
                QueueOperation::CreateSubmission
            } else if command.opcode == admin::DELETE_CQ as u64 {
                QueueOperation::DeleteCompletion
            } else {
                QueueOperation::DeleteSubmission
            },
            controller: command.controller,
            queue: id.get_bits::<3>(0),
            value: last,
            base: command.prp1.get_bits::<52>(12),
            completion_queue: high.get_bits::<3>(0),
            vector: high.get_bits::<3>(0),
            interrupt: command.cdw11.get_bit(queue::IEN.lsb as usize),
            dry: fault != 0 || no_completion_queue,
        };
        self.busy.next = state != State::Take || self.command.valid.val();
    }
}
