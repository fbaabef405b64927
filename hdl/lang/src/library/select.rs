//! Choosing among requests.
use crate::prelude::*;

/// The least significant one of `x`, alone; zero for zero.
#[hdl_fn]
pub fn lowest_one<const N: usize>(x: Bits<N>) -> Bits<N> {
    x & (!x + 1)
}

/// The position of the only one of `x` in `W` bits; zero for zero.
#[hdl_fn]
pub fn one_hot_index<const N: usize, const W: usize>(x: Bits<N>) -> Bits<W> {
    let mut index: Bits<W> = 0.into();
    for i in 0..N {
        if x.get_bit(i) {
            index = index | i as u64;
        }
    }
    index
}

/// Finds the least significant one among `N` requests. Combinational.
#[derive(LogicBlock, Default)]
pub struct PriorityEncoder<const N: usize> {
    /// The requests.
    pub request: Signal<In, Bits<N>>,
    /// The first of them, one-hot; zero when there is none.
    pub grant: Signal<Out, Bits<N>>,
    /// Its position; zero when there is none.
    pub index: Signal<Out, Bits<8>>,
    /// There is a request.
    pub valid: Signal<Out, Bit>,
}

impl<const N: usize> Logic for PriorityEncoder<N> {
    #[hdl]
    fn update(&mut self) {
        let grant = lowest_one::<N>(self.request.val());
        self.grant.next = grant;
        self.index.next = one_hot_index::<N, 8>(grant);
        self.valid.next = self.request.val().any();
    }
}

/// A round-robin arbiter of `N` requests (1 to 256).
///
/// The grant follows the requests in the same cycle. At an edge with `advance`, the granted requester becomes the last in
/// turn, so that no requester waits for more than `N - 1` advances.
#[derive(LogicBlock, Default)]
pub struct Arbiter<const N: usize> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// The requests.
    pub request: Signal<In, Bits<N>>,
    /// The grant is used in this cycle: go on to the next requester.
    pub advance: Signal<In, Bit>,
    /// The granted request, one-hot; zero when there is none.
    pub grant: Signal<Out, Bits<N>>,
    /// Its position; zero when there is none.
    pub index: Signal<Out, Bits<8>>,
    /// There is a request.
    pub valid: Signal<Out, Bit>,
    // The requesters that come after the last granted one.
    after: Reg<Bits<N>>,
}

impl<const N: usize> Logic for Arbiter<N> {
    #[hdl]
    fn update(&mut self) {
        let request = self.request.val();
        let preferred = request & self.after.q.val();
        let grant = lowest_one::<N>(if preferred.any() { preferred } else { request });
        if self.advance.val() && request.any() {
            self.after.d.next = !(grant | (grant - 1));
        }
        self.grant.next = grant;
        self.index.next = one_hot_index::<N, 8>(grant);
        self.valid.next = request.any();
    }
}

/// Counts the cycles with `enable`, modulo `2^N`; `clear` wins.
#[derive(LogicBlock, Default)]
pub struct Counter<const N: usize> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Add one at this edge.
    pub enable: Signal<In, Bit>,
    /// Go to zero at this edge.
    pub clear: Signal<In, Bit>,
    /// The count.
    pub count: Signal<Out, Bits<N>>,
    value: Reg<Bits<N>>,
}

impl<const N: usize> Logic for Counter<N> {
    #[hdl]
    fn update(&mut self) {
        if self.enable.val() {
            self.value.d.next = self.value.q.val() + 1;
        }
        if self.clear.val() {
            self.value.d.next = 0.into();
        }
        self.count.next = self.value.q.val();
    }
}
