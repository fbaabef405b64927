//! Random commands.

use std::fmt;

use nitride_abi::nvme::command::{admin, dsm, identify, io, log_page, queue as q};
use nitride_abi::nvme::{MAX_TRANSFER, Sqe, feature, log};
use rand::Rng;
use rand::rngs::StdRng;

use super::pointer::{Defect, Pointer, Space};
use super::side::{IOVA, Side, completion_queue, submission_queue};
use super::{NAMESPACES, Outcome, Shape, show};

/// A command, what must be in memory for it, and what of memory it may change.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub queue: usize,
    pub sqe: Sqe,
    /// Ranges of memory to compare afterwards.
    pub memory: Vec<(usize, usize)>,
    contents: Vec<(usize, Vec<u8>)>,
    /// NSID, first block, end, and whether it changes them.
    pub blocks: Vec<(u32, u64, u64, bool)>,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queue {} {}", self.queue, show(&self.sqe))
    }
}

impl Planned {
    /// A command without data.
    pub fn plain(queue: usize, sqe: Sqe) -> Self {
        Self { queue, sqe, memory: Vec::new(), contents: Vec::new(), blocks: Vec::new() }
    }

    /// Puts into memory what the command needs there.
    pub fn prepare(&self, side: &Side) -> Outcome<()> {
        if let admin::CREATE_CQ = self.sqe.opcode {
            // An old phase tag would look like a completion.
            let id = q::QID.get(self.sqe.cdw10[0] as u64) as usize;
            if self.queue == 0
                && self.sqe.prp1 == IOVA + completion_queue(id) as u64
                && side.has_no_completion_queue(id)
            {
                side.fill(completion_queue(id), &[0; 16 << 10])?;
            }
        }
        self.contents.iter().try_for_each(|(at, bytes)| side.fill(*at, bytes))
    }

    /// Whether it may wait for an event.
    pub fn requests_event(&self) -> bool {
        self.queue == 0 && self.sqe.opcode == admin::ASYNC_EVENT_REQUEST
    }

    /// Whether it reads the SMART log.
    pub fn reads_smart(&self) -> bool {
        let page = log_page::LID.get(self.sqe.cdw10[0] as u64) as u8;
        self.queue == 0 && self.sqe.opcode == admin::GET_LOG_PAGE && page == log::SMART
    }

    fn point(&mut self, pointer: Pointer) {
        (self.sqe.prp1, self.sqe.prp2) = (pointer.prp1, pointer.prp2);
        self.memory.extend(pointer.memory);
        self.contents.extend(pointer.contents);
    }

    /// Whether this and `other` may not be in flight together.
    fn conflicts(&self, other: &Self) -> bool {
        self.blocks.iter().any(|(nsid, start, end, change)| {
            other.blocks.iter().any(|(n, s, e, c)| nsid == n && start < e && s < end && (*change || *c))
        })
    }

    /// The command that brings the blocks of a failed Write into a known state.
    pub fn healing(&self) -> Option<Sqe> {
        let write = self.queue > 0 && self.sqe.opcode == io::WRITE;
        write.then_some(Sqe { opcode: io::WRITE_ZEROES, prp1: 0, prp2: 0, ..self.sqe })
    }
}

/// Makes commands; counts what a controller can take only so many of.
#[derive(Debug, Default)]
pub(super) struct Generator {
    cid: u16,
    /// Command identifiers of Asynchronous Event Requests that wait.
    pub requests: Vec<u16>,
    /// The admin queue has place for event requests: what tells that one was fetched is the completion of a later command.
    pub may_request: bool,
}

const CHANCE_OF_DEFECT: f64 = 0.04;

impl Generator {
    /// A command identifier that no command has had for long.
    pub fn cid(&mut self) -> u16 {
        self.cid = self.cid.wrapping_add(1);
        self.cid
    }

    /// Up to `depth` I/O commands that may be in flight together.
    pub fn io(&mut self, random: &mut StdRng, side: &Side, depth: usize) -> Vec<Planned> {
        let queues: Vec<usize> = side.io_queues().collect();
        let mut space = Space::default();
        let mut batch: Vec<Planned> = Vec::new();
        for _ in 0..depth {
            let queue = queues[random.random_range(0..queues.len())];
            let room = side.room(queue) - batch.iter().filter(|planned| planned.queue == queue).count();
            let Some(planned) = (room > 0).then(|| self.io_command(random, &mut space, queue)).flatten()
            else {
                continue;
            };
            if !batch.iter().any(|other| other.conflicts(&planned)) {
                batch.push(planned);
            }
        }
        batch
    }

    fn io_command(&mut self, random: &mut StdRng, space: &mut Space, queue: usize) -> Option<Planned> {
        let nsid = match random.random_range(0..40) {
            0 => 0,
            1 => 3,
            2 => 5,
            3 => u32::MAX,
            4 => random.random(),
            5..9 => 4,
            9..24 => 2,
            _ => 1,
        };
        let opcode = match random.random_range(0..100) {
            0..38 => io::READ,
            38..76 => io::WRITE,
            76..84 => io::WRITE_ZEROES,
            84..92 => io::DATASET_MANAGEMENT,
            92..97 => io::FLUSH,
            _ => random.random(),
        };
        let flags = if random.random_bool(0.02) { random.random() } else { 0 };
        let mut sqe = Sqe { opcode, flags, cid: self.cid(), nsid, ..Sqe::default() };
        // Metadata and reserved dwords have no meaning.
        if random.random_bool(0.1) {
            (sqe.cdw2, sqe.mptr) = (random.random(), random.random());
        }
        let shape = nsid.checked_sub(1).and_then(|index| NAMESPACES.get(index as usize).copied().flatten());
        let shape = shape.unwrap_or(Shape { blocks: 64, format: 0, read_only: false });
        let mut planned = Planned::plain(queue, sqe);
        match opcode {
            io::READ | io::WRITE | io::WRITE_ZEROES => {
                let (lba, blocks) = span(random, shape, opcode == io::WRITE_ZEROES);
                let hints = [0, 1 << 30, 1 << 31, 0x3f << 26, 1 << 25, 0xf << 20][random.random_range(0..6)];
                planned.sqe.cdw10 =
                    [lba as u32, (lba >> 32) as u32, (blocks - 1) | hints, random.random(), 0, 0];
                planned.blocks = vec![(nsid, lba, lba.saturating_add(blocks as u64), opcode != io::READ)];
                if opcode != io::WRITE_ZEROES {
                    let len = (blocks as usize) << shape.block_shift();
                    let content = content(random, len.min(MAX_TRANSFER as usize));
                    data(random, space, &mut planned, &content, opcode == io::WRITE)?;
                }
            }
            io::DATASET_MANAGEMENT => deallocation(random, space, &mut planned, shape)?,
            _ => planned.sqe.cdw10 = random.random(),
        }
        Some(planned)
    }

    /// A Read of known good blocks.
    pub fn read(
        &mut self,
        random: &mut StdRng,
        queue: usize,
        nsid: u32,
        lba: u64,
        blocks: u32,
        shape: Shape,
    ) -> Planned {
        let cdw10 = [lba as u32, (lba >> 32) as u32, blocks - 1, 0, 0, 0];
        let sqe = Sqe { opcode: io::READ, cid: self.cid(), nsid, cdw10, ..Sqe::default() };
        let mut planned = Planned::plain(queue, sqe);
        let len = (blocks as usize) << shape.block_shift();
        if let Some(pointer) = Pointer::new(random, &mut Space::default(), len, None) {
            planned.point(pointer);
        }
        planned
    }

    /// What a host does that wants to hear of every event: it asks for notices, and leaves two requests.
    pub fn ask_for_events(&mut self) -> [Sqe; 3] {
        let notices = feature::NAMESPACE_NOTICES.mask() as u32;
        let configure = Sqe {
            opcode: admin::SET_FEATURES,
            cdw10: [feature::ASYNC_EVENT_CONFIGURATION.into(), notices, 0, 0, 0, 0],
            ..Sqe::default()
        };
        let request = Sqe { opcode: admin::ASYNC_EVENT_REQUEST, ..Sqe::default() };
        [configure, request, request].map(|sqe| Sqe { cid: self.cid(), ..sqe })
    }

    /// The commands that create a queue pair, on the first free IDs.
    pub fn queue_pair(random: &mut StdRng, side: &Side) -> Vec<Planned> {
        let Some(sq) = (1..8).find(|id| side.has_no_submission_queue(*id)) else { return Vec::new() };
        let mut commands = Vec::new();
        // A completion queue may well have several submission queues.
        let cq = (1..8).find(|id| side.has_no_completion_queue(*id)).unwrap_or(sq);
        if side.has_no_completion_queue(cq) {
            commands.push(create_cq(random, cq));
        }
        let size = random.random_range(1..64) << 16;
        let sqe = Sqe {
            opcode: admin::CREATE_SQ,
            prp1: IOVA + submission_queue(sq) as u64,
            cdw10: [size | sq as u32, 1 | (cq as u32) << 16, 0, 0, 0, 0],
            ..Sqe::default()
        };
        commands.push(Planned::plain(0, sqe));
        commands
    }

    /// One admin command.
    pub fn admin(&mut self, random: &mut StdRng, side: &Side) -> Planned {
        let mut space = Space::default();
        let mut sqe = Sqe { cid: self.cid(), ..Sqe::default() };
        let id = random.random_range(0..10u32);
        match random.random_range(0..100) {
            0..25 => {
                let cns = [0, 1, 2, 3, random.random_range(0..32)][random.random_range(0..5)];
                sqe.opcode = admin::IDENTIFY;
                sqe.nsid = [0, 1, 2, 3, 4, 5, u32::MAX - 1, u32::MAX][random.random_range(0..8)];
                sqe.cdw10[0] = cns;
                return Self::with_data(random, &mut space, sqe, identify::BYTES);
            }
            25..40 => {
                let dwords = [16, 128, 1024, random.random_range(1..1100)][random.random_range(0..4)];
                sqe.opcode = admin::GET_LOG_PAGE;
                sqe.nsid = [0, u32::MAX, random.random_range(0..6)][random.random_range(0..3)];
                let page = random.random_range(0..6);
                sqe.cdw10[0] = page | (dwords - 1) << 16 | random.random_range(0..2) << 15;
                let size = log::size(page as u8) as u32;
                sqe.cdw10[2] = [
                    0,
                    0,
                    64,
                    random.random_range(0..=size / 4) * 4,
                    size + 4,
                    random.random_range(0..size + 8),
                ][random.random_range(0..6)];
                if random.random_bool(0.05) {
                    (sqe.cdw10[1], sqe.cdw10[3]) = [(1, 0), (0, 1)][random.random_range(0..2)];
                }
                return Self::with_data(random, &mut space, sqe, dwords as usize * 4);
            }
            40..52 => {
                sqe.opcode = admin::GET_FEATURES;
                sqe.cdw10 = [random.random_range(0..16), feature_value(random), 0, 0, 0, 0];
            }
            52..66 => {
                let save = u32::from(random.random_bool(0.1)) << 31;
                sqe.opcode = admin::SET_FEATURES;
                let id = random.random_range(0..16u32);
                let value = match id as u8 {
                    // The shortest time is long enough.
                    feature::INTERRUPT_COALESCING => {
                        random.random_range(0..2) << 8 | random.random_range(0..9)
                    }
                    feature::ASYNC_EVENT_CONFIGURATION => random.random_range(0..2) << 8 | 0xff,
                    _ => feature_value(random),
                };
                sqe.cdw10 = [id | save, value, 0, 0, 0, 0];
            }
            66..72 if side.has_no_completion_queue(id as usize) => {
                let cid = sqe.cid;
                let mut planned = create_cq(random, id as usize);
                planned.sqe.cid = cid;
                misconfigure(random, &mut planned.sqe);
                return planned;
            }
            72..78 => {
                sqe.opcode = admin::CREATE_SQ;
                sqe.prp1 = IOVA + submission_queue((id as usize).min(7)) as u64;
                let size = [0, 1, 63, 1023, 1024, 65535][random.random_range(0..6)];
                sqe.cdw10 = [size << 16 | id, 1 | random.random_range(0..10) << 16, 0, 0, 0, 0];
                misconfigure(random, &mut sqe);
            }
            78..82 => (sqe.opcode, sqe.cdw10[0]) = (admin::DELETE_SQ, id),
            82..87 => (sqe.opcode, sqe.cdw10[0]) = (admin::DELETE_CQ, id),
            87..91 => {
                sqe.opcode = admin::ABORT;
                let requests = &self.requests;
                sqe.cdw10[0] = if requests.is_empty() || random.random_bool(0.3) {
                    random.random()
                } else {
                    u32::from(requests[random.random_range(0..requests.len())]) << 16
                };
            }
            91..97 if self.may_request => sqe.opcode = admin::ASYNC_EVENT_REQUEST,
            _ => {
                sqe.opcode = random.random_range(0x0d..=0xff);
                sqe.cdw10 = random.random();
            }
        }
        if random.random_bool(0.02) {
            sqe.flags = random.random();
        }
        Planned::plain(0, sqe)
    }

    fn with_data(random: &mut StdRng, space: &mut Space, sqe: Sqe, len: usize) -> Planned {
        let mut planned = Planned::plain(0, sqe);
        // The memory of a batch has room for one command's data, however it lies.
        let content = content(random, len);
        let _ = data(random, space, &mut planned, &content, false);
        planned
    }
}

/// A completion queue of a random size and vector at its place.
fn create_cq(random: &mut StdRng, id: usize) -> Planned {
    let size = [1, 3, 31, 63, 255, 1023][random.random_range(0..6)];
    let vector = random.random_range(0..8u32);
    let enabled = u32::from(random.random_bool(0.8)) << 1;
    let sqe = Sqe {
        opcode: admin::CREATE_CQ,
        prp1: IOVA + completion_queue(id.min(7)) as u64,
        cdw10: [size << 16 | id as u32, 1 | enabled | vector << 16, 0, 0, 0, 0],
        ..Sqe::default()
    };
    Planned::plain(0, sqe)
}

/// Now and then, breaks one field of a command that creates a queue.
fn misconfigure(random: &mut StdRng, sqe: &mut Sqe) {
    match random.random_range(0..12) {
        0 => sqe.cdw10[0] &= 0xffff,
        1 => sqe.cdw10[0] |= 0xffff << 16,
        2 => sqe.cdw10[1] &= !1,
        3 => sqe.cdw10[1] |= 0x0fff << 16,
        4 => sqe.prp1 |= random.random_range(1..4096),
        _ => {}
    }
}

fn feature_value(random: &mut StdRng) -> u32 {
    [0, 1, 7, 0x0006_0006, 0xffff, 0xffff_0000, 0x000f_0100, 0x0010_0123, random.random()]
        [random.random_range(0..9)]
}

/// A first block and a number of blocks, mostly inside of the namespace.
fn span(random: &mut StdRng, shape: Shape, zeroes: bool) -> (u64, u32) {
    let shift = shape.block_shift();
    let blocks: u32 = match random.random_range(0..100) {
        0..60 => random.random_range(1..=16),
        60..85 => random.random_range(1..=(64 << 10) >> shift),
        85..95 => random.random_range(1..=(256 << 10) >> shift),
        95..98 => (1 << 20) >> shift,
        98 if zeroes => 65536,
        _ => ((1 << 20) >> shift) + 1,
    };
    let lba = match random.random_range(0..40) {
        0 => shape.blocks,
        1 => shape.blocks - 1,
        2 => shape.blocks.saturating_sub(blocks as u64),
        3 => u64::MAX - random.random_range(0..20),
        4 => random.random(),
        _ => random.random_range(0..shape.blocks),
    };
    (lba, blocks)
}

/// Bytes that show where each of them came from.
fn content(random: &mut StdRng, len: usize) -> Vec<u8> {
    let seed: u8 = random.random();
    (0..len).map(|at| seed.wrapping_add((at >> 2) as u8).wrapping_mul(31) ^ (at >> 9) as u8).collect()
}

/// Gives a command a data pointer to `content`: what the card reads, or what lies where it is going to write.
fn data(
    random: &mut StdRng,
    space: &mut Space,
    planned: &mut Planned,
    content: &[u8],
    card_reads: bool,
) -> Option<()> {
    let defect = random.random_bool(CHANCE_OF_DEFECT).then(|| match random.random_range(0..3) {
        0 => Defect::List,
        // A posted write that reaches nothing goes unnoticed: only what the card reads may be nowhere.
        1 if card_reads => Defect::Data,
        _ => Defect::Offset,
    });
    let pointer = Pointer::new(random, space, content.len(), defect)?;
    let mut rest = content;
    for (start, len) in &pointer.parts {
        let (part, later) = rest.split_at(*len);
        planned.contents.push((*start, part.to_vec()));
        rest = later;
    }
    planned.point(pointer);
    Some(())
}

/// Dataset Management with ranges inside and outside of the namespace.
fn deallocation(random: &mut StdRng, space: &mut Space, planned: &mut Planned, shape: Shape) -> Option<()> {
    let count = [1, 1, 2, 5, 17, dsm::MAX_RANGES][random.random_range(0..6)];
    let attributes = if random.random_bool(0.85) { 0b111 } else { random.random::<u32>() & 0b011 };
    planned.sqe.cdw10 = [count as u32 - 1, attributes, random.random(), 0, 0, 0];
    let mut list = Vec::new();
    for _ in 0..count {
        let lba = random.random_range(0..shape.blocks);
        let mut blocks = random.random_range(0..=(shape.blocks - lba).min(16)) as u32;
        if random.random_bool(0.01) {
            blocks = random.random();
        }
        list.extend_from_slice(&random.random::<u32>().to_le_bytes());
        list.extend_from_slice(&blocks.to_le_bytes());
        list.extend_from_slice(&lba.to_le_bytes());
        planned.blocks.push((planned.sqe.nsid, lba, lba + blocks as u64, true));
    }
    data(random, space, planned, &list, true)
}
