//! What each operation does to the records of its queues.

use nitride_abi::nvme::feature;
use nitride_lang::prelude::*;

use super::state::{Completion, Controller, Records, Submission, advance, burst_after_first, has_room};
use crate::nvme::records::{NewsKind, QueueOperation, QueueOutcome, QueueRequest};

/// Commands of a controller's admin queue under way at a time.
const ADMIN_LIMIT: u64 = 4;
/// Commands of a controller under way at a time that still let an I/O queue fetch: no controller takes all slots.
const CONTROLLER_LIMIT: u64 = 48;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Verdict {
    /// It is carried out.
    pub go: Bit,
    /// The answer.
    pub outcome: QueueOutcome,
    /// It is a fetch that waits until commands of the controller are gone.
    pub limited: Bit,
    /// It lacks a place in the completion queue.
    pub crowded: Bit,
}

/// The doorbell's value is an entry of a queue.
#[hdl_fn]
fn is_entry(value: Bits<16>, last: Bits<12>) -> Bit {
    value <= bit_cast::<16, 12>(last)
}

/// A submission queue that has commands to fetch.
#[hdl_fn]
fn has_commands(submission: Submission) -> Bit {
    submission.open && submission.head != submission.tail
}

/// Decides on a request. `ready`: a command can be started.
#[hdl_fn]
pub fn judge(job: QueueRequest, r: Records, ready: Bit) -> Verdict {
    let controller = r.controller;
    let submission = r.submission;
    let completion = r.completion;
    let limit = if job.queue == 0 {
        submission.in_flight >= ADMIN_LIMIT
    } else {
        controller.in_flight >= CONTROLLER_LIMIT
    };
    let fetch = job.operation == QueueOperation::Fetch
        && controller.open
        && controller.scheduled.get_bit(job.queue.index())
        && has_commands(submission);
    let announce = job.operation == QueueOperation::Announce && controller.open;
    let room = has_room(completion);
    let outcome = match job.operation {
        QueueOperation::Post => {
            if controller.posting {
                QueueOutcome::Done
            } else {
                QueueOutcome::Dropped
            }
        }
        QueueOperation::Withdraw | QueueOperation::Fail => QueueOutcome::Dropped,
        QueueOperation::CreateCompletion => {
            if completion.open {
                QueueOutcome::Exists
            } else {
                QueueOutcome::Done
            }
        }
        QueueOperation::CreateSubmission => {
            if submission.open || submission.closing {
                QueueOutcome::Exists
            } else if !completion.open {
                QueueOutcome::Missing
            } else {
                QueueOutcome::Done
            }
        }
        QueueOperation::DeleteCompletion => {
            if !completion.open {
                QueueOutcome::Missing
            } else if completion.users != 0 {
                QueueOutcome::InUse
            } else {
                QueueOutcome::Done
            }
        }
        QueueOperation::DeleteSubmission => {
            if !submission.open && !submission.closing {
                QueueOutcome::Missing
            } else if submission.in_flight != 0 {
                QueueOutcome::Busy
            } else {
                QueueOutcome::Done
            }
        }
        QueueOperation::Probe => {
            if controller.io_queues != 0 {
                QueueOutcome::InUse
            } else {
                QueueOutcome::Done
            }
        }
        QueueOperation::Halt | QueueOperation::Quiesce => {
            if controller.in_flight != 0 {
                QueueOutcome::Busy
            } else {
                QueueOutcome::Done
            }
        }
        QueueOperation::Flush => {
            if ready {
                QueueOutcome::Done
            } else {
                QueueOutcome::Busy
            }
        }
        QueueOperation::Announce => {
            if !controller.open {
                QueueOutcome::Dropped
            } else if !room {
                QueueOutcome::Full
            } else if !ready {
                QueueOutcome::Busy
            } else {
                QueueOutcome::Done
            }
        }
        _ => QueueOutcome::Done,
    };
    let done = outcome == QueueOutcome::Done;
    let go = match job.operation {
        QueueOperation::Tail => controller.open && submission.open && is_entry(job.value, submission.last),
        QueueOperation::Head => controller.open && completion.open && is_entry(job.value, completion.last),
        QueueOperation::Wake => has_commands(submission),
        QueueOperation::Fetch => fetch && !limit && room,
        QueueOperation::CreateCompletion | QueueOperation::CreateSubmission => done && !job.dry,
        QueueOperation::Withdraw | QueueOperation::Fail | QueueOperation::Halt | QueueOperation::Quiesce => {
            true
        }
        _ => done,
    };
    Verdict {
        go: go,
        outcome: outcome,
        limited: fetch && limit,
        crowded: ((fetch && !limit) || announce) && !room,
    }
}

/// The controller after a request. `arbitration`: its Arbitration Burst.
#[hdl_fn]
pub fn controller_after(job: QueueRequest, r: Records, v: Verdict, arbitration: Bits<3>) -> Controller {
    let before = r.controller;
    let bit = bits::<8>(1) << job.queue;
    let value = job.value.get_bits::<12>(0);
    let more = advance(r.submission.head, r.submission.last) != r.submission.tail;
    let continues = before.burst != 0 && job.queue == before.current;
    let left = if !continues {
        burst_after_first(arbitration)
    } else if arbitration == feature::AB_NO_LIMIT {
        before.burst
    } else {
        before.burst - 1
    };
    let io = if job.queue == 0 { bits::<4>(0) } else { bits::<4>(1) };
    let fewer = Controller { io_queues: before.io_queues - 1, ..before };
    let created = Controller { io_queues: before.io_queues + io, ..before };
    let wants = Controller { scheduled: before.scheduled | bit, ..before };
    match job.operation {
        QueueOperation::Tail => {
            if v.go && value != r.submission.head {
                wants
            } else {
                before
            }
        }
        QueueOperation::Wake => {
            if v.go {
                wants
            } else {
                before
            }
        }
        QueueOperation::Fetch => Controller {
            scheduled: if v.go && more { before.scheduled } else { before.scheduled & !bit },
            waiting: if v.limited { before.waiting | bit } else { before.waiting },
            in_flight: if v.go { before.in_flight + 1 } else { before.in_flight },
            current: if v.go && job.queue != 0 { job.queue } else { before.current },
            burst: if v.go && job.queue != 0 { left } else { before.burst },
            ..before
        },
        QueueOperation::Announce | QueueOperation::Flush => {
            Controller { in_flight: if v.go { before.in_flight + 1 } else { before.in_flight }, ..before }
        }
        QueueOperation::Fail => Controller { open: false, ..before },
        QueueOperation::Release => {
            Controller { in_flight: before.in_flight - 1, waiting: bits::<8>(0), ..before }
        }
        QueueOperation::CreateCompletion | QueueOperation::CreateSubmission => {
            if v.go {
                created
            } else {
                before
            }
        }
        QueueOperation::DeleteCompletion | QueueOperation::DeleteSubmission => {
            if v.go {
                fewer
            } else {
                before
            }
        }
        QueueOperation::Open => Controller { open: true, posting: true, waiting: bits::<8>(0), ..before },
        QueueOperation::Halt => Controller { open: false, posting: false, ..before },
        QueueOperation::Quiesce => Controller { open: false, ..before },
        QueueOperation::Clear => {
            Controller { io_queues: bits::<4>(0), scheduled: before.scheduled & !bit, ..before }
        }
        _ => before,
    }
}

/// The submission queue after a request.
#[hdl_fn]
pub fn submission_after(job: QueueRequest, r: Records, v: Verdict) -> Submission {
    let before = r.submission;
    let value = job.value.get_bits::<12>(0);
    let started = Submission { in_flight: before.in_flight + 1, ..before };
    let after = match job.operation {
        QueueOperation::Tail => Submission { tail: value, ..before },
        QueueOperation::Fetch => Submission { head: advance(before.head, before.last), ..started },
        QueueOperation::Announce | QueueOperation::Flush => started,
        QueueOperation::Release => Submission { in_flight: before.in_flight - 1, ..before },
        QueueOperation::CreateSubmission => Submission {
            open: true,
            base: job.base,
            last: value,
            head: bits::<12>(0),
            tail: bits::<12>(0),
            completion_queue: job.completion_queue,
            ..before
        },
        QueueOperation::DeleteSubmission | QueueOperation::Clear => {
            Submission { open: false, closing: false, ..before }
        }
        _ => before,
    };
    let busy = job.operation == QueueOperation::DeleteSubmission && v.outcome == QueueOutcome::Busy;
    if busy {
        Submission { open: false, closing: true, ..before }
    } else if v.go {
        after
    } else {
        before
    }
}

/// The completion queue after a request.
#[hdl_fn]
pub fn completion_after(job: QueueRequest, r: Records, v: Verdict) -> Completion {
    let before = r.completion;
    let value = job.value.get_bits::<12>(0);
    let bit = bits::<8>(1) << job.queue;
    let woken = Completion { waiting: bits::<8>(0), owed: false, ..before };
    let after = match job.operation {
        QueueOperation::Head => Completion { head: value, ..woken },
        QueueOperation::Fetch | QueueOperation::Announce => {
            Completion { reserved: before.reserved + 1, ..before }
        }
        QueueOperation::Post => Completion {
            tail: advance(before.tail, before.last),
            phase: before.phase ^ (before.tail == before.last),
            reserved: before.reserved - 1,
            ..before
        },
        QueueOperation::Withdraw | QueueOperation::Fail => {
            Completion { reserved: before.reserved - 1, ..woken }
        }
        QueueOperation::CreateCompletion => Completion {
            open: true,
            base: job.base,
            last: value,
            head: bits::<12>(0),
            tail: bits::<12>(0),
            phase: true,
            vector: job.vector,
            interrupt: job.interrupt,
            users: bits::<4>(0),
            reserved: bits::<7>(0),
            ..woken
        },
        QueueOperation::CreateSubmission => Completion { users: before.users + 1, ..before },
        QueueOperation::DeleteSubmission => Completion { users: before.users - 1, ..before },
        QueueOperation::DeleteCompletion => Completion { open: false, ..before },
        QueueOperation::Clear => {
            Completion { open: false, users: bits::<4>(0), reserved: bits::<7>(0), ..woken }
        }
        _ => before,
    };
    if v.go {
        after
    } else if v.crowded && job.operation == QueueOperation::Announce {
        Completion { owed: true, ..before }
    } else if v.crowded {
        Completion { waiting: before.waiting | bit, ..before }
    } else {
        before
    }
}

/// The submission queues that a request wakes.
#[hdl_fn]
pub fn woken_by(job: QueueRequest, r: Records, v: Verdict) -> Bits<8> {
    match job.operation {
        QueueOperation::Head => {
            if v.go {
                r.completion.waiting
            } else {
                bits::<8>(0)
            }
        }
        QueueOperation::Withdraw | QueueOperation::Fail => r.completion.waiting,
        QueueOperation::Release => r.controller.waiting,
        _ => bits::<8>(0),
    }
}

/// What the controller's events have to know of a request (NVMe 1.4 §5.2.1).
#[hdl_fn]
pub fn news_of(job: QueueRequest, r: Records, v: Verdict) -> NewsKind {
    let head = job.operation == QueueOperation::Head;
    let tail = job.operation == QueueOperation::Tail;
    let exists = if head { r.completion.open } else { r.submission.open };
    let room = v.go
        && r.completion.owed
        && (head || job.operation == QueueOperation::Withdraw || job.operation == QueueOperation::Fail);
    let stray = job.operation == QueueOperation::Stray || ((head || tail) && !exists);
    if !r.controller.open {
        NewsKind::Nothing
    } else if room {
        NewsKind::Room
    } else if stray {
        NewsKind::InvalidRegister
    } else if (head || tail) && !v.go {
        NewsKind::InvalidValue
    } else {
        NewsKind::Nothing
    }
}
