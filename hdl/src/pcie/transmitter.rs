//! The way out: all of the card's TLPs onto one link.

use nitride_lang::prelude::*;

use crate::bus::TlpBeat;

/// The TLPs' kinds, as bits of `credit`.
const POSTED: usize = 0;
const NON_POSTED: usize = 1;
const COMPLETION: usize = 2;

/// Inputs in turn: completer, writes, interrupts, reads.
const INPUTS: usize = 4;

/// The first of `wanting` after `holder` in turn (one-hot), or `holder` where nobody wants.
#[hdl_fn]
fn next_in_turn(holder: Bits<4>, wanting: Bits<4>) -> Bits<4> {
    // Those after the holder, then all again.
    let after = !(holder | (holder - 1));
    let behind = wanting & after;
    let first = lowest_one::<4>(if behind.any() { behind } else { wanting });
    if wanting.any() { first } else { holder }
}

/// Merges TLPs, round robin TLP by TLP, never interleaved.
///
/// Latency 0 from the input that had the last turn, else 1 cycle. No gaps: when a TLP ends while another input has
/// one to start, that is next, and otherwise the same input may go on at once. So no input waits for more than one TLP of
/// each of the others, and a kind without credit keeps no other one waiting (PCIe 4.0 §2.4.1).
///
/// A TLP is started only while its kind's bit in `credit` is set; then it is shown until it was taken whole. The order of
/// all TLPs is that in which they are accepted here. `tx` is not registered: `valid`, `data` and the inputs' `ready` follow
/// the granted input, `credit` and `tx.ready` in the same cycle.
#[derive(LogicBlock)]
pub struct Transmitter {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Completions of the host's requests.
    pub completer: Sink<TlpBeat>,
    /// The DMA writer's.
    pub writes: Sink<TlpBeat>,
    /// Interrupt messages (memory writes).
    pub interrupts: Sink<TlpBeat>,
    /// The DMA reader's.
    pub reads: Sink<TlpBeat>,
    /// The link.
    pub tx: Source<TlpBeat>,
    /// The host can take a TLP of this kind of the largest size. Bit 0: posted, 1: non-posted, 2: completion.
    pub credit: Signal<In, Bits<3>>,
    /// A TLP is waiting or on its way.
    pub busy: Signal<Out, Bit>,
    // One-hot.
    holder: Reg<Bits<INPUTS>>,
    // A TLP was shown and is not taken whole yet.
    started: Reg<Bit>,
}

impl Default for Transmitter {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            completer: Sink::default(),
            writes: Sink::default(),
            interrupts: Sink::default(),
            reads: Sink::default(),
            tx: Source::default(),
            credit: Signal::default(),
            busy: Signal::default(),
            holder: Reg::new(1u64.into()),
            started: Reg::default(),
        }
    }
}

impl Logic for Transmitter {
    #[hdl]
    fn update(&mut self) {
        let holder = self.holder.q.val();
        let started = self.started.q.val();
        let credit = self.credit.val();
        let completer = self.completer.valid.val();
        let writes = self.writes.valid.val();
        let interrupts = self.interrupts.valid.val();
        let reads = self.reads.valid.val();

        let mut wanting: Bits<INPUTS> = 0.into();
        if completer && credit.get_bit(COMPLETION) {
            wanting |= 1;
        }
        if writes && credit.get_bit(POSTED) {
            wanting |= 2;
        }
        if interrupts && credit.get_bit(POSTED) {
            wanting |= 4;
        }
        if reads && credit.get_bit(NON_POSTED) {
            wanting |= 8;
        }

        let mut beat = self.completer.data.val();
        let mut offered = completer;
        if holder.get_bit(1) {
            beat = self.writes.data.val();
            offered = writes;
        }
        if holder.get_bit(2) {
            beat = self.interrupts.data.val();
            offered = interrupts;
        }
        if holder.get_bit(3) {
            beat = self.reads.data.val();
            offered = reads;
        }
        let valid = if started { offered } else { (wanting & holder).any() };
        let taken = valid && self.tx.ready.val();
        let ends = taken && beat.last;
        self.started.d.next = (started || valid) && !ends;
        if ends || !(started || valid) {
            self.holder.d.next = next_in_turn(holder, wanting & !holder);
        }

        self.tx.data.next = beat;
        self.tx.valid.next = valid;
        self.completer.ready.next = taken && holder.get_bit(0);
        self.writes.ready.next = taken && holder.get_bit(1);
        self.interrupts.ready.next = taken && holder.get_bit(2);
        self.reads.ready.next = taken && holder.get_bit(3);
        self.busy.next = completer || writes || interrupts || reads || started;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use nitride_lang::testing::{differential, low, step};
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    const KIND: [usize; INPUTS] = [COMPLETION, POSTED, POSTED, NON_POSTED];

    /// A beat that says where it comes from, in its header: input, number of the TLP; in its data: its place.
    fn beat(input: usize, number: u64, place: u64, last: bool) -> TlpBeat {
        TlpBeat { hdr: ((number << 2) | input as u64).into(), data: place.into(), last }
    }

    struct Bench {
        uut: Transmitter,
        rng: SmallRng,
        queues: [VecDeque<TlpBeat>; INPUTS],
        made: [u64; INPUTS],
        shown: [bool; INPUTS],
        /// In a hundred cycles.
        ready: u32,
        credit: u32,
        /// Kinds that get credits at all.
        kinds: [bool; 3],
        /// The beats that came out, and none for cycles without one.
        out: Vec<Option<TlpBeat>>,
        /// The beat that waits, and the credits when it was shown first.
        waiting: Option<TlpBeat>,
    }

    impl Bench {
        fn new(seed: u64, ready: u32, credit: u32) -> Self {
            let mut uut = Transmitter::default();
            uut.connect_all();
            Self {
                uut,
                rng: SmallRng::seed_from_u64(seed),
                queues: Default::default(),
                made: [0; INPUTS],
                shown: [false; INPUTS],
                ready,
                credit,
                kinds: [true; 3],
                out: vec![],
                waiting: None,
            }
        }

        fn make(&mut self, input: usize, beats: u64) {
            let number = self.made[input];
            self.made[input] += 1;
            self.queues[input].extend((0..beats).map(|i| beat(input, number, i, i + 1 == beats)));
        }

        /// One cycle; an input with something to say begins to say it in a share of the cycles.
        fn step(&mut self, eager: u32) {
            for i in 0..INPUTS {
                self.shown[i] |= !self.queues[i].is_empty() && self.rng.random_ratio(eager, 100);
            }
            let credits: [bool; 3] =
                std::array::from_fn(|kind| self.kinds[kind] && self.rng.random_ratio(self.credit, 100));
            self.uut.credit.next = credits.iter().rev().fold(0u64, |all, c| all << 1 | u64::from(*c)).into();
            let mut heads = self.queues.iter().map(|q| q.front().copied().unwrap_or_default());
            let mut head = || heads.next().unwrap();
            self.uut.completer.data.next = head();
            self.uut.writes.data.next = head();
            self.uut.interrupts.data.next = head();
            self.uut.reads.data.next = head();
            self.uut.completer.valid.next = self.shown[0];
            self.uut.writes.valid.next = self.shown[1];
            self.uut.interrupts.valid.next = self.shown[2];
            self.uut.reads.valid.next = self.shown[3];
            self.uut.tx.ready.next = self.rng.random_ratio(self.ready, 100);
            low(&mut self.uut);

            let shown = self.shown;
            let accepted = [
                self.uut.completer.ready.val(),
                self.uut.writes.ready.val(),
                self.uut.interrupts.ready.val(),
                self.uut.reads.ready.val(),
            ];
            let valid = self.uut.tx.valid.val();
            let data = self.uut.tx.data.val();
            if let Some(waiting) = self.waiting {
                assert!(valid && data == waiting, "what is shown stays until it is taken");
            }
            if valid {
                let input = data.hdr.get_bits::<2>(0).index();
                assert!(shown[input] && Some(&data) == self.queues[input].front());
                let starts = data.data == Bits::<256>::default();
                if starts && self.waiting.is_none() {
                    assert!(credits[KIND[input]], "a TLP started without credit");
                }
            }
            let taken = valid && self.uut.tx.ready.val();
            self.waiting = (valid && !taken).then_some(data);
            self.out.push(taken.then_some(data));
            assert_eq!(accepted.iter().filter(|a| **a).count(), usize::from(taken));
            for i in 0..INPUTS {
                if shown[i] && accepted[i] {
                    self.queues[i].pop_front();
                    self.shown[i] = false;
                }
            }
            step(&mut self.uut);
        }
    }

    #[test]
    fn it_is_the_same_in_verilog() {
        differential(
            "pcie-transmitter",
            Transmitter::default,
            |uut, rng| {
                for sink in [&mut uut.completer, &mut uut.writes, &mut uut.interrupts, &mut uut.reads] {
                    sink.valid.next = rng.bit();
                    sink.data.next = rng.value();
                }
                uut.credit.next = rng.bits();
                uut.tx.ready.next = rng.bit();
            },
            10_000,
        );
    }

    #[test]
    fn tlps_come_out_whole_in_order_and_only_with_credit() {
        let mut bench = Bench::new(1, 70, 60);
        for _ in 0..400 {
            let (input, beats) = (bench.rng.random_range(0..INPUTS), bench.rng.random_range(1..=8));
            bench.make(input, if input == 3 { 1 } else { beats });
        }
        let mut cycles = 0;
        while bench.queues.iter().any(|q| !q.is_empty()) {
            bench.step(60);
            cycles += 1;
            assert!(cycles < 20_000, "stuck");
        }
        let mut next = [0; INPUTS];
        let mut current: Option<(Bits<128>, usize)> = None;
        for data in bench.out.iter().flatten() {
            let input = data.hdr.get_bits::<2>(0).index();
            let (header, place) = current.unwrap_or((data.hdr, 0));
            assert_eq!((data.hdr, data.data.get_bits::<16>(0).index()), (header, place), "not interleaved");
            assert_eq!(data.hdr.get_bits::<16>(2).index(), next[input], "in order");
            next[input] += usize::from(data.last);
            current = (!data.last).then_some((header, place + 1));
        }
        assert_eq!(next.map(|n| n as u64), bench.made);
    }

    #[test]
    fn a_load_of_writes_leaves_no_gaps() {
        let mut bench = Bench::new(2, 100, 100);
        for _ in 0..50 {
            bench.make(1, 8);
        }
        while bench.queues.iter().any(|q| !q.is_empty()) {
            bench.step(100);
        }
        // One cycle for the writes to get the first turn.
        assert_eq!(bench.out.len(), 50 * 8 + 1);
    }

    #[test]
    fn every_input_gets_its_turn_under_full_load_without_gaps() {
        let mut bench = Bench::new(3, 100, 100);
        for _ in 0..40 {
            for input in 0..INPUTS {
                bench.make(input, [1, 8, 1, 1][input]);
            }
        }
        while bench.queues.iter().any(|q| !q.is_empty()) {
            bench.step(100);
        }
        assert_eq!(bench.out.len(), 40 * 11);
        for turn in bench.out.chunks(11) {
            let inputs: Vec<usize> =
                turn.iter().flatten().filter(|b| b.last).map(|b| b.hdr.get_bits::<2>(0).index()).collect();
            assert_eq!(inputs, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn reads_without_credit_do_not_hold_up_the_others() {
        let mut bench = Bench::new(4, 100, 100);
        bench.make(3, 1);
        for _ in 0..20 {
            bench.make(1, 2);
        }
        bench.kinds[NON_POSTED] = false;
        for _ in 0..41 {
            bench.step(100);
        }
        assert!(bench.queues[1].is_empty() && !bench.queues[3].is_empty());
        bench.kinds[NON_POSTED] = true;
        for _ in 0..2 {
            bench.step(100);
        }
        assert!(bench.queues[3].is_empty());
    }
}
