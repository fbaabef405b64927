//! Operators and methods of hardware values.
use super::{E, Val, literal};
use crate::ast::{Binary, Literal, Op, Reduction};
use crate::build;
use rust_hdl_core::prelude::*;
use std::ops::{Add, BitAnd, BitOr, BitXor, Mul, Neg, Not, Shl, Shr, Sub};

macro_rules! bits_operators {
    ($($operator:ident $method:ident $binary:ident),*) => { $(
        impl<const N: usize> $operator<E<Bits<N>>> for E<Bits<N>> {
            type Output = E<Bits<N>>;
            fn $method(self, right: E<Bits<N>>) -> E<Bits<N>> {
                E::new(build::binary(N, Binary::$binary, self.id(), right.id()))
            }
        }
        impl<const N: usize> $operator<u64> for E<Bits<N>> {
            type Output = E<Bits<N>>;
            fn $method(self, right: u64) -> E<Bits<N>> { self.$method(literal(Bits::<N>::from(right))) }
        }
        impl<const N: usize> $operator<Bits<N>> for E<Bits<N>> {
            type Output = E<Bits<N>>;
            fn $method(self, right: Bits<N>) -> E<Bits<N>> { self.$method(literal(right)) }
        }
        impl<const N: usize> $operator<E<Bits<N>>> for u64 {
            type Output = E<Bits<N>>;
            fn $method(self, right: E<Bits<N>>) -> E<Bits<N>> { literal(Bits::<N>::from(self)).$method(right) }
        }
        impl<const N: usize> $operator<E<Bits<N>>> for Bits<N> {
            type Output = E<Bits<N>>;
            fn $method(self, right: E<Bits<N>>) -> E<Bits<N>> { literal(self).$method(right) }
        }
    )* }
}
bits_operators!(Add add Add, Sub sub Sub, BitAnd bitand And, BitOr bitor Or, BitXor bitxor Xor);

macro_rules! bit_operators {
    ($($operator:ident $method:ident $binary:ident),*) => { $(
        impl $operator<E<bool>> for E<bool> {
            type Output = E<bool>;
            fn $method(self, right: E<bool>) -> E<bool> {
                E::new(build::binary(1, Binary::$binary, self.id(), right.id()))
            }
        }
        impl $operator<bool> for E<bool> {
            type Output = E<bool>;
            fn $method(self, right: bool) -> E<bool> { self.$method(literal(right)) }
        }
        impl $operator<E<bool>> for bool {
            type Output = E<bool>;
            fn $method(self, right: E<bool>) -> E<bool> { literal(self).$method(right) }
        }
    )* }
}
bit_operators!(BitAnd bitand And, BitOr bitor Or, BitXor bitxor Xor);

macro_rules! shifts {
    ($($operator:ident $method:ident $binary:ident),*) => { $(
        impl<const N: usize, const M: usize> $operator<E<Bits<M>>> for E<Bits<N>> {
            type Output = E<Bits<N>>;
            fn $method(self, right: E<Bits<M>>) -> E<Bits<N>> {
                E::new(build::binary(N, Binary::$binary, self.id(), right.id()))
            }
        }
        impl<const N: usize, const M: usize> $operator<E<Bits<M>>> for Bits<N> {
            type Output = E<Bits<N>>;
            fn $method(self, right: E<Bits<M>>) -> E<Bits<N>> { literal(self).$method(right) }
        }
    )* }
}
shifts!(Shl shl Shl, Shr shr Shr);

// A constant shift is a concatenation: the width that stays is a difference.
#[allow(clippy::suspicious_arithmetic_impl)]
impl<const N: usize> Shl<u64> for E<Bits<N>> {
    type Output = E<Bits<N>>;
    fn shl(self, right: u64) -> E<Bits<N>> {
        let by = (right as usize).min(N);
        E::new(build::concat(vec![build::slice(self.id(), 0, N - by), build::constant(Literal::zero(by))]))
    }
}
impl<const N: usize> Shr<u64> for E<Bits<N>> {
    type Output = E<Bits<N>>;
    fn shr(self, right: u64) -> E<Bits<N>> {
        E::new(build::slice(self.id(), (right as usize).min(N), N))
    }
}
impl<const N: usize> Add<E<bool>> for E<Bits<N>> {
    type Output = E<Bits<N>>;
    fn add(self, right: E<bool>) -> E<Bits<N>> {
        E::new(build::binary(N, Binary::Add, self.id(), build::resize(right.id(), N)))
    }
}
impl Mul<E<Bits<16>>> for E<Bits<16>> {
    type Output = E<Bits<32>>;
    fn mul(self, right: E<Bits<16>>) -> E<Bits<32>> {
        E::new(build::binary(32, Binary::Mul, build::resize(self.id(), 32), build::resize(right.id(), 32)))
    }
}
impl<X: Synth + Not<Output = X>> Not for E<X> {
    type Output = E<X>;
    fn not(self) -> E<X> {
        E::new(build::node(X::BITS, Op::Not(self.id())))
    }
}

macro_rules! signed_operators {
    ($($operator:ident $method:ident $binary:ident),*) => { $(
        impl<const N: usize> $operator<E<Signed<N>>> for E<Signed<N>> {
            type Output = E<Signed<N>>;
            fn $method(self, right: E<Signed<N>>) -> E<Signed<N>> {
                E::new(build::binary(N, Binary::$binary, self.id(), right.id()))
            }
        }
        impl<const N: usize> $operator<Signed<N>> for E<Signed<N>> {
            type Output = E<Signed<N>>;
            fn $method(self, right: Signed<N>) -> E<Signed<N>> { self.$method(literal(right)) }
        }
        impl<const N: usize> $operator<E<Signed<N>>> for Signed<N> {
            type Output = E<Signed<N>>;
            fn $method(self, right: E<Signed<N>>) -> E<Signed<N>> { literal(self).$method(right) }
        }
    )* }
}
signed_operators!(Add add Add, Sub sub Sub);
impl<const N: usize> Neg for E<Signed<N>> {
    type Output = E<Signed<N>>;
    fn neg(self) -> E<Signed<N>> {
        E::new(build::binary(N, Binary::Sub, build::constant(Literal::zero(N)), self.id()))
    }
}
impl Mul<E<Signed<16>>> for E<Signed<16>> {
    type Output = E<Signed<32>>;
    fn mul(self, right: E<Signed<16>>) -> E<Signed<32>> {
        E::new(build::binary(
            32,
            Binary::Mul,
            build::sign_extend(self.id(), 32),
            build::sign_extend(right.id(), 32),
        ))
    }
}

/// A comparison operator.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Relation {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// `self <relation> right`.
pub trait Compare<R> {
    /// An expression, or a Rust value for two Rust values.
    type O;
    /// The comparison.
    fn compare(self, relation: Relation, right: R) -> Self::O;
}

fn compare<X: Synth>(left: E<X>, relation: Relation, right: E<X>) -> E<bool> {
    let signed = matches!(X::descriptor().kind, TypeKind::Signed(_));
    let operator = match (relation, signed) {
        (Relation::Eq, _) => Binary::Eq,
        (Relation::Ne, _) => Binary::Ne,
        (Relation::Lt, false) => Binary::Lt,
        (Relation::Le, false) => Binary::Le,
        (Relation::Gt, false) => Binary::Gt,
        (Relation::Ge, false) => Binary::Ge,
        (Relation::Lt, true) => Binary::SignedLt,
        (Relation::Le, true) => Binary::SignedLe,
        (Relation::Gt, true) => Binary::SignedGt,
        (Relation::Ge, true) => Binary::SignedGe,
    };
    E::new(build::binary(1, operator, left.id(), right.id()))
}

impl<X: Synth> Compare<E<X>> for E<X> {
    type O = E<bool>;
    fn compare(self, relation: Relation, right: E<X>) -> E<bool> {
        compare(self, relation, right)
    }
}
impl<X: Synth> Compare<X> for E<X> {
    type O = E<bool>;
    fn compare(self, relation: Relation, right: X) -> E<bool> {
        compare(self, relation, literal(right))
    }
}
impl<const N: usize> Compare<u64> for E<Bits<N>> {
    type O = E<bool>;
    fn compare(self, relation: Relation, right: u64) -> E<bool> {
        compare(self, relation, literal(Bits::<N>::from(right)))
    }
}
impl<const N: usize> Compare<E<Bits<N>>> for u64 {
    type O = E<bool>;
    fn compare(self, relation: Relation, right: E<Bits<N>>) -> E<bool> {
        compare(literal(Bits::<N>::from(self)), relation, right)
    }
}
macro_rules! compare_constants {
    ($([$($generics:tt)*] $t:ty),*) => { $(
        impl<$($generics)*> Compare<E<$t>> for $t {
            type O = E<bool>;
            fn compare(self, relation: Relation, right: E<$t>) -> E<bool> { compare(literal(self), relation, right) }
        }
    )* }
}
compare_constants!([const N: usize] Bits<N>, [const N: usize] Signed<N>, [] bool);
macro_rules! compare_rust_values {
    ($($t:ty),*) => { $(
        impl Compare<$t> for $t {
            type O = bool;
            fn compare(self, relation: Relation, right: $t) -> bool {
                match relation {
                    Relation::Eq => self == right,
                    Relation::Ne => self != right,
                    Relation::Lt => self < right,
                    Relation::Le => self <= right,
                    Relation::Gt => self > right,
                    Relation::Ge => self >= right,
                }
            }
        }
    )* }
}
compare_rust_values!(usize, u64, u32, i32);

/// `a && b`, `b` evaluated only where it matters.
pub fn and<A: Val<T = bool>, B: Val<T = bool>>(a: A, b: impl FnOnce() -> B) -> E<bool> {
    let a = a.e();
    if build::constant_bool(a.0) == Some(false) { a } else { a & b().e() }
}
/// `a || b`.
pub fn or<A: Val<T = bool>, B: Val<T = bool>>(a: A, b: impl FnOnce() -> B) -> E<bool> {
    let a = a.e();
    if build::constant_bool(a.0) == Some(true) { a } else { a | b().e() }
}

/// `x.index()`: a position that hardware computes; a `usize` in simulation.
#[derive(Clone, Copy)]
pub struct Index<const N: usize>(pub(super) E<Bits<N>>);

impl<const N: usize> Compare<usize> for Index<N> {
    type O = E<bool>;
    fn compare(self, relation: Relation, right: usize) -> E<bool> {
        Compare::compare(self.0, relation, right as u64)
    }
}
impl<const N: usize> Compare<Index<N>> for Index<N> {
    type O = E<bool>;
    fn compare(self, relation: Relation, right: Index<N>) -> E<bool> {
        Compare::compare(self.0, relation, right.0)
    }
}
impl<const N: usize> super::Let for Index<N> {
    type O = Index<N>;
    fn name(self, name: &str) -> Self {
        Index(self.0.name(name))
    }
    fn variable(self) -> Self {
        Index(self.0.variable())
    }
}

/// A position of a bit: known when the hardware is built, or computed by it.
pub trait Position: Copy {
    /// `width` bits of `value` from this position on; zero beyond its width.
    fn cut(self, value: usize, width: usize) -> usize;
    /// `value` with the bit at this position replaced.
    fn replace(self, value: usize, bit: usize) -> usize;
}
impl Position for usize {
    fn cut(self, value: usize, width: usize) -> usize {
        build::slice(value, self, width)
    }
    fn replace(self, value: usize, bit: usize) -> usize {
        assert!(self < build::width(value), "bit {self} of {} bits", build::width(value));
        build::replace(value, self, bit)
    }
}
impl<const M: usize> Position for Index<M> {
    fn cut(self, value: usize, width: usize) -> usize {
        let shifted = build::binary(build::width(value), Binary::Shr, value, self.0.id());
        build::resize(shifted, width)
    }
    fn replace(self, value: usize, bit: usize) -> usize {
        let width = build::width(value);
        let one = build::constant(Literal::from_u64(width, 1));
        let mask = build::binary(width, Binary::Shl, one, self.0.id());
        let set = build::binary(width, Binary::Or, value, mask);
        let clear = build::binary(width, Binary::And, value, build::node(width, Op::Not(mask)));
        build::mux(bit, set, clear)
    }
}
// A shift count may stand where rust-hdl takes `x.index()`.
impl<const M: usize> Position for E<Bits<M>> {
    fn cut(self, value: usize, width: usize) -> usize {
        Index(self).cut(value, width)
    }
    fn replace(self, value: usize, bit: usize) -> usize {
        Index(self).replace(value, bit)
    }
}

/// The methods of `Bits`.
impl<const N: usize> E<Bits<N>> {
    /// `M` bits from `lo` on; zero beyond `N`.
    pub fn get_bits<const M: usize>(self, lo: impl Position) -> E<Bits<M>> {
        E::new(lo.cut(self.id(), M))
    }
    /// One bit.
    pub fn get_bit(self, at: impl Position) -> E<bool> {
        E::new(at.cut(self.id(), 1))
    }
    /// The value with one bit replaced.
    pub fn replace_bit(self, at: impl Position, bit: impl Val<T = bool>) -> E<Bits<N>> {
        E::new(at.replace(self.id(), bit.e().0))
    }
    /// The value as an index.
    pub fn index(self) -> Index<N> {
        Index(self)
    }
    /// A bit is one.
    pub fn any(self) -> E<bool> {
        E::new(build::node(1, Op::Reduce(Reduction::Any, self.id())))
    }
    /// All bits are one.
    pub fn all(self) -> E<bool> {
        E::new(build::node(1, Op::Reduce(Reduction::All, self.id())))
    }
    /// The number of ones is odd.
    pub fn xor(self) -> E<bool> {
        E::new(build::node(1, Op::Reduce(Reduction::Parity, self.id())))
    }
}

/// The methods of `Signed`.
impl<const N: usize> E<Signed<N>> {
    /// `M` bits from `lo` on.
    pub fn get_bits<const M: usize>(self, lo: usize) -> E<Signed<M>> {
        E::new(build::slice(self.id(), lo, M))
    }
    /// One bit.
    pub fn get_bit(self, at: usize) -> E<bool> {
        E::new(build::slice(self.id(), at, 1))
    }
    /// The value is negative.
    pub fn sign_bit(self) -> E<bool> {
        self.get_bit(N - 1)
    }
    /// The same bits.
    pub fn inner(self) -> E<Bits<N>> {
        E::new(self.id())
    }
}
