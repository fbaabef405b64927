//! Numbers that are handed out and come back.

use nitride_lang::prelude::*;

/// A pool of `2^A` entries of `W` bits, oldest returned first; all are free at first.
///
/// One entry can leave and one come back each cycle; an entry that comes back can leave two cycles later. Nothing may come
/// back that was not handed out.
#[derive(LogicBlock)]
pub struct FreeList<const W: usize, const A: usize> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// A free entry.
    pub source: Source<Bits<W>>,
    /// `back` comes back at this edge.
    pub give: Signal<In, Bit>,
    /// The entry that comes back.
    pub back: Signal<In, Bits<W>>,
    /// All entries are here.
    pub full: Signal<Out, Bit>,
    ram: Ram<Bits<W>, A>,
    // Modulo 2^(A+1), so that full and empty differ.
    write: Reg<Bits<8>>,
    read: Reg<Bits<8>>,
    // The write pointer one cycle ago: what the RAM's read port can see.
    written: Reg<Bits<8>>,
}

impl<const W: usize, const A: usize> FreeList<W, A> {
    /// The pool of `entry(0)` to `entry(2^A - 1)`; `A` is at most 6.
    #[must_use]
    pub fn new(entry: impl Fn(u64) -> u64) -> Self {
        assert!(A <= 6, "pointers have 8 bits");
        Self {
            clock: Signal::default(),
            source: Source::default(),
            give: Signal::default(),
            back: Signal::default(),
            full: Signal::default(),
            ram: Ram::from_fn(|i| entry(i as u64).into()),
            write: Reg::new((1u64 << A).into()),
            read: Reg::default(),
            written: Reg::default(),
        }
    }
}

impl<const W: usize, const A: usize> Logic for FreeList<W, A> {
    #[hdl]
    fn update(&mut self) {
        let wrap = (2u64 << A) - 1;
        let valid = self.read.q.val() != self.written.q.val();
        let head =
            if valid && self.source.ready.val() { (self.read.q.val() + 1) & wrap } else { self.read.q.val() };
        self.read.d.next = head;
        self.written.d.next = self.write.q.val();
        if self.give.val() {
            self.write.d.next = (self.write.q.val() + 1) & wrap;
        }
        self.ram.write_address.next = self.write.q.val().get_bits::<A>(0);
        self.ram.write_data.next = self.back.val();
        self.ram.write_enable.next = self.give.val();
        self.ram.read_address.next = head.get_bits::<A>(0);
        self.source.data.next = self.ram.read_data.val();
        self.source.valid.next = valid;
        self.full.next = ((self.write.q.val() - self.read.q.val()) & wrap).get_bit(A);
    }
}
