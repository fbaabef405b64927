//! Statements, structs, enums, arrays, functions and interfaces.
use super::CYCLES;
use nitride_lang::prelude::*;
use nitride_lang::testing::{Rng, differential};

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
enum State {
    #[default]
    Idle,
    Busy,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Header<const N: usize> {
    kind: State,
    length: Bits<N>,
    last: Bit,
}

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Pair<T: Synth> {
    base: T,
    other: T,
}

mod arithmetic {
    use nitride_lang::prelude::*;

    #[hdl_fn]
    pub fn larger<const N: usize>(a: Bits<N>, b: Bits<N>) -> Bits<N> {
        if a < b { b } else { a }
    }

    #[hdl_fn]
    pub fn fold<const N: usize>(a: Bits<N>, steps: usize) -> Bits<N> {
        let mut x = a;
        for i in 0..steps {
            x = larger::<N>(x ^ (a >> i as u64), x + 3);
        }
        x
    }

    #[hdl_fn]
    pub fn choose<T: Synth>(which: Bit, a: T, b: T) -> T {
        if which { a } else { b }
    }
}
use arithmetic::{choose, fold};

#[derive(LogicBlock, Default)]
struct Constructs<T: Synth> {
    pub clock: Signal<In, Clock>,
    pub a: Signal<In, Bits<8>>,
    pub b: Signal<In, Bits<8>>,
    pub go: Signal<In, Bit>,
    pub header: Signal<In, Header<5>>,
    pub pair: Signal<In, Pair<T>>,
    pub raw: Signal<In, Bits<8>>,
    pub at: Signal<In, Bits<2>>,
    pub state: Signal<Out, State>,
    pub header_out: Signal<Out, Header<5>>,
    pub pair_out: Signal<Out, Pair<T>>,
    pub as_bits: Signal<Out, Bits<8>>,
    pub unpacked: Signal<Out, Header<5>>,
    pub word: [Signal<Out, Bits<8>>; 8],
    pub table: [Signal<Out, Bits<8>>; 3],
    scratch: Signal<Local, Bits<8>>,
    current: Reg<State>,
    registers: [Reg<Bits<8>>; 3],
    headers: [Reg<Header<5>>; 4],
    _step: u64,
    _wide: bool,
}

impl<T: Synth> Logic for Constructs<T> {
    #[hdl]
    fn update(&mut self) {
        const LIMIT: u64 = 200;
        let a = self.a.val();
        let b = self.b.val();
        // A state machine, with a match as a statement and as a value.
        match self.current.q.val() {
            State::Idle => {
                if self.go.val() {
                    self.current.d.next = State::Busy;
                }
            }
            State::Busy => self.current.d.next = if a > b { State::Done } else { State::Busy },
            State::Done => {
                self.current.d.next = State::Idle;
            }
        }
        self.state.next = match self.header.val().kind {
            State::Idle | State::Done => self.current.q.val(),
            _ => self.header.val().kind,
        };
        // Structs: literal, base, fields written and read.
        self.header_out.next = self.header.val();
        self.header_out.next.last = self.go.val();
        if a == b {
            self.header_out.next.length = self.header.val().length + 1;
        }
        let filled = Header::<5> { kind: State::Done, ..self.header.val() };
        let swapped = Pair::<T> { other: self.pair.val().base, base: self.pair.val().other };
        self.pair_out.next = choose(self.go.val(), self.pair.val(), swapped);
        self.as_bits.next = pack::<8>(filled);
        self.unpacked.next = unpack::<Header<5>>(self.raw.val());
        // A signal assigned several times, read in between.
        self.scratch.next = a;
        if self.go.val() {
            self.scratch.next = self.scratch.val() + b;
        }
        let between = self.scratch.val();
        self.scratch.next = self.scratch.next ^ 0x55;
        self.word[0].next = between;
        self.word[1].next = self.scratch.val();
        // Variables across conditions.
        let mut x = a;
        let before = x;
        if self.go.val() {
            x += self._step;
            if x > LIMIT {
                x = 0.into();
            }
        } else {
            let mut y = b;
            y += 1;
            x = x ^ y;
        }
        self.word[2].next = x - before;
        // Rust values decide when the hardware is built.
        let unrolled = if self._wide { 5 } else { 2 };
        self.word[3].next = fold::<8>(a, unrolled);
        // Arrays, at positions that hardware computes.
        let i = self.at.val().index();
        let words = [a, b, a ^ b, bits::<8>(7)];
        self.word[4].next = words[i];
        let mut marks = [a, b, a, b];
        marks[i] = self.raw.val();
        self.word[5].next = marks[0] + marks[1] + marks[2] - marks[3];
        self.headers[i].d.next.length = a.get_bits::<5>(2);
        let chosen = self.headers[i].q.val();
        self.word[6].next = bit_cast::<8, 5>(chosen.length);
        if self.at.val() < 3 {
            self.registers[self.at.val().index()].d.next = a;
        }
        // Numbers, by ranges.
        self.word[7].next = match self.raw.val().get_bits::<5>(0).index() {
            0 => a,
            1..=3 | 9 => b,
            10..12 => {
                let sum = a + b;
                sum
            }
            40 => 1.into(),
            _ => 0.into(),
        };
        for i in 0..3 {
            self.table[i].next = self.registers[i].q.val();
        }
    }
}

#[test]
fn constructs() {
    fn header(rng: &mut Rng) -> Header<5> {
        rng.value()
    }
    differential(
        "constructs",
        || Constructs::<Header<5>> {
            registers: [Reg::new(bits(1)), Reg::new(bits(0xfe)), Reg::default()],
            _step: 3,
            _wide: true,
            ..Default::default()
        },
        |uut, rng| {
            uut.a.next = rng.bits();
            uut.b.next = if rng.chance(1, 4) { uut.a.next } else { rng.bits() };
            uut.go.next = rng.bit();
            uut.header.next = header(rng);
            uut.pair.next = Pair { base: header(rng), other: header(rng) };
            uut.raw.next = rng.bits();
            uut.at.next = rng.bits();
        },
        CYCLES,
    );
}

#[test]
fn packing_is_the_inverse_of_unpacking() {
    let mut rng = Rng::new(7);
    for _ in 0..1000 {
        let header: Header<5> = rng.value();
        assert_eq!(unpack::<Header<5>>(pack::<8>(header)), header);
    }
    let header = Header::<5> { kind: State::Done, length: bits(0x15), last: true };
    assert_eq!(pack::<8>(header), bits(0b1101_0110), "the first field is least significant");
}

/// Sub-blocks in arrays, joined and linked, and one clock for all of them.
#[derive(LogicBlock, Default)]
struct Chain {
    pub clock: Signal<In, Clock>,
    pub sink: Sink<Header<5>>,
    pub source: Source<Header<5>>,
    pub level: Signal<Out, Bits<16>>,
    skids: [Skid<Header<5>>; 3],
    fifo: Fifo<Header<5>, 2>,
}

impl Logic for Chain {
    #[hdl]
    fn update(&mut self) {
        self.sink.link(&mut self.skids[0].sink);
        self.skids[1].sink.data.next = self.skids[0].source.data.val();
        self.skids[1].sink.valid.next = self.skids[0].source.valid.val();
        self.skids[0].source.ready.next = self.skids[1].sink.ready.val();
        self.fifo.sink.data.next = self.skids[1].source.data.val();
        self.fifo.sink.valid.next = self.skids[1].source.valid.val();
        self.skids[1].source.ready.next = self.fifo.sink.ready.val();
        Source::<Header<5>>::join(&mut self.fifo.source, &mut self.skids[2].sink);
        self.source.link(&mut self.skids[2].source);
        self.level.next = self.fifo.level.val();
    }
}

#[test]
fn interfaces_join_and_link() {
    differential(
        "chain",
        Chain::default,
        |uut, rng| {
            uut.sink.data.next = rng.value();
            uut.sink.valid.next = rng.bit();
            uut.source.ready.next = rng.bit();
        },
        CYCLES,
    );
}
