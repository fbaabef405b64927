use std::collections::{HashMap, VecDeque};

use nitride_abi::card::function_of_device;
use nitride_abi::virtio::net::header;
use nitride_lang::testing::{Rng, differential, low, step};

use super::*;
use crate::bus::{DmaStatus, Launch};
use crate::net::records::{DeviceSettings, ROOM, Virtqueue};
use crate::net::tests::dma;

/// A chain as the driver made it.
#[derive(Debug, Clone)]
struct Chain {
    head: u16,
    segments: Vec<(u64, u32)>,
}

#[derive(Debug, Default)]
struct Queue {
    enabled: bool,
    mergeable: bool,
    /// Chains that were given and not consumed.
    chains: VecDeque<Chain>,
    /// Segments that are out.
    out: u64,
    /// What is to come back: head, length, the frame's last.
    expected: VecDeque<(u16, u32, bool)>,
    drained: bool,
}

struct Bench {
    uut: Receive,
    rng: Rng,
    cycle: u64,
    queues: HashMap<u8, Queue>,
    /// What is written, and what is to be there.
    memory: HashMap<u64, u8>,
    wanted: HashMap<u64, u8>,
    next_address: u64,
    updates: VecDeque<VirtqueueUpdate>,
    segments: VecDeque<Segment>,
    frames: VecDeque<(u8, Vec<u8>)>,
    /// Frames that are asked for, first to be offered again; taken ones, and the bytes that came.
    sending: VecDeque<(u8, Vec<u8>)>,
    sent: usize,
    offering: bool,
    /// An offer is not answered.
    asked: bool,
    /// The write whose rows are read.
    launched: Option<(DmaWriteRequest, u64)>,
    done: VecDeque<u64>,
    replies: Vec<Reply>,
    broken: Vec<u8>,
    ends: Vec<u64>,
    smooth: bool,
    awake: bool,
}

impl Bench {
    fn new(seed: u64) -> Self {
        println!("seed {seed}");
        let mut uut = Receive::default();
        uut.connect_all();
        Self {
            uut,
            rng: Rng::new(seed),
            cycle: 0,
            queues: HashMap::new(),
            memory: HashMap::new(),
            wanted: HashMap::new(),
            next_address: 0x1_0000,
            updates: VecDeque::new(),
            segments: VecDeque::new(),
            frames: VecDeque::new(),
            sending: VecDeque::new(),
            sent: 0,
            offering: false,
            asked: false,
            launched: None,
            done: VecDeque::new(),
            replies: vec![],
            broken: vec![],
            ends: vec![],
            smooth: false,
            awake: true,
        }
    }

    fn set(&mut self, index: u8, enabled: bool, mergeable: bool) {
        let queue = self.queues.entry(index).or_default();
        if enabled {
            *queue = Queue { mergeable, ..Queue::default() };
        }
        queue.enabled = enabled;
        let mut update = VirtqueueUpdate { valid: true, index: u64::from(index).into(), ..self.rng.value() };
        update.queue = Virtqueue { enabled, ..update.queue };
        update.settings = DeviceSettings { mergeable, early_control: false, ..update.settings };
        self.updates.push_back(update);
        (0..4).for_each(|_| self.updates.push_back(VirtqueueUpdate::default()));
    }

    /// A chain of segments of these lengths, at any address.
    fn chain(&mut self, index: u8, lengths: &[u32]) {
        let head = self.rng.bits::<16>().to_u64() as u16;
        let mut segments = vec![];
        for (i, length) in lengths.iter().enumerate() {
            let address = self.next_address + self.rng.below(8);
            self.next_address = address + u64::from(*length).min(20_000) + 8;
            segments.push((address, *length));
            self.segments.push_back(Segment {
                queue: u64::from(index).into(),
                drain: false,
                head: u64::from(head).into(),
                address: address.into(),
                length: u64::from(*length).into(),
                write: true,
                last: i + 1 == lengths.len(),
            });
        }
        let queue = self.queues.get_mut(&index).expect("it");
        queue.out += lengths.len() as u64;
        assert!(queue.out <= ROOM);
        queue.chains.push_back(Chain { head, segments });
    }

    fn token(&mut self, index: u8) {
        self.segments.push_back(Segment { queue: u64::from(index).into(), drain: true, ..self.rng.value() });
    }

    fn frame(&mut self, index: u8, bytes: usize) {
        let frame = (0..bytes).map(|_| self.rng.below(256) as u8).collect();
        self.frames.push_back((index, frame));
    }

    /// A frame is taken: what is to be in memory, and to come back (virtio 1.2 §5.1.6.4).
    fn taken(&mut self, index: u8, frame: &[u8]) {
        let queue = self.queues.get_mut(&index).expect("it");
        let mut bytes = vec![0; header::BYTES];
        bytes.extend(frame);
        let mut at = 0;
        let mut used = vec![];
        let mut first: Vec<(u64, u8)> = vec![];
        while at < bytes.len() {
            let chain = queue.chains.pop_front().expect("a frame was taken without a chain for it");
            let begin = at;
            for (address, length) in &chain.segments {
                let count = (*length as usize).min(bytes.len() - at);
                for i in 0..count {
                    self.wanted.insert(address + i as u64, bytes[at + i]);
                    if at + i < header::BYTES {
                        first.push((address + i as u64, (at + i) as u8));
                    }
                }
                at += count;
            }
            used.push((chain.head, (at - begin) as u32));
            assert!(queue.mergeable || at == bytes.len(), "it does not fit into one chain");
        }
        let chains = used.len() as u16;
        for (address, at) in first {
            let value = match usize::from(at).checked_sub(header::NUM_BUFFERS) {
                Some(byte) => chains.to_le_bytes()[byte],
                None => 0,
            };
            self.wanted.insert(address, value);
        }
        for (i, (head, length)) in used.iter().enumerate() {
            queue.expected.push_back((*head, *length, i + 1 == used.len()));
        }
    }

    fn write_row(&mut self) {
        let Some((request, row)) = self.launched else { return };
        low(&mut self.uut);
        let data = self.uut.launch_data.val();
        let length = request.length.to_u64();
        for (at, value) in dma::launched(&request, row, data) {
            assert!(self.wanted.contains_key(&at), "{at:#x} is nobody's");
            self.memory.insert(at, value);
        }
        self.launched = Some((request, row + 1));
        if 8 * (row + 1) >= length {
            self.launched = None;
            let due = self.cycle + if self.smooth { 1 } else { self.rng.below(40) };
            self.done.push_back(due);
        }
    }

    fn step(&mut self) {
        let chance = |rng: &mut Rng, smooth: bool| smooth || rng.chance(2, 3);
        self.uut.update.next = self.updates.pop_front().unwrap_or_default();
        let quiet = self.updates.is_empty();
        self.uut.segments.valid.next = quiet && !self.segments.is_empty();
        self.uut.segments.data.next = self.segments.front().copied().unwrap_or_else(|| self.rng.value());
        self.uut.offer.valid.next =
            self.offering || (quiet && self.awake && !self.asked && !self.frames.is_empty());
        self.offering = self.uut.offer.valid.next;
        if let Some((index, frame)) = self.frames.front() {
            self.uut.offer.data.next = Offer {
                queue: (u64::from(index >> 3) << 1 | u64::from(*index & 2 != 0)).into(),
                length: (frame.len() as u64).into(),
            };
        }
        self.uut.reply.ready.next = chance(&mut self.rng, self.smooth);
        let beat =
            self.sending.front().filter(|_| self.smooth || self.rng.chance(3, 4)).map(|(index, frame)| {
                let rest = &frame[self.sent..];
                let count = rest.len().min(32);
                let data = rest[..count]
                    .iter()
                    .rev()
                    .fold(Bits::<256>::default(), |all, byte| (all << 8) | Bits::from(u64::from(*byte)));
                EgressBeat {
                    data,
                    bytes: (count as u64).into(),
                    last: rest.len() <= 32,
                    queue: (u64::from(index >> 3) << 1 | u64::from(*index & 2 != 0)).into(),
                    length: (frame.len() as u64).into(),
                }
            });
        self.uut.packet.valid.next = beat.is_some();
        self.uut.packet.data.next = beat.unwrap_or_else(|| self.rng.value());
        if let Some(beat) = beat {
            self.sent += beat.bytes.to_u64() as usize;
            if beat.last {
                self.sending.pop_front();
                self.sent = 0;
            }
        }
        self.uut.launch.next = match &self.launched {
            Some((request, row)) => {
                LaunchRead { wrap: 0.into(), row: ((request.source.to_u64() >> 3) + row).into() }
            }
            None => LaunchRead { wrap: self.rng.bits(), row: self.rng.bits() },
        };
        self.uut.write.ready.next = self.launched.is_none() && chance(&mut self.rng, self.smooth);
        let over = self.done.front().is_some_and(|due| *due <= self.cycle);
        if over {
            self.done.pop_front();
        }
        self.uut.write_done.valid.next = over;
        self.uut.write_done.data.next = DmaDone { context: self.rng.bits(), status: DmaStatus::Ok };
        self.uut.used.ready.next = chance(&mut self.rng, self.smooth);
        self.uut.broken.ready.next = self.rng.bit();
        low(&mut self.uut);

        assert!(self.uut.packet.ready.val() && self.uut.write_done.ready.val());
        if self.uut.segments.valid.val() && self.uut.segments.ready.val() {
            self.segments.pop_front();
        }
        if self.uut.offer.valid.val() && self.uut.offer.ready.val() {
            self.offering = false;
            self.awake = false;
            self.asked = true;
        }
        if self.uut.reply.valid.val() && self.uut.reply.ready.val() {
            let reply = self.uut.reply.data.val();
            self.replies.push(reply);
            self.asked = false;
            match reply {
                Reply::Take => {
                    let (index, frame) = self.frames.pop_front().expect("an offer");
                    self.taken(index, &frame);
                    self.sending.push_back((index, frame));
                    self.awake = true;
                }
                Reply::Drop => {
                    self.frames.pop_front().expect("an offer");
                    self.awake = true;
                }
                Reply::Wait => {}
            }
        }
        if self.uut.wake.val().valid || self.rng.chance(1, 30) {
            self.awake |= !self.offering;
        }
        let credit = self.uut.credit.val();
        if credit.valid {
            let queue = self.queues.get_mut(&(credit.queue.to_u64() as u8)).expect("it");
            queue.out -= credit.segments.to_u64();
        }
        let taken = self.uut.write.valid.val() && self.uut.write.ready.val();
        let request = self.uut.write.data.val();
        if self.uut.used.valid.val() && self.uut.used.ready.val() {
            let used = self.uut.used.data.val();
            let index = used.queue.to_u64() as u8;
            let queue = self.queues.get_mut(&index).expect("it");
            assert!(!queue.drained);
            if used.drain {
                assert!(queue.expected.is_empty(), "the token overtakes frames");
                queue.drained = true;
            } else {
                let back = (used.head.to_u64() as u16, used.length.to_u64() as u32, used.last);
                assert_eq!(Some(back), queue.expected.pop_front(), "queue {index:#x}");
                if used.last {
                    self.ends.push(self.cycle);
                }
            }
        }
        if self.uut.broken.valid.val() && self.uut.broken.ready.val() {
            self.broken.push(self.uut.broken.data.val().to_u64() as u8);
        }
        step(&mut self.uut);
        self.write_row();
        if taken {
            assert_eq!(request.source.to_u64() >> 15, Launch::FRAMES);
            assert!(request.address.to_u64().is_multiple_of(4));
            let device = self
                .queues
                .keys()
                .find(|index| u64::from(function_of_device(**index >> 3)) == request.function.to_u64());
            assert!(device.is_some());
            self.launched = Some((request, 0));
        }
        self.cycle += 1;
    }

    fn settle(&mut self) {
        let limit = self.cycle + 40_000;
        let mut rest = 0;
        while rest < 10 {
            self.step();
            let idle = self.updates.is_empty()
                && self.segments.is_empty()
                && self.frames.is_empty()
                && self.sending.is_empty()
                && self.launched.is_none()
                && self.done.is_empty()
                && !self.uut.busy.val();
            rest = if idle { rest + 1 } else { 0 };
            assert!(self.cycle < limit, "it hangs: {} frames wait", self.frames.len());
        }
        assert!(self.queues.values().all(|queue| queue.expected.is_empty()), "a chain is missing");
        for (at, byte) in &self.wanted {
            assert_eq!(self.memory.get(at), Some(byte), "at {at:#x}");
        }
    }
}

#[test]
fn frames_are_written_with_their_headers_wherever_buffers_are() {
    let mut bench = Bench::new(1);
    bench.set(0x08, true, true);
    for (lengths, bytes) in [
        (&[2048][..], 60),
        (&[12, 1514], 1514),
        (&[1, 2, 3, 4, 5, 6, 7, 8, 9, 100], 100),
        (&[0, 5, 0, 0, 2000, 0], 64),
        (&[10_000], 9_018),
        (&[4_000_000_000], 9_034),
        (&[31, 33, 64, 1, 4096, 4097], 8_000),
        (&[26], 14),
    ] {
        bench.chain(0x08, lengths);
        bench.frame(0x08, bytes);
        bench.settle();
    }
    assert!(bench.replies.iter().all(|reply| *reply != Reply::Drop));
}

#[test]
fn a_frame_takes_as_many_chains_as_it_needs_if_they_may_be_merged() {
    for seed in 1..4 {
        let mut bench = Bench::new(seed);
        bench.set(0x08, true, true);
        bench.set(0x0a, true, true);
        bench.set(0x10, true, false);
        for _ in 0..60 {
            let index = bench.rng.pick(&[0x08, 0x0a, 0x10]);
            let bytes = 14 + bench.rng.below(3_000) as usize;
            bench.frame(index, bytes);
            let mut room = 0;
            while room < bytes + 12 {
                let count = 1 + bench.rng.below(4) as usize;
                let lengths: Vec<u32> = (0..count)
                    .map(|_| if index == 0x10 { 1_600 } else { 100 + bench.rng.below(1_500) as u32 })
                    .collect();
                room += lengths.iter().sum::<u32>() as usize;
                bench.chain(index, &lengths);
            }
            if bench.rng.chance(1, 3) {
                bench.settle();
                for queue in bench.queues.values_mut() {
                    assert!(queue.out <= ROOM - 40);
                }
            } else {
                (0..bench.rng.below(100)).for_each(|_| bench.step());
            }
            if bench.queues.values().any(|queue| queue.out > 60) {
                bench.settle();
            }
            let crowded: Vec<u8> = [0x08, 0x0a].into_iter().filter(|i| bench.queues[i].out > 60).collect();
            for index in crowded {
                bench.frame(index, 9_000);
                bench.chain(index, &[9_100]);
                bench.settle();
            }
        }
        bench.settle();
    }
}

#[test]
fn a_frame_waits_for_buffers_or_is_dropped_if_it_cannot_fit() {
    let mut bench = Bench::new(1);
    bench.set(0x08, true, true);
    bench.set(0x10, true, false);
    bench.frame(0x08, 1_000);
    (0..300).for_each(|_| bench.step());
    assert!(!bench.replies.is_empty() && bench.replies.iter().all(|reply| *reply == Reply::Wait));
    bench.chain(0x08, &[500]);
    (0..300).for_each(|_| bench.step());
    assert!(bench.replies.iter().all(|reply| *reply == Reply::Wait));
    bench.chain(0x08, &[512]);
    bench.settle();
    assert_eq!(bench.replies.pop(), Some(Reply::Take));
    // Without merging, the one chain is too short.
    bench.chain(0x10, &[500]);
    bench.frame(0x10, 489);
    bench.settle();
    assert_eq!(bench.replies.pop(), Some(Reply::Drop));
    bench.frame(0x10, 488);
    bench.settle();
    assert_eq!(bench.replies.pop(), Some(Reply::Take));
    // Nobody is there.
    bench.set(0x10, false, false);
    bench.frame(0x10, 60);
    bench.frame(0x20, 60);
    bench.settle();
    assert_eq!(bench.replies.split_off(bench.replies.len() - 2), [Reply::Drop, Reply::Drop]);
    // 65 tiny buffers are no good.
    (0..65).for_each(|_| bench.chain(0x08, &[1]));
    bench.frame(0x08, 1_000);
    bench.settle();
    assert_eq!(bench.replies.pop(), Some(Reply::Drop));
}

#[test]
fn a_readable_segment_breaks_the_queue() {
    let mut bench = Bench::new(1);
    bench.set(0x08, true, true);
    bench.set(0x10, true, true);
    bench.chain(0x08, &[2000]);
    bench.segments.back_mut().expect("it").write = false;
    bench.chain(0x10, &[2000]);
    bench.frame(0x08, 100);
    bench.frame(0x10, 100);
    bench.settle();
    assert_eq!(bench.broken, [0x08]);
    assert_eq!(bench.replies.iter().filter(|reply| **reply == Reply::Take).count(), 1);
}

#[test]
fn a_token_follows_the_frames_of_its_queue() {
    let mut bench = Bench::new(1);
    bench.set(0x10, true, true);
    for _ in 0..20 {
        bench.set(0x08, true, true);
        for _ in 0..6 {
            bench.chain(0x08, &[2_000]);
            bench.chain(0x10, &[2_000]);
        }
        for _ in 0..4 {
            bench.frame(0x08, 1_000);
            bench.frame(0x10, 1_000);
        }
        (0..bench.rng.below(400)).for_each(|_| bench.step());
        bench.set(0x08, false, true);
        bench.token(0x08);
        bench.settle();
        assert!(bench.queues[&0x08].drained);
        (0..bench.queues[&0x10].chains.len()).for_each(|_| bench.frame(0x10, 60));
        bench.settle();
    }
}

#[test]
fn a_frame_costs_what_it_is_said_to() {
    for (bytes, most) in [(64, 8.0), (1_500, 55.0), (9_018, 320.0)] {
        let mut bench = Bench::new(1);
        bench.smooth = true;
        bench.set(0x08, true, true);
        (0..20).for_each(|_| bench.chain(0x08, &[9_100]));
        (0..400).for_each(|_| bench.step());
        (0..20).for_each(|_| bench.frame(0x08, bytes));
        bench.settle();
        let cost = (bench.ends[19] - bench.ends[4]) as f64 / 15.0;
        println!("{bytes} bytes: {cost:.1} cycles");
        assert!(cost <= most, "{bytes} bytes: {cost}");
    }
}

#[test]
fn the_verilog_is_the_same() {
    differential(
        "receive",
        || {
            let mut uut = Receive::default();
            uut.connect_all();
            uut
        },
        |uut, rng| {
            let mut update: VirtqueueUpdate = rng.value();
            update.valid = rng.chance(1, 60);
            update.index = rng.below(16).into();
            uut.update.next = update;
            uut.segments.valid.next = rng.chance(1, 3);
            let mut segment: Segment = rng.value();
            segment.queue = rng.pick(&[0u64, 2, 8, 10]).into();
            segment.drain = rng.chance(1, 30);
            segment.write = rng.chance(99, 100);
            segment.length = rng.below(3_000).into();
            uut.segments.data.next = segment;
            uut.offer.valid.next = rng.chance(1, 4);
            uut.offer.data.next = Offer { queue: rng.below(4).into(), length: (14 + rng.below(500)).into() };
            uut.reply.ready.next = rng.bit();
            uut.packet.valid.next = rng.chance(1, 4);
            uut.packet.data.next = EgressBeat { last: rng.chance(1, 8), ..rng.value() };
            uut.write.ready.next = rng.bit();
            uut.write_done.valid.next = rng.chance(1, 10);
            uut.launch.next = rng.value();
            uut.used.ready.next = rng.bit();
            uut.broken.ready.next = rng.bit();
        },
        10_000,
    );
}
