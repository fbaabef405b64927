use std::collections::{HashMap, VecDeque};

use nitride_abi::management::PortEvent as Event;
use nitride_lang::testing::{Rng, differential, low, step};

use super::*;

struct Bench {
    uut: Egress,
    rng: Rng,
    cycle: u64,
    /// Frames to come: queue, bytes, a number.
    incoming: VecDeque<(u8, usize, u64)>,
    sent: usize,
    /// Admitted frames that have not left, by queue.
    inside: HashMap<u8, VecDeque<(usize, u64)>>,
    /// Replies that are due.
    asked: Option<u8>,
    taken: VecDeque<u8>,
    waits: Vec<u8>,
    drops: Vec<u8>,
    got: HashMap<u8, usize>,
    stalled: [bool; 2],
    /// Queues to wake, if the bench is to wake those that wait by itself.
    wake_later: Vec<u8>,
    awake: bool,
    /// The frame whose first beat came in the last cycle, and the last one that was refused.
    begun: Option<(u8, u64)>,
    swallowed: Option<u64>,
    refused: usize,
    left: usize,
    dropped: usize,
    ends: Vec<u64>,
    smooth: bool,
    /// Offers are not taken.
    deaf: bool,
    frames: u64,
}

impl Bench {
    fn new(seed: u64) -> Self {
        println!("seed {seed}");
        let mut uut = Egress::default();
        uut.connect_all();
        Self {
            uut,
            rng: Rng::new(seed),
            cycle: 0,
            incoming: VecDeque::new(),
            sent: 0,
            inside: HashMap::new(),
            asked: None,
            taken: VecDeque::new(),
            waits: vec![],
            drops: vec![],
            got: HashMap::new(),
            stalled: [false; 2],
            wake_later: vec![],
            awake: true,
            begun: None,
            swallowed: None,
            refused: 0,
            left: 0,
            dropped: 0,
            ends: vec![],
            smooth: false,
            deaf: false,
            frames: 0,
        }
    }

    fn frame(&mut self, queue: u8, bytes: usize) {
        self.frames += 1;
        let number = self.frames << 20;
        self.incoming.push_back((queue, bytes, number));
    }

    fn leaves(&mut self, queue: u8, data: u64, bytes: u64, last: bool, length: Option<u64>) {
        let got = self.got.entry(queue).or_default();
        let (size, number) = *self.inside[&queue].front().expect("a frame that is not there");
        assert_eq!(data, number + *got as u64 / 32, "queue {queue} at {got} of {size}, left {}", self.left);
        *got += bytes as usize;
        assert!(length.is_none_or(|length| length == size as u64));
        assert_eq!(last, *got == size);
        if last {
            *got = 0;
            self.inside.get_mut(&queue).expect("it").pop_front();
            self.left += 1;
            self.ends.push(self.cycle);
        }
    }

    fn step(&mut self) {
        let beat = self.incoming.front().copied().filter(|_| self.smooth || self.rng.chance(3, 4));
        let mut frame: EgressBeat = self.rng.value();
        let mut last = false;
        let begins = beat.filter(|_| self.sent == 0).map(|(queue, _, number)| (queue, number));
        if let Some((queue, length, number)) = beat {
            let count = (length - self.sent).min(32);
            last = self.sent + count == length;
            frame = EgressBeat {
                data: (number + self.sent as u64 / 32).into(),
                bytes: (count as u64).into(),
                last,
                queue: u64::from(queue).into(),
                length: (length as u64).into(),
            };
            self.sent += count;
        }
        self.uut.frame.valid.next = beat.is_some();
        self.uut.frame.data.next = frame;
        self.uut.wake.next = Wake { valid: false, ..self.rng.value() };
        if self.awake && !self.waits.is_empty() && self.rng.chance(1, 60) {
            let queue = self.waits.swap_remove(0);
            self.wake_later.push(queue);
        }
        if let Some(queue) = self.wake_later.pop() {
            self.uut.wake.next = Wake { valid: true, queue: u64::from(queue).into() };
        }
        self.uut.offer.ready.next = !self.deaf && (self.smooth || self.rng.bit());
        self.uut.reply.valid.next = self.asked.is_some() && (self.smooth || self.rng.bit());
        let answer = match self.asked {
            Some(queue) if self.waits.contains(&queue) => Reply::Wait,
            Some(queue) if self.drops.contains(&queue) => Reply::Drop,
            _ => Reply::Take,
        };
        self.uut.reply.data.next = answer;
        for i in 0..2 {
            self.uut.ethernet[i].ready.next = !self.stalled[i] && (self.smooth || self.rng.chance(3, 4));
        }
        low(&mut self.uut);

        assert!(self.uut.frame.ready.val());
        if last {
            let (queue, length, number) = self.incoming.pop_front().expect("it");
            self.sent = 0;
            if self.swallowed != Some(number) {
                self.inside.entry(queue).or_default().push_back((length, number));
            }
        }
        if self.uut.reply.valid.val() && self.uut.reply.ready.val() {
            let queue = self.asked.take().expect("a question");
            match answer {
                Reply::Take => self.taken.push_back(queue),
                Reply::Drop => {
                    self.inside.get_mut(&queue).expect("it").pop_front().expect("it");
                    self.dropped += 1;
                }
                Reply::Wait => {}
            }
        }
        if self.uut.offer.valid.val() && self.uut.offer.ready.val() {
            let offer = self.uut.offer.data.val();
            let queue = offer.queue.to_u64() as u8;
            assert!(self.asked.is_none());
            self.asked = Some(queue);
        }
        if self.uut.receive.valid.val() {
            let beat = self.uut.receive.data.val();
            let queue = beat.queue.to_u64() as u8;
            assert_eq!(self.taken.front(), Some(&queue), "not in the order of the answers");
            if beat.last {
                self.taken.pop_front();
            }
            let (data, bytes) = (beat.data.get_bits::<64>(0).to_u64(), beat.bytes.to_u64());
            self.leaves(queue, data, bytes, beat.last, Some(beat.length.to_u64()));
        }
        for i in 0..2 {
            if self.uut.ethernet[i].valid.val() && self.uut.ethernet[i].ready.val() {
                let beat = self.uut.ethernet[i].data.val();
                assert_eq!(beat.port.to_u64(), 16 + i as u64);
                let (data, bytes) = (beat.data.get_bits::<64>(0).to_u64(), beat.bytes.to_u64());
                self.leaves(32 + i as u8, data, bytes, beat.last, None);
            }
        }
        let refused = self.uut.counted[0].val();
        if refused.valid {
            assert_eq!(refused.event.to_u64(), Event::EgressFull as u64);
            self.refused += 1;
            let (queue, number) = self.begun.expect("a frame that has begun");
            self.inside.entry(queue).or_default().retain(|(_, other)| *other != number);
            self.swallowed = Some(number);
        }
        self.begun = begins;
        step(&mut self.uut);
        self.cycle += 1;
    }

    /// Until all that may leave has left.
    fn settle(&mut self) {
        let limit = self.cycle + 100_000;
        let mut rest = 0;
        while rest < 10 {
            self.step();
            let idle = self.incoming.is_empty() && self.asked.is_none() && !self.uut.busy.val();
            rest = if idle { rest + 1 } else { 0 };
            assert!(self.cycle < limit, "it hangs");
        }
    }

    fn waiting(&self) -> usize {
        self.inside.values().map(VecDeque::len).sum()
    }
}

#[test]
fn frames_leave_whole_in_order_and_none_is_lost_uncounted() {
    for seed in 1..3 {
        let mut bench = Bench::new(seed);
        for round in 0..20 {
            for _ in 0..20 {
                let queue = bench.rng.pick(&[0u8, 1, 5, 31, 32, 33]);
                let bytes = if bench.rng.chance(1, 8) { 9_034 } else { 14 + bench.rng.below(600) as usize };
                bench.frame(queue, bytes);
            }
            bench.waits = if round % 3 == 0 { vec![1, 5] } else { vec![] };
            bench.drops = if round % 4 == 0 { vec![31] } else { vec![] };
            bench.stalled = [round % 5 == 0, false];
            (0..bench.rng.below(800)).for_each(|_| bench.step());
        }
        bench.stalled = [false; 2];
        bench.waits.clear();
        (0..=31).for_each(|queue| {
            bench.step();
            bench.wake_later.push(queue);
        });
        bench.settle();
        assert_eq!(bench.waiting(), 0);
        assert!(bench.left > 200 && bench.dropped > 0);
    }
}

#[test]
fn one_that_waits_stops_nobody_and_gets_no_more_than_its_share() {
    let mut bench = Bench::new(1);
    bench.stalled = [true, false];
    bench.waits = vec![7; 200];
    bench.awake = false;
    for _ in 0..90 {
        bench.frame(32, 1_500);
        bench.frame(14, 1_500);
        bench.frame(7, 1_500);
        bench.frame(33, 1_500);
    }
    (0..30_000).for_each(|_| bench.step());
    assert_eq!(bench.left, 180, "those of 14 and 33");
    // 1,500 bytes are 12 cells; two that wait get a third of 1,024 each, the FIFO of one not counted.
    let held: Vec<usize> = [7, 32].iter().map(|queue| bench.inside[queue].len() * 12).collect();
    assert!(held.iter().all(|cells| (250..=600).contains(cells)), "{held:?}");
    bench.stalled = [false; 2];
    bench.waits.clear();
    bench.wake_later.push(7);
    bench.settle();
    assert_eq!(bench.waiting(), 0);
    assert_eq!(bench.left + bench.refused, 360);
}

#[test]
fn ethernet_ports_do_not_wait_while_an_offer_is_not_taken() {
    let mut bench = Bench::new(1);
    bench.deaf = true;
    for _ in 0..20 {
        bench.frame(3, 200);
        bench.frame(32, 1_500);
        bench.frame(33, 2_000);
    }
    (0..8_000).for_each(|_| bench.step());
    assert_eq!(bench.left, 40);
    bench.deaf = false;
    bench.settle();
    assert_eq!((bench.left, bench.waiting()), (60, 0));
}

#[test]
fn no_cell_is_lost() {
    let mut bench = Bench::new(1);
    let mut admitted = vec![];
    for _ in 0..4 {
        let refused = bench.refused;
        bench.stalled = [true; 2];
        for _ in 0..40 {
            bench.frame(32, 9_018);
        }
        (0..16_000).for_each(|_| bench.step());
        admitted.push(40 - (bench.refused - refused));
        bench.stalled = [false; 2];
        bench.settle();
        assert_eq!(bench.waiting(), 0);
    }
    assert!(admitted.iter().all(|count| *count == admitted[0]), "{admitted:?}");
}

#[test]
fn a_frame_costs_what_it_is_said_to() {
    for (queue, most) in [(32, 2.1), (0, 6.5)] {
        let mut bench = Bench::new(1);
        bench.smooth = true;
        (0..60).for_each(|_| bench.frame(queue, 64));
        bench.settle();
        let cost = (bench.ends[50] - bench.ends[10]) as f64 / 40.0;
        println!("queue {queue}: {cost:.1} cycles for 64 bytes");
        assert!(cost <= most);
    }
}

#[test]
fn the_verilog_is_the_same() {
    differential(
        "egress",
        || {
            let mut uut = Egress::default();
            uut.connect_all();
            uut
        },
        {
            // Frames have as many beats as they say.
            let mut left = 0u64;
            let mut now = EgressBeat::default();
            move |uut: &mut Egress, rng: &mut Rng| {
                if left == 0 {
                    let bytes = 14 + rng.below(400);
                    left = bytes.div_ceil(32);
                    now = EgressBeat {
                        queue: rng.pick(&[0u64, 3, 31, 32, 33]).into(),
                        length: bytes.into(),
                        ..EgressBeat::default()
                    };
                }
                let valid = rng.chance(1, 2);
                left -= u64::from(valid);
                uut.frame.valid.next = valid;
                uut.frame.data.next =
                    EgressBeat { data: rng.bits(), bytes: rng.bits(), last: left == 0, ..now };
                uut.offer.ready.next = rng.bit();
                uut.reply.valid.next = rng.bit();
                uut.reply.data.next = rng.pick(&[Reply::Take, Reply::Take, Reply::Wait, Reply::Drop]);
                uut.wake.next = Wake { valid: rng.chance(1, 20), queue: rng.pick(&[0u64, 3, 31]).into() };
                uut.receive.ready.next = true;
                uut.ethernet[0].ready.next = rng.chance(1, 3);
                uut.ethernet[1].ready.next = rng.bit();
            }
        },
        10_000,
    );
}
