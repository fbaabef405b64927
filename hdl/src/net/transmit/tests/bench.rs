//! A host around the block: memory, a DMA reader with latencies of its own, and neighbours that are not always ready.

use std::collections::{HashMap, VecDeque};

use nitride_lang::prelude::*;
use nitride_lang::testing::{Rng, low, step};

use super::host::Host;
use super::model::{Buffer, Chain, Outcome, Span};
use super::options::Options;
use crate::bus::DmaReadRequest;
use crate::net::Transmit;
use crate::net::records::{Segment, Virtqueue, VirtqueueUpdate};

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
    host: Host,
    actions: VecDeque<Action>,
    offered: Option<(Action, bool)>,
    chains: Vec<Sent>,
    /// How many of them the block has seen.
    begun: usize,
    /// What each chain may still read.
    reads: VecDeque<(usize, Span)>,
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
            host: Host::default(),
            actions: VecDeque::new(),
            offered: None,
            chains: vec![],
            begun: 0,
            reads: VecDeque::new(),
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
        self.host.buffer(bytes, offset, &mut self.rng)
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

    /// The next thing that the driver or the registers do.
    fn act(&mut self) -> VirtqueueUpdate {
        match self.actions.front_mut() {
            Some(Action::Wait(0)) => {
                self.actions.pop_front();
            }
            Some(Action::Wait(cycles)) => *cycles -= 1,
            Some(Action::Settle) if self.offered.is_none() && self.returns.is_empty() => {
                self.actions.pop_front();
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
            Some(&mut action @ (Action::Segment { .. } | Action::Token(_)))
                if self.offered.is_none() && self.rng.chance(self.options.segment, 100) =>
            {
                self.actions.pop_front();
                self.offered = Some((action, true));
            }
            _ => {}
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
        self.host.ask(request, first, self.cycle, &self.options, &mut self.rng);
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
                assert!(!self.host.reads_for(i), "it is still being read");
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
        let options = self.options;
        let update = self.act();
        self.uut.update.next = update;
        self.offer();
        self.uut.segments.valid.next = self.offered.is_some();
        // An end is shown in the cycle after the last bytes.
        let done = self.host.done.pop_front();
        self.uut.read_done.valid.next = done.is_some();
        self.uut.read_done.data.next = done.unwrap_or_else(|| self.rng.value());
        let (landing, failed) = self.host.landing(self.cycle, options.shuffle, &mut self.rng);
        self.uut.landing.next = landing;
        if let Some(chain) = failed {
            self.chains[chain].failed = true;
        }
        self.uut.read.ready.next = self.host.flying() < options.reads && self.rng.chance(options.read, 100);
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
        assert!(self.host.is_idle() && self.frame.is_empty());
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
