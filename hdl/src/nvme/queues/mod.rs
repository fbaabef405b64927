//! The queues' state and everything that changes it.

mod operations;
pub(super) mod schedule;
mod state;

use nitride_abi::nvme::feature;
use nitride_lang::prelude::*;

use super::records::{
    Client, FetchJob, JobKind, News, NewsKind, QueueAnswer, QueueOperation, QueueRequest, Setting,
};
use operations::{completion_after, controller_after, judge, news_of, submission_after, woken_by};
use schedule::{Picked, Schedule, Scheduling};
use state::{Completion, Controller, Records, Submission, entry_address, next_queue, queue_index};

/// log2 of a submission queue entry's size (NVMe 1.4 §4.2).
const SQE_SHIFT: u64 = nitride_abi::nvme::SQE_SHIFT as u64;
/// log2 of a completion queue entry's size (NVMe 1.4 §4.6).
const CQE_SHIFT: u64 = nitride_abi::nvme::CQE_SHIFT as u64;
/// News that wait when doorbells are held up.
const NEWS_LIMIT: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Pick,
    ReadSubmission,
    ReadCompletion,
    Latch,
    Act,
}

/// All submission and completion queues of all controllers, in RAM, walked by one engine.
///
/// A client's request is answered 5 cycles after it was taken (`answer`), a request at a time: 5 of these a command, 25
/// cycles. No request waits for anything outside of this block.
///
/// **Fetching.** A controller with entries in I/O queues is in the schedule once. When it is at the schedule's head, one command
/// of one of its queues is fetched, and it goes to the end if it has more: controllers share the card evenly, however many queues
/// they have. Among a controller's queues it is round robin with its Arbitration Burst (NVMe 1.4 §4.13.1). A command is
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
    /// What controllers are set to.
    pub setting: Signal<In, Setting>,
    /// What the controllers' events have to know.
    pub news: Source<News>,
    /// Much news waits: no more doorbells now.
    pub hold: Signal<Out, Bit>,
    /// Something is under way here, or could be fetched.
    pub busy: Signal<Out, Bit>,
    state: Reg<State>,
    schedule: Schedule,
    picked: Reg<Picked>,
    controllers: Ram<Controller, 4>,
    submissions: Ram<Submission, 7>,
    completions: Ram<Completion, 7>,
    bursts: Ram<Bits<3>, 4>,
    controller: Reg<Controller>,
    submission: Reg<Submission>,
    completion: Reg<Completion>,
    completion_queue: Reg<Bits<3>>,
    told: Fifo<News, 4>,
}

impl Logic for Queues {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let picked = self.picked.q.val();
        let job = picked.request;
        let picking = state == State::Pick;
        let acting = state == State::Act;

        for i in 0..Client::COUNT {
            Sink::<QueueRequest>::link(&mut self.request[i], &mut self.schedule.request[i]);
        }
        self.schedule.pick.next = picking;
        self.schedule.admin_ready.next = self.admin_room.val() && self.fetch.ready.val();
        self.schedule.io_ready.next = self.room.val() && self.fetch.ready.val();
        let offered = self.schedule.picked.val();

        // The controller's record names an I/O queue to fetch from; the submission queue names the completion queue, unless the
        // request does.
        let controller_read = self.controllers.read_data.val();
        let submission_read = self.submissions.read_data.val();
        let queue =
            if picked.io && state == State::ReadSubmission { next_queue(controller_read) } else { job.queue };
        let own = job.operation == QueueOperation::Head
            || job.operation == QueueOperation::CreateCompletion
            || job.operation == QueueOperation::DeleteCompletion
            || job.operation == QueueOperation::Clear;
        let target = if own {
            job.queue
        } else if job.operation == QueueOperation::CreateSubmission {
            job.completion_queue
        } else {
            submission_read.completion_queue
        };
        let completion_queue =
            if state == State::ReadCompletion { target } else { self.completion_queue.q.val() };
        self.controllers.read_address.next =
            if picking { offered.request.controller } else { job.controller };
        self.submissions.read_address.next = queue_index(job.controller, queue);
        self.completions.read_address.next = queue_index(job.controller, completion_queue);
        self.bursts.read_address.next = job.controller;
        match state {
            State::Pick => {
                if offered.valid {
                    self.picked.d.next = offered;
                    self.state.d.next = State::ReadSubmission;
                }
            }
            State::ReadSubmission => {
                self.picked.d.next.request.queue = queue;
                self.state.d.next = State::ReadCompletion;
            }
            State::ReadCompletion => {
                self.controller.d.next = controller_read;
                self.submission.d.next = submission_read;
                self.completion_queue.d.next = target;
                self.state.d.next = State::Latch;
            }
            State::Latch => {
                self.completion.d.next = self.completions.read_data.val();
                self.state.d.next = State::Act;
            }
            State::Act => {
                self.state.d.next = State::Pick;
            }
        }

        // What the operation makes of the three records.
        let controller = self.controller.q.val();
        let submission = self.submission.q.val();
        let completion = self.completion.q.val();
        let records = Records { controller: controller, submission: submission, completion: completion };
        let verdict = judge(job, records, self.fetch.ready.val() && self.admin_room.val());
        let after = controller_after(job, records, verdict, self.bursts.read_data.val());
        let fetching = job.operation == QueueOperation::Fetch;
        let listed_admin = controller.listed_admin && !(fetching && !picked.io);
        let listed_io = controller.listed_io && !(fetching && picked.io);
        let wants_admin = after.scheduled.get_bit(0);
        let wants_io = after.scheduled.get_bits::<7>(1).any();
        self.controllers.write_address.next = job.controller;
        self.controllers.write_data.next = Controller {
            listed_admin: listed_admin || wants_admin,
            listed_io: listed_io || wants_io,
            ..after
        };
        self.controllers.write_enable.next = acting;
        self.submissions.write_address.next = queue_index(job.controller, job.queue);
        self.submissions.write_data.next = submission_after(job, records, verdict);
        self.submissions.write_enable.next = acting;
        self.completions.write_address.next = queue_index(job.controller, self.completion_queue.q.val());
        self.completions.write_data.next = completion_after(job, records, verdict);
        self.completions.write_enable.next = acting;
        self.schedule.update.next = Scheduling {
            controller: job.controller,
            admin: acting && wants_admin && !listed_admin,
            io: acting && wants_io && !listed_io,
            wake: if acting { woken_by(job, records, verdict) } else { bits::<8>(0) },
        };

        let announcing = job.operation == QueueOperation::Announce;
        let flushing = job.operation == QueueOperation::Flush;
        self.fetch.valid.next = acting && verdict.go && (fetching || announcing || flushing);
        self.fetch.data.next = FetchJob {
            kind: if announcing {
                JobKind::Completion
            } else if flushing {
                JobKind::Flush
            } else {
                JobKind::Entry
            },
            controller: job.controller,
            queue: job.queue,
            address: if announcing {
                cat2::<48, 16, 64>(job.base.get_bits::<48>(0), job.value)
            } else {
                entry_address(submission.base, submission.head, SQE_SHIFT)
            },
        };
        self.answer.next = QueueAnswer {
            valid: acting && !fetching && job.operation != QueueOperation::Wake,
            client: picked.client,
            outcome: verdict.outcome,
            address: entry_address(completion.base, completion.tail, CQE_SHIFT),
            head: submission.head,
            phase: completion.phase,
            vector: completion.vector,
            interrupt: completion.interrupt,
        };
        let news = news_of(job, records, verdict);
        self.told.sink.data.next = News { kind: news, controller: job.controller };
        self.told.sink.valid.next = acting && news != NewsKind::Nothing;
        Source::<News>::link(&mut self.news, &mut self.told.source);
        self.hold.next = self.told.level.val() > NEWS_LIMIT;
        let setting = self.setting.val();
        self.bursts.write_address.next = setting.controller;
        self.bursts.write_data.next = setting.value.get_bits::<3>(feature::AB.lsb as usize);
        self.bursts.write_enable.next = setting.valid && setting.word == feature::ARBITRATION as u64;
        self.busy.next = !picking || self.schedule.busy.val() || self.told.level.val().any();
    }
}
