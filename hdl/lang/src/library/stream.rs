//! The standard stream: a producer's [`Source`] joins a consumer's [`Sink`].
//!
//! A word moves in each cycle in which `valid` and `ready` are both high (AMBA AXI4-Stream 1.0 §2.2). Once `valid` is high,
//! it and `data` stay until the word has moved; `valid` does not wait for `ready`.
// rust-hdl's derive adds a method without documentation.
#![allow(missing_docs)]
use rust_hdl_core::prelude::*;

/// The producer's end of a stream, as a field of the producer.
#[derive(Clone, Debug, Default, LogicInterface)]
#[join = "Sink"]
pub struct Source<T: Synth> {
    /// The word; meaningful while `valid`.
    pub data: Signal<Out, T>,
    /// There is a word.
    pub valid: Signal<Out, Bit>,
    /// The consumer takes the word at this edge.
    pub ready: Signal<In, Bit>,
}

/// The consumer's end of a stream, as a field of the consumer.
#[derive(Clone, Debug, Default, LogicInterface)]
#[join = "Source"]
pub struct Sink<T: Synth> {
    /// The word; meaningful while `valid`.
    pub data: Signal<In, T>,
    /// There is a word.
    pub valid: Signal<In, Bit>,
    /// The consumer takes the word at this edge.
    pub ready: Signal<Out, Bit>,
}
