//! The primitives: random stimuli to Rust simulation and Verilog, and what each one promises.
use nitride_lang::prelude::*;
use nitride_lang::testing::{Rng, differential, low, settle, step};
use std::collections::VecDeque;

use super::CYCLES;

#[test]
fn fifo_verilog_equals_simulation() {
    differential(
        "fifo",
        Fifo::<Bits<40>, 3>::default,
        |uut, rng| {
            uut.sink.data.next = rng.bits();
            uut.sink.valid.next = rng.bit();
            uut.source.ready.next = rng.chance(2, 5);
        },
        CYCLES,
    );
}

#[test]
fn reg_fifo_verilog_equals_simulation() {
    differential(
        "reg_fifo",
        RegFifo::<Bits<9>, 3>::default,
        |uut, rng| {
            uut.sink.data.next = rng.bits();
            uut.sink.valid.next = rng.bit();
            uut.source.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn skid_verilog_equals_simulation() {
    differential(
        "skid",
        Skid::<Bits<100>>::default,
        |uut, rng| {
            uut.sink.data.next = rng.bits();
            uut.sink.valid.next = rng.bit();
            uut.source.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn ram_with_contents_verilog_equals_simulation() {
    differential(
        "ram",
        || Ram2::<Bits<20>, 4>::new(&[bits(3), bits(0xabcde), bits(0)]),
        |uut, rng| {
            for port in &mut uut.read_address {
                port.next = rng.bits();
            }
            uut.write_address.next = rng.bits();
            uut.write_data.next = rng.bits();
            uut.write_enable.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn rom_verilog_equals_simulation() {
    let contents = (0..32u64).map(|i| bits(i * i)).collect();
    differential(
        "rom",
        || Rom::<Bits<10>, 5>::new(contents),
        |uut, rng| uut.address.next = rng.bits(),
        CYCLES,
    );
}

#[test]
fn arbiter_verilog_equals_simulation() {
    differential(
        "arbiter",
        Arbiter::<5>::default,
        |uut, rng| {
            uut.request.next = rng.bits();
            uut.advance.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn priority_encoder_verilog_equals_simulation() {
    differential("encoder", PriorityEncoder::<37>::default, |uut, rng| uut.request.next = rng.bits(), CYCLES);
}

#[test]
fn counter_verilog_equals_simulation() {
    differential(
        "counter",
        Counter::<3>::default,
        |uut, rng| {
            uut.enable.next = rng.bit();
            uut.clear.next = rng.chance(1, 20);
        },
        CYCLES,
    );
}

#[test]
fn stream_mux_verilog_equals_simulation() {
    differential(
        "mux",
        StreamMux::<Bits<12>, 3>::default,
        |uut, rng| {
            for sink in &mut uut.sink {
                sink.data.next = rng.bits();
                sink.valid.next = rng.bit();
            }
            uut.select.next = bits(rng.below(4));
            uut.source.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn stream_arbiter_verilog_equals_simulation() {
    differential(
        "stream_arbiter",
        StreamArbiter::<Bits<12>, 3>::default,
        |uut, rng| {
            for sink in &mut uut.sink {
                sink.data.next = rng.bits();
                sink.valid.next = rng.bit();
            }
            uut.last.next = rng.bits();
            uut.source.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn width_converters_verilog_equals_simulation() {
    differential(
        "widen",
        Widen::<8, 32>::default,
        |uut, rng| {
            uut.sink.data.next = rng.value();
            uut.sink.valid.next = rng.bit();
            uut.source.ready.next = rng.bit();
        },
        CYCLES,
    );
    differential(
        "narrow",
        Narrow::<32, 8>::default,
        |uut, rng| {
            uut.sink.data.next = Wide { data: rng.bits(), parts: bits(rng.below(4)), last: rng.bit() };
            uut.sink.valid.next = rng.bit();
            uut.source.ready.next = rng.bit();
        },
        CYCLES,
    );
}

/// Pushes and pops at random through anything with a sink and a source, and compares with a `VecDeque`.
macro_rules! queue_keeps_order {
    ($uut:expr, $capacity:expr, $rng:expr) => {{
        let (mut uut, mut rng, mut model) = ($uut, $rng, VecDeque::new());
        let (mut moved, mut most) = (0, 0);
        for _ in 0..4000 {
            let word: Bits<16> = rng.bits();
            let busy = rng.chance(1, 2);
            uut.sink.data.next = word;
            uut.sink.valid.next = rng.chance(if busy { 9 } else { 4 }, 10);
            uut.source.ready.next = rng.chance(if busy { 4 } else { 9 }, 10);
            low(&mut uut);
            if uut.source.valid.val() && uut.source.ready.val() {
                // A buffer without latency may show the word that enters in this cycle.
                let head = model.pop_front().unwrap_or(word);
                assert_eq!(uut.source.data.val(), head);
                moved += 1;
                if uut.sink.valid.val()
                    && uut.sink.ready.val()
                    && model.is_empty()
                    && head == word
                    && $capacity == 1
                {
                    step(&mut uut);
                    continue;
                }
            }
            if uut.sink.valid.val() && uut.sink.ready.val() {
                model.push_back(word);
            }
            most = most.max(model.len());
            step(&mut uut);
        }
        assert!(moved > 1000, "only {moved} words moved");
        assert_eq!(most, $capacity);
    }};
}

#[test]
fn queues_keep_order_and_fill_up() {
    queue_keeps_order!(Fifo::<Bits<16>, 3>::default(), 8, Rng::new(1));
    queue_keeps_order!(RegFifo::<Bits<16>, 5>::default(), 5, Rng::new(2));
}

#[test]
fn fifo_moves_a_word_each_cycle_after_two() {
    let mut uut = Fifo::<Bits<8>, 4>::default();
    uut.sink.valid.next = true;
    uut.source.ready.next = true;
    let mut seen = vec![];
    for i in 0..20u64 {
        uut.sink.data.next = bits(i);
        low(&mut uut);
        assert!(uut.sink.ready.val());
        seen.push(uut.source.valid.val().then(|| uut.source.data.val().to_u64()));
        step(&mut uut);
    }
    let expected: Vec<_> = [None, None].into_iter().chain((0..18).map(Some)).collect();
    assert_eq!(seen, expected);
}

#[test]
fn ram_reads_the_old_word_on_a_collision() {
    let mut uut = Ram::<Bits<8>, 4>::from_fn(|i| bits(i as u64));
    uut.read_address.next = bits(7);
    uut.write_address.next = bits(7);
    uut.write_data.next = bits(0xff);
    uut.write_enable.next = true;
    step(&mut uut);
    assert_eq!(uut.read_data.val(), bits(7));
    step(&mut uut);
    assert_eq!(uut.read_data.val(), bits(0xff));
}

#[test]
fn arbiter_serves_every_requester_in_turn() {
    let mut uut = Arbiter::<4>::default();
    uut.request.next = bits(0b1011);
    uut.advance.next = true;
    let mut order = vec![];
    for _ in 0..6 {
        low(&mut uut);
        order.push(uut.index.val().to_u64());
        step(&mut uut);
    }
    assert_eq!(order[1..4], [1, 3, 0].map(|i| i), "{order:?}");
    assert_eq!(order[..3], order[3..]);
}

#[test]
fn stream_arbiter_does_not_interleave_packets_nor_change_a_waiting_word() {
    let mut uut = StreamArbiter::<Bits<8>, 3>::default();
    let mut rng = Rng::new(3);
    let mut left = [0u64; 3];
    let (mut holder, mut waiting, mut packets) = (None, None, [0; 3]);
    for _ in 0..5000 {
        let mut last = 0;
        for i in 0..3 {
            if left[i] == 0 && rng.chance(1, 3) {
                left[i] = 1 + rng.below(4);
            }
            uut.sink[i].valid.next = left[i] > 0;
            uut.sink[i].data.next = bits((i as u64) << 4 | left[i]);
            last |= u64::from(left[i] == 1) << i;
        }
        uut.last.next = bits(last);
        uut.source.ready.next = rng.bit();
        low(&mut uut);
        if uut.source.valid.val() {
            let word = uut.source.data.val().to_u64();
            let stream = (word >> 4) as usize;
            assert_eq!(waiting.unwrap_or(word), word);
            assert_eq!(holder.unwrap_or(stream), stream);
            assert_eq!(uut.index.val().to_u64(), stream as u64);
            waiting = Some(word);
            if uut.source.ready.val() {
                waiting = None;
                holder = (left[stream] > 1).then_some(stream);
                packets[stream] += u32::from(left[stream] == 1);
                left[stream] -= 1;
            }
        }
        step(&mut uut);
    }
    assert!(packets.iter().all(|n| *n > 200), "{packets:?}");
}

#[test]
fn narrow_undoes_widen() {
    #[derive(LogicBlock, Default)]
    struct There {
        pub clock: Signal<In, Clock>,
        pub sink: Sink<Part<8>>,
        pub source: Source<Part<8>>,
        widen: Widen<8, 64>,
        narrow: Narrow<64, 8>,
    }
    impl Logic for There {
        #[hdl]
        fn update(&mut self) {
            self.sink.link(&mut self.widen.sink);
            self.widen.source.join(&mut self.narrow.sink);
            self.source.link(&mut self.narrow.source);
        }
    }
    let (mut uut, mut rng, mut model, mut moved) = (There::default(), Rng::new(4), VecDeque::new(), 0);
    let mut part: Part<8> = rng.value();
    for _ in 0..5000 {
        uut.sink.data.next = part;
        uut.sink.valid.next = rng.bit();
        uut.source.ready.next = rng.bit();
        low(&mut uut);
        if uut.source.valid.val() && uut.source.ready.val() {
            assert_eq!(Some(uut.source.data.val()), model.pop_front());
            moved += 1;
        }
        if uut.sink.valid.val() && uut.sink.ready.val() {
            model.push_back(part);
            part = rng.value();
        }
        step(&mut uut);
    }
    assert!(moved > 1000);
}

#[test]
fn priority_encoder_finds_the_lowest() {
    let mut uut = PriorityEncoder::<70>::default();
    for i in 0..70usize {
        uut.request.next = (!Bits::<70>::default()) << i as u64;
        settle(&mut uut);
        assert_eq!(uut.index.val().to_u64(), i as u64);
        assert_eq!(uut.grant.val(), bits::<70>(1) << i as u64);
    }
}
