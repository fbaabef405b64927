//! Conditions, selections, arrays and interfaces.
use super::{E, Index, Val};
use crate::ast::{Id, Location, Op};
use crate::build;
use rust_hdl_core::prelude::*;
use std::marker::PhantomData;

/// `if condition { one } else { zero }` as a statement.
pub fn if_statement(condition: impl Val<T = bool>, one: impl FnOnce(), zero: impl FnOnce()) {
    let condition = condition.e().0;
    match build::constant_bool(condition) {
        Some(true) => one(),
        Some(false) => zero(),
        None => {
            build::fork(condition, one, zero);
        }
    }
}

/// `if condition { one } else { zero }` as a value.
pub fn if_value<A: Val, B: Val<T = A::T>>(
    condition: impl Val<T = bool>,
    one: impl FnOnce() -> A,
    zero: impl FnOnce() -> B,
) -> E<A::T> {
    let condition = condition.e().0;
    match build::constant_bool(condition) {
        Some(true) => one().e(),
        Some(false) => zero().e(),
        None => {
            let (one, zero) = build::fork(condition, || one().e(), || zero().e());
            E::new(build::mux(condition, one.0, zero.0))
        }
    }
}

/// What a `match` looks at.
pub trait Scrutinee: Copy {
    /// The type of the value.
    type T: Synth;
    /// The value.
    fn value(self) -> E<Self::T>;
}
impl<X: Synth> Scrutinee for E<X> {
    type T = X;
    fn value(self) -> E<X> {
        self.e()
    }
}
impl<const N: usize> Scrutinee for Index<N> {
    type T = Bits<N>;
    fn value(self) -> E<Bits<N>> {
        self.0.e()
    }
}

/// A pattern of a `match` on an `S`; `None` for `_`.
pub struct Pattern<S>(Option<Id>, PhantomData<S>);

/// A constant that a value can be compared with.
pub trait Matches<S> {
    /// The constant.
    fn pattern(self) -> Pattern<S>;
}
impl<X: Synth> Matches<E<X>> for X {
    fn pattern(self) -> Pattern<E<X>> {
        Pattern(Some(super::literal(self).0), PhantomData)
    }
}
impl<const N: usize> Matches<Index<N>> for usize {
    fn pattern(self) -> Pattern<Index<N>> {
        // A constant that does not fit matches nothing.
        let fits = N >= 64 || (self as u64) >> N == 0;
        Pattern(fits.then(|| super::literal(Bits::<N>::from(self as u64)).0).or(Some(Id::MAX)), PhantomData)
    }
}

/// A pattern.
pub fn pattern<S, P: Matches<S>>(constant: P) -> Pattern<S> {
    constant.pattern()
}
/// `_`.
pub fn any<S>() -> Pattern<S> {
    Pattern(None, PhantomData)
}

/// The constants of an arm; none for `_`.
fn constants<S>(patterns: Vec<Pattern<S>>) -> Vec<Id> {
    patterns.into_iter().map(|p| p.0).collect::<Option<Vec<_>>>().unwrap_or_default()
}

type Arm<'a, S, R> = (Vec<Pattern<S>>, Box<dyn FnOnce() -> R + 'a>);

/// An arm. A call and not a cast, which rustc would look at too late to infer the arms' type.
pub fn arm<'a, S, R>(patterns: Vec<Pattern<S>>, body: impl FnOnce() -> R + 'a) -> Arm<'a, S, R> {
    (patterns, Box::new(body))
}

/// Drops the constants that do not fit, and the arms that have none left.
fn reachable<S, R>(arms: Vec<Arm<'_, S, R>>) -> impl Iterator<Item = (Vec<Id>, Box<dyn FnOnce() -> R + '_>)> {
    arms.into_iter().filter_map(|(patterns, body)| {
        let all = constants(patterns);
        let fitting: Vec<Id> = all.iter().copied().filter(|id| *id != Id::MAX).collect();
        (all.is_empty() || !fitting.is_empty()).then_some((fitting, body))
    })
}

/// `match` as a statement.
pub fn match_statement<S: Scrutinee>(scrutinee: S, arms: Vec<Arm<'_, S, ()>>) {
    let arms = reachable(arms).map(|(patterns, body)| {
        let body: Box<dyn FnOnce() -> Option<Id>> = Box::new(move || {
            body();
            None
        });
        (patterns, body)
    });
    build::switch(scrutinee.value().0, arms.collect());
}

/// `match` as a value.
///
/// # Panics
/// When no arm can match.
pub fn match_value<S: Scrutinee, X: Synth>(scrutinee: S, arms: Vec<Arm<'_, S, E<X>>>) -> E<X> {
    let arms = reachable(arms).map(|(patterns, body)| {
        let body: Box<dyn FnOnce() -> Option<Id>> = Box::new(move || Some(body().id()));
        (patterns, body)
    });
    E::new(build::switch(scrutinee.value().0, arms.collect()).expect("a match has an arm"))
}

/// An index of an array: known when the hardware is built, or computed by it. Hardware takes the last element for an index
/// beyond the array; simulation panics.
pub trait ArrayIndex: Copy {
    /// The value of the element.
    fn select<X: Synth>(self, length: usize, element: impl FnMut(usize) -> E<X>) -> E<X>;
    /// Does something to the element.
    fn each(self, length: usize, action: impl FnMut(usize));
}
impl ArrayIndex for usize {
    fn select<X: Synth>(self, _: usize, mut element: impl FnMut(usize) -> E<X>) -> E<X> {
        element(self)
    }
    fn each(self, _: usize, mut action: impl FnMut(usize)) {
        action(self);
    }
}
/// The indices that `N` bits can name in an array.
fn reach<const N: usize>(length: usize) -> usize {
    if N < usize::BITS as usize { length.min(1 << N) } else { length }
}
impl<const N: usize> ArrayIndex for Index<N> {
    fn select<X: Synth>(self, length: usize, mut element: impl FnMut(usize) -> E<X>) -> E<X> {
        let arms = (0..reach::<N>(length)).map(|i| {
            let pattern = super::literal(Bits::<N>::from(i as u64)).0;
            (vec![pattern], element(i).id())
        });
        let arms: Vec<_> = arms.collect();
        E::new(build::case(self.0.id(), arms))
    }
    fn each(self, length: usize, mut action: impl FnMut(usize)) {
        let index = self.0.e();
        for i in 0..reach::<N>(length) {
            let here = super::Compare::compare(index, super::Relation::Eq, i as u64);
            if_statement(here, || action(i), || ());
        }
    }
}

/// `array[self]` for a local array.
pub trait Pick<A: ?Sized> {
    /// The element, or an expression of it.
    type O;
    /// The element.
    fn pick(self, array: &A) -> Self::O;
}
impl<X: Copy> Pick<[X]> for usize {
    type O = X;
    fn pick(self, array: &[X]) -> X {
        array[self]
    }
}
impl<V: Val, const N: usize> Pick<[V]> for Index<N> {
    type O = E<V::T>;
    fn pick(self, array: &[V]) -> E<V::T> {
        self.select(array.len(), |i| array[i].e())
    }
}

/// The atoms of an interface, in order.
#[derive(Default)]
struct Atoms(Vec<(AtomKind, usize, usize)>);
impl Probe for Atoms {
    fn visit_atom(&mut self, _: &str, atom: &dyn Atom) {
        self.0.push((atom.kind(), atom.id(), atom.bits()));
    }
}

fn connect(a: &dyn Block, b: &dyn Block, a_drives: AtomKind, location: Location) {
    let [mut left, mut right] = [Atoms::default(), Atoms::default()];
    a.accept("", &mut left);
    b.accept("", &mut right);
    assert_eq!(left.0.len(), right.0.len(), "{location}: the interfaces differ");
    for (l, r) in left.0.into_iter().zip(right.0) {
        let (source, target) = if l.0 == a_drives { (l, r) } else { (r, l) };
        let value = build::node(source.2, Op::Signal(source.1));
        build::drive(target.1, value, location);
    }
}

/// `a.join(&mut b)`: a source and a sink, both inside the block.
pub fn join(a: &impl Block, b: &impl Block, location: Location) {
    connect(a, b, AtomKind::OutputParameter, location);
}

/// `a.link(&mut b)`: the block's own interface `a` and the same interface `b` of a sub-block.
pub fn link(a: &impl Block, b: &impl Block, location: Location) {
    connect(a, b, AtomKind::InputParameter, location);
}
