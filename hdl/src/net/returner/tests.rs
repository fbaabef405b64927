use std::collections::{HashMap, VecDeque};

use nitride_abi::card::function_of_device;
use nitride_abi::virtio::ring;
use nitride_lang::testing::{Rng, differential, low, step};

use super::*;
use crate::net::records::{DeviceSettings, Virtqueue};
use crate::net::tests::dma;

/// A driver's side of a queue.
#[derive(Debug, Default)]
struct Queue {
    size: u16,
    driver: u64,
    device: u64,
    event_index: bool,
    enabled: bool,
    /// Elements that engines returned and the driver has not seen: head, length, whether it ends a frame.
    expected: VecDeque<(u16, u32, bool)>,
    /// The used index up to which the driver has seen elements.
    seen: u16,
    /// Interrupts that the driver has not looked after.
    interrupts: usize,
    total_interrupts: usize,
    /// Its last look was over and it has asked to be told.
    armed: bool,
    drained: bool,
    event: Option<u16>,
}

struct Bench {
    uut: Returner,
    rng: Rng,
    cycle: u64,
    memory: HashMap<u64, u8>,
    queues: HashMap<u8, Queue>,
    updates: VecDeque<VirtqueueUpdate>,
    used: [VecDeque<Used>; 3],
    idle: [VecDeque<Idle>; 2],
    idled: Vec<u8>,
    /// Used chains and idle queues that wait on the streams.
    offered: [bool; 5],
    /// Writes taken: the request, and when it is over. The RAM is read a row a cycle.
    writing: VecDeque<(DmaWriteRequest, u64)>,
    launched: Option<DmaWriteRequest>,
    reading: Vec<(DmaReadRequest, u64)>,
    landed: VecDeque<DmaDone>,
    fail: u32,
    broken: Vec<u8>,
    writes: usize,
    latency: u64,
    /// Chances in percent that the driver looks at its rings in a cycle.
    attentive: u32,
    /// The fetchers do not look.
    deaf: bool,
    was_busy: bool,
}

impl Bench {
    fn new(seed: u64) -> Self {
        println!("seed {seed}");
        let mut uut = Returner::default();
        uut.connect_all();
        Self {
            uut,
            rng: Rng::new(seed),
            cycle: 0,
            memory: HashMap::new(),
            queues: HashMap::new(),
            updates: VecDeque::new(),
            used: Default::default(),
            idle: Default::default(),
            idled: vec![],
            offered: [false; 5],
            writing: VecDeque::new(),
            launched: None,
            reading: vec![],
            landed: VecDeque::new(),
            fail: 0,
            broken: vec![],
            writes: 0,
            latency: 60,
            attentive: 100,
            deaf: false,
            was_busy: false,
        }
    }

    fn enable(&mut self, index: u8, size: u16, event_index: bool) {
        let base = 0x1_0000_0000 * (u64::from(index) + 1);
        let queue = Queue {
            size,
            driver: base + 2 * self.rng.below(8),
            device: base + 0x10_0000 + 4 * self.rng.below(8),
            event_index,
            enabled: true,
            ..Queue::default()
        };
        for at in 0..8 * u64::from(size) + 8 {
            self.memory.insert(queue.driver + at, 0);
            self.memory.insert(queue.device + at, 0);
        }
        self.queues.insert(index, queue);
        self.arm(index);
        self.tell(index, true);
    }

    fn tell(&mut self, index: u8, enabled: bool) {
        let queue = self.queues.get_mut(&index).expect("it");
        queue.enabled = enabled;
        let mut update = VirtqueueUpdate { valid: true, index: u64::from(index).into(), ..self.rng.value() };
        update.queue = Virtqueue {
            enabled,
            last: u64::from(queue.size - 1).into(),
            driver: queue.driver.into(),
            device: queue.device.into(),
            interrupt: true,
            vector: u64::from(index & 7).into(),
            ..update.queue
        };
        update.settings = DeviceSettings { event_index: queue.event_index, ..update.settings };
        self.updates.push_back(update);
        (0..4).for_each(|_| self.updates.push_back(VirtqueueUpdate::default()));
    }

    /// A frame's chains come back.
    fn give(&mut self, source: usize, index: u8, chains: usize) {
        for i in 0..chains {
            let (head, length) = (self.rng.bits::<16>(), self.rng.bits::<32>());
            let last = i + 1 == chains;
            self.used[source].push_back(Used {
                queue: u64::from(index).into(),
                drain: false,
                head,
                length,
                last,
            });
            let queue = self.queues.get_mut(&index).expect("it");
            if queue.enabled {
                queue.expected.push_back((head.to_u64() as u16, length.to_u64() as u32, last));
            }
        }
    }
    fn token(&mut self, source: usize, index: u8) {
        self.used[source].push_back(Used { queue: u64::from(index).into(), drain: true, ..Used::default() });
    }

    fn half(&self, at: u64) -> u16 {
        u16::from_le_bytes([self.memory[&at], self.memory[&(at + 1)]])
    }
    fn poke(&mut self, at: u64, value: u16) {
        for (i, byte) in value.to_le_bytes().into_iter().enumerate() {
            self.memory.insert(at + i as u64, byte);
        }
    }

    /// The driver wants to hear of the next element.
    fn arm(&mut self, index: u8) {
        let queue = self.queues.get_mut(&index).expect("it");
        queue.armed = true;
        let (at, seen) = (queue.driver + ring::used_event(queue.size.into()), queue.seen);
        if queue.event_index {
            self.poke(at, seen);
        }
    }

    /// The driver takes all that it can see.
    fn look(&mut self, index: u8) {
        let queue = &self.queues[&index];
        let (device, size, seen) = (queue.device, u64::from(queue.size), queue.seen);
        let visible = self.half(device + ring::USED_INDEX);
        let mut now = seen;
        while now != visible {
            let at = device + ring::USED_RING + 8 * (u64::from(now) % size);
            let byte = |i: u64| u64::from(self.memory[&(at + i)]) << (8 * i);
            let element = (0..8).map(byte).sum::<u64>();
            let queue = self.queues.get_mut(&index).expect("it");
            let (head, length, last) = queue.expected.pop_front().expect("an element that nobody returned");
            assert_eq!(element, u64::from(length) << 32 | u64::from(head), "queue {index:#x}, element {now}");
            now = now.wrapping_add(1);
            assert!(last || now != visible, "half of a frame is visible");
        }
        self.queues.get_mut(&index).expect("it").seen = now;
    }

    /// The row that a write took from the launch RAM goes to memory.
    fn land(&mut self, request: DmaWriteRequest) {
        let data = self.uut.launch_data.val();
        assert_eq!(request.source.to_u64() >> 15, Launch::USED);
        let base = request.address.to_u64();
        let index = (base >> 32) as u8 - 1;
        let queue = &self.queues[&index];
        assert!(!queue.drained, "a write behind the token");
        assert_eq!(request.function.to_u64(), u64::from(function_of_device(index >> 3)));
        let end = queue.device + ring::avail_event(queue.size.into()) + 2;
        for (at, value) in dma::launched(&request, 0, data) {
            assert!((queue.device + 2..end).contains(&at), "outside of the used ring");
            self.memory.insert(at, value);
        }
        self.writes += 1;
    }

    fn step(&mut self) {
        self.uut.update.next = self.updates.pop_front().unwrap_or_default();
        let quiet = self.updates.is_empty();
        for i in 0..3 {
            // What is on offer stays.
            self.uut.used[i].valid.next = (quiet || self.offered[i]) && !self.used[i].is_empty();
            self.uut.used[i].data.next = self.used[i].front().copied().unwrap_or_else(|| self.rng.value());
        }
        for i in 0..2 {
            self.uut.idle[i].valid.next = (quiet || self.offered[3 + i]) && !self.idle[i].is_empty();
            self.uut.idle[i].data.next = self.idle[i].front().copied().unwrap_or_else(|| self.rng.value());
            self.uut.idle_done[i].ready.next = !self.deaf && self.rng.bit();
        }
        self.uut.write.ready.next = self.launched.is_none() && self.rng.chance(2, 3);
        let over = self.writing.front().is_some_and(|(_, due)| *due <= self.cycle);
        self.uut.write_done.valid.next = over;
        if over {
            self.writing.pop_front();
        }
        self.uut.launch.next = match &self.launched {
            Some(request) => LaunchRead { wrap: 0.into(), row: (request.source.to_u64() >> 3).into() },
            None => LaunchRead { wrap: self.rng.bits(), row: self.rng.bits() },
        };
        let done = self.landed.pop_front();
        self.uut.read_done.valid.next = done.is_some();
        self.uut.read_done.data.next = done.unwrap_or_else(|| self.rng.value());
        self.uut.landing.next = LandingWrite::default();
        if let Some(at) = self.reading.iter().position(|(_, due)| *due <= self.cycle) {
            let (request, _) = self.reading.swap_remove(at);
            let failed = self.rng.chance(self.fail, 100);
            let status = if failed { DmaStatus::Failed } else { DmaStatus::Ok };
            self.landed.push_back(DmaDone { context: request.context, status });
            if !failed {
                let byte = |at| self.memory.get(&at).copied().unwrap_or(0xee);
                self.uut.landing.next = dma::landing(&request, 0, byte).0;
            }
        }
        self.uut.read.ready.next = self.rng.chance(2, 3);
        self.uut.interrupt.ready.next = self.rng.chance(2, 3);
        self.uut.broken.ready.next = self.rng.bit();
        self.uut.drained.ready.next = self.rng.bit();
        low(&mut self.uut);

        assert!(self.was_busy || !self.uut.interrupt.valid.val(), "not busy with an interrupt to give");
        self.was_busy = self.uut.busy.val();
        for i in 0..3 {
            self.offered[i] = self.uut.used[i].valid.val() && !self.uut.used[i].ready.val();
            if self.uut.used[i].valid.val() && self.uut.used[i].ready.val() {
                self.used[i].pop_front();
            }
        }
        for i in 0..2 {
            self.offered[3 + i] = self.uut.idle[i].valid.val() && !self.uut.idle[i].ready.val();
            if self.uut.idle[i].valid.val() && self.uut.idle[i].ready.val() {
                self.idle[i].pop_front();
            }
            if self.uut.idle_done[i].valid.val() && self.uut.idle_done[i].ready.val() {
                let index = self.uut.idle_done[i].data.val().to_u64() as u8;
                assert_eq!(usize::from(index.is_multiple_of(2)), i);
                let queue = &self.queues[&index];
                if let (true, Some(event)) = (queue.event_index && queue.enabled, queue.event) {
                    assert_eq!(self.half(queue.device + ring::avail_event(queue.size.into())), event);
                }
                self.idled.push(index);
            }
        }
        let taken =
            (self.uut.write.valid.val() && self.uut.write.ready.val()).then(|| self.uut.write.data.val());
        if self.uut.read.valid.val() && self.uut.read.ready.val() {
            let request = self.uut.read.data.val();
            let due = self.cycle + 1 + self.rng.below(self.latency);
            assert!(request.context.to_u64() < 32 && request.length.to_u64() == 1);
            self.reading.push((request, due));
        }
        if self.uut.interrupt.valid.val() && self.uut.interrupt.ready.val() {
            let interrupt = self.uut.interrupt.data.val();
            let index = self.queues.keys().copied().find(|index| {
                u64::from(function_of_device(index >> 3)) == interrupt.function.to_u64()
                    && u64::from(index & 7) == interrupt.vector.to_u64()
            });
            let queue = index.and_then(|index| self.queues.get_mut(&index)).expect("a queue");
            assert!(!queue.drained, "an interrupt behind the token");
            queue.interrupts += 1;
            queue.total_interrupts += 1;
        }
        if self.uut.broken.valid.val() && self.uut.broken.ready.val() {
            self.broken.push(self.uut.broken.data.val().to_u64() as u8);
        }
        if self.uut.drained.valid.val() && self.uut.drained.ready.val() {
            let index = self.uut.drained.data.val().to_u64() as u8;
            let queue = self.queues.get_mut(&index).expect("it");
            assert!(!queue.enabled && !queue.drained);
            queue.drained = true;
        }
        step(&mut self.uut);
        if let Some(request) = self.launched.take() {
            low(&mut self.uut);
            self.land(request);
            let due = self.cycle + self.rng.below(30);
            self.writing.push_back((request, due));
        }
        self.launched = taken;
        self.cycle += 1;
        // Drivers look when they are interrupted, and a while after.
        let indices: Vec<u8> = self.queues.keys().copied().collect();
        for index in indices {
            if self.queues[&index].interrupts > 0 && self.rng.chance(self.attentive, 100) {
                self.queues.get_mut(&index).expect("it").interrupts = 0;
                self.arm(index);
                self.look(index);
                self.arm(index);
                self.look(index);
            }
        }
    }

    fn settle(&mut self) {
        let limit = self.cycle + 60_000;
        let mut rest = 0;
        while rest < 10 {
            self.step();
            let idle = self.updates.is_empty()
                && self.writing.is_empty()
                && self.reading.is_empty()
                && self.landed.is_empty()
                && self.used.iter().all(VecDeque::is_empty)
                && self.idle.iter().all(VecDeque::is_empty)
                && !self.uut.busy.val();
            rest = if idle { rest + 1 } else { 0 };
            assert!(self.cycle < limit, "it hangs");
        }
        for (index, queue) in &self.queues {
            if queue.enabled {
                assert!(
                    queue.expected.is_empty(),
                    "queue {index:#x}: {} elements unseen",
                    queue.expected.len()
                );
            }
        }
    }
}

#[test]
fn elements_are_written_in_order_and_no_interrupt_is_lost() {
    for seed in 1..4 {
        let mut bench = Bench::new(seed);
        let queues =
            [(0x01, 4, true), (0x08, 256, true), (0x0c, 1, true), (0x7a, 1024, false), (0x11, 64, true)];
        for (index, size, event) in queues {
            bench.enable(index, size, event);
        }
        for _ in 0..600 {
            let (index, size, _) = bench.rng.pick(&queues);
            let source = match index & 7 {
                0 | 2 => 1,
                4 => 2,
                _ => 0,
            };
            // No more than the driver made available.
            let under_way = bench.queues[&index].expected.len();
            let most = if source == 1 { 6 } else { 1 };
            let chains = 1 + bench.rng.below(most) as usize;
            if under_way + chains <= usize::from(size) {
                bench.give(source, index, chains);
            }
            let pause = if bench.rng.chance(1, 20) { bench.rng.below(300) } else { bench.rng.below(20) };
            (0..pause).for_each(|_| bench.step());
        }
        bench.settle();
    }
}

#[test]
fn under_load_elements_share_writes_and_interrupts() {
    let mut bench = Bench::new(1);
    bench.enable(1, 1024, true);
    (0..400).for_each(|_| bench.give(0, 1, 1));
    bench.settle();
    let interrupts = bench.queues[&1].total_interrupts;
    println!("400 elements: {} writes, {interrupts} interrupts, {} cycles", bench.writes, bench.cycle);
    assert!(bench.writes <= 220 && interrupts <= 60);
}

#[test]
fn a_driver_that_does_not_want_interrupts_gets_none() {
    for event_index in [true, false] {
        let mut bench = Bench::new(1);
        bench.enable(1, 64, event_index);
        let driver = bench.queues[&1].driver;
        if event_index {
            bench.poke(driver + ring::used_event(64), 40);
        } else {
            bench.poke(driver, ring::AVAIL_NO_INTERRUPT);
        }
        for _ in 0..40 {
            bench.give(0, 1, 1);
            (0..40).for_each(|_| bench.step());
        }
        (0..500).for_each(|_| bench.step());
        assert_eq!(bench.queues[&1].total_interrupts, 0);
        bench.look(1);
        bench.poke(driver, 0);
        bench.give(0, 1, 1);
        bench.settle();
        assert_eq!(bench.queues[&1].total_interrupts, 1, "the 41st, which it waits for");
    }
}

#[test]
fn avail_event_is_written_before_a_queue_rests() {
    let mut bench = Bench::new(1);
    bench.enable(1, 64, true);
    bench.enable(8, 128, true);
    bench.enable(0x11, 128, false);
    for next in [5u16, 700, 0xffff] {
        for index in [1u8, 8, 0x11] {
            bench.queues.get_mut(&index).expect("it").event = Some(next);
            let idle = Idle { queue: u64::from(index).into(), next: u64::from(next).into() };
            bench.idle[usize::from(index.is_multiple_of(2))].push_back(idle);
        }
        bench.settle();
        bench.idled.sort_unstable();
        assert_eq!(std::mem::take(&mut bench.idled), [1, 8, 0x11]);
    }
    assert_eq!(bench.writes, 6, "without event indices nothing is written");
}

#[test]
fn idle_queues_are_told_of_however_long_their_fetcher_looks_away() {
    let mut bench = Bench::new(1);
    let queues: Vec<u8> = (0..9).flat_map(|device| [1, 3, 5].map(|number| 8 * device + number)).collect();
    for &index in &queues {
        bench.enable(index, 64, true);
    }
    bench.settle();
    bench.deaf = true;
    for &index in &queues {
        bench.queues.get_mut(&index).expect("it").event = Some(7);
        bench.idle[0].push_back(Idle { queue: u64::from(index).into(), next: 7.into() });
    }
    (0..2000).for_each(|_| bench.step());
    bench.deaf = false;
    bench.settle();
    bench.idled.sort_unstable();
    assert_eq!(bench.idled, queues);
}

#[test]
fn nothing_of_a_drained_queue_comes_after_its_token_and_it_begins_afresh() {
    let mut bench = Bench::new(1);
    bench.enable(9, 256, true);
    for round in 0..40 {
        bench.enable(1, 64, true);
        (0..10).for_each(|_| bench.step());
        for _ in 0..10 {
            bench.give(0, 1, 1);
            bench.give(0, 9, 1);
        }
        (0..round * 3).for_each(|_| bench.step());
        bench.tell(1, false);
        bench.give(0, 1, 1);
        bench.token(0, 1);
        bench.settle();
        assert!(bench.queues[&1].drained);
    }
}

#[test]
fn a_wish_that_cannot_be_read_breaks_the_queue() {
    let mut bench = Bench::new(1);
    bench.enable(1, 64, true);
    bench.fail = 100;
    bench.give(0, 1, 1);
    (0..600).for_each(|_| bench.step());
    assert_eq!(bench.broken, [1]);
    bench.look(1);
    bench.tell(1, false);
    bench.token(0, 1);
    bench.settle();
    assert!(bench.queues[&1].drained);
}

#[test]
fn the_verilog_is_the_same() {
    differential(
        "returner",
        || {
            let mut uut = Returner::default();
            uut.connect_all();
            uut
        },
        |uut, rng| {
            let mut update: VirtqueueUpdate = rng.value();
            update.valid = rng.chance(1, 30);
            update.index = rng.below(8).into();
            uut.update.next = update;
            for i in 0..3 {
                uut.used[i].valid.next = rng.chance(1, 4);
                uut.used[i].data.next =
                    Used { queue: rng.below(8).into(), drain: rng.chance(1, 20), ..rng.value() };
            }
            for i in 0..2 {
                uut.idle[i].valid.next = rng.chance(1, 10);
                uut.idle[i].data.next = Idle { queue: rng.below(8).into(), ..rng.value() };
                uut.idle_done[i].ready.next = rng.bit();
            }
            uut.write.ready.next = rng.bit();
            uut.write_done.valid.next = rng.chance(1, 8);
            uut.launch.next = rng.value();
            uut.read.ready.next = rng.bit();
            uut.read_done.valid.next = rng.chance(1, 12);
            uut.read_done.data.next = rng.value();
            uut.landing.next = rng.value();
            uut.interrupt.ready.next = rng.bit();
            uut.broken.ready.next = rng.bit();
            uut.drained.ready.next = rng.bit();
        },
        10_000,
    );
}
