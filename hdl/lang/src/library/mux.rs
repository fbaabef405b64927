//! Many streams into one.
use crate::prelude::*;

/// Passes the stream that `select` names. Combinational; the other streams wait.
///
/// `select` may change only between words (while the selected stream's `valid` is low, or as its word moves).
#[derive(LogicBlock)]
pub struct StreamMux<T: Synth, const N: usize> {
    /// Words go in.
    pub sink: [Sink<T>; N],
    /// Which stream passes; none for `N` and above.
    pub select: Signal<In, Bits<8>>,
    /// Words come out.
    pub source: Source<T>,
}

impl<T: Synth, const N: usize> Default for StreamMux<T, N> {
    fn default() -> Self {
        Self {
            sink: std::array::from_fn(|_| Sink::default()),
            select: Signal::default(),
            source: Source::default(),
        }
    }
}

impl<T: Synth, const N: usize> Logic for StreamMux<T, N> {
    #[hdl]
    fn update(&mut self) {
        self.source.valid.next = false;
        self.source.data.next = self.sink[0].data.val();
        for i in 0..N {
            let selected = self.select.val() == i as u64;
            self.sink[i].ready.next = selected && self.source.ready.val();
            if selected {
                self.source.valid.next = self.sink[i].valid.val();
                self.source.data.next = self.sink[i].data.val();
            }
        }
    }
}

/// Merges `N` streams, round robin, packet by packet.
///
/// Latency 0, full throughput. A stream that has been chosen keeps the output until its packet's last word has moved, and
/// a word that waits is never replaced by another stream's.
#[derive(LogicBlock)]
pub struct StreamArbiter<T: Synth, const N: usize> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Words go in.
    pub sink: [Sink<T>; N],
    /// Bit `i`: the word that sink `i` offers ends its packet. Tie to ones for packets of one word.
    pub last: Signal<In, Bits<N>>,
    /// Words come out.
    pub source: Source<T>,
    /// The stream that `source` shows; meaningful while `source.valid`.
    pub index: Signal<Out, Bits<8>>,
    arbiter: Arbiter<N>,
    locked: Reg<Bit>,
    holder: Reg<Bits<N>>,
}

impl<T: Synth, const N: usize> Default for StreamArbiter<T, N> {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            sink: std::array::from_fn(|_| Sink::default()),
            last: Signal::default(),
            source: Source::default(),
            index: Signal::default(),
            arbiter: Arbiter::default(),
            locked: Reg::default(),
            holder: Reg::default(),
        }
    }
}

impl<T: Synth, const N: usize> Logic for StreamArbiter<T, N> {
    #[hdl]
    fn update(&mut self) {
        let mut request: Bits<N> = 0.into();
        for i in 0..N {
            if self.sink[i].valid.val() {
                request = request | (bits::<N>(1) << i as u64);
            }
        }
        self.arbiter.request.next = request;
        let grant = if self.locked.q.val() { self.holder.q.val() } else { self.arbiter.grant.val() };
        let valid = (grant & request).any();
        let mut data = self.sink[0].data.val();
        for i in 0..N {
            self.sink[i].ready.next = grant.get_bit(i) && self.source.ready.val();
            if grant.get_bit(i) {
                data = self.sink[i].data.val();
            }
        }
        let done = valid && self.source.ready.val() && (grant & self.last.val()).any();
        self.arbiter.advance.next = valid && !self.locked.q.val();
        self.locked.d.next = (valid || self.locked.q.val()) && !done;
        self.holder.d.next = grant;
        self.source.valid.next = valid;
        self.source.data.next = data;
        self.index.next = one_hot_index::<N, 8>(grant);
    }
}
