//! Between streams of different widths.
use crate::prelude::*;

/// A word of a packet that a [`Widen`] produces and a [`Narrow`] consumes: up to 256 parts, the first in the least significant bits.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Wide<const W: usize> {
    /// The parts; those that are not filled are zero.
    pub data: Bits<W>,
    /// How many parts are filled, less one.
    pub parts: Bits<8>,
    /// The packet ends with the last filled part.
    pub last: Bit,
}

/// One part of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Part<const P: usize> {
    /// The part.
    pub data: Bits<P>,
    /// The packet ends with it.
    pub last: Bit,
}

/// Gathers parts of `P` bits into words of `W` bits, `W` a multiple of `P`.
///
/// Takes one part each cycle; a word leaves when it is full or its packet ends. Latency 1 cycle from a word's last part.
/// While a word waits to leave, parts wait too unless it leaves in this cycle.
#[derive(LogicBlock, Default)]
pub struct Widen<const P: usize, const W: usize> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Parts go in.
    pub sink: Sink<Part<P>>,
    /// Words come out.
    pub source: Source<Wide<W>>,
    word: Reg<Wide<W>>,
    full: Reg<Bit>,
    filled: Reg<Bits<8>>,
}

impl<const P: usize, const W: usize> Logic for Widen<P, W> {
    #[hdl]
    fn update(&mut self) {
        let ready = !self.full.q.val() || self.source.ready.val();
        let part = self.sink.data.val();
        let first = !self.filled.q.val().any();
        if self.full.q.val() && self.source.ready.val() {
            self.full.d.next = false;
        }
        if self.sink.valid.val() && ready {
            let end = part.last || self.filled.q.val() == (W / P - 1) as u64;
            let mut data = if first { 0.into() } else { self.word.q.val().data };
            for i in 0..W / P {
                if self.filled.q.val() == i as u64 {
                    data = data | (bit_cast::<W, P>(part.data) << (i * P) as u64);
                }
            }
            self.word.d.next = Wide::<W> { data: data, parts: self.filled.q.val(), last: part.last };
            self.filled.d.next = if end { 0.into() } else { self.filled.q.val() + 1 };
            self.full.d.next = end;
        }
        self.sink.ready.next = ready;
        self.source.data.next = self.word.q.val();
        self.source.valid.next = self.full.q.val();
    }
}

/// Cuts words of `W` bits into parts of `P` bits, `W` a multiple of `P`.
///
/// Latency 0: the first part of a word shows in the cycle in which the word does; one part each cycle. The word is taken with
/// its last filled part.
#[derive(LogicBlock, Default)]
pub struct Narrow<const W: usize, const P: usize> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Words go in.
    pub sink: Sink<Wide<W>>,
    /// Parts come out.
    pub source: Source<Part<P>>,
    sent: Reg<Bits<8>>,
}

impl<const W: usize, const P: usize> Logic for Narrow<W, P> {
    #[hdl]
    fn update(&mut self) {
        let word = self.sink.data.val();
        let end = self.sent.q.val() == word.parts;
        let mut part = word.data.get_bits::<P>(0);
        for i in 1..W / P {
            if self.sent.q.val() == i as u64 {
                part = word.data.get_bits::<P>(i * P);
            }
        }
        if self.sink.valid.val() && self.source.ready.val() {
            self.sent.d.next = if end { 0.into() } else { self.sent.q.val() + 1 };
        }
        self.source.data.next = Part::<P> { data: part, last: end && word.last };
        self.source.valid.next = self.sink.valid.val();
        self.sink.ready.next = end && self.source.ready.val();
    }
}
