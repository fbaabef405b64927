//! (A) run time: typed expression twins E<T> + thread-local kernel builder.
use rust_hdl_core::prelude::*;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::*;
pub use nitride_macros::{hdl, hdl_fn, Packed};
pub use rust_hdl_core as core;
pub mod emit;

pub type Id = usize;
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op { Add, Sub, Mul, And, Or, Xor, Shl, Shr, Eq, Ne, Lt, Le, Gt, Ge }
#[derive(Clone, Debug)]
pub enum Node { Lit(String), Sig(usize), Var(usize), Not(Id), Red(&'static str, Id), Bin(Op, Id, Id), Slice(Id, usize), Cat(Vec<Id>) }
#[derive(Clone, Debug)]
pub enum Stmt { Assign { sig: usize, part: Option<(usize, usize)>, sw: usize, rhs: Id }, Set(usize, Id), If(Id, Vec<Stmt>, Vec<Stmt>), Case(Id, Vec<(Vec<Id>, Vec<Stmt>)>) }
#[derive(Default, Debug)]
pub struct Kernel { pub ty: String, pub nodes: Vec<(usize, Node)>, pub vars: Vec<(String, usize)>, pub body: Vec<Stmt>, blocks: Vec<Vec<Stmt>> }

thread_local! { static CUR: RefCell<Option<Kernel>> = RefCell::new(None); static OUT: RefCell<Option<Kernel>> = RefCell::new(None); }
fn k<R>(f: impl FnOnce(&mut Kernel) -> R) -> R { CUR.with(|c| f(c.borrow_mut().as_mut().expect("outside an HDL kernel"))) }
/// runs the twin; the kernel is handed to the emitter through OUT (Logic::hdl can only return `Verilog`)
pub fn kernel(ty: &str, f: impl FnOnce()) -> Verilog {
    CUR.with(|c| *c.borrow_mut() = Some(Kernel { ty: ty.into(), blocks: vec![vec![]], ..Default::default() }));
    f();
    let mut x = CUR.with(|c| c.borrow_mut().take()).unwrap();
    x.body = x.blocks.pop().unwrap();
    OUT.with(|o| *o.borrow_mut() = Some(x));
    Verilog::Custom("/*hdlx kernel: emit with nitride_lang::emit*/".into())
}
pub fn take() -> Option<Kernel> { OUT.with(|o| o.borrow_mut().take()) }
fn node(w: usize, n: Node) -> Id { k(|k| { k.nodes.push((w, n)); k.nodes.len() - 1 }) }
fn width(i: Id) -> usize { k(|k| k.nodes[i].0) }
fn push(s: Stmt) { k(|k| k.blocks.last_mut().unwrap().push(s)) }
fn capture<R>(f: impl FnOnce() -> R) -> Vec<Stmt> { k(|k| k.blocks.push(vec![])); f(); k(|k| k.blocks.pop().unwrap()) }
fn newvar(name: &str, w: usize) -> usize { k(|k| { k.vars.push((format!("{}_{}", name, k.vars.len()), w)); k.vars.len() - 1 }) }
fn bin(w: usize, o: Op, a: Id, b: Id) -> Id { if !matches!(o, Op::Shl | Op::Shr) { assert_eq!(width(a), width(b)); } node(w, Node::Bin(o, a, b)) }
fn zero(w: usize) -> Id { node(w, Node::Lit("0".into())) }
fn resize(a: Id, w: usize) -> Id {
    let n = width(a);
    if w == n { a } else if w > n { let z = zero(w - n); node(w, Node::Cat(vec![z, a])) } else { slice(a, 0, w) }
}
fn slice(a: Id, lo: usize, w: usize) -> Id {
    let n = width(a);
    if lo == 0 && w == n { return a }
    if lo + w > n { let z = zero(w - n.saturating_sub(lo)); if lo >= n { return zero(w) } let s = slice(a, lo, n - lo); return node(w, Node::Cat(vec![z, s])) }
    match k(|k| k.nodes[a].1.clone()) {
        Node::Sig(_) | Node::Var(_) => node(w, Node::Slice(a, lo)),
        Node::Slice(b, l) => node(w, Node::Slice(b, l + lo)),
        _ => { let v = newvar("t", n); push(Stmt::Set(v, a)); let a = node(n, Node::Var(v)); node(w, Node::Slice(a, lo)) }
    }
}
/// typed handle of an expression node
pub struct E<T: Synth>(Id, PhantomData<fn() -> T>);
impl<T: Synth> Clone for E<T> { fn clone(&self) -> Self { *self } }
impl<T: Synth> Copy for E<T> {}
fn mk<T: Synth>(i: Id) -> E<T> { assert_eq!(width(i), T::BITS, "width of {}", std::any::type_name::<T>()); E(i, PhantomData) }
pub fn raw<T: Synth>(e: E<T>) -> Id { e.0 }
pub fn phantom<T: Synth>(_: E<T>) -> T { unreachable!() }
pub fn lit<T: Synth>(t: T) -> E<T> { let s = format!("{:x}", t.verilog()); mk(node(T::BITS, Node::Lit(s.split_once("'h").unwrap().1.into()))) }

/// a Rust value (constant at build time) or an expression
pub trait Val: Copy { type T: Synth; fn e(self) -> E<Self::T>; }
impl<X: Synth> Val for X { type T = X; fn e(self) -> E<X> { lit(self) } }
impl<X: Synth> Val for E<X> { type T = X; fn e(self) -> E<X> { self } }

pub trait Read { type T: Synth; fn rd(&self) -> E<Self::T>; }
impl<D: Direction, X: Synth> Read for Signal<D, X> { type T = X; fn rd(&self) -> E<X> { mk(node(X::BITS, Node::Sig(Atom::id(self)))) } }
impl<X: Synth> Read for Constant<X> { type T = X; fn rd(&self) -> E<X> { lit(self.val()) } }

pub trait Let { type O; fn let_(self, n: &str) -> Self::O; }
impl<X: Synth> Let for E<X> { type O = E<X>; fn let_(self, n: &str) -> E<X> { if k(|k| matches!(k.nodes[self.0].1, Node::Lit(_))) { self } else { var(self, n) } } }
macro_rules! host_let { ($($t:ty),*) => { $(impl Let for $t { type O = $t; fn let_(self, _: &str) -> $t { self } })* } }
host_let!(bool, usize, u64, u32, i32);
impl<const N: usize> Let for Bits<N> { type O = Self; fn let_(self, _: &str) -> Self { self } }
impl<X: Let, const N: usize> Let for [X; N] { type O = [X::O; N]; fn let_(self, n: &str) -> Self::O { self.map(|x| x.let_(n)) } }
pub fn var<V: Val<T = X>, X: Synth>(v: V, n: &str) -> E<X> { let e = v.e(); let i = newvar(n, X::BITS); push(Stmt::Set(i, e.0)); mk(node(X::BITS, Node::Var(i))) }
pub fn set<X: Synth, V: Val<T = X>>(d: E<X>, v: V) { let Node::Var(i) = k(|k| k.nodes[d.0].1.clone()) else { panic!("not a `let mut`") }; push(Stmt::Set(i, v.e().0)) }

pub fn connect<L: Logic>(x: &mut L) { x.connect() }
pub fn assign<D: Direction, X: Synth, V: Val<T = X>>(s: &Signal<D, X>, v: V) { push(Stmt::Assign { sig: Atom::id(s), part: None, sw: X::BITS, rhs: v.e().0 }) }
fn kwidth(t: &TypeDescriptor) -> usize { match &t.kind { TypeKind::Bits(n) | TypeKind::Signed(n) => *n, TypeKind::Enum(v) => clog2(v.len()), TypeKind::Composite(f) => f.iter().map(|f| kwidth(&f.kind)).sum() } }
fn offset(t: TypeDescriptor, path: &[&str]) -> (usize, usize) {
    let Some(n) = path.first() else { return (0, kwidth(&t)) };
    let TypeKind::Composite(fs) = t.kind else { panic!("no struct") };
    let mut o = 0;
    for f in fs { if f.fieldname == *n { let (p, w) = offset(f.kind, &path[1..]); return (o + p, w) } o += kwidth(&f.kind); }
    panic!("no field {n}")
}
pub fn assign_field<D: Direction, X: Synth, F: Synth, V: Val<T = F>>(s: &Signal<D, X>, path: &[&str], _p: impl FnOnce(X) -> F, v: V) {
    let (lo, w) = offset(X::descriptor(), path);
    assert_eq!(w, F::BITS);
    push(Stmt::Assign { sig: Atom::id(s), part: Some((lo, w)), sw: X::BITS, rhs: v.e().0 })
}
pub fn field<V: Val, F: Synth>(v: V, n: &str, _p: impl FnOnce(V::T) -> F) -> E<F> { let e = v.e(); let (lo, w) = offset(<V::T as Synth>::descriptor(), &[n]); mk(slice(e.0, lo, w)) }
pub fn structure<S: Synth>(_f: impl FnOnce() -> S, fields: &[(&str, Id)]) -> E<S> {
    let TypeKind::Composite(fs) = S::descriptor().kind else { panic!() };
    let v = fs.iter().rev().map(|f| fields.iter().find(|x| x.0 == f.fieldname).unwrap().1).collect();
    mk(node(S::BITS, Node::Cat(v)))
}
// ---- operators
macro_rules! ops { ($($tr:ident $m:ident),*) => { $(
    impl<const N: usize> $tr<E<Bits<N>>> for E<Bits<N>> { type Output = E<Bits<N>>; fn $m(self, r: E<Bits<N>>) -> E<Bits<N>> { mk(bin(N, op::$tr, self.0, r.0)) } }
    impl<const N: usize> $tr<u64> for E<Bits<N>> { type Output = E<Bits<N>>; fn $m(self, r: u64) -> E<Bits<N>> { self.$m(lit(Bits::<N>::from(r))) } }
    impl<const N: usize> $tr<Bits<N>> for E<Bits<N>> { type Output = E<Bits<N>>; fn $m(self, r: Bits<N>) -> E<Bits<N>> { self.$m(lit(r)) } }
    impl<const N: usize> $tr<E<Bits<N>>> for u64 { type Output = E<Bits<N>>; fn $m(self, r: E<Bits<N>>) -> E<Bits<N>> { lit(Bits::<N>::from(self)).$m(r) } }
    impl<const N: usize> $tr<E<Bits<N>>> for Bits<N> { type Output = E<Bits<N>>; fn $m(self, r: E<Bits<N>>) -> E<Bits<N>> { lit(self).$m(r) } }
)* } }
macro_rules! bops { ($($tr:ident $m:ident),*) => { $(
    impl $tr<E<bool>> for E<bool> { type Output = E<bool>; fn $m(self, r: E<bool>) -> E<bool> { mk(bin(1, op::$tr, self.0, r.0)) } }
    impl $tr<bool> for E<bool> { type Output = E<bool>; fn $m(self, r: bool) -> E<bool> { self.$m(lit(r)) } }
    impl $tr<E<bool>> for bool { type Output = E<bool>; fn $m(self, r: E<bool>) -> E<bool> { lit(self).$m(r) } }
)* } }
#[allow(non_upper_case_globals)]
mod op { use super::Op; pub const Add: Op = Op::Add; pub const Sub: Op = Op::Sub; pub const BitAnd: Op = Op::And; pub const BitOr: Op = Op::Or; pub const BitXor: Op = Op::Xor; pub const Shl: Op = Op::Shl; pub const Shr: Op = Op::Shr; }
ops!(Add add, Sub sub, BitAnd bitand, BitOr bitor, BitXor bitxor);
bops!(BitAnd bitand, BitOr bitor, BitXor bitxor);
macro_rules! shifts { ($($tr:ident $m:ident),*) => { $(
    impl<const N: usize, const M: usize> $tr<E<Bits<M>>> for E<Bits<N>> { type Output = E<Bits<N>>; fn $m(self, r: E<Bits<M>>) -> E<Bits<N>> { mk(bin(N, op::$tr, self.0, r.0)) } }
    impl<const N: usize> $tr<u64> for E<Bits<N>> { type Output = E<Bits<N>>; fn $m(self, r: u64) -> E<Bits<N>> { mk(bin(N, op::$tr, self.0, node(32, Node::Lit(format!("{r:x}"))))) } }
)* } }
shifts!(Shl shl, Shr shr);
impl<X: Synth> Not for E<X> where X: Not<Output = X> { type Output = E<X>; fn not(self) -> E<X> { mk(node(X::BITS, Node::Not(self.0))) } }
impl<const N: usize> Add<E<bool>> for E<Bits<N>> { type Output = E<Bits<N>>; fn add(self, r: E<bool>) -> E<Bits<N>> { mk(bin(N, Op::Add, self.0, resize(r.0, N))) } }
impl Mul<E<Bits<16>>> for E<Bits<16>> { type Output = E<Bits<32>>; fn mul(self, r: E<Bits<16>>) -> E<Bits<32>> { mk(bin(32, Op::Mul, resize(self.0, 32), resize(r.0, 32))) } }

pub trait Cmp<R> { type O; fn cmp(self, o: Op, r: R) -> Self::O; }
impl<X: Synth> Cmp<E<X>> for E<X> { type O = E<bool>; fn cmp(self, o: Op, r: E<X>) -> E<bool> { mk(bin(1, o, self.0, r.0)) } }
impl<X: Synth> Cmp<X> for E<X> { type O = E<bool>; fn cmp(self, o: Op, r: X) -> E<bool> { Cmp::cmp(self, o, lit(r)) } }
impl<const N: usize> Cmp<u64> for E<Bits<N>> { type O = E<bool>; fn cmp(self, o: Op, r: u64) -> E<bool> { Cmp::cmp(self, o, lit(Bits::<N>::from(r))) } }
impl<const N: usize> Cmp<E<Bits<N>>> for u64 { type O = E<bool>; fn cmp(self, o: Op, r: E<Bits<N>>) -> E<bool> { Cmp::cmp(lit(Bits::<N>::from(self)), o, r) } }
impl<const N: usize> Cmp<E<Bits<N>>> for Bits<N> { type O = E<bool>; fn cmp(self, o: Op, r: E<Bits<N>>) -> E<bool> { Cmp::cmp(lit(self), o, r) } }
macro_rules! host_cmp { ($($t:ty),*) => { $(impl Cmp<$t> for $t { type O = bool; fn cmp(self, o: Op, r: $t) -> bool { match o { Op::Eq => self == r, Op::Ne => self != r, Op::Lt => self < r, Op::Le => self <= r, Op::Gt => self > r, _ => self >= r } } })* } }
host_cmp!(usize, u64, u32, i32, bool);

fn as_const(e: E<bool>) -> Option<bool> { k(|k| if let Node::Lit(s) = &k.nodes[e.0].1 { Some(s == "1") } else { None }) }
pub fn and<A: Val<T = bool>, B: Val<T = bool>>(a: A, b: impl FnOnce() -> B) -> E<bool> { let a = a.e(); match as_const(a) { Some(false) => a, Some(true) => b().e(), None => a & b().e() } }
pub fn or<A: Val<T = bool>, B: Val<T = bool>>(a: A, b: impl FnOnce() -> B) -> E<bool> { let a = a.e(); match as_const(a) { Some(true) => a, Some(false) => b().e(), None => a | b().e() } }

pub trait Idx { fn idx(self) -> std::result::Result<usize, Id>; }
impl Idx for usize { fn idx(self) -> std::result::Result<usize, Id> { Ok(self) } }
impl<const M: usize> Idx for E<Bits<M>> { fn idx(self) -> std::result::Result<usize, Id> { Err(self.0) } }
impl<const N: usize> E<Bits<N>> {
    pub fn get_bits<const M: usize>(self, lo: impl Idx) -> E<Bits<M>> { mk(self.part(lo, M)) }
    pub fn get_bit(self, lo: impl Idx) -> E<bool> { mk(self.part(lo, 1)) }
    fn part(self, lo: impl Idx, w: usize) -> Id { match lo.idx() { Ok(lo) => slice(self.0, lo, w), Err(i) => resize(bin(N, Op::Shr, self.0, i), w) } }
    pub fn index(self) -> Self { self }
    pub fn any(self) -> E<bool> { mk(node(1, Node::Red("|", self.0))) }
    pub fn all(self) -> E<bool> { mk(node(1, Node::Red("&", self.0))) }
    pub fn xor(self) -> E<bool> { mk(node(1, Node::Red("^", self.0))) }
}
pub fn __hdl_bit_cast<const M: usize, const N: usize>(x: impl Val<T = Bits<N>>) -> E<Bits<M>> { mk(resize(x.e().0, M)) }
/// concatenation: a is the upper part
pub fn cat2<const A: usize, const B: usize, const W: usize>(a: Bits<A>, b: Bits<B>) -> Bits<W> { const { assert!(A + B == W) } (bit_cast::<W, A>(a) << B as u64) | bit_cast::<W, B>(b) }
pub fn __hdl_cat2<const A: usize, const B: usize, const W: usize>(a: impl Val<T = Bits<A>>, b: impl Val<T = Bits<B>>) -> E<Bits<W>> { let v = vec![a.e().0, b.e().0]; mk(node(W, Node::Cat(v))) }

pub trait HInto<X: Synth> { fn hi(self) -> E<X>; }
impl<const N: usize> HInto<Bits<N>> for u64 { fn hi(self) -> E<Bits<N>> { lit(self.into()) } }
impl<S: Synth, const N: usize> HInto<Bits<N>> for E<S> { fn hi(self) -> E<Bits<N>> { mk(self.0) } }
impl<const N: usize> HInto<Bits<N>> for Bits<N> { fn hi(self) -> E<Bits<N>> { lit(self) } }
impl HInto<bool> for E<Bits<1>> { fn hi(self) -> E<bool> { mk(self.0) } }
pub fn hinto<S: HInto<X>, X: Synth>(s: S) -> E<X> { s.hi() }

// ---- control
pub fn if_stmt(c: impl Val<T = bool>, t: impl FnOnce(), e: impl FnOnce()) {
    let c = c.e();
    match as_const(c) { Some(true) => t(), Some(false) => e(), None => { let (t, e) = (capture(t), capture(e)); push(Stmt::If(c.0, t, e)) } }
}
pub fn if_val<A: Val, B: Val<T = A::T>>(c: impl Val<T = bool>, t: impl FnOnce() -> A, e: impl FnOnce() -> B) -> E<A::T> {
    let c = c.e();
    match as_const(c) {
        Some(true) => t().e(), Some(false) => e().e(),
        None => {
            let (w, v) = (<A::T as Synth>::BITS, newvar("if", <A::T as Synth>::BITS));
            let (t, e) = (capture(|| { let x = t().e(); push(Stmt::Set(v, x.0)) }), capture(|| { let x = e().e(); push(Stmt::Set(v, x.0)) }));
            push(Stmt::If(c.0, t, e));
            mk(node(w, Node::Var(v)))
        }
    }
}
pub struct P<X>(Option<Id>, PhantomData<X>);
pub fn pat<V: Val>(v: V) -> P<V::T> { P(Some(v.e().0), PhantomData) }
pub fn pat_any<X>() -> P<X> { P(None, PhantomData) }
pub fn match_stmt<V: Val>(s: V, arms: Vec<(Vec<P<V::T>>, Box<dyn FnOnce() + '_>)>) {
    let s = s.e().0;
    let arms = arms.into_iter().map(|(p, b)| (if p.iter().any(|x| x.0.is_none()) { vec![] } else { p.into_iter().map(|x| x.0.unwrap()).collect() }, capture(b))).collect();
    push(Stmt::Case(s, arms))
}
/// a call, not `as Box<dyn ..>`: casts are checked last and would leave E<_> open in `(match ..) << 1`
pub fn arm<'a, X: Synth>(f: impl FnOnce() -> E<X> + 'a) -> Box<dyn FnOnce() -> E<X> + 'a> { Box::new(f) }
pub fn match_val<V: Val, X: Synth>(s: V, arms: Vec<(Vec<P<V::T>>, Box<dyn FnOnce() -> E<X> + '_>)>) -> E<X> {
    let v = newvar("match", X::BITS);
    match_stmt(s, arms.into_iter().map(|(p, b)| (p, Box::new(move || { let x = b(); push(Stmt::Set(v, x.0)) }) as Box<dyn FnOnce() + '_>)).collect());
    mk(node(X::BITS, Node::Var(v)))
}
// ---- interfaces
#[derive(Default)]
struct Flat(Vec<(AtomKind, usize, usize)>);
impl Probe for Flat { fn visit_atom(&mut self, _n: &str, a: &dyn Atom) { self.0.push((a.kind(), a.id(), a.bits())) } }
fn pairs(a: &dyn Block, b: &dyn Block, a_drives: impl Fn(AtomKind) -> bool) {
    let (mut x, mut y) = (Flat::default(), Flat::default());
    a.accept("", &mut x); b.accept("", &mut y);
    assert_eq!(x.0.len(), y.0.len());
    for (p, q) in x.0.into_iter().zip(y.0) { let (s, d) = if a_drives(p.0) { (p, q) } else { (q, p) }; let rhs = node(s.2, Node::Sig(s.1)); push(Stmt::Assign { sig: d.1, part: None, sw: d.2, rhs }) }
}
pub fn join(a: &impl Block, b: &impl Block) { pairs(a, b, |k| k == AtomKind::OutputParameter) }
pub fn link(a: &impl Block, b: &impl Block) { pairs(a, b, |k| k == AtomKind::InputParameter) }

/// VerilogLiteral has private fields and only From<Bits<N>>/ints: go through a fixed big N (the width inside the literal is not used by our emitter)
pub fn pack(f: &[(usize, VerilogLiteral)]) -> VerilogLiteral {
    let (mut b, mut o) = (Bits::<4096>::default(), 0);
    for (w, l) in f {
        let s = format!("{l:x}");
        let h = s.split_once("'h").unwrap().1;
        for i in 0..*w { let d = i / 4; if d < h.len() && (u8::from_str_radix(&h[h.len() - 1 - d..h.len() - d], 16).unwrap() >> (i % 4)) & 1 == 1 { b = b.replace_bit(o + i, true) } }
        o += w;
    }
    b.into()
}
