//! Every operator and method, at widths below, at and above a machine word.
use super::CYCLES;
use nitride_lang::prelude::*;
use nitride_lang::testing::differential;

#[derive(LogicBlock, Default)]
struct Operators<const N: usize> {
    pub a: Signal<In, Bits<N>>,
    pub b: Signal<In, Bits<N>>,
    pub c: Signal<In, Bits<3>>,
    pub p: Signal<In, Bit>,
    pub q: Signal<In, Bit>,
    pub word: [Signal<Out, Bits<N>>; 20],
    pub bit: [Signal<Out, Bit>; 21],
    pub wide: [Signal<Out, Bits<129>>; 3],
    pub narrow: [Signal<Out, Bits<2>>; 3],
}

impl<const N: usize> Logic for Operators<N> {
    #[hdl]
    fn update(&mut self) {
        let a = self.a.val();
        let b = self.b.val();
        let c = self.c.val();
        let p = self.p.val();
        let q = self.q.val();
        self.word[0].next = a + b;
        self.word[1].next = a - b;
        self.word[2].next = a & b;
        self.word[3].next = a | b;
        self.word[4].next = a ^ b;
        self.word[5].next = !a;
        self.word[6].next = a << c;
        self.word[7].next = a >> c;
        self.word[8].next = a << 1;
        self.word[9].next = a >> 1;
        self.word[10].next = a + 1;
        self.word[11].next = 1 - a;
        self.word[12].next = a + bits::<N>(1);
        self.word[13].next = a + p;
        self.word[14].next = a.replace_bit(0, p);
        self.word[15].next = a.replace_bit(N - 1, q);
        self.word[16].next = bits::<N>(1) << c;
        let mut sum = a;
        sum += b;
        sum ^= a >> 1;
        sum &= !b;
        sum |= 1;
        sum -= a;
        sum <<= 1;
        sum >>= c;
        self.word[17].next = sum;
        self.word[18].next = if p { a } else { b };
        self.word[19].next = if N >= 8 { a.get_bits::<N>(c.index()) } else { a };
        self.bit[0].next = a == b;
        self.bit[1].next = a != b;
        self.bit[2].next = a < b;
        self.bit[3].next = a <= b;
        self.bit[4].next = a > b;
        self.bit[5].next = a >= b;
        self.bit[6].next = a == 1;
        self.bit[7].next = 1 <= a;
        self.bit[8].next = a.any();
        self.bit[9].next = a.all();
        self.bit[10].next = a.xor();
        self.bit[11].next = a.get_bit(N - 1);
        self.bit[12].next = a.get_bit(0) & p;
        self.bit[13].next = p | q;
        self.bit[14].next = p ^ q;
        self.bit[15].next = !p;
        self.bit[16].next = p && a.any() || q;
        self.bit[17].next = p == q;
        self.bit[18].next = p != true;
        self.bit[19].next = bits::<N>(1) == a;
        self.bit[20].next = (a.any() && false) || (q && true);
        self.wide[0].next = bit_cast::<129, N>(a) + bit_cast::<129, N>(b);
        self.wide[1].next = bit_cast::<129, N>(a + b);
        self.wide[2].next = bit_cast::<129, N>(!a) << 7;
        self.narrow[0].next = bit_cast::<2, N>(a + b);
        self.narrow[1].next = (a - b).get_bits::<2>(N - 1);
        self.narrow[2].next = cat2::<1, 1, 2>((a & b).get_bits::<1>(0), a.get_bits::<1>(N - 1));
    }
}

fn operators<const N: usize>() {
    differential(
        &format!("operators_{N}"),
        Operators::<N>::default,
        |uut, rng| {
            uut.a.next = rng.bits();
            uut.b.next = if rng.chance(1, 8) { uut.a.next } else { rng.bits() };
            uut.c.next = rng.bits();
            uut.p.next = rng.bit();
            uut.q.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn operators_below_a_word() {
    operators::<1>();
    operators::<8>();
}

#[test]
fn operators_around_a_word() {
    operators::<32>();
    operators::<64>();
    operators::<65>();
}

#[test]
fn operators_of_many_words() {
    operators::<128>();
}

#[derive(LogicBlock, Default)]
struct SignedOperators<const N: usize> {
    pub a: Signal<In, Signed<N>>,
    pub b: Signal<In, Signed<N>>,
    pub x: Signal<In, Bits<16>>,
    pub y: Signal<In, Bits<16>>,
    pub value: [Signal<Out, Signed<N>>; 5],
    pub bit: [Signal<Out, Bit>; 8],
    pub wide: Signal<Out, Signed<70>>,
    pub narrow: Signal<Out, Signed<2>>,
    pub mixed: Signal<Out, Bits<N>>,
    pub products: Signal<Out, Bits<32>>,
    pub signed_product: Signal<Out, Signed<32>>,
}

impl<const N: usize> Logic for SignedOperators<N> {
    #[hdl]
    fn update(&mut self) {
        let a = self.a.val();
        let b = self.b.val();
        self.value[0].next = a + b;
        self.value[1].next = a - b;
        self.value[2].next = -a;
        self.value[3].next = a + signed::<N>(-3);
        self.value[4].next = if a < b { a } else { b };
        self.bit[0].next = a < b;
        self.bit[1].next = a <= b;
        self.bit[2].next = a > b;
        self.bit[3].next = a >= b;
        self.bit[4].next = a == b;
        self.bit[5].next = a < signed::<N>(-1);
        self.bit[6].next = a.sign_bit() ^ b.get_bit(0);
        // A signed comparison beside unsigned operators.
        self.bit[7].next = (a + b < a) & (unsigned_cast::<N>(a) < unsigned_cast::<N>(b));
        self.wide.next = signed_bit_cast::<70, N>(a);
        self.narrow.next = signed_bit_cast::<2, N>(a);
        self.mixed.next = unsigned_cast::<N>(a) + unsigned_bit_cast::<N, N>(b) + a.inner();
        self.products.next = self.x.val() * self.y.val();
        self.signed_product.next = signed_cast::<16>(self.x.val()) * signed_cast::<16>(self.y.val());
    }
}

fn signed_operators<const N: usize>() {
    differential(
        &format!("signed_{N}"),
        SignedOperators::<N>::default,
        |uut, rng| {
            uut.a.next = rng.value();
            uut.b.next = rng.value();
            uut.x.next = rng.bits();
            uut.y.next = rng.bits();
        },
        CYCLES,
    );
}

#[test]
fn signed_values() {
    signed_operators::<7>();
    signed_operators::<40>();
}

#[test]
fn sign_extension_keeps_the_least_value() {
    assert_eq!(signed_bit_cast::<16, 8>(signed(-128)), signed::<16>(-128));
    assert_eq!(signed_bit_cast::<4, 8>(signed(-3)), signed::<4>(-3));
}
