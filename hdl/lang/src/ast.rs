//! The hardware of one block: a directed acyclic graph of expressions, and what drives each signal.
//!
//! A kernel's statements do not survive into it: a sequence of assignments under conditions becomes, for each signal, one
//! expression of multiplexers. Equal expressions are one node.
use rust_hdl_core::prelude::{Synth, Verilog};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

/// A node's index in its [`Kernel`]. Operands come before their users.
pub type Id = usize;
/// A signal's identity, rust-hdl's `Atom::id`.
pub type SignalId = usize;

/// A line of the Rust source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// The file as the compiler names it; empty for what no line of the source says.
    pub file: &'static str,
    /// The line, from 1.
    pub line: u32,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.file.is_empty() { f.write_str("generated") } else { write!(f, "{}:{}", self.file, self.line) }
    }
}

/// A constant of a fixed width, least significant word first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Literal {
    width: usize,
    words: Vec<u64>,
}

impl Literal {
    /// Zero.
    pub fn zero(width: usize) -> Self {
        Self { width, words: vec![0; width.div_ceil(64)] }
    }
    /// The low `width` bits of `value`.
    pub fn from_u64(width: usize, value: u64) -> Self {
        let mut literal = Self::zero(width);
        for i in (0..width.min(64)).filter(|i| value >> i & 1 == 1) {
            literal.set(i);
        }
        literal
    }
    /// The bits of a hardware value, as wide as its type.
    pub fn of<T: Synth>(value: T) -> Self {
        Self::parse(T::BITS, &format!("{:x}", value.verilog()))
    }
    /// `text` is rust-hdl's rendering of a literal: `8'hff`, or `8'h-1` for a negative value.
    pub fn parse(width: usize, text: &str) -> Self {
        let digits = text.split_once("'h").map_or(text, |(_, digits)| digits);
        let (negative, digits) = digits.strip_prefix('-').map_or((false, digits), |d| (true, d));
        let mut literal = Self::zero(width);
        for (i, digit) in digits.chars().rev().filter_map(|c| c.to_digit(16)).enumerate() {
            for bit in (0..4).filter(|bit| digit >> bit & 1 == 1 && 4 * i + bit < width) {
                literal.set(4 * i + bit);
            }
        }
        if negative { literal.negated() } else { literal }
    }
    /// The width in bits.
    pub fn width(&self) -> usize {
        self.width
    }
    /// Bit `i`; false beyond the width.
    pub fn bit(&self, i: usize) -> bool {
        self.words.get(i / 64).is_some_and(|w| w >> (i % 64) & 1 == 1)
    }
    fn set(&mut self, i: usize) {
        self.words[i / 64] |= 1 << (i % 64);
    }
    fn from_bits(width: usize, bit: impl Fn(usize) -> bool) -> Self {
        let mut literal = Self::zero(width);
        (0..width).filter(|i| bit(*i)).for_each(|i| literal.set(i));
        literal
    }
    fn negated(&self) -> Self {
        // Up to and including the lowest one the bits stay, above it they flip.
        let lowest = (0..self.width).find(|i| self.bit(*i)).unwrap_or(self.width);
        Self::from_bits(self.width, |i| self.bit(i) ^ (i > lowest))
    }
    /// Bits `lo` to `lo + width - 1`.
    pub fn slice(&self, lo: usize, width: usize) -> Self {
        Self::from_bits(width, |i| self.bit(lo + i))
    }
    /// Byte `i`, the least significant first.
    pub fn byte(&self, i: usize) -> u8 {
        self.words.get(i / 8).map_or(0, |w| (w >> (8 * (i % 8))) as u8)
    }
    /// No bit is one.
    pub fn is_zero(&self) -> bool {
        self.words.iter().all(|w| *w == 0)
    }
    /// Hexadecimal digits without leading zeroes.
    pub fn hex(&self) -> String {
        let digits = self.words.iter().rev().fold(String::new(), |text, w| text + &format!("{w:016x}"));
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() { "0".into() } else { digits.into() }
    }
}

/// An operator of two operands. But for shifts and [`Compare`](Binary::Lt)s all widths are the node's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    And,
    Or,
    Xor,
    Shl,
    Shr,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    SignedLt,
    SignedLe,
    SignedGt,
    SignedGe,
}

/// A reduction of all bits to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Reduction {
    Any,
    All,
    Parity,
}

/// What a node computes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A constant.
    Constant(Literal),
    /// The settled value of a signal.
    Signal(SignalId),
    /// The handle of a `let mut`; never an operand.
    Variable,
    /// Every bit inverted.
    Not(Id),
    /// All bits reduced to one.
    Reduce(Reduction, Id),
    /// Two operands.
    Binary(Binary, Id, Id),
    /// Bits of a signal, of a constant, or of a node that gets a name; from the least significant one given.
    Slice(Id, usize),
    /// Most significant first.
    Concat(Vec<Id>),
    /// Condition, value if it is one, value if it is zero.
    Mux(Id, Id, Id),
    /// Value compared, constants and their value, value for everything else.
    Case(Id, Vec<(Vec<Id>, Id)>, Id),
}

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// In bits.
    pub width: usize,
    /// What it computes.
    pub op: Op,
    /// Tells the handles of different variables apart.
    pub serial: usize,
}

impl Op {
    /// Calls `f` on each operand.
    pub fn operands(&self, mut f: impl FnMut(Id)) {
        match self {
            Op::Constant(_) | Op::Signal(_) | Op::Variable => {}
            Op::Not(a) | Op::Reduce(_, a) | Op::Slice(a, _) => f(*a),
            Op::Binary(_, a, b) => [*a, *b].into_iter().for_each(f),
            Op::Concat(parts) => parts.iter().copied().for_each(f),
            Op::Mux(c, a, b) => [*c, *a, *b].into_iter().for_each(f),
            Op::Case(value, arms, default) => {
                f(*value);
                for (patterns, result) in arms {
                    patterns.iter().copied().for_each(&mut f);
                    f(*result);
                }
                f(*default);
            }
        }
    }
}

/// What drives a signal.
#[derive(Clone, Debug)]
pub struct Drive {
    /// The whole signal's value.
    pub value: Id,
    /// Every assignment in the source.
    pub locations: Vec<Location>,
}

/// The hardware that a `#[hdl]` kernel describes.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    /// The Rust type of the block.
    pub type_name: String,
    /// Its kernel.
    pub location: Location,
    /// All expressions.
    pub nodes: Vec<Node>,
    /// Names that the source gives to expressions.
    pub names: HashMap<Id, String>,
    /// By signal, in the order of their creation.
    pub drives: BTreeMap<SignalId, Drive>,
}

/// What a block is made of.
#[derive(Clone, Debug)]
pub enum Body {
    /// A `#[hdl]` kernel.
    Kernel(Kernel),
    /// [`crate::library::Reg`].
    Register {
        /// Its value before the first edge.
        initial: Literal,
    },
    /// [`crate::library::Ram`].
    Ram {
        /// The first words; the others are zero.
        contents: Vec<Literal>,
    },
}

thread_local! {
    static HANDED_OVER: RefCell<Option<Body>> = const { RefCell::new(None) };
}

impl Body {
    /// Leaves the body for the emitter, which calls `Logic::hdl` and then [`taken`](Self::taken): rust-hdl's `hdl` can only
    /// return its own description.
    pub fn hand_over(self) -> Verilog {
        HANDED_OVER.set(Some(self));
        Verilog::Custom(String::new())
    }
    /// Takes what the last [`hand_over`](Self::hand_over) left.
    pub fn taken() -> Option<Body> {
        HANDED_OVER.take()
    }
}
