//! The hardware language of the card: blocks in Rust, simulated by rust-hdl, built by our own checked Verilog emitter.
//!
//! `use nitride_lang::prelude::*;` brings everything that a block needs; the guide follows.
//!
#![doc = include_str!("../../README.md")]
extern crate self as nitride_lang;

pub mod ast;
mod build;
pub mod emit;
pub mod library;
pub mod packed;
pub mod prelude;
pub mod synchronous;
pub mod testing;
pub mod twin;

pub use packed::Packed;
pub use rust_hdl_core as core;
pub use synchronous::Synchronous;
