//! What rust-hdl's own emitter gets wrong or refuses: each is right here.
use super::CYCLES;
use nitride_lang::prelude::*;
use nitride_lang::testing::differential;

const OFFSET: usize = 3;
const KEY: u64 = 0x1f0;

/// Begins with `bits`, which rust-hdl takes for a constant.
#[hdl_fn]
fn bits_reversed(x: Bits<8>) -> Bits<8> {
    let mut reversed: Bits<8> = 0.into();
    for i in 0..8 {
        reversed = reversed.replace_bit(7 - i, x.get_bit(i));
    }
    reversed
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Inner {
    reg: Bits<5>,
    output: Bits<9>,
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Outer {
    inner: Inner,
    module: Bit,
}

#[derive(LogicBlock, Default)]
struct Leaf {
    pub i: Signal<In, Bits<8>>,
    pub o: Signal<Out, Bits<8>>,
}

impl Logic for Leaf {
    #[hdl]
    fn update(&mut self) {
        self.o.next = self.i.val() + 1;
    }
}

#[derive(LogicBlock, Default)]
struct Table<const K: usize> {
    pub a: Signal<In, Bits<8>>,
    pub b: Signal<In, Bits<8>>,
    pub outer: Signal<In, Outer>,
    pub grid: [[Signal<In, Bits<4>>; 2]; 2],
    pub linked: Signal<Out, Bits<8>>,
    pub bit: [Signal<Out, Bit>; 9],
    pub word: [Signal<Out, Bits<8>>; 6],
    pub wide: Signal<Out, Bits<64>>,
    pub nine: Signal<Out, Bits<9>>,
    leaf: Leaf,
}

impl<const K: usize> Logic for Table<K> {
    #[hdl]
    fn update(&mut self) {
        let a = self.a.val();
        let b = self.b.val();
        self.bit[0].next = a & 1 == 0;
        self.bit[1].next = (a + 1) == 0;
        self.bit[2].next = !a == 0xf0;
        self.word[0].next = (a + b + 1) >> 1;
        self.wide.next = bit_cast::<64, 8>(a + b);
        self.word[1].next = bits_reversed(a);
        // A sub-block's port, driven and read.
        self.leaf.i.next = a;
        self.linked.next = self.leaf.o.val();
        self.word[2].next = self.leaf.o.val() ^ self.leaf.i.val();
        // Constants and const generics.
        self.word[3].next = a + K as u64;
        self.bit[3].next = a.get_bit(OFFSET);
        self.bit[4].next = bit_cast::<9, 8>(a) + 1 == KEY;
        // Fields of fields, bits of fields, bits of expressions, arrays of arrays, fields named as keywords.
        self.nine.next = self.outer.val().inner.output;
        self.bit[5].next = self.outer.val().inner.reg.get_bit(3);
        self.bit[6].next = self.outer.val().module;
        self.word[4].next = cat2::<4, 4, 8>((a + b).get_bits::<4>(2), self.grid[1][0].val());
        self.word[5].next =
            cat2::<4, 4, 8>(self.grid[0][1].val(), self.grid[1][1].val() + self.grid[0][0].val());
        self.bit[7].next = a - b > b - a;
        self.bit[8].next = (a << 1) >> 1 == a;
    }
}

#[test]
fn expressions_that_the_stock_emitter_miscompiles() {
    differential(
        "stock",
        Table::<0x9c>::default,
        |uut, rng| {
            uut.a.next = rng.bits();
            uut.b.next = rng.bits();
            uut.outer.next = rng.value();
            for port in uut.grid.iter_mut().flatten() {
                port.next = rng.bits();
            }
        },
        CYCLES,
    );
}

#[derive(LogicBlock)]
struct Many {
    pub clock: Signal<In, Clock>,
    pub i: Signal<In, Bits<8>>,
    pub o: Signal<Out, Bits<8>>,
    delays: Vec<Delay>,
}

#[derive(LogicBlock, Default)]
struct Delay {
    pub clock: Signal<In, Clock>,
    pub i: Signal<In, Bits<8>>,
    pub o: Signal<Out, Bits<8>>,
    held: Reg<Bits<8>>,
}

impl Logic for Delay {
    #[hdl]
    fn update(&mut self) {
        self.held.d.next = self.i.val();
        self.o.next = self.held.q.val();
    }
}

impl Logic for Many {
    #[hdl]
    fn update(&mut self) {
        let n = self.delays.len();
        self.delays[0].i.next = self.i.val();
        for i in 1..n {
            self.delays[i].i.next = self.delays[i - 1].o.val();
        }
        self.o.next = self.delays[n - 1].o.val();
    }
}

#[test]
fn identical_modules_are_one() {
    let many = Many {
        clock: Signal::default(),
        i: Signal::default(),
        o: Signal::default(),
        delays: (0..1024).map(|_| Delay::default()).collect(),
    };
    let emitted = nitride_lang::emit::verilog(&many, "many").expect("a sound design");
    assert_eq!((emitted.modules, emitted.instances), (2, 1025));
    assert!(emitted.text.contains("stock_emitter.rs:"), "each module says where it comes from");
}
