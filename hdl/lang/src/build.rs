//! Builds a [`Kernel`] while its twin runs: follows assignments, forks at conditions, and merges with multiplexers.
use crate::ast::{Binary, Body, Drive, Id, Kernel, Literal, Location, Node, Op, SignalId};
use rust_hdl_core::prelude::Verilog;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

/// Something that is assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A signal and its width.
    Signal(SignalId, usize),
    /// The handle of a `let mut`.
    Variable(Id),
}

#[derive(Default)]
struct Builder {
    kernel: Kernel,
    interned: HashMap<Node, Id>,
    /// The value that each target has at this point of the kernel.
    values: HashMap<Target, Id>,
    /// What to put back to undo assignments, oldest first.
    journal: Vec<(Target, Option<Id>)>,
}

thread_local! {
    static BUILDER: RefCell<Option<Builder>> = const { RefCell::new(None) };
}

fn with<R>(f: impl FnOnce(&mut Builder) -> R) -> R {
    BUILDER.with_borrow_mut(|builder| f(builder.as_mut().expect("a twin runs inside Logic::hdl only")))
}

/// Runs the twin of a kernel and hands the result over to the emitter.
pub fn kernel(type_name: &str, location: Location, twin: impl FnOnce()) -> Verilog {
    let mut builder = Builder::default();
    builder.kernel.type_name = type_name.into();
    builder.kernel.location = location;
    BUILDER.set(Some(builder));
    twin();
    let mut builder = BUILDER.take().expect("the twin leaves the builder in place");
    for (target, value) in &builder.values {
        if let Target::Signal(signal, _) = target {
            builder
                .kernel
                .drives
                .entry(*signal)
                .or_insert(Drive { value: *value, locations: vec![] })
                .value = *value;
        }
    }
    Body::Kernel(builder.kernel).hand_over()
}

impl Builder {
    fn node(&mut self, width: usize, op: Op) -> Id {
        let serial = if op == Op::Variable { self.kernel.nodes.len() } else { 0 };
        let node = Node { width, op, serial };
        *self.interned.entry(node).or_insert_with_key(|node| {
            self.kernel.nodes.push(node.clone());
            self.kernel.nodes.len() - 1
        })
    }
    fn current(&mut self, target: Target) -> Option<Id> {
        match (self.values.get(&target), target) {
            (Some(value), _) => Some(*value),
            // Before its first assignment a signal shows what it settles to.
            (None, Target::Signal(signal, width)) => Some(self.node(width, Op::Signal(signal))),
            (None, Target::Variable(_)) => None,
        }
    }
    fn write(&mut self, target: Target, value: Id) {
        let old = self.values.insert(target, value);
        self.journal.push((target, old));
    }
    /// Undoes all assignments since `mark`, and returns what they had come to.
    fn roll_back(&mut self, mark: usize) -> BTreeMap<Target, Id> {
        let undone = self.journal.split_off(mark);
        let assigned = undone.iter().map(|(target, _)| (*target, self.values[target])).collect();
        for (target, old) in undone.into_iter().rev() {
            match old {
                Some(value) => self.values.insert(target, value),
                None => self.values.remove(&target),
            };
        }
        assigned
    }
    /// The expressions that a shape's operands simplify to are found here, so that the Verilog reads as written.
    fn mux(&mut self, condition: Id, one: Id, zero: Id) -> Id {
        let width = self.kernel.nodes[one].width;
        assert_eq!(width, self.kernel.nodes[zero].width);
        if one == zero {
            return one;
        }
        match self.constant_bool(condition) {
            Some(true) => one,
            Some(false) => zero,
            None => self.node(width, Op::Mux(condition, one, zero)),
        }
    }
    fn constant_bool(&self, id: Id) -> Option<bool> {
        match &self.kernel.nodes[id] {
            Node { width: 1, op: Op::Constant(literal), .. } => Some(literal.bit(0)),
            _ => None,
        }
    }
}

/// Adds an expression, or finds it.
pub fn node(width: usize, op: Op) -> Id {
    with(|b| b.node(width, op))
}

/// Adds a constant.
pub fn constant(literal: Literal) -> Id {
    node(literal.width(), Op::Constant(literal))
}

/// The width of an expression.
pub fn width(id: Id) -> usize {
    with(|b| b.kernel.nodes[id].width)
}

/// The value of a one-bit expression that is constant.
pub fn constant_bool(id: Id) -> Option<bool> {
    with(|b| b.constant_bool(id))
}

/// Names an expression that is more than a signal or a constant; the first name stays.
pub fn name(id: Id, name: &str) {
    with(|b| {
        if !matches!(b.kernel.nodes[id].op, Op::Constant(_) | Op::Signal(_)) {
            b.kernel.names.entry(id).or_insert_with(|| name.into());
        }
    });
}

/// Declares a `let mut` and returns its handle.
pub fn variable(value: Id) -> Id {
    with(|b| {
        let width = b.kernel.nodes[value].width;
        let handle = b.node(width, Op::Variable);
        b.write(Target::Variable(handle), value);
        handle
    })
}

/// The present value of what may be the handle of a `let mut`.
pub fn resolve(id: Id) -> Id {
    with(|b| b.current(Target::Variable(id)).unwrap_or(id))
}

/// The value that a signal has at this point of the kernel.
pub fn current(signal: SignalId, width: usize) -> Id {
    with(|b| b.current(Target::Signal(signal, width)).expect("a signal always has a value"))
}

/// Assigns to a `let mut`.
pub fn set(handle: Id, value: Id) {
    with(|b| b.write(Target::Variable(handle), value));
}

/// Assigns to a signal.
pub fn drive(signal: SignalId, value: Id, location: Location) {
    with(|b| {
        let width = b.kernel.nodes[value].width;
        b.write(Target::Signal(signal, width), value);
        let drive = b.kernel.drives.entry(signal).or_insert(Drive { value, locations: vec![] });
        if !location.file.is_empty() && !drive.locations.contains(&location) {
            drive.locations.push(location);
        }
    });
}

/// Runs one branch and returns its assignments, undone.
fn branch<R>(f: impl FnOnce() -> R) -> (R, BTreeMap<Target, Id>) {
    let mark = with(|b| b.journal.len());
    let result = f();
    (result, with(|b| b.roll_back(mark)))
}

/// `if condition { one } else { zero }`; the branches' results are for the caller to merge.
pub fn fork<A, B>(condition: Id, one: impl FnOnce() -> A, zero: impl FnOnce() -> B) -> (A, B) {
    let (a, ones) = branch(one);
    let (b, zeroes) = branch(zero);
    with(|builder| {
        for target in ones.keys().chain(zeroes.keys()).copied().collect::<std::collections::BTreeSet<_>>() {
            // A variable without a value here was declared inside of a branch.
            let Some(before) = builder.current(target) else { continue };
            let pick = |branch: &BTreeMap<Target, Id>| branch.get(&target).copied().unwrap_or(before);
            let merged = builder.mux(condition, pick(&ones), pick(&zeroes));
            builder.write(target, merged);
        }
    });
    (a, b)
}

/// The constants of an arm, and its body.
pub type Arm<'a> = (Vec<Id>, Box<dyn FnOnce() -> Option<Id> + 'a>);

/// `match value { … }`: each arm has its constants; no constants at all is `_`. Returns what the arms' results merge to.
pub fn switch(value: Id, arms: Vec<Arm<'_>>) -> Option<Id> {
    let mut results = vec![];
    for (patterns, arm) in arms {
        let last = patterns.is_empty();
        let (result, assigned) = branch(arm);
        results.push((patterns, result, assigned));
        if last {
            break;
        }
    }
    with(|b| {
        let targets: std::collections::BTreeSet<_> =
            results.iter().flat_map(|(_, _, a)| a.keys().copied()).collect();
        for target in targets {
            let Some(before) = b.current(target) else { continue };
            let values: Vec<_> = results
                .iter()
                .map(|(p, _, a)| (p.clone(), a.get(&target).copied().unwrap_or(before)))
                .collect();
            let merged = b.case(value, values);
            b.write(target, merged);
        }
        let values: Option<Vec<_>> = results.into_iter().map(|(p, r, _)| Some((p, r?))).collect();
        values.map(|values| b.case(value, values))
    })
}

/// Selects among values by constants, the last of which takes everything else.
pub fn case(value: Id, arms: Vec<(Vec<Id>, Id)>) -> Id {
    with(|b| b.case(value, arms))
}

/// Selects between two values.
pub fn mux(condition: Id, one: Id, zero: Id) -> Id {
    with(|b| b.mux(condition, one, zero))
}

impl Builder {
    /// Rust has checked that the arms are exhaustive, so the last one takes the encodings that no variant has.
    fn case(&mut self, value: Id, mut arms: Vec<(Vec<Id>, Id)>) -> Id {
        let (_, default) = arms.pop().expect("a match has an arm");
        if let Op::Constant(_) = self.kernel.nodes[value].op {
            return arms
                .iter()
                .find(|(patterns, _)| patterns.contains(&value))
                .map_or(default, |(_, result)| *result);
        }
        if arms.iter().all(|(_, result)| *result == default) {
            return default;
        }
        self.node(self.kernel.nodes[default].width, Op::Case(value, arms, default))
    }
}

/// Two operands of one width, or a shift.
pub fn binary(width: usize, op: Binary, a: Id, b: Id) -> Id {
    with(|builder| {
        let widths = [a, b].map(|id| builder.kernel.nodes[id].width);
        assert!(
            matches!(op, Binary::Shl | Binary::Shr) || widths[0] == widths[1],
            "operands of {op:?} differ in width"
        );
        match (op, builder.constant_bool(a), builder.constant_bool(b)) {
            (Binary::And, Some(true), _) | (Binary::Or, Some(false), _) if width == 1 => b,
            (Binary::And, Some(false), _) | (Binary::Or, Some(true), _) if width == 1 => a,
            (Binary::And, _, Some(one)) if width == 1 => {
                if one {
                    a
                } else {
                    b
                }
            }
            (Binary::Or, _, Some(one)) if width == 1 => {
                if one {
                    b
                } else {
                    a
                }
            }
            _ => builder.node(width, Op::Binary(op, a, b)),
        }
    })
}

/// Parts, most significant first.
pub fn concat(parts: Vec<Id>) -> Id {
    let parts: Vec<Id> = parts.into_iter().filter(|id| width(*id) > 0).collect();
    if let [one] = parts[..] {
        return one;
    }
    let total = parts.iter().map(|id| width(*id)).sum();
    node(total, Op::Concat(parts))
}

/// Zero-extends or truncates.
pub fn resize(id: Id, to: usize) -> Id {
    slice(id, 0, to)
}

/// Sign-extends or truncates.
pub fn sign_extend(id: Id, to: usize) -> Id {
    let from = width(id);
    if to <= from {
        return slice(id, 0, to);
    }
    let sign = slice(id, from - 1, 1);
    concat(std::iter::repeat_n(sign, to - from).chain([id]).collect())
}

/// Bits `lo` to `lo + to - 1`; zero beyond the expression's width.
pub fn slice(id: Id, lo: usize, to: usize) -> Id {
    let from = width(id);
    if lo == 0 && to == from {
        return id;
    }
    if lo >= from {
        return constant(Literal::zero(to));
    }
    if lo + to > from {
        return concat(vec![constant(Literal::zero(lo + to - from)), slice(id, lo, from - lo)]);
    }
    match with(|b| b.kernel.nodes[id].op.clone()) {
        Op::Constant(literal) => constant(literal.slice(lo, to)),
        Op::Slice(base, offset) => slice(base, offset + lo, to),
        Op::Concat(parts) => {
            let (mut inside, mut offset) = (vec![], 0);
            for part in parts.into_iter().rev() {
                let end = offset + width(part);
                let (first, last) = (lo.max(offset), (lo + to).min(end));
                if first < last {
                    inside.push(slice(part, first - offset, last - first));
                }
                offset = end;
            }
            inside.reverse();
            concat(inside)
        }
        _ => node(to, Op::Slice(id, lo)),
    }
}

/// Like [`slice`], but cuts through selections, so that each field of a struct keeps its own decisions.
fn slice_decisions(id: Id, lo: usize, to: usize) -> Id {
    match with(|b| b.kernel.nodes[id].op.clone()) {
        Op::Mux(condition, one, zero) => {
            let (one, zero) = (slice_decisions(one, lo, to), slice_decisions(zero, lo, to));
            mux(condition, one, zero)
        }
        Op::Case(value, arms, default) => {
            let mut arms: Vec<_> =
                arms.into_iter().map(|(p, result)| (p, slice_decisions(result, lo, to))).collect();
            arms.push((vec![], slice_decisions(default, lo, to)));
            case(value, arms)
        }
        _ => slice(id, lo, to),
    }
}

/// `old` with `value` in the bits from `lo` on.
pub fn replace(old: Id, lo: usize, value: Id) -> Id {
    let (total, part) = (width(old), width(value));
    let mut parts = vec![];
    if lo + part < total {
        parts.push(slice_decisions(old, lo + part, total - lo - part));
    }
    parts.push(value);
    if lo > 0 {
        parts.push(slice_decisions(old, 0, lo));
    }
    concat(parts)
}
