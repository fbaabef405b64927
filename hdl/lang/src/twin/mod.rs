//! The twin of a kernel: what `#[hdl]` writes beside the Rust body, to build the hardware that the body describes.
//!
//! Each hardware value of the body is an [`E`] of the same type in the twin, with the same operators and methods, so that
//! rustc infers the same types in both. What cannot be overloaded (`==`, `&&`, `if`, `match`) is a function here. Values that
//! are known when the hardware is built stay what they are in Rust. Only the macros call this module.
mod control;
mod functions;
mod operators;

pub use control::*;
pub use functions::*;
pub use operators::*;

use crate::ast::{Id, Literal, Location, Op};
use crate::build;
use rust_hdl_core::prelude::{
    Atom, AtomKind, Bits, Constant, Direction, Signal, Synth, TypeDescriptor, TypeKind, clog2,
};
use std::marker::PhantomData;

pub use crate::build::kernel;

/// An expression whose value has the type `T`.
#[derive(Clone, Copy)]
pub struct E<T: Synth>(Id, PhantomData<fn() -> T>);

impl<T: Synth> E<T> {
    fn new(id: Id) -> Self {
        assert_eq!(build::width(id), T::BITS, "width of {}", std::any::type_name::<T>());
        Self(id, PhantomData)
    }
    /// The node of its present value.
    pub fn id(self) -> Id {
        build::resolve(self.0)
    }
}

/// A constant expression.
pub fn literal<T: Synth>(value: T) -> E<T> {
    E::new(build::constant(Literal::of(value)))
}

/// An expression, or a Rust value that becomes a constant.
pub trait Val: Copy {
    /// The type of the value.
    type T: Synth;
    /// The expression.
    fn e(self) -> E<Self::T>;
}
impl<X: Synth> Val for X {
    type T = X;
    fn e(self) -> E<X> {
        literal(self)
    }
}
impl<X: Synth> Val for E<X> {
    type T = X;
    fn e(self) -> E<X> {
        E::new(self.id())
    }
}

/// What has a `val()` in a kernel.
pub trait Read {
    /// The type of the value.
    type T: Synth;
    /// `x.val()`: for inputs the settled value, for other signals what the kernel has assigned so far, as in simulation.
    fn read(&self) -> E<Self::T>;
}
impl<D: Direction, X: Synth> Read for Signal<D, X> {
    type T = X;
    fn read(&self) -> E<X> {
        if self.kind() == AtomKind::InputParameter {
            E::new(build::node(X::BITS, Op::Signal(Atom::id(self))))
        } else {
            next(self)
        }
    }
}
impl<X: Synth> Read for Constant<X> {
    type T = X;
    fn read(&self) -> E<X> {
        literal(self.val())
    }
}

/// `x.val()`.
pub fn read<R: Read>(signal: &R) -> E<R::T> {
    signal.read()
}

/// `x.next` read: what the kernel has assigned so far.
pub fn next<D: Direction, X: Synth>(signal: &Signal<D, X>) -> E<X> {
    E::new(build::current(Atom::id(signal), X::BITS))
}

/// `x.next = value`.
pub fn assign<D: Direction, X: Synth, V: Val<T = X>>(signal: &Signal<D, X>, value: V, location: Location) {
    build::drive(Atom::id(signal), value.e().0, location);
}

/// `x.next.path = value`.
pub fn assign_field<D: Direction, X: Synth, F: Synth, V: Val<T = F>>(
    signal: &Signal<D, X>,
    path: &[&str],
    _field: impl FnOnce(X) -> F,
    value: V,
    location: Location,
) {
    let (lo, width) = place(&X::descriptor(), path);
    assert_eq!(width, F::BITS);
    let old = build::current(Atom::id(signal), X::BITS);
    build::drive(Atom::id(signal), build::replace(old, lo, value.e().0), location);
}

/// The least significant bit and the width of a field; a struct's first field is its least significant.
fn place(descriptor: &TypeDescriptor, path: &[&str]) -> (usize, usize) {
    let Some((first, rest)) = path.split_first() else { return (0, descriptor_width(descriptor)) };
    let TypeKind::Composite(fields) = &descriptor.kind else {
        panic!("{} has no field {first}", descriptor.name)
    };
    let mut offset = 0;
    for field in fields {
        if field.fieldname == *first {
            let (lo, width) = place(&field.kind, rest);
            return (offset + lo, width);
        }
        offset += descriptor_width(&field.kind);
    }
    panic!("{} has no field {first}", descriptor.name)
}

fn descriptor_width(descriptor: &TypeDescriptor) -> usize {
    match &descriptor.kind {
        TypeKind::Bits(width) | TypeKind::Signed(width) => *width,
        TypeKind::Enum(variants) => clog2(variants.len()),
        TypeKind::Composite(fields) => fields.iter().map(|field| descriptor_width(&field.kind)).sum(),
    }
}

/// `value.name`; the closure, never called, lets rustc find and check the field's type.
pub fn field<V: Val, F: Synth>(value: V, name: &str, _field: impl FnOnce(V::T) -> F) -> E<F> {
    let (lo, width) = place(&<V::T as Synth>::descriptor(), &[name]);
    E::new(build::slice(value.e().0, lo, width))
}

/// Stands for the value of an expression where only its type matters.
///
/// # Panics
/// Always: it must not be called.
pub fn phantom<T: Synth>(_: E<T>) -> T {
    unreachable!("only type-checked")
}

/// `S { name: value, …, ..base }`; the closure is only type-checked.
pub fn structure<S: Synth>(_literal: impl FnOnce() -> S, fields: &[(&str, Id)], base: Option<E<S>>) -> E<S> {
    let descriptor = S::descriptor();
    let TypeKind::Composite(all) = &descriptor.kind else { panic!("{} is no struct", descriptor.name) };
    let base = base.map(|b| b.e().0);
    let parts =
        all.iter().rev().map(|f| match (fields.iter().find(|(name, _)| f.fieldname == *name), base) {
            (Some((_, id)), _) => *id,
            (None, Some(base)) => {
                let (lo, width) = place(&descriptor, &[&f.fieldname]);
                build::slice(base, lo, width)
            }
            (None, None) => unreachable!("rustc has checked that no field is missing"),
        });
    E::new(build::concat(parts.collect()))
}

/// `let name = value`.
pub trait Let {
    /// What the name stands for.
    type O;
    /// Names the expression, if it is one.
    fn name(self, name: &str) -> Self::O;
    /// The same for `let mut`: what the name stands for can be assigned to.
    fn variable(self) -> Self::O;
}
impl<X: Synth> Let for E<X> {
    type O = E<X>;
    fn name(self, name: &str) -> E<X> {
        let value = self.e();
        build::name(value.0, name);
        value
    }
    fn variable(self) -> E<X> {
        E(build::variable(self.id()), PhantomData)
    }
}
macro_rules! let_rust_value {
    ($($t:ty),*) => { $(
        impl Let for $t {
            type O = $t;
            fn name(self, _: &str) -> $t { self }
            fn variable(self) -> $t { self }
        }
    )* }
}
let_rust_value!(usize, u64, u32, i32);
impl<const N: usize> Let for Bits<N> {
    type O = E<Bits<N>>;
    fn name(self, name: &str) -> Self::O {
        self.e().name(name)
    }
    fn variable(self) -> Self::O {
        self.e().variable()
    }
}
impl Let for bool {
    type O = E<bool>;
    fn name(self, name: &str) -> Self::O {
        self.e().name(name)
    }
    fn variable(self) -> Self::O {
        self.e().variable()
    }
}
impl<X: Let, const N: usize> Let for [X; N] {
    type O = [X::O; N];
    fn name(self, name: &str) -> Self::O {
        let mut i = 0;
        self.map(|x| {
            i += 1;
            x.name(&format!("{name}_{}", i - 1))
        })
    }
    fn variable(self) -> Self::O {
        self.map(Let::variable)
    }
}

/// `let name: T = value`.
pub fn typed<X: Synth, V: Val<T = X>>(value: V) -> E<X> {
    value.e()
}

/// `name = value` for a `let mut`.
pub fn set<X: Synth, V: Val<T = X>>(variable: E<X>, value: V) {
    build::set(variable.0, value.e().0);
}
