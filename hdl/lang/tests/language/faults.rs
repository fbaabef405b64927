//! The differential test itself: faults in the Verilog, each of which it has to find.
//!
//! What a fault changes drives an output by itself and is reached by random inputs, so no faulty Verilog is equivalent to
//! the right one.
use super::CYCLES;
use nitride_lang::emit::{Emitted, verilog};
use nitride_lang::prelude::*;
use nitride_lang::testing::{Difference, Rng, compare};

#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
struct Pair {
    low: Bits<4>,
    high: Bits<4>,
}

#[derive(LogicBlock, Default)]
struct Expressions {
    pub a: Signal<In, Bits<8>>,
    pub b: Signal<In, Bits<8>>,
    pub x: Signal<In, Signed<8>>,
    pub y: Signal<In, Signed<8>>,
    pub pair: Signal<In, Pair>,
    pub by: Signal<In, Bits<3>>,
    pub c: Signal<In, Bit>,
    pub d: Signal<In, Bit>,
    pub sum: Signal<Out, Bits<8>>,
    pub difference: Signal<Out, Bits<8>>,
    pub both: Signal<Out, Bits<8>>,
    pub inverse: Signal<Out, Bits<8>>,
    pub shifted: Signal<Out, Bits<8>>,
    pub less: Signal<Out, Bit>,
    pub signed_less: Signal<Out, Bit>,
    pub nibble: Signal<Out, Bits<4>>,
    pub extended: Signal<Out, Bits<10>>,
    pub sign_extended: Signal<Out, Signed<10>>,
    pub turned: Signal<Out, Pair>,
    pub chosen: Signal<Out, Bits<8>>,
    pub decided: Signal<Out, Bits<8>>,
    pub matched: Signal<Out, Bits<8>>,
}

impl Logic for Expressions {
    #[hdl]
    fn update(&mut self) {
        let a = self.a.val();
        let b = self.b.val();
        self.sum.next = a + b;
        self.difference.next = a - b;
        self.both.next = a & b;
        self.inverse.next = !a;
        self.shifted.next = a << self.by.val();
        self.less.next = a < b;
        self.signed_less.next = self.x.val() < self.y.val();
        self.nibble.next = a.get_bits::<4>(2);
        self.extended.next = bit_cast::<10, 8>(b);
        self.sign_extended.next = signed_bit_cast::<10, 8>(self.x.val());
        self.turned.next = Pair { low: self.pair.val().high, high: self.pair.val().low };
        self.chosen.next = if self.c.val() { a } else { b };
        self.decided.next = b;
        if self.c.val() {
            self.decided.next = a;
            if self.d.val() {
                self.decided.next = 0x35.into();
            }
        }
        self.matched.next = match self.by.val().index() {
            1 => a,
            5 => b,
            _ => 0.into(),
        };
    }
}

impl Expressions {
    fn drive(&mut self, rng: &mut Rng) {
        self.a.next = rng.bits();
        self.b.next = if rng.chance(1, 8) { self.a.next } else { rng.bits() };
        self.x.next = rng.value();
        self.y.next = rng.value();
        self.pair.next = rng.value();
        self.by.next = rng.bits();
        self.c.next = rng.bit();
        self.d.next = rng.bit();
    }
}

#[derive(LogicBlock)]
struct State {
    pub clock: Signal<In, Clock>,
    pub enable: Signal<In, Bit>,
    pub data: Signal<In, Bits<8>>,
    pub address: Signal<In, Bits<3>>,
    pub held: Signal<Out, Bits<8>>,
    pub word: Signal<Out, Bits<8>>,
    register: Reg<Bits<8>>,
    ram: Ram<Bits<8>, 3>,
}

impl State {
    fn new() -> Self {
        Self {
            clock: Signal::default(),
            enable: Signal::default(),
            data: Signal::default(),
            address: Signal::default(),
            held: Signal::default(),
            word: Signal::default(),
            register: Reg::new(bits(0x5a)),
            ram: Ram::from_fn(|i| bits(0x11 * i as u64)),
        }
    }
    fn drive(&mut self, rng: &mut Rng) {
        self.enable.next = rng.bit();
        self.data.next = rng.bits();
        self.address.next = rng.bits();
    }
}

impl Logic for State {
    #[hdl]
    fn update(&mut self) {
        if self.enable.val() {
            self.register.d.next = self.data.val();
        }
        self.held.next = self.register.q.val();
        self.ram.read_address.next = self.address.val();
        self.ram.write_address.next = self.address.val();
        self.ram.write_data.next = self.data.val();
        self.ram.write_enable.next = self.enable.val();
        self.word.next = self.ram.read_data.val();
    }
}

/// Sub-blocks and their connections.
#[derive(LogicBlock, Default)]
struct Pipe {
    pub clock: Signal<In, Clock>,
    pub sink: Sink<Bits<8>>,
    pub source: Source<Bits<8>>,
    pub level: Signal<Out, Bits<8>>,
    skid: Skid<Bits<8>>,
    fifo: RegFifo<Bits<8>, 3>,
}

impl Logic for Pipe {
    #[hdl]
    fn update(&mut self) {
        self.sink.link(&mut self.skid.sink);
        self.skid.source.join(&mut self.fifo.sink);
        self.source.link(&mut self.fifo.source);
        self.level.next = self.fifo.level.val();
    }
}

impl Pipe {
    fn drive(&mut self, rng: &mut Rng) {
        self.sink.data.next = rng.bits();
        self.sink.valid.next = rng.bit();
        self.source.ready.next = rng.bit();
    }
}

/// What a fault is, the Verilog that stands there once, and what it becomes.
type Fault = (&'static str, &'static str, &'static str);

/// The Verilog with a fault in it.
fn planted(right: &Emitted, (kind, place, fault): Fault) -> Emitted {
    assert_eq!(right.text.matches(place).count(), 1, "{kind}: `{place}` in\n{}", right.text);
    Emitted { text: right.text.replace(place, fault), ..right.clone() }
}

/// Each fault is found where the outputs are compared.
fn found<B: Block + Synchronous>(
    name: &str,
    new: impl Fn() -> B,
    drive: impl Fn(&mut B, &mut Rng),
    faults: &[Fault],
) {
    let right = verilog(&new(), "uut").expect("a sound design");
    for fault in faults {
        let result = compare(&format!("fault_{name}"), new(), &planted(&right, *fault), &drive, CYCLES);
        assert!(matches!(result, Err(Difference::Output(_))), "{}: {result:?}", fault.0);
    }
}

#[test]
fn faults_in_expressions_are_found() {
    found(
        "expressions",
        Expressions::default,
        Expressions::drive,
        &[
            ("another operator", "sum = (a + b)", "sum = (a - b)"),
            ("swapped operands", "(a - b)", "(b - a)"),
            ("a bitwise operator", "(a & b)", "(a | b)"),
            ("a lost inversion", "(~a)", "a"),
            ("a shift the other way", "(a << by)", "(a >> by)"),
            ("a strict comparison", "less = (a < b)", "less = (a <= b)"),
            ("a lost sign", "($signed(x) < $signed(y))", "(x < y)"),
            ("a slice off by one", "a[5:2]", "a[6:3]"),
            ("a sign where zeroes belong", "{2'h0, b}", "{{2{b[7]}}, b}"),
            ("zeroes where a sign belongs", "{x[7], x[7], x}", "{2'h0, x}"),
            ("swapped fields", "{pair[3:0], pair[7:4]}", "{pair[7:4], pair[3:0]}"),
            ("an inverted condition", "(c ? a : b)", "(~c ? a : b)"),
            ("a wrong constant", "decided = 8'h35", "decided = 8'h34"),
            ("an else with its if's value", "decided = b;", "decided = a;"),
            ("another arm", "3'h5: begin", "3'h4: begin"),
        ],
    );
}

#[test]
fn faults_in_registers_and_memories_are_found() {
    found(
        "state",
        State::new,
        State::drive,
        &[
            ("a wrong reset value", "register$q = 8'h5a", "register$q = 8'h5b"),
            ("an inverted enable", "(enable ? data : register$q)", "(enable ? register$q : data)"),
            ("the other edge", "@(posedge clock) register$q", "@(negedge clock) register$q"),
            ("a wrong word of the contents", "ram$words[6] = 8'h66", "ram$words[6] = 8'h65"),
            ("a lost write enable", "if (ram$write_enable) ", ""),
            (
                "the new word on a collision",
                "ram$read_data <= ram$words[ram$read_address]",
                "ram$read_data <= ram$write_enable ? ram$write_data : ram$words[ram$read_address]",
            ),
        ],
    );
}

#[test]
fn faults_in_connections_are_found() {
    found(
        "pipe",
        Pipe::default,
        Pipe::drive,
        &[
            ("a crossed connection", ".source$ready(skid$source$ready)", ".source$ready(fifo$source$ready)"),
            ("an open input", ".sink$valid(fifo$sink$valid)", ".sink$valid(1'h0)"),
        ],
    );
}

#[test]
fn a_lost_else_is_refused_as_a_latch() {
    let right = verilog(&Expressions::default(), "uut").expect("a sound design");
    let fault = planted(&right, ("a lost else", "decided = b;", ""));
    let result = compare("fault_latch", Expressions::default(), &fault, Expressions::drive, CYCLES);
    assert!(
        matches!(&result, Err(Difference::Refused(error)) if error.to_string().contains("Latch")),
        "{result:?}"
    );
}
