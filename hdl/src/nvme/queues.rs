//! The queues' state and everything that changes it.

use nitride_lang::prelude::*;

use super::records::{
    Client, FetchJob, POINTER, QueueAnswer, QueueIndex, QueueOperation, QueueOutcome, QueueRequest,
};

/// Commands of a controller's admin queue under way at a time.
const ADMIN_LIMIT: u64 = 4;
/// Commands of a controller under way at a time that still let an I/O queue fetch: no controller takes all slots.
const CONTROLLER_LIMIT: u64 = 48;
/// log2 of a submission queue entry's size (NVMe 1.4 §4.2).
const SQE_SHIFT: u64 = nitride_abi::nvme::SQE_SHIFT as u64;
/// log2 of a completion queue entry's size (NVMe 1.4 §4.6).
const CQE_SHIFT: u64 = nitride_abi::nvme::CQE_SHIFT as u64;

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Controller {
    /// Doorbells count and commands are fetched.
    open: Bit,
    /// Completions are posted.
    posting: Bit,
    in_flight: Bits<7>,
    /// I/O queues that exist, SQs and CQs.
    io_queues: Bits<4>,
    /// Submission queues to wake when a command is gone.
    waiting: Bits<8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Submission {
    open: Bit,
    /// Deleted, but commands of it are under way.
    closing: Bit,
    /// It is in the schedule. This bit alone survives everything.
    scheduled: Bit,
    base: Bits<52>,
    /// Entries, 0's based.
    last: Bits<POINTER>,
    head: Bits<POINTER>,
    tail: Bits<POINTER>,
    completion_queue: Bits<3>,
    in_flight: Bits<7>,
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Completion {
    open: Bit,
    base: Bits<52>,
    /// Entries, 0's based.
    last: Bits<POINTER>,
    head: Bits<POINTER>,
    tail: Bits<POINTER>,
    phase: Bit,
    vector: Bits<3>,
    interrupt: Bit,
    /// Submission queues that post here.
    users: Bits<4>,
    /// Entries that are kept for commands under way.
    reserved: Bits<7>,
    /// Submission queues to wake when there is room.
    waiting: Bits<8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Pick,
    ReadSubmission,
    ReadCompletion,
    Latch,
    Act,
}

/// `{controller, queue}`.
#[hdl_fn]
fn queue_index(controller: Bits<4>, queue: Bits<3>) -> QueueIndex {
    cat2::<4, 3, 7>(controller, queue)
}

/// The pointer after `pointer` in a queue of `last + 1` entries.
#[hdl_fn]
fn advance(pointer: Bits<POINTER>, last: Bits<POINTER>) -> Bits<POINTER> {
    if pointer == last { 0.into() } else { pointer + 1 }
}

/// Host address of entry `pointer` of a queue of pages, entries of `1 << shift` bytes.
#[hdl_fn]
fn entry_address(base: Bits<52>, pointer: Bits<POINTER>, shift: u64) -> Bits<64> {
    (bit_cast::<64, 52>(base) << 12) + (bit_cast::<64, 12>(pointer) << shift)
}

/// All submission and completion queues of all controllers, in RAM, walked by one engine.
///
/// A client's request is answered 5 cycles after it was taken (`answer`), a request at a time, round robin among
/// the clients and then in turn with fetching, so that neither doorbells nor fetches starve the other: 5 of these a
/// command, 25 cycles. No request waits for anything outside of this block.
///
/// **Fetching.** A queue with entries is in the schedule once (a FIFO of admin queues and one of I/O queues), whose
/// head gets one command fetched and goes to the end if it has more (NVMe 1.4 §4.13.1, round robin, burst 1). A command is
/// fetched only with a place for its completion, which is kept for it: a full completion queue holds up those who
/// filled it and takes no slot from anyone. Who lacks a place, or has too many commands under way, leaves
/// the schedule and is woken by the event that ends it.
#[derive(LogicBlock, Default)]
pub struct Queues {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Requests, by [`Client`].
    pub request: [Sink<QueueRequest>; Client::COUNT],
    /// Their answers.
    pub answer: Signal<Out, QueueAnswer>,
    /// Commands to start. `ready` must not fall before a word was taken.
    pub fetch: Source<FetchJob>,
    /// A slot is there for an I/O command.
    pub room: Signal<In, Bit>,
    /// A slot is there for an admin command.
    pub admin_room: Signal<In, Bit>,
    /// Something is under way here, or could be fetched.
    pub busy: Signal<Out, Bit>,
    state: Reg<State>,
    job: Reg<QueueRequest>,
    client: Reg<Bits<3>>,
    /// The last request was a client's: it is the schedule's turn.
    turn: Reg<Bit>,
    arbiter: StreamArbiter<QueueRequest, { Client::COUNT }>,
    controllers: Ram<Controller, 4>,
    submissions: Ram<Submission, 7>,
    completions: Ram<Completion, 7>,
    controller: Reg<Controller>,
    submission: Reg<Submission>,
    completion: Reg<Completion>,
    completion_queue: Reg<Bits<3>>,
    admin_schedule: Fifo<Bits<4>, 4>,
    io_schedule: Fifo<QueueIndex, 7>,
    wake: Reg<Bits<8>>,
    wake_controller: Reg<Bits<4>>,
    new_controller: Signal<Local, Controller>,
    new_submission: Signal<Local, Submission>,
    new_completion: Signal<Local, Completion>,
    push: Signal<Local, Bit>,
    outcome: Signal<Local, QueueOutcome>,
}

impl Logic for Queues {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let job = self.job.q.val();
        let index = queue_index(job.controller, job.queue);
        let acting = state == State::Act;

        // Picking: queues to wake, then clients and the schedule in turn.
        for i in 0..Client::COUNT {
            Sink::<QueueRequest>::link(&mut self.request[i], &mut self.arbiter.sink[i]);
        }
        self.arbiter.last.next = bits::<{ Client::COUNT }>(0x3f);
        let admin_due =
            self.admin_schedule.source.valid.val() && self.admin_room.val() && self.fetch.ready.val();
        let io_due = self.io_schedule.source.valid.val() && self.room.val() && self.fetch.ready.val();
        let due = admin_due || io_due;
        let picking = state == State::Pick;
        let waking = picking && self.wake.q.val().any();
        let offered = self.arbiter.source.valid.val();
        let fetching = picking && !waking && due && (self.turn.q.val() || !offered);
        let serving = picking && !waking && !fetching;
        self.arbiter.source.ready.next = serving;
        self.admin_schedule.source.ready.next = fetching && admin_due;
        self.io_schedule.source.ready.next = fetching && !admin_due;
        let woken = lowest_one::<8>(self.wake.q.val());
        let io_head = self.io_schedule.source.data.val();
        if waking {
            self.job.d.next.operation = QueueOperation::Wake;
            self.job.d.next.controller = self.wake_controller.q.val();
            self.job.d.next.queue = one_hot_index::<8, 3>(woken);
            self.wake.d.next = self.wake.q.val() & !woken;
            self.state.d.next = State::ReadSubmission;
        } else if fetching {
            self.job.d.next.operation = QueueOperation::Fetch;
            self.job.d.next.controller =
                if admin_due { self.admin_schedule.source.data.val() } else { io_head.get_bits::<4>(3) };
            self.job.d.next.queue = if admin_due { 0.into() } else { io_head.get_bits::<3>(0) };
            self.turn.d.next = false;
            self.state.d.next = State::ReadSubmission;
        } else if serving && offered {
            self.job.d.next = self.arbiter.source.data.val();
            self.client.d.next = self.arbiter.index.val().get_bits::<3>(0);
            self.turn.d.next = true;
            self.state.d.next = State::ReadSubmission;
        }

        // Reading: the submission queue names the completion queue, unless the request does.
        self.controllers.read_address.next = job.controller;
        self.submissions.read_address.next = index;
        self.completions.read_address.next = queue_index(job.controller, self.completion_queue.q.val());
        let own = job.operation == QueueOperation::Head
            || job.operation == QueueOperation::CreateCompletion
            || job.operation == QueueOperation::DeleteCompletion
            || job.operation == QueueOperation::Clear;
        if state == State::ReadSubmission {
            self.state.d.next = State::ReadCompletion;
        }
        if state == State::ReadCompletion {
            self.controller.d.next = self.controllers.read_data.val();
            self.submission.d.next = self.submissions.read_data.val();
            let of_submission = self.submissions.read_data.val().completion_queue;
            let number = if own {
                job.queue
            } else if job.operation == QueueOperation::CreateSubmission {
                job.completion_queue
            } else {
                of_submission
            };
            self.completion_queue.d.next = number;
            self.completions.read_address.next = queue_index(job.controller, number);
            self.state.d.next = State::Latch;
        }
        if state == State::Latch {
            self.completion.d.next = self.completions.read_data.val();
            self.state.d.next = State::Act;
        }

        // Acting: what the operation makes of the three records.
        let controller = self.controller.q.val();
        let submission = self.submission.q.val();
        let completion = self.completion.q.val();
        self.new_controller.next = controller;
        self.new_submission.next = submission;
        self.new_completion.next = completion;
        self.push.next = false;
        self.outcome.next = QueueOutcome::Done;
        self.fetch.valid.next = false;
        let admin = job.queue == 0;
        let bit = bits::<8>(1) << job.queue;
        let value = job.value.get_bits::<POINTER>(0);
        let next_head = advance(submission.head, submission.last);
        let used = if completion.tail >= completion.head {
            completion.tail - completion.head
        } else {
            completion.tail - completion.head + completion.last + 1
        };
        let room = bit_cast::<13, 12>(used) + bit_cast::<13, 7>(completion.reserved)
            < bit_cast::<13, 12>(completion.last);
        match job.operation {
            QueueOperation::Tail => {
                if controller.open && submission.open && job.value <= bit_cast::<16, 12>(submission.last) {
                    self.new_submission.next.tail = value;
                    if !submission.scheduled && value != submission.head {
                        self.new_submission.next.scheduled = true;
                        self.push.next = acting;
                    }
                }
            }
            QueueOperation::Wake => {
                if submission.open && !submission.scheduled && submission.head != submission.tail {
                    self.new_submission.next.scheduled = true;
                    self.push.next = acting;
                }
            }
            QueueOperation::Head => {
                if controller.open && completion.open && job.value <= bit_cast::<16, 12>(completion.last) {
                    self.new_completion.next.head = value;
                    self.new_completion.next.waiting = 0.into();
                    if acting {
                        self.wake.d.next = completion.waiting;
                        self.wake_controller.d.next = job.controller;
                    }
                }
            }
            QueueOperation::Fetch => {
                self.new_submission.next.scheduled = false;
                let limited = if admin {
                    submission.in_flight >= ADMIN_LIMIT
                } else {
                    controller.in_flight >= CONTROLLER_LIMIT
                };
                if controller.open && submission.open && submission.head != submission.tail {
                    if limited {
                        self.new_controller.next.waiting = controller.waiting | bit;
                    } else if !room {
                        self.new_completion.next.waiting = completion.waiting | bit;
                    } else {
                        self.fetch.valid.next = acting;
                        self.new_controller.next.in_flight = controller.in_flight + 1;
                        self.new_submission.next.in_flight = submission.in_flight + 1;
                        self.new_completion.next.reserved = completion.reserved + 1;
                        self.new_submission.next.head = next_head;
                        if next_head != submission.tail {
                            self.new_submission.next.scheduled = true;
                            self.push.next = acting;
                        }
                    }
                }
            }
            QueueOperation::Post => {
                if controller.posting {
                    self.new_completion.next.tail = advance(completion.tail, completion.last);
                    self.new_completion.next.phase = completion.phase ^ (completion.tail == completion.last);
                    self.new_completion.next.reserved = completion.reserved - 1;
                } else {
                    self.outcome.next = QueueOutcome::Dropped;
                }
            }
            QueueOperation::Withdraw | QueueOperation::Fail => {
                self.outcome.next = QueueOutcome::Dropped;
                self.new_completion.next.reserved = completion.reserved - 1;
                self.new_completion.next.waiting = 0.into();
                if job.operation == QueueOperation::Fail {
                    self.new_controller.next.open = false;
                }
                if acting {
                    self.wake.d.next = completion.waiting;
                    self.wake_controller.d.next = job.controller;
                }
            }
            QueueOperation::Release => {
                self.new_controller.next.in_flight = controller.in_flight - 1;
                self.new_submission.next.in_flight = submission.in_flight - 1;
                self.new_controller.next.waiting = 0.into();
                if acting {
                    self.wake.d.next = controller.waiting;
                    self.wake_controller.d.next = job.controller;
                }
            }
            QueueOperation::CreateCompletion => {
                if completion.open {
                    self.outcome.next = QueueOutcome::Exists;
                } else if !job.dry {
                    self.new_completion.next.open = true;
                    self.new_completion.next.base = job.base;
                    self.new_completion.next.last = value;
                    self.new_completion.next.head = 0.into();
                    self.new_completion.next.tail = 0.into();
                    self.new_completion.next.phase = true;
                    self.new_completion.next.vector = job.vector;
                    self.new_completion.next.interrupt = job.interrupt;
                    self.new_completion.next.users = 0.into();
                    self.new_completion.next.reserved = 0.into();
                    self.new_completion.next.waiting = 0.into();
                    if !admin {
                        self.new_controller.next.io_queues = controller.io_queues + 1;
                    }
                }
            }
            QueueOperation::CreateSubmission => {
                if submission.open || submission.closing {
                    self.outcome.next = QueueOutcome::Exists;
                } else if !completion.open {
                    self.outcome.next = QueueOutcome::Missing;
                } else if !job.dry {
                    self.new_submission.next.open = true;
                    self.new_submission.next.base = job.base;
                    self.new_submission.next.last = value;
                    self.new_submission.next.head = 0.into();
                    self.new_submission.next.tail = 0.into();
                    self.new_submission.next.completion_queue = job.completion_queue;
                    self.new_completion.next.users = completion.users + 1;
                    if !admin {
                        self.new_controller.next.io_queues = controller.io_queues + 1;
                    }
                }
            }
            QueueOperation::DeleteCompletion => {
                if !completion.open {
                    self.outcome.next = QueueOutcome::Missing;
                } else if completion.users != 0 {
                    self.outcome.next = QueueOutcome::InUse;
                } else {
                    self.new_completion.next.open = false;
                    self.new_controller.next.io_queues = controller.io_queues - 1;
                }
            }
            QueueOperation::DeleteSubmission => {
                if !submission.open && !submission.closing {
                    self.outcome.next = QueueOutcome::Missing;
                } else if submission.in_flight != 0 {
                    self.outcome.next = QueueOutcome::Busy;
                    self.new_submission.next.open = false;
                    self.new_submission.next.closing = true;
                } else {
                    self.new_submission.next.open = false;
                    self.new_submission.next.closing = false;
                    self.new_completion.next.users = completion.users - 1;
                    self.new_controller.next.io_queues = controller.io_queues - 1;
                }
            }
            QueueOperation::Probe => {
                if controller.io_queues != 0 {
                    self.outcome.next = QueueOutcome::InUse;
                }
            }
            QueueOperation::Open => {
                self.new_controller.next.open = true;
                self.new_controller.next.posting = true;
                self.new_controller.next.waiting = 0.into();
            }
            QueueOperation::Halt => {
                self.new_controller.next.open = false;
                self.new_controller.next.posting = false;
                if controller.in_flight != 0 {
                    self.outcome.next = QueueOutcome::Busy;
                }
            }
            QueueOperation::Quiesce => {
                self.new_controller.next.open = false;
                if controller.in_flight != 0 {
                    self.outcome.next = QueueOutcome::Busy;
                }
            }
            QueueOperation::Clear => {
                self.new_submission.next.open = false;
                self.new_submission.next.closing = false;
                self.new_completion.next.open = false;
                self.new_completion.next.users = 0.into();
                self.new_completion.next.reserved = 0.into();
                self.new_completion.next.waiting = 0.into();
                self.new_controller.next.io_queues = 0.into();
            }
            QueueOperation::Flush => {
                if self.fetch.ready.val() && self.admin_room.val() {
                    self.fetch.valid.next = acting;
                    self.new_controller.next.in_flight = controller.in_flight + 1;
                    self.new_submission.next.in_flight = submission.in_flight + 1;
                } else {
                    self.outcome.next = QueueOutcome::Busy;
                }
            }
        }
        if acting {
            self.state.d.next = State::Pick;
        }

        self.controllers.write_address.next = job.controller;
        self.controllers.write_data.next = self.new_controller.val();
        self.controllers.write_enable.next = acting;
        self.submissions.write_address.next = index;
        self.submissions.write_data.next = self.new_submission.val();
        self.submissions.write_enable.next = acting;
        self.completions.write_address.next = queue_index(job.controller, self.completion_queue.q.val());
        self.completions.write_data.next = self.new_completion.val();
        self.completions.write_enable.next = acting;
        self.admin_schedule.sink.data.next = job.controller;
        self.admin_schedule.sink.valid.next = self.push.val() && admin;
        self.io_schedule.sink.data.next = index;
        self.io_schedule.sink.valid.next = self.push.val() && !admin;
        self.fetch.data.next = FetchJob {
            flush: job.operation == QueueOperation::Flush,
            controller: job.controller,
            queue: job.queue,
            address: entry_address(submission.base, submission.head, SQE_SHIFT),
        };
        self.answer.next = QueueAnswer {
            valid: acting && job.operation != QueueOperation::Wake && job.operation != QueueOperation::Fetch,
            client: self.client.q.val(),
            outcome: self.outcome.val(),
            address: entry_address(completion.base, completion.tail, CQE_SHIFT),
            head: submission.head,
            phase: completion.phase,
            vector: completion.vector,
            interrupt: completion.interrupt,
        };
        self.busy.next = !picking
            || offered
            || self.wake.q.val().any()
            || self.admin_schedule.level.val().any()
            || self.io_schedule.level.val().any();
    }
}
