//! Functions of the language. Each has the form that `#[hdl_fn]` gives to a function: the function itself for simulation and
//! for constants, and a type of the same name with the twin.
use super::{E, Val};
use crate::build;
use crate::packed::{AnyBits, Packed};
use rust_hdl_core::prelude::{Bits, Signed, Synth};
use rust_hdl_core::signed;

pub use rust_hdl_core::prelude::{bit_cast, signed_cast, unsigned_bit_cast, unsigned_cast};

macro_rules! twins {
    ($($(#[$doc:meta])* $name:ident: fn hdl<$(const $n:ident),*>($($argument:ident: $from:ty),*) -> $to:ty $body:block)*) => { $(
        $(#[$doc])*
        #[allow(non_camel_case_types)]
        pub struct $name {}
        impl $name {
            /// The twin.
            pub fn hdl<$(const $n: usize),*>($($argument: impl Val<T = $from>),*) -> E<$to> {
                $(let $argument = $argument.e().0;)*
                E::new($body)
            }
        }
    )* }
}

twins! {
    /// Zero-extends or truncates.
    bit_cast: fn hdl<const M, const N>(x: Bits<N>) -> Bits<M> { build::resize(x, M) }
    /// The same bits, as two's complement.
    signed_cast: fn hdl<const N>(x: Bits<N>) -> Signed<N> { x }
    /// The same bits, unsigned.
    unsigned_cast: fn hdl<const N>(x: Signed<N>) -> Bits<N> { x }
    /// The same bits, unsigned, zero-extended or truncated.
    unsigned_bit_cast: fn hdl<const M, const N>(x: Signed<N>) -> Bits<M> { build::resize(x, M) }
    /// Sign-extends or truncates.
    signed_bit_cast: fn hdl<const M, const N>(x: Signed<N>) -> Signed<M> { build::sign_extend(x, M) }
    /// Concatenates, `a` above `b`.
    cat2: fn hdl<const A, const B, const W>(a: Bits<A>, b: Bits<B>) -> Bits<W> { build::concat(vec![a, b]) }
}

/// Sign-extends or truncates. (rust-hdl's own function of this name does not return for the least value.)
pub fn signed_bit_cast<const M: usize, const N: usize>(x: Signed<N>) -> Signed<M> {
    let x = x.inner();
    let mut result = bit_cast::<M, N>(x);
    for i in N..M {
        result = result.replace_bit(i, x.get_bit(N - 1));
    }
    signed::signed_cast(result)
}

/// Concatenates, `a` above `b`.
pub fn cat2<const A: usize, const B: usize, const W: usize>(a: Bits<A>, b: Bits<B>) -> Bits<W> {
    const { assert!(A + B == W, "cat2::<A, B, W>: W is A + B") }
    (bit_cast::<W, A>(a) << B as u64) | bit_cast::<W, B>(b)
}

/// The bits of a value; a struct's first field is least significant. `N` is the type's width.
pub fn pack<const N: usize>(value: impl Packed) -> Bits<N> {
    crate::packed::to_bits(value)
}
/// The twin of [`pack()`].
#[allow(non_camel_case_types)]
pub struct pack {}
impl pack {
    /// The twin.
    pub fn hdl<const N: usize>(value: impl Val) -> E<Bits<N>> {
        E::new(value.e().0)
    }
}

/// The value with these bits; they are as many as the type is wide. Bits that no variant of an enum has give its first.
pub fn unpack<T: Packed>(bits: impl AnyBits) -> T {
    crate::packed::from_bits(bits)
}
/// The twin of [`unpack()`].
#[allow(non_camel_case_types)]
pub struct unpack {}
impl unpack {
    /// The twin.
    pub fn hdl<T: Packed>(bits: impl Val) -> E<T> {
        E::new(T::checked(bits.e().0))
    }
}

/// What `into()` does between hardware values.
pub trait Convert<X: Synth> {
    /// The expression.
    fn convert(self) -> E<X>;
}
impl<const N: usize> Convert<Bits<N>> for u64 {
    fn convert(self) -> E<Bits<N>> {
        super::literal(self.into())
    }
}
impl<S: Synth, const N: usize> Convert<Bits<N>> for E<S> {
    fn convert(self) -> E<Bits<N>> {
        E::new(self.id())
    }
}
impl<const N: usize> Convert<Bits<N>> for Bits<N> {
    fn convert(self) -> E<Bits<N>> {
        super::literal(self)
    }
}
impl<const N: usize> Convert<Signed<N>> for i64 {
    fn convert(self) -> E<Signed<N>> {
        super::literal(self.into())
    }
}
impl Convert<bool> for E<Bits<1>> {
    fn convert(self) -> E<bool> {
        E::new(self.id())
    }
}
/// `value.into()`.
pub fn into<S: Convert<X>, X: Synth>(value: S) -> E<X> {
    value.convert()
}
