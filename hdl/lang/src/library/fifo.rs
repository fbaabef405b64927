//! Queues between a stream's producer and its consumer.
use crate::prelude::*;

/// A first-in first-out queue of `2^A` words in a block RAM, `A` from 1 to 15.
///
/// Show-ahead: `source.data` is the head while `source.valid`. Latency 2 cycles from a push to `valid`; one push and one pop
/// each cycle. `sink.ready` falls when the queue is full and does not depend on `source.ready`.
#[derive(LogicBlock, Default)]
pub struct Fifo<T: Synth, const A: usize> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Words go in.
    pub sink: Sink<T>,
    /// Words come out.
    pub source: Source<T>,
    /// Words in the queue, 0 to `2^A`.
    pub level: Signal<Out, Bits<16>>,
    ram: Ram<T, A>,
    // Pointers count modulo 2^(A+1), so that full and empty differ.
    write: Reg<Bits<16>>,
    read: Reg<Bits<16>>,
    // The write pointer one cycle ago: what the RAM's read port can see.
    written: Reg<Bits<16>>,
}

impl<T: Synth, const A: usize> Logic for Fifo<T, A> {
    #[hdl]
    fn update(&mut self) {
        let wrap = (2u64 << A) - 1;
        let level = (self.write.q.val() - self.read.q.val()) & wrap;
        let push = self.sink.valid.val() && !level.get_bit(A);
        let valid = self.read.q.val() != self.written.q.val();
        let pop = valid && self.source.ready.val();
        let head = if pop { (self.read.q.val() + 1) & wrap } else { self.read.q.val() };
        self.read.d.next = head;
        self.written.d.next = self.write.q.val();
        if push {
            self.write.d.next = (self.write.q.val() + 1) & wrap;
        }
        self.ram.write_address.next = self.write.q.val().get_bits::<A>(0);
        self.ram.write_data.next = self.sink.data.val();
        self.ram.write_enable.next = push;
        self.ram.read_address.next = head.get_bits::<A>(0);
        self.sink.ready.next = !level.get_bit(A);
        self.source.data.next = self.ram.read_data.val();
        self.source.valid.next = valid;
        self.level.next = level;
    }
}

/// A first-in first-out queue of `N` words in registers, `N` from 1 to 255.
///
/// Show-ahead, latency 1 cycle, one push and one pop each cycle for `N` of 2 and more. Neither `sink.ready` nor
/// `source.valid` depends on the other side in the same cycle, so `RegFifo<T, 2>` also cuts long combinational paths.
#[derive(LogicBlock)]
pub struct RegFifo<T: Synth, const N: usize> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Words go in.
    pub sink: Sink<T>,
    /// Words come out.
    pub source: Source<T>,
    /// Words in the queue, 0 to `N`.
    pub level: Signal<Out, Bits<8>>,
    // The head is entry 0.
    entries: [Reg<T>; N],
    count: Reg<Bits<8>>,
}

impl<T: Synth, const N: usize> Default for RegFifo<T, N> {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            sink: Sink::default(),
            source: Source::default(),
            level: Signal::default(),
            entries: std::array::from_fn(|_| Reg::default()),
            count: Reg::default(),
        }
    }
}

impl<T: Synth, const N: usize> Logic for RegFifo<T, N> {
    #[hdl]
    fn update(&mut self) {
        let count = self.count.q.val();
        let push = self.sink.valid.val() && count != N as u64;
        let pop = count.any() && self.source.ready.val();
        let tail = if pop { count - 1 } else { count };
        for i in 0..N {
            if i + 1 < N {
                if pop {
                    self.entries[i].d.next = self.entries[i + 1].q.val();
                }
            }
            if push && tail == i as u64 {
                self.entries[i].d.next = self.sink.data.val();
            }
        }
        self.count.d.next = if push { tail + 1 } else { tail };
        self.sink.ready.next = count != N as u64;
        self.source.valid.next = count.any();
        self.source.data.next = self.entries[0].q.val();
        self.level.next = count;
    }
}

/// A one-word buffer that cuts the combinational path of `ready`.
///
/// Latency 0 (`source.valid` and `source.data` follow the sink in the same cycle), full throughput; `sink.ready` comes from a
/// register. To cut both directions use [`RegFifo<T, 2>`](RegFifo).
#[derive(LogicBlock, Default)]
pub struct Skid<T: Synth> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Words go in.
    pub sink: Sink<T>,
    /// Words come out.
    pub source: Source<T>,
    full: Reg<Bit>,
    held: Reg<T>,
}

impl<T: Synth> Logic for Skid<T> {
    #[hdl]
    fn update(&mut self) {
        let full = self.full.q.val();
        self.sink.ready.next = !full;
        self.source.valid.next = full || self.sink.valid.val();
        self.source.data.next = if full { self.held.q.val() } else { self.sink.data.val() };
        if full {
            self.full.d.next = !self.source.ready.val();
        } else if self.sink.valid.val() && !self.source.ready.val() {
            self.held.d.next = self.sink.data.val();
            self.full.d.next = true;
        }
    }
}
