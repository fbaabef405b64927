//! Clocks: how a block hands its own to its registers, memories and sub-blocks.
//!
//! `#[derive(LogicBlock)]` implements [`Synchronous`]; a kernel written with `#[hdl]` begins by wiring the block's `clock`
//! input to every child that has one, and by letting each register keep its value. A block without a `clock` field
//! wires nothing.
use crate::ast::Location;
use crate::twin::{assign, read};
use rust_hdl_core::prelude::*;

/// A block's clock input.
pub type ClockInput = Signal<In, Clock>;

/// A block (or an array or a `Vec` of blocks) that may have a clock input.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a block of this language",
    note = "derive `LogicBlock` from `nitride_lang::prelude`, not from `rust_hdl_core`"
)]
pub trait Synchronous {
    /// Sets the clock input in simulation.
    fn drive(&mut self, clock: Clock);
    /// Connects the clock input in hardware.
    fn trace(&self, clock: &ClockInput);
    /// Sets the clock input, and the inputs that have a default (a register's `d`).
    fn tie(&mut self, clock: Clock) {
        self.drive(clock);
    }
    /// [`tie`](Self::tie) for every child.
    fn drive_children(&mut self) {}
    /// [`trace`](Self::trace) for every child.
    fn trace_children(&self) {}
}

impl<B: Synchronous, const N: usize> Synchronous for [B; N] {
    fn drive(&mut self, clock: Clock) {
        for block in self {
            block.drive(clock);
        }
    }
    fn trace(&self, clock: &ClockInput) {
        for block in self {
            block.trace(clock);
        }
    }
    fn tie(&mut self, clock: Clock) {
        for block in self {
            block.tie(clock);
        }
    }
}

impl<B: Synchronous> Synchronous for Vec<B> {
    fn drive(&mut self, clock: Clock) {
        for block in self {
            block.drive(clock);
        }
    }
    fn trace(&self, clock: &ClockInput) {
        for block in self {
            block.trace(clock);
        }
    }
    fn tie(&mut self, clock: Clock) {
        for block in self {
            block.tie(clock);
        }
    }
}

/// Connects one clock input to another in hardware.
pub fn trace_clock(child: &ClockInput, parent: &ClockInput) {
    assign(child, read(parent), Location::default());
}

/// A field of a block, whatever its type. The derive calls `drive` and `trace` on it; method lookup prefers the traits
/// that take `self` by value, which exist only where the field is [`Synchronous`].
pub struct Tie<F>(pub F);

/// [`Tie::drive`](DriveBlock::drive) for a child that is [`Synchronous`].
pub trait DriveBlock {
    /// See [`Synchronous::tie`].
    fn drive(self, clock: Clock);
}
impl<B: Synchronous> DriveBlock for Tie<&mut B> {
    fn drive(self, clock: Clock) {
        self.0.tie(clock);
    }
}
/// [`Tie::drive`](DriveOther::drive) for signals, interfaces and constants.
pub trait DriveOther {
    /// Does nothing.
    fn drive(&self, _clock: Clock) {}
}
impl<F> DriveOther for Tie<&mut F> {}

/// [`Tie::trace`](TraceBlock::trace) for a child that is [`Synchronous`].
pub trait TraceBlock {
    /// See [`Synchronous::trace`].
    fn trace(self, clock: &ClockInput);
}
impl<B: Synchronous> TraceBlock for Tie<&B> {
    fn trace(self, clock: &ClockInput) {
        self.0.trace(clock);
    }
}
/// [`Tie::trace`](TraceOther::trace) for signals, interfaces and constants.
pub trait TraceOther {
    /// Does nothing.
    fn trace(&self, _clock: &ClockInput) {}
}
impl<F> TraceOther for Tie<&F> {}
