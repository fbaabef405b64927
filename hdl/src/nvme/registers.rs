//! The controller registers and doorbells (NVMe 1.4 §3.1) of all controllers.

use nitride_abi::card;
use nitride_abi::nvme::register::{self, aqa, cc, csts};
use nitride_abi::nvme::{CAP_VALUE, VERSION};
use nitride_lang::prelude::*;

use super::records::{QueueOperation, QueueRequest};
use crate::bus::{RegisterRequest, RegisterResponse};
use crate::function::function_of;

/// Registers of one controller and what is to be done about them.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Control {
    /// CC.
    pub cc: Bits<24>,
    /// AQA.ASQS.
    pub submission_last: Bits<12>,
    /// AQA.ACQS.
    pub completion_last: Bits<12>,
    /// ASQ, in 4 KiB pages.
    pub submission_base: Bits<52>,
    /// ACQ, in 4 KiB pages.
    pub completion_base: Bits<52>,
    /// CSTS.RDY.
    pub ready: Bit,
    /// CSTS.CFS.
    pub fatal: Bit,
    /// A reset is asked for, and not done.
    pub stopping: Bit,
    /// The reset is a function level reset.
    pub function_reset: Bit,
    /// A shutdown is asked for, and not done: CSTS.SHST is 01b.
    pub shutting: Bit,
    /// The shutdown's flush was started.
    pub flushed: Bit,
    /// CSTS.SHST is 10b.
    pub shut: Bit,
    /// The controller is on the list of work.
    pub queued: Bit,
}

/// What [`Lifecycle`](super::lifecycle::Lifecycle) has to say of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum Step {
    /// What are its registers?
    #[default]
    Query,
    /// Nothing was done yet.
    Again,
    /// It is enabled.
    Started,
    /// It can't be enabled as it is set up.
    Failed,
    /// It is reset.
    Stopped,
    /// The flush of its shutdown was started.
    Flushed,
    /// It is shut down.
    ShutDown,
}

/// A [`Step`] of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct StepReport {
    /// What.
    pub step: Step,
    /// Whose.
    pub controller: Bits<4>,
}

/// The answer to [`Step::Query`].
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct View {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// The registers.
    pub control: Control,
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Pick,
    Read,
    Latch,
    Act,
    Respond,
    Doorbell,
    FunctionReset,
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum Client {
    #[default]
    Bus,
    Lifecycle,
    FunctionReset,
    Fatal,
}

/// The word (8 bytes) of a register's offset.
const fn word(offset: u64) -> u64 {
    offset / 8
}

/// Bits of CC that can be written.
const CC_WRITABLE: u64 = cc::WRITABLE as u64;

/// The controller of a function that is one.
#[hdl_fn]
fn controller_of(function: Bits<5>) -> Bits<4> {
    if function == card::PF_STORAGE as u64 {
        bits::<4>(0)
    } else {
        (function - (card::VF_STORAGE_FIRST as u64 - 1)).get_bits::<4>(0)
    }
}

/// The function is an NVMe controller; 31 has no index of 4 bits.
#[hdl_fn]
fn is_controller(function: Bits<5>) -> Bit {
    function == card::PF_STORAGE as u64 || (function >= card::VF_STORAGE_FIRST as u64 && function != 31)
}

/// CSTS.
#[hdl_fn]
fn status(control: Control) -> Bits<32> {
    let shutdown = if control.shutting {
        bits::<32>(csts::SHST.set(0, csts::SHST_OCCURRING))
    } else if control.shut {
        bits::<32>(csts::SHST.set(0, csts::SHST_COMPLETE))
    } else {
        bits::<32>(0)
    };
    let ready = if control.ready { bits::<32>(csts::RDY.mask()) } else { bits::<32>(0) };
    let fatal = if control.fatal { bits::<32>(csts::CFS.mask()) } else { bits::<32>(0) };
    ready | fatal | shutdown
}

/// The word of registers at `word`.
#[hdl_fn]
fn read_word(control: Control, word: Bits<9>) -> Bits<64> {
    let high = if word == self::word(register::CC) {
        bit_cast::<32, 24>(control.cc)
    } else if word == self::word(register::CSTS) {
        status(control)
    } else if word == self::word(register::AQA) {
        (bit_cast::<32, 12>(control.completion_last) << aqa::ACQS.lsb as u64)
            | (bit_cast::<32, 12>(control.submission_last) << aqa::ASQS.lsb as u64)
    } else {
        bits::<32>(0)
    };
    if word == self::word(register::CAP) {
        bits::<64>(CAP_VALUE)
    } else if word == self::word(register::VS) {
        bits::<64>(VERSION as u64)
    } else if word == self::word(register::ASQ) {
        bit_cast::<64, 52>(control.submission_base) << 12
    } else if word == self::word(register::ACQ) {
        bit_cast::<64, 52>(control.completion_base) << 12
    } else {
        bit_cast::<64, 32>(high) << 32
    }
}

/// `base` (pages) after a write of the enabled halves of its register.
#[hdl_fn]
fn write_base(base: Bits<52>, data: Bits<64>, low: Bit, high: Bit) -> Bits<52> {
    let lower = if low { data.get_bits::<20>(12) } else { base.get_bits::<20>(0) };
    let upper = if high { data.get_bits::<32>(32) } else { base.get_bits::<32>(20) };
    cat2::<32, 20, 52>(upper, lower)
}

/// Something is to be done for the controller.
#[hdl_fn]
fn has_work(control: Control) -> Bit {
    control.stopping || control.shutting || (control.cc.get_bit(0) && !control.ready && !control.fatal)
}

/// The registers after a write of the enabled halves of a word. What follows from CC is [`Lifecycle`](super::lifecycle::Lifecycle)'s.
#[hdl_fn]
fn after_write(control: Control, word: Bits<9>, data: Bits<64>, low: Bit, high: Bit) -> Control {
    let upper = data.get_bits::<32>(32);
    let cc = (upper & CC_WRITABLE).get_bits::<24>(0);
    let was_enabled = control.cc.get_bit(0);
    let enabled = cc.get_bit(0);
    let shutdown = cc.get_bits::<2>(cc::SHN.lsb as usize) != 0;
    let starts = !was_enabled && enabled;
    if word == self::word(register::CC) && high {
        Control {
            cc: cc,
            stopping: control.stopping || (was_enabled && !enabled),
            shut: control.shut && !starts,
            fatal: control.fatal && !starts,
            shutting: control.shutting || (shutdown && (!control.shut || was_enabled != enabled)),
            ..control
        }
    } else if word == self::word(register::AQA) && high {
        Control {
            submission_last: upper.get_bits::<12>(aqa::ASQS.lsb as usize),
            completion_last: upper.get_bits::<12>(aqa::ACQS.lsb as usize),
            ..control
        }
    } else if word == self::word(register::ASQ) {
        Control { submission_base: write_base(control.submission_base, data, low, high), ..control }
    } else if word == self::word(register::ACQ) {
        Control { completion_base: write_base(control.completion_base, data, low, high), ..control }
    } else {
        control
    }
}

/// The registers after a reset. A function level reset clears what a host can write, too.
#[hdl_fn]
fn after_reset(control: Control) -> Control {
    let reset = Control {
        stopping: false,
        function_reset: false,
        ready: false,
        fatal: false,
        shut: false,
        flushed: false,
        ..control
    };
    if control.function_reset {
        Control {
            shutting: false,
            cc: bits::<24>(0),
            submission_last: bits::<12>(0),
            completion_last: bits::<12>(0),
            submission_base: bits::<52>(0),
            completion_base: bits::<52>(0),
            ..reset
        }
    } else {
        reset
    }
}

/// The registers after a step of the controller's life.
#[hdl_fn]
fn after_step(control: Control, step: Step) -> Control {
    match step {
        Step::Started => Control { ready: !control.stopping, ..control },
        Step::Failed => Control { fatal: true, ..control },
        Step::Stopped => after_reset(control),
        Step::Flushed => Control { flushed: true, ..control },
        Step::ShutDown => Control { shutting: false, flushed: false, shut: true, ..control },
        Step::Query | Step::Again => control,
    }
}

/// The registers, in RAM by controller, and the list of those that want something done.
///
/// One access at a time: a read is answered after 4 cycles, a register write takes 4, a doorbell 2. Nothing waits for a DMA.
/// A write to CC is stored, and what follows from it is [`Lifecycle`](super::lifecycle::Lifecycle)'s, which takes controllers
/// from `work`, asks for their registers, and reports by `step`.
#[derive(LogicBlock, Default)]
pub struct Registers {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Accesses.
    pub register: Sink<RegisterRequest>,
    /// Their answers.
    pub response: Source<RegisterResponse>,
    /// Functions to reset.
    pub flr: Sink<Bits<5>>,
    /// Functions that are reset.
    pub flr_done: Source<Bits<5>>,
    /// Controllers with a fatal error.
    pub fatal: Sink<Bits<4>>,
    /// Doorbells.
    pub doorbell: Source<QueueRequest>,
    /// The queues have much to tell of doorbells: no access now.
    pub hold: Signal<In, Bit>,
    /// Controllers to look after.
    pub work: Source<Bits<4>>,
    /// What came of it.
    pub step: Sink<StepReport>,
    /// Answers to queries.
    pub view: Signal<Out, View>,
    /// Something is under way here, or to be looked after.
    pub busy: Signal<Out, Bit>,
    state: Reg<State>,
    client: Reg<Client>,
    request: Reg<RegisterRequest>,
    halves: Reg<Bits<2>>,
    step_now: Reg<Step>,
    controller: Reg<Bits<4>>,
    reset_function: Reg<Bits<5>>,
    controls: Ram<Control, 4>,
    control: Reg<Control>,
    worklist: Fifo<Bits<4>, 4>,
}

impl Logic for Registers {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let client = self.client.q.val();
        let picking = state == State::Pick;

        // Picking: Lifecycle, resets and errors before the bus, for they are rare.
        let stepping = picking && self.step.valid.val();
        let resetting = picking && !stepping && self.flr.valid.val();
        let failing = picking && !stepping && !resetting && self.fatal.valid.val();
        let accessing =
            picking && !stepping && !resetting && !failing && self.register.valid.val() && !self.hold.val();
        self.step.ready.next = stepping;
        self.flr.ready.next = resetting;
        self.fatal.ready.next = failing;
        self.register.ready.next = accessing;
        let offered = self.register.data.val();
        let doorbell = offered.write && offered.offset >= card::BAR0_DOORBELLS;
        let halves = cat2::<1, 1, 2>(
            if offered.enable.get_bits::<4>(4).all() { bits::<1>(1) } else { bits::<1>(0) },
            if offered.enable.get_bits::<4>(0).all() { bits::<1>(1) } else { bits::<1>(0) },
        );
        if stepping {
            self.client.d.next = Client::Lifecycle;
            self.step_now.d.next = self.step.data.val().step;
            self.controller.d.next = self.step.data.val().controller;
            self.state.d.next = State::Read;
        } else if resetting {
            self.client.d.next = Client::FunctionReset;
            self.controller.d.next = controller_of(self.flr.data.val());
            self.reset_function.d.next = self.flr.data.val();
            self.state.d.next =
                if is_controller(self.flr.data.val()) { State::Read } else { State::FunctionReset };
        } else if failing {
            self.client.d.next = Client::Fatal;
            self.controller.d.next = self.fatal.data.val();
            self.state.d.next = State::Read;
        } else if accessing {
            self.client.d.next = Client::Bus;
            self.request.d.next = offered;
            self.controller.d.next = controller_of(offered.function);
            self.halves.d.next = halves;
            self.state.d.next = if doorbell { State::Doorbell } else { State::Read };
        }

        // The record comes out of RAM, is changed, and goes back.
        let controller = self.controller.q.val();
        self.controls.read_address.next = controller;
        if state == State::Read {
            self.state.d.next = State::Latch;
        }
        if state == State::Latch {
            self.control.d.next = self.controls.read_data.val();
            self.state.d.next = State::Act;
        }
        let acting = state == State::Act;
        let control = self.control.q.val();
        let request = self.request.q.val();
        let word = request.offset.get_bits::<9>(3);
        let low = self.halves.q.val().get_bit(0);
        let high = self.halves.q.val().get_bit(1);
        let updated = match client {
            Client::Bus => {
                if request.write {
                    after_write(control, word, request.data, low, high)
                } else {
                    control
                }
            }
            Client::Lifecycle => after_step(control, self.step_now.q.val()),
            Client::FunctionReset => Control { stopping: true, function_reset: true, ..control },
            Client::Fatal => Control { fatal: true, ..control },
        };
        let query = client == Client::Lifecycle && self.step_now.q.val() == Step::Query;
        let held = control.queued && (client != Client::Lifecycle || query);
        let work = has_work(updated);
        if acting {
            let reset_done = client == Client::Lifecycle
                && self.step_now.q.val() == Step::Stopped
                && control.function_reset;
            self.state.d.next = if client == Client::Bus && !request.write {
                State::Respond
            } else if reset_done {
                State::FunctionReset
            } else {
                State::Pick
            };
            if reset_done {
                self.reset_function.d.next = function_of(controller);
            }
        }
        self.controls.write_address.next = controller;
        self.controls.write_data.next = Control { queued: work || held, ..updated };
        self.controls.write_enable.next = acting;
        self.worklist.sink.data.next = controller;
        self.worklist.sink.valid.next = acting && work && !held;
        Source::<Bits<4>>::link(&mut self.work, &mut self.worklist.source);
        self.view.next = View { valid: acting && query, control: control };

        self.response.data.next = RegisterResponse {
            data: if request.offset >= card::BAR0_DOORBELLS {
                bits::<64>(0)
            } else {
                read_word(control, word)
            },
        };
        self.response.valid.next = state == State::Respond;
        if state == State::Respond && self.response.ready.val() {
            self.state.d.next = State::Pick;
        }
        self.flr_done.data.next = self.reset_function.q.val();
        self.flr_done.valid.next = state == State::FunctionReset;
        if state == State::FunctionReset && self.flr_done.ready.val() {
            self.state.d.next = State::Pick;
        }

        // A doorbell word holds a submission queue's tail below a completion queue's head (NVMe 1.4 §3.1.24).
        let exists = request.offset.get_bits::<8>(6) == (card::BAR0_DOORBELLS >> 6);
        let ringing = state == State::Doorbell && (low || high);
        self.doorbell.valid.next = ringing;
        self.doorbell.data.next = QueueRequest {
            operation: if !exists {
                QueueOperation::Stray
            } else if low {
                QueueOperation::Tail
            } else {
                QueueOperation::Head
            },
            controller: controller,
            queue: request.offset.get_bits::<3>(3),
            value: if low { request.data.get_bits::<16>(0) } else { request.data.get_bits::<16>(32) },
            base: bits::<52>(0),
            completion_queue: bits::<3>(0),
            vector: bits::<3>(0),
            interrupt: false,
            dry: false,
        };
        if state == State::Doorbell {
            if !ringing {
                self.state.d.next = State::Pick;
            } else if self.doorbell.ready.val() {
                if low && high {
                    self.halves.d.next = bits::<2>(2);
                } else {
                    self.state.d.next = State::Pick;
                }
            }
        }
        self.busy.next = !picking
            || self.step.valid.val()
            || self.flr.valid.val()
            || self.fatal.valid.val()
            || self.register.valid.val()
            || self.worklist.level.val().any();
    }
}
