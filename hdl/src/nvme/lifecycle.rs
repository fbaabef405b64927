//! Enabling, resetting and shutting down controllers (NVMe 1.4 §3.1.5, §7.3, §7.6).

use nitride_abi::nvme::register::cc;
use nitride_lang::prelude::*;

use super::records::{Client, QueueAnswer, QueueOperation, QueueOutcome, QueueRequest};
use super::registers::{Control, Step, StepReport, View};

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Idle,
    Query,
    View,
    Decide,
    Clear,
    Request,
    Answer,
    Wait,
    Report,
}

/// The card can do what CC and AQA ask for. Entry sizes are fixed, whatever CC says.
#[hdl_fn]
fn is_supported(control: Control) -> Bit {
    control.cc.get_bits::<3>(cc::CSS.lsb as usize) == 0
        && control.cc.get_bits::<4>(cc::MPS.lsb as usize) == 0
        && control.cc.get_bits::<3>(cc::AMS.lsb as usize) == 0
        && control.submission_last != 0
        && control.completion_last != 0
}

/// Does what the registers ask for, a controller at a time.
///
/// - **Reset** (EN 1 to 0, function level reset): halt the queues; when nothing of the controller is under way, clear them.
/// - **Enable**: features to their defaults, admin queues, open.
/// - **Shutdown**: fetch no more; when nothing is under way, flush all namespaces by a command of the card's own; when that
///   is done too, report.
///
/// What has to wait goes to the end of the list of work, after a pause, so that a controller that takes its time
/// delays no other.
#[derive(LogicBlock, Default)]
pub struct Lifecycle {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Controllers to look after.
    pub work: Sink<Bits<4>>,
    /// To their registers.
    pub step: Source<StepReport>,
    /// From their registers.
    pub view: Signal<In, View>,
    /// To the queues, as [`Client::LIFECYCLE`].
    pub request: Source<QueueRequest>,
    /// From the queues.
    pub answer: Signal<In, QueueAnswer>,
    /// Controllers whose features go back to their defaults.
    pub clear: Source<Bits<4>>,
    /// Something is under way here.
    pub busy: Signal<Out, Bit>,
    state: Reg<State>,
    controller: Reg<Bits<4>>,
    control: Reg<Control>,
    operation: Reg<QueueOperation>,
    queue: Reg<Bits<3>>,
    report: Reg<Step>,
    pause: Reg<Bits<5>>,
}

impl Logic for Lifecycle {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let control = self.control.q.val();
        let answer = self.answer.val();
        let answered = answer.valid && answer.client == Client::LIFECYCLE as u64;
        self.work.ready.next = state == State::Idle;
        match state {
            State::Idle => {
                if self.work.valid.val() {
                    self.controller.d.next = self.work.data.val();
                    self.state.d.next = State::Query;
                }
            }
            State::Query => {
                if self.step.ready.val() {
                    self.state.d.next = State::View;
                }
            }
            State::View => {
                if self.view.val().valid {
                    self.control.d.next = self.view.val().control;
                    self.state.d.next = State::Decide;
                }
            }
            State::Decide => {
                self.queue.d.next = bits::<3>(0);
                self.state.d.next = State::Request;
                if control.stopping {
                    self.operation.d.next = QueueOperation::Halt;
                } else if control.cc.get_bit(0) && !control.ready && !control.fatal {
                    self.operation.d.next = QueueOperation::CreateCompletion;
                    if is_supported(control) {
                        self.state.d.next = State::Clear;
                    } else {
                        self.report.d.next = Step::Failed;
                        self.state.d.next = State::Report;
                    }
                } else {
                    self.operation.d.next = QueueOperation::Quiesce;
                }
            }
            State::Clear => {
                if self.clear.ready.val() {
                    self.state.d.next = State::Request;
                }
            }
            State::Request => {
                if self.request.ready.val() {
                    self.state.d.next = State::Answer;
                }
            }
            State::Answer => {
                if answered {
                    self.state.d.next = State::Request;
                    if answer.outcome == QueueOutcome::Busy {
                        self.state.d.next = State::Wait;
                    } else {
                        match self.operation.q.val() {
                            QueueOperation::Halt => {
                                self.operation.d.next = QueueOperation::Clear;
                            }
                            QueueOperation::Clear => {
                                self.queue.d.next = self.queue.q.val() + 1;
                                if self.queue.q.val().all() {
                                    self.report.d.next = Step::Stopped;
                                    self.state.d.next = State::Report;
                                }
                            }
                            QueueOperation::CreateCompletion => {
                                self.operation.d.next = QueueOperation::CreateSubmission;
                            }
                            QueueOperation::CreateSubmission => {
                                self.operation.d.next = QueueOperation::Open;
                            }
                            QueueOperation::Quiesce => {
                                self.operation.d.next = QueueOperation::Flush;
                                if control.flushed {
                                    self.report.d.next = Step::ShutDown;
                                    self.state.d.next = State::Report;
                                }
                            }
                            QueueOperation::Flush => {
                                self.report.d.next = Step::Flushed;
                                self.state.d.next = State::Report;
                            }
                            _ => {
                                self.report.d.next = Step::Started;
                                self.state.d.next = State::Report;
                            }
                        }
                    }
                }
            }
            State::Wait => {
                self.pause.d.next = self.pause.q.val() + 1;
                if self.pause.q.val().all() {
                    self.report.d.next = Step::Again;
                    self.state.d.next = State::Report;
                }
            }
            State::Report => {
                if self.step.ready.val() {
                    self.state.d.next = State::Idle;
                }
            }
        }
        self.step.valid.next = state == State::Query || state == State::Report;
        self.step.data.next = StepReport {
            step: if state == State::Query { Step::Query } else { self.report.q.val() },
            controller: self.controller.q.val(),
        };
        self.clear.valid.next = state == State::Clear;
        self.clear.data.next = self.controller.q.val();
        let submission = self.operation.q.val() == QueueOperation::CreateSubmission;
        self.request.valid.next = state == State::Request;
        self.request.data.next = QueueRequest {
            operation: self.operation.q.val(),
            controller: self.controller.q.val(),
            queue: self.queue.q.val(),
            value: bit_cast::<16, 12>(if submission {
                control.submission_last
            } else {
                control.completion_last
            }),
            base: if submission { control.submission_base } else { control.completion_base },
            completion_queue: bits::<3>(0),
            vector: bits::<3>(0),
            interrupt: true,
            dry: false,
        };
        self.busy.next = state != State::Idle;
    }
}
