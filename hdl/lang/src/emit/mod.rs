//! From blocks to Verilog: finds the hierarchy, checks it, and writes it.
mod checks;
mod expressions;
mod hierarchy;
mod keywords;
mod module;

use crate::ast::Location;
use hierarchy::Module;
use module::Writer;
use rust_hdl_core::prelude::Block;

/// A port of the top module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// As in the Verilog.
    pub name: String,
    /// In bits.
    pub width: usize,
    /// Into the module.
    pub input: bool,
    /// A clock.
    pub clock: bool,
}

/// A design in Verilog.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// All modules, the top one last. It is Verilog-2005, without directives.
    pub text: String,
    /// Of the top module, in order.
    pub ports: Vec<Port>,
    /// How many modules the text has.
    pub modules: usize,
    /// How many instances of them the design has, the top one included.
    pub instances: usize,
}

/// Why a design cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{module} ({location}): {fault}")]
pub struct EmitError {
    /// The path of the instance from the top, and its type.
    pub module: String,
    /// The assignment if there is one, otherwise the module's kernel.
    pub location: Location,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a design.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A signal has no value.
    #[error("`{0}` is not driven: assign it")]
    Undriven(String),
    /// Some bits of a signal have no value.
    #[error("bits of `{0}` are not driven: assign the whole signal first")]
    PartlyUndriven(String),
    /// A signal that something else drives is assigned.
    #[error("`{0}` is multiply driven: {1}")]
    MultiplyDriven(String, &'static str),
    /// A signal keeps its value on some path.
    #[error("`{0}` would be a latch: it is not assigned on every path; assign a default first")]
    Latch(String),
    /// A signal depends on itself.
    #[error("combinational loop: {}", .0.join(" -> "))]
    Loop(Vec<String>),
    /// A signal of another block is read.
    #[error("reads a signal that is neither the block's own nor a sub-block's port: {0}")]
    UndeclaredRead(String),
    /// A signal of another block is assigned.
    #[error("assigns a signal that is neither the block's own nor a sub-block's port")]
    UndeclaredWrite,
    /// A signal is in two places.
    #[error("`{0}` is a copy of another signal: build each block by itself, do not clone it")]
    Copied(String),
    /// A name that Verilog or SystemVerilog has taken.
    #[error("`{0}` is a keyword of Verilog or SystemVerilog: rename it")]
    Keyword(String),
    /// A name that Verilog does not allow.
    #[error("`{0}` is not a Verilog name")]
    Name(String),
    /// A signal is driven by a value of another width.
    #[error("`{signal}` has {expected} bits and is driven by {found}")]
    Width {
        /// The signal.
        signal: String,
        /// Its width.
        expected: usize,
        /// The value's width.
        found: usize,
    },
    /// A clock is computed.
    #[error("clock `{0}` is computed: a clock can only be another clock")]
    GatedClock(String),
    /// A block without a kernel.
    #[error("has no hardware description: put #[hdl] on its `update`")]
    NoKernel,
    /// A signal in both directions.
    #[error("`{0}` is bidirectional: keep it to the board's top and use a black box")]
    Bidirectional(String),
}

/// Writes a block, as module `top`, and everything in it.
pub fn verilog(block: &dyn Block, top: &str) -> Result<Emitted, EmitError> {
    let root = Module::of(block, top)?;
    let mut writer = Writer::default();
    writer.top(&root, top)?;
    let ports = root.ports().map(|atom| Port {
        name: atom.name.clone(),
        width: atom.width,
        input: atom.input(),
        clock: atom.clock,
    });
    Ok(Emitted {
        ports: ports.collect(),
        text: writer.text,
        modules: writer.modules,
        instances: writer.instances,
    })
}
