//! A host, its memory, the DMA engines and an I/O engine around a [`Front`], a cycle at a time.

use std::collections::VecDeque;

use nitride_abi::card::function_of;
use nitride_abi::nvme::register::{self, cq_head_doorbell, sq_tail_doorbell};
use nitride_abi::nvme::{CQE_BYTES, Cqe, SQE_BYTES, Sqe, Status};
use nitride_lang::prelude::*;
use nitride_lang::testing::{low, step};

use crate::bus::{
    Command, CommandResult, DmaDone, DmaReadRequest, DmaStatus, DmaWriteRequest, LandingWrite, LaunchRead,
    RegisterRequest, Volume, VolumeUpdate,
};
use crate::nvme::Front;

/// Cycles that a DMA takes before its first row moves.
const DMA_LATENCY: u64 = 20;
/// CC for 64-byte and 16-byte entries, enabled.
pub const CC_ENABLE: u32 = 0x0046_0001;

/// The host's view of a queue pair.
#[derive(Clone, Debug)]
pub struct QueuePair {
    pub controller: u8,
    pub queue: u16,
    pub sq: u64,
    pub cq: u64,
    pub entries: u16,
    pub tail: u16,
    pub head: u16,
    pub phase: bool,
}

impl QueuePair {
    pub fn new(controller: u8, queue: u16, sq: u64, cq: u64, entries: u16) -> Self {
        Self { controller, queue, sq, cq, entries, tail: 0, head: 0, phase: true }
    }
}

struct WriteDma {
    port: usize,
    request: DmaWriteRequest,
    /// A row was asked for in this cycle.
    asked: bool,
    bytes: Vec<u8>,
}

/// The front end and what is around it.
pub struct Host {
    pub uut: Front,
    pub around: Surroundings,
}

impl std::ops::Deref for Host {
    type Target = Surroundings;
    fn deref(&self) -> &Surroundings {
        &self.around
    }
}
impl std::ops::DerefMut for Host {
    fn deref_mut(&mut self) -> &mut Surroundings {
        &mut self.around
    }
}

/// What is around the front end. Addresses beyond the memory wrap.
pub struct Surroundings {
    pub memory: Vec<u8>,
    pub cycles: u64,
    /// I/O commands that were started and not answered.
    pub io: VecDeque<Command>,
    /// Answer I/O commands with success at once.
    pub answer_io: bool,
    pub interrupts: Vec<(u8, u8)>,
    pub resets_done: Vec<u8>,
    /// Let reads of entries fail.
    pub fail_reads: bool,
    reads: VecDeque<(u64, DmaReadRequest, usize)>,
    writes: [VecDeque<(u64, DmaWriteRequest)>; 2],
    write: Option<WriteDma>,
    results: VecDeque<CommandResult>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            memory: vec![0; 1 << 20],
            cycles: 0,
            io: VecDeque::new(),
            answer_io: true,
            interrupts: vec![],
            resets_done: vec![],
            fail_reads: false,
            reads: VecDeque::new(),
            writes: Default::default(),
            write: None,
            results: VecDeque::new(),
        }
    }
}

impl Surroundings {
    /// A cycle, up to the clock's edge: takes what the last edge brought, sets inputs, and notes what moves at the next.
    pub fn drive(&mut self, uut: &mut Front) {
        self.collect(uut);
        uut.response.ready.next = true;
        uut.flr_done.ready.next = true;
        uut.read.ready.next = self.reads.len() < 16;
        uut.page.ready.next = self.writes[0].len() < 2;
        uut.entry.ready.next = self.writes[1].len() < 2;
        uut.io.ready.next = true;
        uut.interrupt.ready.next = true;
        uut.io_result.valid.next = !self.results.is_empty();
        uut.io_result.data.next = self.results.front().copied().unwrap_or_default();
        self.read(uut);
        self.write(uut);
        low(uut);
        self.note(uut);
        self.cycles += 1;
    }

    fn at(&self, address: usize, length: usize) -> usize {
        (address % self.memory.len()).min(self.memory.len() - length)
    }

    /// DMA reads, in their order: two rows of an entry, then the end.
    fn read(&mut self, uut: &mut Front) {
        uut.read_done.valid.next = false;
        uut.landing.next = LandingWrite::default();
        let Some((due, request, row)) = self.reads.front().copied() else { return };
        if due > self.cycles {
            return;
        }
        if row < 2 && !self.fail_reads {
            let at = self.at(request.address.to_u64() as usize + 32 * row, 32);
            uut.landing.next = LandingWrite {
                enable: 0xff.into(),
                wrap: 0.into(),
                row: ((request.destination.to_u64() >> 3) + row as u64).into(),
                data: row_of(&self.memory[at..at + 32]),
            };
            self.reads[0].2 += 1;
        } else {
            let status = if self.fail_reads { DmaStatus::Failed } else { DmaStatus::Ok };
            uut.read_done.data.next = DmaDone { context: request.context, status };
            uut.read_done.valid.next = true;
            self.reads.pop_front();
        }
    }

    /// DMA writes, one at a time, a row a cycle, then the end.
    fn write(&mut self, uut: &mut Front) {
        uut.page_done.valid.next = false;
        uut.entry_done.valid.next = false;
        if self.write.is_none() {
            let due = |queue: &VecDeque<(u64, DmaWriteRequest)>| {
                queue.front().is_some_and(|(due, _)| *due <= self.cycles)
            };
            if let Some(port) = self.writes.iter().position(due) {
                let request = self.writes[port].pop_front().map(|w| w.1).unwrap_or_default();
                self.write = Some(WriteDma { port, request, asked: false, bytes: vec![] });
            }
        }
        let Some(write) = &mut self.write else { return };
        let moved = write.bytes.len() as u64 / 4;
        if moved < write.request.length.to_u64() {
            let dw = write.request.source.to_u64() + moved;
            uut.launch.next = LaunchRead { wrap: 0.into(), row: (dw >> 3).into() };
            write.asked = true;
            return;
        }
        let done = DmaDone { context: write.request.context, status: DmaStatus::Ok };
        if write.port == 0 {
            uut.page_done.data.next = done;
            uut.page_done.valid.next = true;
        } else {
            uut.entry_done.data.next = done;
            uut.entry_done.valid.next = true;
        }
        let (address, bytes) = (write.request.address.to_u64() as usize, std::mem::take(&mut write.bytes));
        let at = self.at(address, bytes.len());
        self.memory[at..at + bytes.len()].copy_from_slice(&bytes);
        self.write = None;
    }

    /// The row that the last cycle asked for.
    fn collect(&mut self, uut: &Front) {
        let Some(write) = &mut self.write else { return };
        if !std::mem::take(&mut write.asked) {
            return;
        }
        let row = uut.launch_data.val();
        let first = write.request.source.to_u64() + write.bytes.len() as u64 / 4;
        let end = write.request.source.to_u64() + write.request.length.to_u64();
        for dw in first..end.min((first & !7) + 8) {
            let word = (row >> (32 * (dw & 7))).get_bits::<32>(0).to_u64() as u32;
            write.bytes.extend(word.to_le_bytes());
        }
    }

    /// What the front end gives at the next edge.
    fn note(&mut self, uut: &Front) {
        let later = self.cycles + DMA_LATENCY;
        if uut.read.valid.val() && uut.read.ready.val() {
            self.reads.push_back((later, uut.read.data.val(), 0));
        }
        if uut.page.valid.val() && uut.page.ready.val() {
            self.writes[0].push_back((later, uut.page.data.val()));
        }
        if uut.entry.valid.val() && uut.entry.ready.val() {
            self.writes[1].push_back((later, uut.entry.data.val()));
        }
        if uut.io_result.valid.val() && uut.io_result.ready.val() {
            self.results.pop_front();
        }
        if uut.io.valid.val() {
            let command = uut.io.data.val();
            if self.answer_io {
                self.results.push_back(CommandResult { slot: command.slot, status: 0.into(), dw0: 0.into() });
            }
            self.io.push_back(command);
        }
        if uut.interrupt.valid.val() {
            let request = uut.interrupt.data.val();
            self.interrupts.push((request.function.to_u64() as u8, request.vector.to_u64() as u8));
        }
        if uut.flr_done.valid.val() {
            self.resets_done.push(uut.flr_done.data.val().to_u64() as u8);
        }
    }

    /// No DMA and no I/O is under way.
    pub fn is_idle(&self) -> bool {
        self.reads.is_empty()
            && self.writes.iter().all(VecDeque::is_empty)
            && self.write.is_none()
            && self.results.is_empty()
    }
}

/// 32 bytes of memory as a row.
fn row_of(bytes: &[u8]) -> Bits<256> {
    bytes
        .iter()
        .rev()
        .fold(Bits::default(), |row, byte| row << 8 | bit_cast::<256, 8>(Bits::from(u64::from(*byte))))
}

impl Host {
    pub fn new() -> Self {
        let mut uut = Front::default();
        uut.connect_all();
        Self { uut, around: Surroundings::default() }
    }

    /// One cycle of everything.
    pub fn cycle(&mut self) {
        self.around.drive(&mut self.uut);
        step(&mut self.uut);
    }

    /// Runs until `until` is true.
    pub fn run_until(&mut self, what: &str, limit: u64, mut until: impl FnMut(&mut Self) -> bool) {
        for _ in 0..limit {
            if until(self) {
                return;
            }
            self.cycle();
        }
        panic!("not within {limit} cycles: {what}");
    }

    /// Nothing is in flight.
    pub fn is_idle(&mut self) -> bool {
        !self.uut.busy.val() && self.around.is_idle()
    }

    /// Runs until nothing happens any more.
    pub fn settle(&mut self) {
        for _ in 0..4 {
            self.cycle();
        }
        self.run_until("idle", 20_000, Self::is_idle);
    }

    fn access(&mut self, request: RegisterRequest) {
        self.uut.register.data.next = request;
        self.uut.register.valid.next = true;
        loop {
            low(&mut self.uut);
            let taken = self.uut.register.ready.val();
            self.cycle();
            if taken {
                break;
            }
        }
        self.uut.register.valid.next = false;
    }

    /// A write of 4 bytes by a controller's function.
    pub fn write32(&mut self, controller: u8, offset: u64, value: u32) {
        let shift = 8 * (offset & 4);
        self.access(RegisterRequest {
            write: true,
            function: u64::from(function_of(controller)).into(),
            offset: (offset & !7).into(),
            data: (u64::from(value) << shift).into(),
            enable: (0xf << (offset & 4)).into(),
        });
    }

    /// A write of 8 bytes.
    pub fn write64(&mut self, controller: u8, offset: u64, value: u64) {
        self.access(RegisterRequest {
            write: true,
            function: u64::from(function_of(controller)).into(),
            offset: offset.into(),
            data: value.into(),
            enable: 0xff.into(),
        });
    }

    /// A read of 8 bytes.
    pub fn read64(&mut self, controller: u8, offset: u64) -> u64 {
        self.access(RegisterRequest {
            write: false,
            function: u64::from(function_of(controller)).into(),
            offset: offset.into(),
            data: 0.into(),
            enable: 0xff.into(),
        });
        for _ in 0..20 {
            low(&mut self.uut);
            let answer = self.uut.response.valid.val().then(|| self.uut.response.data.val().data.to_u64());
            self.cycle();
            if let Some(answer) = answer {
                return answer;
            }
        }
        panic!("no answer to a read of {offset:#x}");
    }

    /// A read of 4 bytes.
    pub fn read32(&mut self, controller: u8, offset: u64) -> u32 {
        (self.read64(controller, offset & !7) >> (8 * (offset & 4))) as u32
    }

    /// CSTS.
    pub fn status(&mut self, controller: u8) -> u32 {
        self.read32(controller, register::CSTS)
    }

    /// Enables a controller with admin queues of `entries`, and waits for CSTS.RDY.
    pub fn enable(&mut self, controller: u8, entries: u16) -> QueuePair {
        let base = 0x1_0000 + 0x4000 * u64::from(controller);
        let pair = QueuePair::new(controller, 0, base, base + 0x2000, entries);
        self.memory[base as usize..base as usize + 0x4000].fill(0);
        let last = u32::from(entries) - 1;
        self.write32(controller, register::AQA, last << 16 | last);
        self.write64(controller, register::ASQ, pair.sq);
        self.write64(controller, register::ACQ, pair.cq);
        self.write32(controller, register::CC, CC_ENABLE);
        self.run_until("CSTS.RDY", 2000, |host| host.status(controller) & 1 == 1);
        pair
    }

    /// Puts a command into a queue, without the doorbell.
    pub fn put(&mut self, pair: &mut QueuePair, sqe: &Sqe) {
        let at = pair.sq as usize + SQE_BYTES * usize::from(pair.tail);
        self.memory[at..at + SQE_BYTES].copy_from_slice(&sqe.to_bytes());
        pair.tail = (pair.tail + 1) % pair.entries;
    }

    /// Rings a submission queue's doorbell.
    pub fn ring(&mut self, pair: &QueuePair) {
        self.write32(pair.controller, sq_tail_doorbell(pair.queue), u32::from(pair.tail));
    }

    /// The next completion, if there is one.
    pub fn peek(&self, pair: &QueuePair) -> Option<Cqe> {
        let at = pair.cq as usize + CQE_BYTES * usize::from(pair.head);
        let mut bytes = [0; CQE_BYTES];
        bytes.copy_from_slice(&self.memory[at..at + CQE_BYTES]);
        let cqe = Cqe::from_bytes(&bytes);
        (cqe.phase == pair.phase).then_some(cqe)
    }

    /// Takes the next completion, without the doorbell.
    pub fn take(&mut self, pair: &mut QueuePair) -> Option<Cqe> {
        let cqe = self.peek(pair)?;
        pair.head = (pair.head + 1) % pair.entries;
        pair.phase ^= pair.head == 0;
        Some(cqe)
    }

    /// Executes one command.
    pub fn command(&mut self, pair: &mut QueuePair, sqe: &Sqe) -> Cqe {
        self.put(pair, sqe);
        self.ring(pair);
        let view = pair.clone();
        self.run_until("a completion", 5000, move |host| host.peek(&view).is_some());
        let cqe = self.take(pair).unwrap_or_default();
        self.write32(pair.controller, cq_head_doorbell(pair.queue), u32::from(pair.head));
        cqe
    }

    /// Attaches a volume.
    pub fn attach(&mut self, controller: u8, nsid: u8, volume: Volume) {
        let index = u64::from(controller) << 2 | u64::from(nsid - 1);
        self.uut.volume.next = VolumeUpdate { valid: true, index: index.into(), volume };
        self.cycle();
        self.uut.volume.next = VolumeUpdate::default();
        self.cycle();
    }

    /// Tells that a controller's namespaces changed, as PF0's registers do.
    pub fn attributes_changed(&mut self, controller: u8) {
        self.uut.attribute_changed.data.next = u64::from(controller).into();
        self.uut.attribute_changed.valid.next = true;
        loop {
            low(&mut self.uut);
            let taken = self.uut.attribute_changed.ready.val();
            self.cycle();
            if taken {
                break;
            }
        }
        self.uut.attribute_changed.valid.next = false;
        self.settle();
    }

    /// Command slots that no command has.
    pub fn free_slots(&self) -> u64 {
        self.uut.free_slots()
    }

    /// Resets a function.
    pub fn function_reset(&mut self, controller: u8) {
        self.uut.flr.data.next = u64::from(function_of(controller)).into();
        self.uut.flr.valid.next = true;
        loop {
            low(&mut self.uut);
            let taken = self.uut.flr.ready.val();
            self.cycle();
            if taken {
                break;
            }
        }
        self.uut.flr.valid.next = false;
    }

    /// Answers an I/O command.
    pub fn finish_io(&mut self, command: &Command, status: Status) {
        self.results.push_back(CommandResult {
            slot: command.slot,
            status: u64::from(status.bits()).into(),
            dw0: 0.into(),
        });
    }
}
