//! A host around the block: memory, a DMA reader with latencies of its own, and neighbours that are not always ready.

use std::collections::{HashMap, VecDeque};

use nitride_lang::prelude::*;
use nitride_lang::testing::{Rng, low, step};

use super::model::{Buffer, Chain, Outcome, Span};
use crate::bus::{DmaDone, DmaReadRequest, DmaStatus, Landing, LandingWrite};
use crate::net::Transmit;
use crate::net::records::{Segment, Virtqueue, VirtqueueUpdate};

/// Where host memory begins.
const BASE: u64 = 0x12_3456_7000;

/// Seeds of random tests; `NITRIDE_SEED` in the environment repeats one.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("NITRIDE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0x7a00..0x7a00 + count).collect(),
    }
}

/// How the surroundings behave; chances are in a hundred cycles.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Cycles from a read to its first byte.
    pub latency: (u64, u64),
    /// Reads are answered in any order, in turns; else in order.
    pub shuffle: bool,
    pub segment: u32,
    pub read: u32,
    pub packet: u32,
    pub used: u32,
    pub broken: u32,
    /// Reads that fail, in a thousand.
    pub fail: u32,
}

impl Options {
    /// All at once, with a round trip of 250 cycles.
    pub const FAST: Self = Self {
        latency: (250, 250),
        shuffle: false,
        segment: 100,
        read: 100,
        packet: 100,
        used: 100,
        broken: 100,
        fail: 0,
    };
    pub fn random(rng: &mut Rng) -> Self {
        Self {
            latency: (rng.below(20), rng.pick(&[20, 100, 400])),
            shuffle: true,
            segment: rng.pick(&[20, 60, 100]),
            read: rng.pick(&[10, 60, 100]),
            packet: rng.pick(&[10, 50, 90, 100]),
            used: rng.pick(&[5, 50, 100]),
            broken: rng.pick(&[1, 50, 100]),
            fail: 0,
        }
    }
}

/// What the driver and the registers do, in order.
#[derive(Debug, Clone, Copy)]
enum Action {
    Update {
        queue: u8,
        enabled: bool,
        csum: bool,
    },
    Segment {
        segment: Segment,
        first: Option<usize>,
    },
    Token(u8),
    Wait(u64),
    /// Until all chains and tokens are back.
    Settle,
}

#[derive(Debug)]
struct Flying {
    request: DmaReadRequest,
    chain: usize,
    due: u64,
    placed: u64,
    failed: bool,
}

/// A chain on its way.
#[derive(Debug)]
struct Sent {
    chain: Chain,
    outcome: Outcome,
    failed: bool,
    /// Its queue was disabled while it was under way: no frame may come of it.
    uncertain: bool,
    /// It is of a disabled queue.
    disabled: bool,
    given: bool,
    reported: bool,
}

impl Sent {
    fn outcome(&self) -> &Outcome {
        match (self.disabled, self.failed) {
            (true, _) => &Outcome::Dropped,
            (_, true) => &Outcome::Broken,
            _ => &self.outcome,
        }
    }
}

/// The entries of the used ring that are to come.
#[derive(Debug, Clone, Copy)]
enum Return {
    Chain(usize),
    /// And how many chains are before it.
    Token(u8, usize),
}

pub struct Bench {
    pub uut: Transmit,
    pub rng: Rng,
    pub options: Options,
    pub cycle: u64,
    /// The cycles in which frames ended.
    pub ends: Vec<u64>,
    pub frames: usize,
    pub dropped: usize,
    pub broken: usize,
    memory: Vec<u8>,
    actions: VecDeque<Action>,
    offered: Option<(Action, bool)>,
    chains: Vec<Sent>,
    /// How many of them the block has seen.
    begun: usize,
    /// What each chain may still read.
    reads: VecDeque<(usize, Span)>,
    flying: Vec<Flying>,
    done: VecDeque<DmaDone>,
    returns: VecDeque<Return>,
    csum: HashMap<u8, bool>,
    enabled: HashMap<u8, bool>,
    frame: Vec<u8>,
    frame_at: usize,
    drops: HashMap<u8, usize>,
    held: [Option<String>; 4],
}

impl Bench {
    pub fn new(seed: u64, options: Options) -> Self {
        println!("seed {seed}");
        let mut uut = Transmit::default();
        uut.connect_all();
        Self {
            uut,
            rng: Rng::new(seed),
            options,
            cycle: 0,
            ends: vec![],
            frames: 0,
            dropped: 0,
            broken: 0,
            memory: vec![],
            actions: VecDeque::new(),
            offered: None,
            chains: vec![],
            begun: 0,
            reads: VecDeque::new(),
            flying: vec![],
            done: VecDeque::new(),
            returns: VecDeque::new(),
            csum: HashMap::new(),
            enabled: HashMap::new(),
            frame: vec![],
            frame_at: 0,
            drops: HashMap::new(),
            held: Default::default(),
        }
    }

    pub fn queue(&mut self, queue: u8, enabled: bool, csum: bool) {
        self.actions.push_back(Action::Update { queue, enabled, csum });
        // What the RAM read at the same edge is old; nothing is under way when a queue is enabled.
        self.actions.push_back(Action::Wait(2));
    }
    pub fn token(&mut self, queue: u8) {
        self.actions.push_back(Action::Token(queue));
    }
    pub fn settle(&mut self) {
        self.actions.push_back(Action::Settle);
    }
    pub fn wait(&mut self, cycles: u64) {
        self.actions.push_back(Action::Wait(cycles));
    }

    /// Bytes in memory, at an address that begins `offset` bytes after a multiple of 64.
    pub fn buffer(&mut self, bytes: &[u8], offset: u64) -> Buffer {
        while self.memory.len() as u64 % 64 != offset % 64 {
            self.memory.push(self.rng.below(256) as u8);
        }
        let address = BASE + self.memory.len() as u64;
        self.memory.extend(bytes);
        Buffer { address, length: bytes.len() as u32, write: false, bytes: bytes.to_vec() }
    }

    /// A buffer of random alignment.
    pub fn anywhere(&mut self, bytes: &[u8]) -> Buffer {
        let offset = self.rng.below(64);
        self.buffer(bytes, offset)
    }

    pub fn chain(&mut self, chain: Chain) {
        let index = self.chains.len();
        let count = chain.buffers.len();
        for (i, buffer) in chain.buffers.iter().enumerate() {
            let segment = Segment {
                queue: u64::from(chain.queue).into(),
                drain: false,
                head: u64::from(chain.head).into(),
                address: buffer.address.into(),
                length: u64::from(buffer.length).into(),
                write: buffer.write,
                last: i + 1 == count,
            };
            self.actions.push_back(Action::Segment { segment, first: (i == 0).then_some(index) });
        }
        self.chains.push(Sent {
            chain,
            outcome: Outcome::Dropped,
            failed: false,
            uncertain: false,
            disabled: false,
            given: false,
            reported: false,
        });
    }

    fn landing(&mut self) -> LandingWrite {
        let due: Vec<usize> = (0..self.flying.len()).filter(|i| self.flying[*i].due <= self.cycle).collect();
        let pick = match (due.first(), self.options.shuffle) {
            (None, _) => return LandingWrite::default(),
            (Some(first), false) => *first,
            _ => self.rng.pick(&due),
        };
        let flying = &mut self.flying[pick];
        let request = flying.request;
        let left = request.length.to_u64() - flying.placed;
        let count = left.min(8);
        let place = request.destination.to_u64() + flying.placed;
        let mut dwords = [0u64; 8];
        let (mut enable, mut wrap) = (0u64, 0u64);
        for i in 0..count {
            let lane = (place + i) % 8;
            enable |= 1 << lane;
            wrap |= u64::from((place + i) / 8 != place / 8) << lane;
            let at = (request.address.to_u64() + 4 * (flying.placed + i) - BASE) as usize;
            let byte = |at: usize| self.memory.get(at).copied().unwrap_or_default();
            dwords[lane as usize] =
                u64::from(u32::from_le_bytes([byte(at), byte(at + 1), byte(at + 2), byte(at + 3)]));
        }
        flying.placed += count;
        let failed = flying.failed;
        if flying.placed == request.length.to_u64() {
            let status = if failed {
                self.rng.pick(&[DmaStatus::Failed, DmaStatus::Timeout, DmaStatus::NotEnabled])
            } else {
                DmaStatus::Ok
            };
            self.done.push_back(DmaDone { context: request.context, status });
            let flying = self.flying.remove(pick);
            self.chains[flying.chain].failed |= flying.failed;
        }
        if failed {
            return LandingWrite::default();
        }
        let data = dwords.iter().rev().fold(Bits::<256>::default(), |all, dw| (all << 32) | Bits::from(*dw));
        LandingWrite { enable: enable.into(), wrap: wrap.into(), row: (place / 8).into(), data }
    }

    /// The next thing that the driver or the registers do.
    fn act(&mut self) -> VirtqueueUpdate {
        match self.actions.front_mut() {
            None => {}
            Some(Action::Wait(0)) => {
                self.actions.pop_front();
            }
            Some(Action::Wait(cycles)) => *cycles -= 1,
            Some(Action::Settle) => {
                if self.offered.is_none() && self.returns.is_empty() {
                    self.actions.pop_front();
                }
            }
            Some(&mut Action::Update { queue, enabled, csum }) => {
                if self.offered.is_some() {
                    return VirtqueueUpdate::default();
                }
                self.actions.pop_front();
                self.enabled.insert(queue, enabled);
                self.csum.insert(queue, csum);
                if !enabled {
                    let waiting = self.returns.iter().filter_map(|r| match r {
                        Return::Chain(i) => Some(*i),
                        Return::Token(..) => None,
                    });
                    for i in waiting {
                        self.chains[i].uncertain |= self.chains[i].chain.queue == queue;
                    }
                }
                let mut update = VirtqueueUpdate { valid: true, ..self.rng.value() };
                update.index = u64::from(queue).into();
                update.queue = Virtqueue { enabled, ..update.queue };
                update.settings.csum = csum;
                return update;
            }
            Some(&mut action) => {
                if self.offered.is_none() && self.rng.chance(self.options.segment, 100) {
                    self.actions.pop_front();
                    self.offered = Some((action, true));
                }
            }
        }
        VirtqueueUpdate { valid: false, ..self.rng.value() }
    }

    /// A segment is seen for the first time: from now on it may be read.
    fn offer(&mut self) {
        let Some((action, new)) = &mut self.offered else { return };
        let segment = match (*action, std::mem::take(new)) {
            (Action::Segment { segment, first }, new) => {
                if let (Some(index), true) = (first, new) {
                    let sent = &mut self.chains[index];
                    let queue = sent.chain.queue;
                    sent.outcome = sent.chain.outcome(self.csum.get(&queue).copied().unwrap_or_default());
                    sent.disabled = !self.enabled.get(&queue).copied().unwrap_or_default();
                    if !sent.disabled {
                        self.reads.extend(sent.chain.reads().into_iter().map(|span| (index, span)));
                    }
                    self.returns.push_back(Return::Chain(index));
                    self.begun = index + 1;
                }
                segment
            }
            (Action::Token(queue), new) => {
                if new {
                    self.returns.push_back(Return::Token(queue, self.begun));
                }
                Segment { queue: u64::from(queue).into(), drain: true, ..self.uut.segments.data.val() }
            }
            other => panic!("{other:?} is no segment"),
        };
        self.uut.segments.data.next = segment;
    }

    /// A read is asked for: it has to be what comes next.
    fn asked(&mut self, request: DmaReadRequest) {
        let (address, length) = (request.address.to_u64(), request.length.to_u64());
        assert!((1..=1024).contains(&length), "{length} DWs");
        assert_eq!(request.destination.to_u64() >> 15, Landing::FRAMES);
        assert!((request.destination.to_u64() >> 3) & 0xfff < 1024, "not in the ring");
        let first = loop {
            let (chain, span) = self.reads.front_mut().expect("nothing is to be read");
            if span.address == address && u64::from(span.function) == request.function.to_u64() {
                assert!(length <= span.dwords, "reads beyond the segment");
                let chain = *chain;
                span.address += 4 * length;
                span.dwords -= length;
                if span.dwords == 0 {
                    self.reads.pop_front();
                }
                break chain;
            }
            assert!(self.chains[*chain].uncertain, "{request:x?} instead of {span:x?}");
            self.reads.pop_front();
        };
        let overlap = |a: &DmaReadRequest| {
            let distance = |x: &DmaReadRequest, y: &DmaReadRequest| {
                (y.destination.to_u64().wrapping_sub(x.destination.to_u64())) & 0x1fff
            };
            distance(a, &request) < a.length.to_u64() || distance(&request, a) < length
        };
        let ending = self.done.iter().map(|done| done.context);
        let mut contexts = self.flying.iter().map(|f| f.request.context).chain(ending);
        assert!(contexts.all(|context| context != request.context), "a context twice");
        assert!(!self.flying.iter().any(|f| overlap(&f.request)), "a place twice");
        let (least, most) = self.options.latency;
        let due = self.cycle + least + self.rng.below(most - least + 1);
        let failed = self.rng.chance(self.options.fail, 1000);
        self.flying.push(Flying { request, chain: first, due, placed: 0, failed });
    }

    fn frame(&mut self, port: u64) {
        let frame = std::mem::take(&mut self.frame);
        self.frames += 1;
        self.ends.push(self.cycle);
        loop {
            let sent = self.chains.get_mut(self.frame_at).expect("a frame that nobody sent");
            self.frame_at += 1;
            if let Outcome::Frame(expected) = sent.outcome().clone() {
                if expected == frame {
                    assert_eq!(port, u64::from(sent.chain.device()));
                    sent.given = true;
                    return;
                }
                assert!(
                    sent.uncertain,
                    "chain {} of queue {:#x}: {} bytes instead of {}\n{frame:02x?}\n{expected:02x?}",
                    self.frame_at - 1,
                    sent.chain.queue,
                    frame.len(),
                    expected.len(),
                );
            }
        }
    }

    fn returned(&mut self, queue: u64, drain: bool, head: u64) {
        match self.returns.pop_front().expect("nothing is to be returned") {
            Return::Chain(i) => {
                let chain = &self.chains[i].chain;
                assert!(!drain);
                assert_eq!((queue, head), (u64::from(chain.queue), u64::from(chain.head)));
                assert!(self.flying.iter().all(|f| f.chain != i), "it is still being read");
            }
            Return::Token(token, before) => {
                assert!(drain && queue == u64::from(token));
                for sent in &self.chains[self.frame_at.min(before)..before] {
                    let frame = matches!(sent.outcome(), Outcome::Frame(_));
                    assert!(!frame || sent.uncertain, "a frame was to come before the token");
                }
                // None may come any more.
                self.frame_at = self.frame_at.max(before);
            }
        }
    }

    pub fn step(&mut self) {
        let update = self.act();
        self.uut.update.next = update;
        self.offer();
        self.uut.segments.valid.next = self.offered.is_some();
        // An end is shown in the cycle after the last bytes.
        let done = self.done.pop_front();
        self.uut.read_done.valid.next = done.is_some();
        self.uut.read_done.data.next = done.unwrap_or_else(|| self.rng.value());
        self.uut.landing.next = self.landing();
        let options = self.options;
        self.uut.read.ready.next = self.rng.chance(options.read, 100);
        self.uut.packet.ready.next = self.rng.chance(options.packet, 100);
        self.uut.used.ready.next = self.rng.chance(options.used, 100);
        self.uut.broken.ready.next = self.rng.chance(options.broken, 100);
        low(&mut self.uut);

        if self.offered.is_some() && self.uut.segments.ready.val() {
            self.offered = None;
        }
        self.stable();
        if self.uut.read.valid.val() && self.uut.read.ready.val() {
            self.asked(self.uut.read.data.val());
        }
        if self.uut.packet.valid.val() && self.uut.packet.ready.val() {
            let beat = self.uut.packet.data.val();
            let bytes = beat.bytes.to_u64() as usize;
            assert!(bytes == 32 || (beat.last && (1..32).contains(&bytes)), "{bytes} bytes");
            let data: Vec<u8> = (0..8)
                .flat_map(|i| (beat.data.get_bits::<32>(32 * i).to_u64() as u32).to_le_bytes())
                .collect();
            self.frame.extend(&data[..bytes]);
            assert!(data[bytes..].iter().all(|byte| *byte == 0), "something behind the frame");
            if beat.last {
                self.frame(beat.port.to_u64());
            }
        }
        if self.uut.broken.valid.val() && self.uut.broken.ready.val() {
            let queue = self.uut.broken.data.val().to_u64();
            let sent = self.chains.iter_mut().filter(|sent| {
                u64::from(sent.chain.queue) == queue && !sent.reported && *sent.outcome() == Outcome::Broken
            });
            let sent = sent.min_by_key(|sent| sent.uncertain);
            sent.expect("a queue that is not broken").reported = true;
            self.broken += 1;
        }
        if self.uut.used.valid.val() && self.uut.used.ready.val() {
            let used = self.uut.used.data.val();
            assert!(used.drain || (used.last && used.length == 0));
            self.returned(used.queue.to_u64(), used.drain, used.head.to_u64());
        }
        let dropped = self.uut.dropped.val();
        if dropped.valid {
            *self.drops.entry(dropped.index.to_u64() as u8).or_default() += 1;
            self.dropped += 1;
        }
        step(&mut self.uut);
        assert!(self.uut.read_done.ready.val());
        self.cycle += 1;
    }

    /// What waits does not change.
    fn stable(&mut self) {
        let uut = &self.uut;
        let now = [
            (uut.read.valid.val(), uut.read.ready.val(), format!("{:?}", uut.read.data.val())),
            (uut.packet.valid.val(), uut.packet.ready.val(), format!("{:?}", uut.packet.data.val())),
            (uut.used.valid.val(), uut.used.ready.val(), format!("{:?}", uut.used.data.val())),
            (uut.broken.valid.val(), uut.broken.ready.val(), format!("{:?}", uut.broken.data.val())),
        ];
        for (held, (valid, ready, data)) in self.held.iter_mut().zip(now) {
            if let Some(held) = held {
                assert!(valid && *held == data, "a word that waits changes");
            }
            *held = (valid && !ready).then_some(data);
        }
    }

    /// Until all is over; then all has to be as it should.
    pub fn finish(&mut self) {
        let limit = self.cycle + 2_000_000;
        let mut rest = 0;
        while rest < 20 {
            self.step();
            let idle = self.actions.is_empty()
                && self.offered.is_none()
                && self.returns.is_empty()
                && !self.uut.busy.val();
            rest = if idle { rest + 1 } else { 0 };
            assert!(self.cycle < limit, "it hangs: {} returns are missing", self.returns.len());
        }
        assert!(self.flying.is_empty() && self.frame.is_empty());
        assert!(self.reads.iter().all(|(chain, _)| self.chains[*chain].uncertain), "not all was read");
        let mut drops: HashMap<u8, usize> = HashMap::new();
        for (i, sent) in self.chains.iter().enumerate() {
            match sent.outcome() {
                Outcome::Frame(_) if sent.given => continue,
                Outcome::Broken if sent.reported => continue,
                Outcome::Dropped => {}
                other => assert!(sent.uncertain, "chain {i} is {other:?}, and nothing came of it"),
            }
            *drops.entry(sent.chain.queue).or_default() += 1;
        }
        assert_eq!(self.drops, drops, "dropped");
    }
}
