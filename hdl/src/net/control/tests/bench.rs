//! A host around the block: drivers, a fetcher, the registers, and neighbours that are not always ready.

use std::collections::{HashMap, VecDeque};

use nitride_abi::virtio::net::control;
use nitride_lang::prelude::*;
use nitride_lang::testing::{Rng, low, step};

use super::memory::{Memory, Reader, Writer};
use super::model::{BYTES, Buffer, Chain, Outcome, Span};
use super::options::Options;
use crate::bus::DmaReadRequest;
use crate::function::function_of_device;
use crate::net::Control;
use crate::net::records::{ControlAnswer, ControlCommand, ROOM, Segment, Used, Virtqueue, VirtqueueUpdate};

/// What the fetcher and the registers do, in order.
#[derive(Debug, Clone, Copy)]
enum Action {
    Update {
        queue: u8,
        enabled: bool,
    },
    Segment {
        segment: Segment,
        first: Option<usize>,
    },
    Token(u8),
    Wait(u64),
    /// Until all chains and tokens are over.
    Settle,
}

/// What is to be over next.
#[derive(Debug, Clone, Copy)]
enum Item {
    Chain(usize),
    Token(u8),
}

/// How far a chain has come.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Fresh,
    Commanded,
    Answered(bool),
    Written,
}

#[derive(Debug)]
struct Sent {
    chain: Chain,
    outcome: Outcome,
    failed: bool,
    /// Its queue was disabled while it was under way: it may be dropped.
    uncertain: bool,
    /// It is of a disabled queue: it has to be dropped.
    disabled: bool,
    stage: Stage,
}

impl Sent {
    fn breaks(&self) -> bool {
        self.failed || self.outcome == Outcome::Broken
    }
    fn silent(&self) -> bool {
        self.stage == Stage::Fresh && (self.disabled || self.uncertain)
    }
}

pub struct Bench {
    pub uut: Control,
    pub rng: Rng,
    pub options: Options,
    pub cycle: u64,
    pub memory: Memory,
    /// Commands that were carried out.
    pub commands: Vec<ControlCommand>,
    /// Chains that went back.
    pub returned: usize,
    pub broken: usize,
    pub reads: usize,
    /// What the registers say to the next command; else anything.
    pub verdict: Option<bool>,
    reader: Reader,
    writer: Writer,
    actions: VecDeque<Action>,
    chains: Vec<Sent>,
    /// What is not over.
    due: VecDeque<Item>,
    /// What each chain may still read.
    spans: VecDeque<(usize, Span)>,
    /// Chains whose segments have not come back.
    lent: VecDeque<usize>,
    room: HashMap<u8, u64>,
    enabled: HashMap<u8, bool>,
    next_address: u64,
    held: [Option<String>; 5],
}

impl Bench {
    pub fn new(seed: u64, options: Options) -> Self {
        println!("seed {seed}");
        let mut uut = Control::default();
        uut.connect_all();
        Self {
            uut,
            rng: Rng::new(seed),
            options,
            cycle: 0,
            memory: Memory::default(),
            commands: vec![],
            returned: 0,
            broken: 0,
            reads: 0,
            verdict: None,
            reader: Reader::default(),
            writer: Writer::default(),
            actions: VecDeque::new(),
            chains: vec![],
            due: VecDeque::new(),
            spans: VecDeque::new(),
            lent: VecDeque::new(),
            room: HashMap::new(),
            enabled: HashMap::new(),
            next_address: 0x12_3456_7000,
            held: Default::default(),
        }
    }

    pub fn queue(&mut self, queue: u8, enabled: bool) {
        self.actions.push_back(Action::Update { queue, enabled });
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

    /// A place in memory that nothing else uses, `offset` bytes after a DW's first.
    pub fn place(&mut self, length: u32, write: bool, offset: u64) -> Buffer {
        let address = self.next_address.next_multiple_of(4) + offset;
        self.next_address = address + u64::from(length) + self.rng.below(9);
        Buffer { address, length, write }
    }

    /// Bytes in memory that the device reads.
    pub fn readable(&mut self, bytes: &[u8], offset: u64) -> Buffer {
        let buffer = self.place(bytes.len() as u32, false, offset);
        for (i, byte) in bytes.iter().enumerate() {
            self.memory.write(buffer.address + i as u64, *byte);
        }
        buffer
    }

    /// A place for an answer.
    pub fn writable(&mut self, length: u32) -> Buffer {
        let offset = self.rng.below(4);
        self.place(length, true, offset)
    }

    pub fn chain(&mut self, queue: u8, head: u16, buffers: Vec<Buffer>) {
        let index = self.chains.len();
        let count = buffers.len();
        for (i, buffer) in buffers.iter().enumerate() {
            let segment = Segment {
                queue: u64::from(queue).into(),
                drain: false,
                head: u64::from(head).into(),
                address: buffer.address.into(),
                length: u64::from(buffer.length).into(),
                write: buffer.write,
                last: i + 1 == count,
            };
            self.actions.push_back(Action::Segment { segment, first: (i == 0).then_some(index) });
        }
        let chain = Chain { queue, head, buffers };
        let outcome = chain.outcome(&self.memory);
        self.chains.push(Sent {
            chain,
            outcome,
            failed: false,
            uncertain: false,
            disabled: false,
            stage: Stage::Fresh,
        });
    }

    /// The next thing that the registers or the fetcher do.
    fn act(&mut self) {
        self.uut.update.next = VirtqueueUpdate { valid: false, ..self.rng.value() };
        self.uut.segments.valid.next = false;
        self.uut.segments.data.next = self.rng.value();
        match self.actions.front().copied() {
            Some(Action::Wait(cycles)) => {
                self.actions.pop_front();
                if cycles > 0 {
                    self.actions.push_front(Action::Wait(cycles - 1));
                }
            }
            Some(Action::Settle)
                if !self.uut.busy.val() && self.due.iter().all(|item| self.is_silent(*item)) =>
            {
                self.due.clear();
                self.actions.pop_front();
            }
            Some(Action::Update { queue, enabled }) => {
                self.actions.pop_front();
                self.update(queue, enabled);
            }
            Some(Action::Segment { segment, first }) => self.segment(segment, first),
            Some(Action::Token(queue)) if self.rng.chance(self.options.segment, 100) => {
                self.actions.pop_front();
                self.due.push_back(Item::Token(queue));
                let token = Segment { queue: u64::from(queue).into(), drain: true, ..self.rng.value() };
                self.uut.segments.valid.next = true;
                self.uut.segments.data.next = token;
            }
            _ => {}
        }
    }

    fn update(&mut self, queue: u8, enabled: bool) {
        self.enabled.insert(queue, enabled);
        for item in &self.due {
            if let Item::Chain(i) = *item {
                let sent = &mut self.chains[i];
                sent.uncertain |= !enabled && sent.chain.queue == queue;
            }
        }
        let mut update = VirtqueueUpdate { valid: true, ..self.rng.value() };
        update.index = u64::from(queue).into();
        update.queue = Virtqueue { enabled, ..update.queue };
        self.uut.update.next = update;
    }

    /// A segment goes, if there is room for its chain.
    fn segment(&mut self, segment: Segment, first: Option<usize>) {
        if !self.rng.chance(self.options.segment, 100) {
            return;
        }
        if let Some(index) = first {
            let sent = &mut self.chains[index];
            let queue = sent.chain.queue;
            let room = self.room.entry(queue).or_insert(ROOM);
            let Some(rest) = room.checked_sub(sent.chain.buffers.len() as u64) else { return };
            *room = rest;
            self.lent.push_back(index);
            sent.disabled = !self.enabled.get(&queue).copied().unwrap_or_default();
            if !sent.disabled {
                self.spans.extend(sent.chain.spans().into_iter().map(|span| (index, span)));
            }
            self.due.push_back(Item::Chain(index));
        }
        self.actions.pop_front();
        self.uut.segments.valid.next = true;
        self.uut.segments.data.next = segment;
    }

    fn is_silent(&self, item: Item) -> bool {
        matches!(item, Item::Chain(i) if self.chains[i].silent())
    }

    /// What is to be over next and answers to `is`; chains that may be dropped are passed over.
    fn front(&mut self, what: &str, is: impl Fn(&Sent) -> bool) -> &mut Sent {
        loop {
            match *self.due.front().unwrap_or_else(|| panic!("{what}: nothing is under way")) {
                Item::Chain(i) if is(&self.chains[i]) && !self.chains[i].disabled => {
                    return &mut self.chains[i];
                }
                item => assert!(self.is_silent(item), "{what} instead of {item:?}"),
            }
            self.due.pop_front();
        }
    }

    /// A read is asked for: it has to be of the DWs that the next bytes are in.
    fn asked(&mut self, request: DmaReadRequest) {
        self.reads += 1;
        let chain = loop {
            let (i, span) = self.spans.pop_front().expect("nothing is to be read");
            let dword = span.address & !3;
            let dwords = (span.address - dword + span.bytes).div_ceil(4);
            let sent = &self.chains[i];
            let device = Bits::from(u64::from(sent.chain.queue >> 3));
            let same = (dword, dwords) == (request.address.to_u64(), request.length.to_u64())
                && function_of_device(device) == request.function;
            if same {
                break i;
            }
            // A chain that breaks its queue need not be read.
            assert!(sent.uncertain || sent.breaks(), "{request:x?} instead of {span:x?}");
        };
        self.chains[chain].failed |= self.reader.ask(request, self.cycle, &self.options, &mut self.rng);
    }

    fn commanded(&mut self, command: ControlCommand) {
        assert!(self.reader.is_idle());
        let expected = |sent: &Sent| match sent.outcome {
            Outcome::Command { bytes, length, .. } if !sent.breaks() && sent.stage == Stage::Fresh => {
                u64::from(sent.chain.queue >> 3) == command.device.to_u64()
                    && u64::from(length) == command.length.to_u64()
                    && bytes == bytes_of(command)
            }
            _ => false,
        };
        self.front(&format!("{command:x?}"), expected).stage = Stage::Commanded;
        self.commands.push(command);
    }

    fn used(&mut self, used: Used) {
        let queue = used.queue.to_u64();
        if used.drain {
            while self.due.front().is_some_and(|item| self.is_silent(*item)) {
                self.due.pop_front();
            }
            let item = self.due.pop_front();
            assert!(matches!(item, Some(Item::Token(token)) if u64::from(token) == queue), "{item:?}");
            assert!(self.reader.is_idle() && self.writer.is_idle());
            return;
        }
        let sent = self.front("a return", |sent| sent.stage == Stage::Written);
        assert_eq!((queue, used.head.to_u64()), (u64::from(sent.chain.queue), u64::from(sent.chain.head)));
        assert!(used.length == 1 && used.last);
        assert!(self.writer.is_idle(), "the answer may come after it");
        self.due.pop_front();
        self.returned += 1;
    }

    fn answers(&mut self) {
        let answers = self.uut.answer.ready.val() && self.uut.answer.valid.val();
        if answers {
            let ok = self.uut.answer.data.val().ok;
            let sent = self.front("an answer", |sent| sent.stage == Stage::Commanded);
            sent.stage = Stage::Answered(ok);
        }
    }

    /// Bytes reach memory: only the answer may.
    fn written(&mut self, bytes: &[(u64, u8)]) {
        for (address, value) in bytes {
            let sent = self.front("a write", |sent| matches!(sent.stage, Stage::Answered(_)));
            let Outcome::Command { ack, .. } = sent.outcome else { panic!("{sent:?}") };
            let expected = if sent.stage == Stage::Answered(true) { control::OK } else { control::ERR };
            assert_eq!((*address, *value), (ack, expected));
            sent.stage = Stage::Written;
            self.memory.write(*address, *value);
        }
    }

    pub fn step(&mut self) {
        let options = self.options;
        self.act();
        let done = self.reader.done();
        self.uut.read_done.valid.next = done.is_some();
        self.uut.read_done.data.next = done.unwrap_or_else(|| self.rng.value());
        self.uut.landing.next = self.reader.landing(&self.memory, self.cycle, &mut self.rng);
        let done = self.writer.done(&mut self.rng);
        self.uut.write_done.valid.next = done.is_some();
        self.uut.write_done.data.next = done.unwrap_or_else(|| self.rng.value());
        self.uut.read.ready.next = self.rng.chance(options.read, 100);
        self.uut.write.ready.next = self.rng.chance(options.write, 100);
        self.uut.command.ready.next = self.rng.chance(options.command, 100);
        self.uut.used.ready.next = self.rng.chance(options.used, 100);
        self.uut.broken.ready.next = self.rng.chance(options.broken, 100);
        let commanded = self
            .due
            .iter()
            .any(|item| matches!(item, Item::Chain(i) if self.chains[*i].stage == Stage::Commanded));
        self.uut.answer.valid.next = commanded && self.rng.chance(options.answer, 100);
        let ok = self.verdict.unwrap_or_else(|| self.rng.bit());
        self.uut.answer.data.next = ControlAnswer { ok };
        let sent = self.writer.sent(self.uut.launch_data.val());
        self.written(&sent);
        self.uut.launch.next = self.writer.launch(self.cycle, &mut self.rng);
        low(&mut self.uut);

        assert!(self.uut.segments.ready.val() && self.uut.read_done.ready.val());
        assert!(self.uut.write_done.ready.val());
        self.stable();
        if self.uut.read.valid.val() && self.uut.read.ready.val() {
            self.asked(self.uut.read.data.val());
        }
        self.answers();
        if self.uut.command.valid.val() && self.uut.command.ready.val() {
            self.commanded(self.uut.command.data.val());
        }
        if self.uut.write.valid.val() && self.uut.write.ready.val() {
            let request = self.uut.write.data.val();
            let sent = self.front("a write", |sent| matches!(sent.stage, Stage::Answered(_)));
            let device = Bits::from(u64::from(sent.chain.queue >> 3));
            assert_eq!(request.function, function_of_device(device));
            self.writer.ask(request, self.cycle, &options, &mut self.rng);
        }
        if self.uut.broken.valid.val() && self.uut.broken.ready.val() {
            let queue = self.uut.broken.data.val().to_u64();
            self.front("a broken queue", |sent| sent.breaks() && u64::from(sent.chain.queue) == queue);
            self.due.pop_front();
            self.broken += 1;
        }
        if self.uut.used.valid.val() && self.uut.used.ready.val() {
            self.used(self.uut.used.data.val());
        }
        let credit = self.uut.credit.val();
        if credit.valid {
            let chain = &self.chains[self.lent.pop_front().expect("nothing was lent")].chain;
            assert_eq!(credit.queue.to_u64(), u64::from(chain.queue));
            assert_eq!(credit.segments.to_u64(), chain.buffers.len() as u64);
            *self.room.entry(chain.queue).or_default() += credit.segments.to_u64();
        }
        step(&mut self.uut);
        self.cycle += 1;
    }

    /// What waits does not change.
    fn stable(&mut self) {
        let uut = &self.uut;
        let now = [
            (uut.read.valid.val(), uut.read.ready.val(), format!("{:?}", uut.read.data.val())),
            (uut.write.valid.val(), uut.write.ready.val(), format!("{:?}", uut.write.data.val())),
            (uut.command.valid.val(), uut.command.ready.val(), format!("{:?}", uut.command.data.val())),
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

    /// The fetcher has given everything.
    pub fn all_sent(&self) -> bool {
        self.actions.is_empty()
    }

    /// Until all is over; then all has to be as it should.
    pub fn finish(&mut self) {
        let limit = self.cycle + 200_000;
        let mut rest = 0;
        while rest < 20 {
            self.step();
            let idle = self.all_sent() && !self.uut.busy.val();
            rest = if idle { rest + 1 } else { 0 };
            assert!(self.cycle < limit, "it hangs: {:?}", self.due.front());
        }
        let left: Vec<_> = self.due.iter().filter(|item| !self.is_silent(**item)).collect();
        assert!(left.is_empty(), "nothing came of {left:?}");
        assert!(self.reader.is_idle() && self.writer.is_idle() && self.lent.is_empty());
    }
}

/// A command's bytes.
pub fn bytes_of(command: ControlCommand) -> [u8; BYTES] {
    std::array::from_fn(|i| command.bytes.get_bits::<8>(8 * i).to_u64() as u8)
}
