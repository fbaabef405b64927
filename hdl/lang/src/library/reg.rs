//! A register.
use crate::ast::{Body, Literal, Location};
use crate::synchronous::{ClockInput, Synchronous, trace_clock};
use crate::twin::{assign, read};
use rust_hdl_core::prelude::*;

/// A register: `q` takes the value of `d` at each rising edge of `clock`.
///
/// It starts with its initial value (the reset value) when the FPGA is configured or the simulation begins; there is no
/// reset port. In a `#[hdl]` kernel of a block with a `clock`, the register is clocked by itself and `d` is `q` where the
/// kernel does not assign it.
#[derive(Clone, Debug)]
pub struct Reg<T: Synth> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// The next value.
    pub d: Signal<In, T>,
    /// The value since the last rising edge.
    pub q: Signal<Out, T>,
    initial: T,
}

impl<T: Synth> Reg<T> {
    /// A register that starts with `initial`.
    pub fn new(initial: T) -> Self {
        Self { clock: Signal::default(), d: Signal::default(), q: Signal::new_with_default(initial), initial }
    }
}

impl<T: Synth> Default for Reg<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Synth> Logic for Reg<T> {
    fn update(&mut self) {
        if self.clock.pos_edge() {
            self.q.next = self.d.val();
        }
    }
    fn hdl(&self) -> Verilog {
        Body::Register { initial: Literal::of(self.initial) }.hand_over()
    }
}

impl<T: Synth> Block for Reg<T> {
    fn connect_all(&mut self) {}
    fn update_all(&mut self) {
        self.update();
        self.clock.update_all();
        self.d.update_all();
        self.q.update_all();
    }
    fn has_changed(&self) -> bool {
        self.clock.has_changed() || self.d.has_changed() || self.q.has_changed()
    }
    fn accept(&self, name: &str, probe: &mut dyn Probe) {
        probe.visit_start_scope(name, self);
        self.clock.accept("clock", probe);
        self.d.accept("d", probe);
        self.q.accept("q", probe);
        probe.visit_end_scope(name, self);
    }
}

impl<T: Synth> Synchronous for Reg<T> {
    fn drive(&mut self, clock: Clock) {
        self.clock.next = clock;
    }
    fn tie(&mut self, clock: Clock) {
        self.clock.next = clock;
        self.d.next = self.q.val();
    }
    fn trace(&self, clock: &ClockInput) {
        trace_clock(&self.clock, clock);
        assign(&self.d, read(&self.q), Location::default());
    }
}
