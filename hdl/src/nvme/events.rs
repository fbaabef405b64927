//! Asynchronous events (NVMe 1.4 §5.2), and Abort (§5.1), which can end the requests for them.

use nitride_abi::nvme::command::{abort, admin};
use nitride_abi::nvme::{ASYNC_EVENT_LIMIT, Status, event, feature};
use nitride_lang::prelude::*;

use super::records::{
    Announcement, Client, Ending, Failure, Finished, LogRead, News, NewsKind, QueueAnswer, QueueOperation,
    QueueOutcome, QueueRequest, Setting,
};
use crate::bus::Command;

/// Requests that a controller keeps.
const REQUESTS: u64 = ASYNC_EVENT_LIMIT as u64 + 1;
/// SQID and CID of an error that no command has.
const NO_COMMAND: u64 = 0xffff;

/// A controller's requests and events.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Watch {
    /// Requests that wait.
    requests: Bits<3>,
    /// Their Command Identifiers, the oldest in the lowest bits.
    cids: Bits<64>,
    /// An event to tell: Write to Invalid Doorbell Register.
    invalid_register: Bit,
    /// An event to tell: Invalid Doorbell Write Value.
    invalid_value: Bit,
    /// An event to tell: Namespace Attribute Changed.
    namespace_changed: Bit,
    /// Error events are told only after their log page was read.
    errors_masked: Bit,
    /// Notices are told only after their log page was read.
    notices_masked: Bit,
}

/// What is done for a controller.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum Task {
    /// Look whether an event can be told.
    #[default]
    Look,
    Clear,
    Collect,
    Unmask,
    InvalidRegister,
    InvalidValue,
    Changed,
    Request,
    Abort,
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Take,
    Read,
    Latch,
    Act,
    Log,
    Finish,
    Choose,
    Ask,
    Answer,
    Pause,
}

/// The Command Identifier of request `index`.
#[hdl_fn]
fn cid_of(cids: Bits<64>, index: Bits<2>) -> Bits<16> {
    match index.index() {
        0 => cids.get_bits::<16>(0),
        1 => cids.get_bits::<16>(16),
        2 => cids.get_bits::<16>(32),
        _ => cids.get_bits::<16>(48),
    }
}

/// The requests without number `index`.
#[hdl_fn]
fn without(watch: Watch, index: Bits<2>) -> Watch {
    let cids = watch.cids;
    let rest = match index.index() {
        0 => cids >> 16,
        1 => cat2::<48, 16, 64>(bit_cast::<48, 32>(cids.get_bits::<32>(32)), cids.get_bits::<16>(0)),
        2 => cat2::<32, 32, 64>(bit_cast::<32, 16>(cids.get_bits::<16>(48)), cids.get_bits::<32>(0)),
        _ => cids,
    };
    Watch { requests: watch.requests - 1, cids: rest, ..watch }
}

/// The requests with one more.
#[hdl_fn]
fn with(watch: Watch, cid: Bits<16>) -> Watch {
    let place = cat2::<2, 4, 6>(watch.requests.get_bits::<2>(0), bits::<4>(0));
    let kept = watch.cids & !(bits::<64>(0xffff) << place);
    Watch { requests: watch.requests + 1, cids: kept | (bit_cast::<64, 16>(cid) << place), ..watch }
}

/// The requests that have the Command Identifier, a bit each.
#[hdl_fn]
fn matching(watch: Watch, cid: Bits<16>) -> Bits<4> {
    let mut found: Bits<4> = 0.into();
    for i in 0..REQUESTS as usize {
        let here = watch.requests > (i as u64) && watch.cids.get_bits::<16>(16 * i) == cid;
        found = found.replace_bit(i, here);
    }
    found
}

/// The events after a task that is not a command.
#[hdl_fn]
fn after_task(watch: Watch, job: Task, changes: Bit, notices: Bit) -> Watch {
    match job {
        Task::Clear => Watch {
            requests: bits::<3>(0),
            cids: bits::<64>(0),
            invalid_register: false,
            invalid_value: false,
            namespace_changed: false,
            errors_masked: false,
            notices_masked: false,
        },
        Task::Collect => Watch {
            invalid_register: watch.invalid_register && changes,
            invalid_value: watch.invalid_value && changes,
            namespace_changed: watch.namespace_changed && !changes,
            ..watch
        },
        Task::Unmask => Watch {
            errors_masked: watch.errors_masked && changes,
            notices_masked: watch.notices_masked && !changes,
            ..watch
        },
        Task::InvalidRegister => Watch { invalid_register: true, ..watch },
        Task::InvalidValue => Watch { invalid_value: true, ..watch },
        Task::Changed => Watch { namespace_changed: watch.namespace_changed || notices, ..watch },
        _ => watch,
    }
}

/// The events after the most urgent one was told to the oldest request.
#[hdl_fn]
fn after_telling(watch: Watch) -> Watch {
    let error = (watch.invalid_register || watch.invalid_value) && !watch.errors_masked;
    let told = if error {
        Watch {
            invalid_register: false,
            invalid_value: watch.invalid_value && watch.invalid_register,
            errors_masked: true,
            ..watch
        }
    } else {
        Watch { namespace_changed: false, notices_masked: true, ..watch }
    };
    without(told, bits::<2>(0))
}

/// Keeps Asynchronous Event Requests and tells events, of all controllers, in RAM.
///
/// An event is pending until a request tells it; its type is masked from then on, until the host reads the type's log page without
/// Retain Asynchronous Event. What the page shows is pending no more. A request that waits has no command slot and no place in the
/// completion queue; both are asked for when it ends.
///
/// | event | raised by | log page |
/// |---|---|---|
/// | error: Write to Invalid Doorbell Register | the doorbell of a queue that does not exist | Error Information |
/// | error: Invalid Doorbell Write Value | a doorbell value beyond the queue | Error Information |
/// | notice: Namespace Attribute Changed | PF0, if the controller's configuration has it | Changed Namespace List |
///
/// 4 cycles a job, some more if a request ends.
#[derive(LogicBlock, Default)]
pub struct Events {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Asynchronous Event Request and Abort commands.
    pub command: Sink<Command>,
    /// Commands that are over.
    pub finished: Source<Finished>,
    /// Controllers that are being enabled.
    pub clear: Sink<Bits<4>>,
    /// From the queues.
    pub news: Sink<News>,
    /// Controllers whose namespaces changed.
    pub changed: Sink<Bits<4>>,
    /// Log pages that are read without Retain Asynchronous Event.
    pub read: Sink<LogRead>,
    /// What controllers are set to.
    pub setting: Signal<In, Setting>,
    /// Errors for the log.
    pub failure: Source<Failure>,
    /// To the queues, as [`Client::EVENTS`].
    pub request: Source<QueueRequest>,
    /// From the queues.
    pub answer: Signal<In, QueueAnswer>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    state: Reg<State>,
    job: Reg<Task>,
    controller: Reg<Bits<4>>,
    command_now: Reg<Command>,
    changes: Reg<Bit>,
    watches: Ram<Watch, 4>,
    notices: Ram<Bit, 4>,
    watch: Reg<Watch>,
    /// The request that is aborted.
    victim: Reg<Bits<2>>,
    finished_now: Reg<Finished>,
    pause: Reg<Bits<5>>,
}

impl Logic for Events {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let job = self.job.q.val();
        let command = self.command_now.q.val();
        let watch = self.watch.q.val();
        let answer = self.answer.val();
        let answered = answer.valid && answer.client == Client::EVENTS as u64;
        let aborting = job == Task::Abort;

        // Taking: what is rare or must not wait long before commands.
        let taking = state == State::Take;
        let clearing = taking && self.clear.valid.val();
        let reading = taking && !clearing && self.read.valid.val();
        let hearing = taking && !clearing && !reading && self.news.valid.val();
        let changing = taking && !clearing && !reading && !hearing && self.changed.valid.val();
        let commanded = taking && !clearing && !reading && !hearing && !changing && self.command.valid.val();
        self.clear.ready.next = taking;
        self.read.ready.next = reading;
        self.news.ready.next = hearing;
        self.changed.ready.next = changing;
        self.command.ready.next = commanded;
        let news = self.news.data.val();
        let read = self.read.data.val();
        let offered = self.command.data.val();

        let aborted = matching(watch, command.cdw10.get_bits::<16>(abort::CID.lsb as usize));
        let admin_queue = !command.cdw10.get_bits::<16>(abort::SQID.lsb as usize).any();
        let limit = watch.requests == REQUESTS;
        let error = (watch.invalid_register || watch.invalid_value) && !watch.errors_masked;
        let notice = watch.namespace_changed && !watch.notices_masked;
        let written = state == State::Act || (state == State::Answer && answered);
        let done = answer.outcome == QueueOutcome::Done;
        let mut after = watch;
        match state {
            State::Take => {
                self.changes.d.next = read.changes;
                self.command_now.d.next = offered;
                if clearing {
                    self.job.d.next = Task::Clear;
                    self.controller.d.next = self.clear.data.val();
                } else if reading {
                    self.job.d.next = if read.done { Task::Unmask } else { Task::Collect };
                    self.controller.d.next = read.controller;
                } else if hearing {
                    self.job.d.next = match news.kind {
                        NewsKind::InvalidRegister => Task::InvalidRegister,
                        NewsKind::InvalidValue => Task::InvalidValue,
                        _ => Task::Look,
                    };
                    self.controller.d.next = news.controller;
                } else if changing {
                    self.job.d.next = Task::Changed;
                    self.controller.d.next = self.changed.data.val();
                } else if commanded {
                    let request = offered.opcode == admin::ASYNC_EVENT_REQUEST as u64;
                    self.job.d.next = if request { Task::Request } else { Task::Abort };
                    self.controller.d.next = offered.controller;
                }
                if clearing || reading || hearing || changing || commanded {
                    self.state.d.next = State::Read;
                }
            }
            State::Read => {
                self.state.d.next = State::Latch;
            }
            State::Latch => {
                self.watch.d.next = self.watches.read_data.val();
                self.state.d.next = State::Act;
            }
            State::Act => {
                after = if job == Task::Request && !limit {
                    with(watch, command.cid)
                } else {
                    after_task(watch, job, self.changes.q.val(), self.notices.read_data.val())
                };
                self.victim.d.next = one_hot_index::<4, 2>(lowest_one::<4>(aborted));
                self.finished_now.d.next = Finished {
                    ending: if job == Task::Request && !limit { Ending::Withdraw } else { Ending::Post },
                    slot: command.slot,
                    status: if job == Task::Request && limit {
                        bits::<15>(Status::ASYNC_LIMIT_EXCEEDED.bits() as u64)
                    } else {
                        bits::<15>(Status::SUCCESS.bits() as u64)
                    },
                    dw0: if aborting { bits::<32>(abort::NOT_ABORTED as u64) } else { bits::<32>(0) },
                };
                self.state.d.next = match job {
                    Task::InvalidRegister | Task::InvalidValue => State::Log,
                    Task::Request => State::Finish,
                    Task::Abort => {
                        if admin_queue && aborted.any() {
                            State::Ask
                        } else {
                            State::Finish
                        }
                    }
                    _ => State::Choose,
                };
            }
            State::Log => {
                if self.failure.ready.val() {
                    self.state.d.next = State::Choose;
                }
            }
            State::Finish => {
                if self.finished.ready.val() {
                    self.state.d.next = if aborting { State::Take } else { State::Choose };
                }
            }
            State::Choose => {
                self.state.d.next =
                    if watch.requests != 0 && (error || notice) { State::Ask } else { State::Take };
            }
            State::Ask => {
                if self.request.ready.val() {
                    self.state.d.next = State::Answer;
                }
            }
            State::Answer => {
                if done && aborting {
                    after = without(watch, self.victim.q.val());
                } else if done {
                    after = after_telling(watch);
                }
                if answered {
                    if done && aborting {
                        self.finished_now.d.next.dw0 = bits::<32>(abort::ABORTED as u64);
                    }
                    self.state.d.next = if answer.outcome == QueueOutcome::Busy {
                        State::Pause
                    } else if aborting {
                        State::Finish
                    } else if done {
                        State::Choose
                    } else {
                        State::Take
                    };
                }
            }
            State::Pause => {
                self.pause.d.next = self.pause.q.val() + 1;
                if self.pause.q.val().all() {
                    self.state.d.next = State::Ask;
                }
            }
        }

        let controller = self.controller.q.val();
        if written {
            self.watch.d.next = after;
        }
        self.watches.read_address.next = controller;
        self.watches.write_address.next = controller;
        self.watches.write_data.next = after;
        self.watches.write_enable.next = written;
        let setting = self.setting.val();
        self.notices.read_address.next = controller;
        self.notices.write_address.next = setting.controller;
        self.notices.write_data.next = setting.value.get_bit(feature::NAMESPACE_NOTICES.lsb as usize);
        self.notices.write_enable.next =
            setting.valid && setting.word == feature::ASYNC_EVENT_CONFIGURATION as u64;

        let announcement = Announcement {
            cid: cid_of(watch.cids, if aborting { self.victim.q.val() } else { bits::<2>(0) }),
            status: if aborting {
                bits::<15>(Status::ABORT_REQUESTED.bits() as u64)
            } else {
                bits::<15>(Status::SUCCESS.bits() as u64)
            },
            dw0: if aborting {
                bits::<24>(0)
            } else if error && watch.invalid_register {
                bits::<24>(event::INVALID_DOORBELL_REGISTER as u64)
            } else if error {
                bits::<24>(event::INVALID_DOORBELL_VALUE as u64)
            } else {
                bits::<24>(event::NAMESPACE_CHANGED as u64)
            },
        };
        let packed = pack::<55>(announcement);
        self.request.valid.next = state == State::Ask;
        self.request.data.next = QueueRequest {
            operation: QueueOperation::Announce,
            controller: controller,
            queue: bits::<3>(0),
            value: packed.get_bits::<16>(0),
            base: bit_cast::<52, 39>(packed.get_bits::<39>(16)),
            completion_queue: bits::<3>(0),
            vector: bits::<3>(0),
            interrupt: false,
            dry: false,
        };
        self.failure.valid.next = state == State::Log;
        self.failure.data.next = Failure {
            controller: controller,
            queue: bits::<16>(NO_COMMAND),
            cid: bits::<16>(NO_COMMAND),
            status: if job == Task::InvalidValue {
                bits::<15>(Status::INVALID_FIELD.bits() as u64)
            } else {
                bits::<15>(Status::INVALID_QUEUE_ID.bits() as u64)
            },
            lba: bits::<64>(0),
            nsid: bits::<32>(0),
        };
        self.finished.valid.next = state == State::Finish;
        self.finished.data.next = self.finished_now.q.val();
        self.busy.next = !taking
            || self.clear.valid.val()
            || self.read.valid.val()
            || self.news.valid.val()
            || self.changed.valid.val()
            || self.command.valid.val();
    }
}
