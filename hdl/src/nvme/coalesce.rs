//! Interrupt coalescing (NVMe 1.4 §5.21.1.8, §5.21.1.9).

use nitride_abi::nvme::feature;
use nitride_lang::prelude::*;

use super::records::{Setting, Signalled};
use crate::bus::InterruptRequest;
use crate::function::function_of;

/// How a controller's interrupts are aggregated.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Policy {
    /// Completions that need no interrupt yet.
    threshold: Bits<8>,
    /// The longest delay in ticks; 0: none.
    time: Bits<8>,
}

/// The completions of a vector that no interrupt has told of.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Untold {
    /// How many.
    count: Bits<8>,
    /// Ticks until they are told.
    left: Bits<8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Idle,
    Read,
    Act,
    Give,
}

/// Holds back interrupts of I/O completion queues, a count and a time for each vector of each controller, in RAM.
///
/// An interrupt passes in 3 cycles. One that is held back is given when more than THR completions wait, or TIME after the first of
/// them at the latest: a clock ticks while any waits, and at each tick all vectors are walked. The admin queue's are never held back,
/// nor are those of a vector with Coalescing Disable.
#[derive(LogicBlock)]
pub struct Coalesce {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// What controllers are set to.
    pub setting: Signal<In, Setting>,
    /// Interrupts that are due.
    pub sink: Sink<Signalled>,
    /// Interrupts to give.
    pub interrupt: Source<InterruptRequest>,
    /// An interrupt is under way or held back.
    pub busy: Signal<Out, Bit>,
    policies: Ram<Policy, 4>,
    disabled: Ram<Bits<8>, 4>,
    vectors: Ram<Untold, 7>,
    state: Reg<State>,
    /// `{controller, vector}` that is looked at.
    index: Reg<Bits<7>>,
    /// It is looked at for a tick; else for an interrupt.
    walking: Reg<Bit>,
    io: Reg<Bit>,
    /// Vectors that are still to be walked.
    remaining: Reg<Bits<8>>,
    cycles: Reg<Bits<16>>,
    /// Some vector may have completions that wait.
    armed: Reg<Bit>,
    /// This walk has found such a vector, or one has come since it began.
    found: Reg<Bit>,
    _tick: u64,
}

impl Coalesce {
    /// With ticks of `tick` cycles.
    pub fn new(tick: u64) -> Self {
        Self {
            clock: Signal::default(),
            setting: Signal::default(),
            sink: Sink::default(),
            interrupt: Source::default(),
            busy: Signal::default(),
            policies: Ram::default(),
            disabled: Ram::default(),
            vectors: Ram::default(),
            state: Reg::default(),
            index: Reg::default(),
            walking: Reg::default(),
            io: Reg::default(),
            remaining: Reg::default(),
            cycles: Reg::default(),
            armed: Reg::default(),
            found: Reg::default(),
            _tick: tick,
        }
    }
}

impl Default for Coalesce {
    fn default() -> Self {
        Self::new(feature::TIME_CYCLES)
    }
}

impl Logic for Coalesce {
    #[hdl]
    fn update(&mut self) {
        let state = self.state.q.val();
        let index = self.index.q.val();
        let controller = index.get_bits::<4>(3);
        let walking = self.walking.q.val();
        let setting = self.setting.val();
        let remaining = self.remaining.q.val();

        // The clock runs while somebody waits for it. The 128 vectors are walked downwards.
        let tick = self.armed.q.val() && self.cycles.q.val() >= (self._tick - 1);
        if self.armed.q.val() && !tick {
            self.cycles.d.next = self.cycles.q.val() + 1;
        } else {
            self.cycles.d.next = bits::<16>(0);
        }
        if tick {
            self.remaining.d.next = bits::<8>(128);
            self.found.d.next = false;
        }

        // What becomes of the vector's completions.
        let policy = self.policies.read_data.val();
        let untold = self.vectors.read_data.val();
        let exempt = (self.disabled.read_data.val() & (bits::<8>(1) << index.get_bits::<3>(0))).any();
        let coalesces = self.io.q.val() && policy.time != 0 && !exempt;
        let waits = untold.count != 0;
        let due =
            if walking { waits && untold.left <= 1 } else { !coalesces || untold.count >= policy.threshold };
        let counts = !walking && coalesces;
        let after = if due && (walking || coalesces) {
            Untold { count: bits::<8>(0), left: bits::<8>(0) }
        } else if walking && waits {
            Untold { count: untold.count, left: untold.left - 1 }
        } else if counts {
            Untold { count: untold.count + 1, left: if waits { untold.left } else { policy.time } }
        } else {
            untold
        };
        let acting = state == State::Act && !setting.initial;
        match state {
            State::Idle => {
                if self.sink.valid.val() {
                    let signalled = self.sink.data.val();
                    self.index.d.next = cat2::<4, 3, 7>(signalled.controller, signalled.vector);
                    self.io.d.next = signalled.io;
                    self.walking.d.next = false;
                    self.state.d.next = State::Read;
                } else if remaining != 0 {
                    self.index.d.next = (remaining - 1).get_bits::<7>(0);
                    self.remaining.d.next = remaining - 1;
                    self.walking.d.next = true;
                    self.state.d.next = State::Read;
                }
            }
            State::Read => {
                self.state.d.next = State::Act;
            }
            State::Act => {
                if acting {
                    self.state.d.next = if due { State::Give } else { State::Idle };
                    if after.count != 0 {
                        self.armed.d.next = true;
                        self.found.d.next = true;
                    } else if walking && remaining == 0 && !tick {
                        self.armed.d.next = self.found.q.val();
                    }
                }
            }
            State::Give => {
                if self.interrupt.ready.val() {
                    self.state.d.next = State::Idle;
                }
            }
        }
        self.sink.ready.next = state == State::Idle;
        self.interrupt.valid.next = state == State::Give;
        self.interrupt.data.next =
            InterruptRequest { function: function_of(controller), vector: index.get_bits::<3>(0) };

        // A controller that is being enabled starts with none.
        self.vectors.read_address.next = index;
        self.vectors.write_address.next = if setting.initial {
            cat2::<4, 3, 7>(setting.controller, setting.word.get_bits::<3>(0))
        } else {
            index
        };
        self.vectors.write_data.next =
            if setting.initial { Untold { count: bits::<8>(0), left: bits::<8>(0) } } else { after };
        self.vectors.write_enable.next = setting.initial || acting;
        self.policies.read_address.next = controller;
        self.policies.write_address.next = setting.controller;
        self.policies.write_data.next = Policy {
            threshold: setting.value.get_bits::<8>(feature::THR.lsb as usize),
            time: setting.value.get_bits::<8>(feature::TIME.lsb as usize),
        };
        self.policies.write_enable.next =
            setting.valid && setting.word == feature::INTERRUPT_COALESCING as u64;
        self.disabled.read_address.next = controller;
        self.disabled.write_address.next = setting.controller;
        self.disabled.write_data.next = setting.value.get_bits::<8>(0);
        self.disabled.write_enable.next =
            setting.valid && setting.word == feature::INTERRUPT_VECTOR_CONFIGURATION as u64;
        self.busy.next = state != State::Idle || self.armed.q.val() || self.sink.valid.val();
    }
}
