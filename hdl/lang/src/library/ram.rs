//! Memories. All are synchronous and map to block RAM.
use crate::ast::{Body, Literal};
use crate::prelude::*;

/// A memory of `2^A` words with one write port and one read port.
///
/// - Read latency 1: `read_data` is the word at `read_address` as it was before the rising edge. A read of the word that
///   is written at the same edge gives the **old** word.
/// - One read and one write each cycle; there is no back-pressure.
/// - Contents are zero (`T::default()`) or given to [`Ram::new`] or [`Ram::from_fn`].
#[derive(Clone, Debug)]
pub struct Ram<T: Synth, const A: usize> {
    /// Rising edge, both ports.
    pub clock: Signal<In, Clock>,
    /// Word to read.
    pub read_address: Signal<In, Bits<A>>,
    /// The word, one cycle later.
    pub read_data: Signal<Out, T>,
    /// Word to write.
    pub write_address: Signal<In, Bits<A>>,
    /// What to write.
    pub write_data: Signal<In, T>,
    /// Write at this edge.
    pub write_enable: Signal<In, Bit>,
    words: Vec<T>,
    initial: Vec<T>,
}

impl<T: Synth, const A: usize> Ram<T, A> {
    /// A memory that starts with `contents`; the words after them are zero.
    ///
    /// # Panics
    /// When there are more than `2^A` words.
    pub fn new(contents: Vec<T>) -> Self {
        assert!(contents.len() <= 1 << A, "{} initial words for a RAM of {}", contents.len(), 1usize << A);
        let mut words = contents.clone();
        words.resize(1 << A, T::default());
        Self {
            clock: Signal::default(),
            read_address: Signal::default(),
            read_data: Signal::default(),
            write_address: Signal::default(),
            write_data: Signal::default(),
            write_enable: Signal::default(),
            words,
            initial: contents,
        }
    }
    /// A memory whose word `i` starts as `word(i)`.
    pub fn from_fn(word: impl FnMut(usize) -> T) -> Self {
        Self::new((0..1 << A).map(word).collect())
    }
}

impl<T: Synth, const A: usize> Default for Ram<T, A> {
    fn default() -> Self {
        Self::new(vec![])
    }
}

/// The index that an address of any width stands for (rust-hdl's own `index` stops at 32 bits).
fn index<const A: usize>(address: Bits<A>) -> usize {
    address.to_u64() as usize
}

impl<T: Synth, const A: usize> Logic for Ram<T, A> {
    fn update(&mut self) {
        if self.clock.pos_edge() {
            self.read_data.next = self.words[index(self.read_address.val())];
            if self.write_enable.val() {
                let address = index(self.write_address.val());
                self.words[address] = self.write_data.val();
            }
        }
    }
    fn hdl(&self) -> Verilog {
        Body::Ram { contents: self.initial.iter().map(|w| Literal::of(*w)).collect() }.hand_over()
    }
}

impl<T: Synth, const A: usize> Block for Ram<T, A> {
    fn connect_all(&mut self) {}
    fn update_all(&mut self) {
        self.update();
        self.clock.update_all();
        self.read_address.update_all();
        self.read_data.update_all();
        self.write_address.update_all();
        self.write_data.update_all();
        self.write_enable.update_all();
    }
    fn has_changed(&self) -> bool {
        self.clock.has_changed()
            || self.read_address.has_changed()
            || self.read_data.has_changed()
            || self.write_address.has_changed()
            || self.write_data.has_changed()
            || self.write_enable.has_changed()
    }
    fn accept(&self, name: &str, probe: &mut dyn Probe) {
        probe.visit_start_scope(name, self);
        self.clock.accept("clock", probe);
        self.read_address.accept("read_address", probe);
        self.read_data.accept("read_data", probe);
        self.write_address.accept("write_address", probe);
        self.write_data.accept("write_data", probe);
        self.write_enable.accept("write_enable", probe);
        probe.visit_end_scope(name, self);
    }
}

impl<T: Synth, const A: usize> Synchronous for Ram<T, A> {
    fn drive(&mut self, clock: Clock) {
        self.clock.next = clock;
    }
    fn trace(&self, clock: &crate::synchronous::ClockInput) {
        crate::synchronous::trace_clock(&self.clock, clock);
    }
}

/// A memory of `2^A` constant words. Read latency 1, one read each cycle.
#[derive(LogicBlock)]
pub struct Rom<T: Synth, const A: usize> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Word to read.
    pub address: Signal<In, Bits<A>>,
    /// The word, one cycle later.
    pub data: Signal<Out, T>,
    ram: Ram<T, A>,
}

impl<T: Synth, const A: usize> Rom<T, A> {
    /// A memory of `contents`; the words after them are zero.
    ///
    /// # Panics
    /// When there are more than `2^A` words.
    pub fn new(contents: Vec<T>) -> Self {
        Self {
            clock: Signal::default(),
            address: Signal::default(),
            data: Signal::default(),
            ram: Ram::new(contents),
        }
    }
}

impl<T: Synth, const A: usize> Logic for Rom<T, A> {
    #[hdl]
    fn update(&mut self) {
        self.ram.read_address.next = self.address.val();
        self.ram.write_address.next = self.address.val();
        self.ram.write_data.next = self.ram.read_data.val();
        self.ram.write_enable.next = false;
        self.data.next = self.ram.read_data.val();
    }
}

/// A memory of `2^A` words with one write port and two read ports (two copies of the words).
///
/// Each read port behaves as [`Ram`]'s: latency 1, old word on a collision.
#[derive(LogicBlock, Default)]
pub struct Ram2<T: Synth, const A: usize> {
    /// Rising edge, all ports.
    pub clock: Signal<In, Clock>,
    /// Words to read.
    pub read_address: [Signal<In, Bits<A>>; 2],
    /// The words, one cycle later.
    pub read_data: [Signal<Out, T>; 2],
    /// Word to write.
    pub write_address: Signal<In, Bits<A>>,
    /// What to write.
    pub write_data: Signal<In, T>,
    /// Write at this edge.
    pub write_enable: Signal<In, Bit>,
    copy: [Ram<T, A>; 2],
}

impl<T: Synth, const A: usize> Ram2<T, A> {
    /// A memory that starts with `contents`; the words after them are zero.
    ///
    /// # Panics
    /// When there are more than `2^A` words.
    pub fn new(contents: &[T]) -> Self {
        Self { copy: [Ram::new(contents.to_vec()), Ram::new(contents.to_vec())], ..Default::default() }
    }
}

impl<T: Synth, const A: usize> Logic for Ram2<T, A> {
    #[hdl]
    fn update(&mut self) {
        for i in 0..2 {
            self.copy[i].read_address.next = self.read_address[i].val();
            self.copy[i].write_address.next = self.write_address.val();
            self.copy[i].write_data.next = self.write_data.val();
            self.copy[i].write_enable.next = self.write_enable.val();
            self.read_data[i].next = self.copy[i].read_data.val();
        }
    }
}
