//! A card in software, to test the simulator against: PF0, PF2 with two VFs, each with a 16 KiB BAR of plain
//! memory whose first registers start a DMA. It knows the edge and the specification and shares nothing with
//! the root complex but the TLP codec.
#![allow(dead_code, clippy::too_many_arguments, clippy::if_not_else)]

use std::collections::{HashMap, VecDeque};

use nitride_abi::tlp::{Header, Kind, Status, byte_enables, enabled_bytes};
use nitride_sim::{Beat, Edge, Inputs, Outputs, Tlp};

/// Function numbers.
pub const PF0: u8 = 0;
pub const PF2: u8 = 2;
pub const VF0: u8 = 16;
pub const VF1: u8 = 17;
pub const VENDOR: u16 = 0x4e54;
pub const DEVICE_PF2: u16 = 3;
pub const DEVICE_VF: u16 = 4;
pub const VECTORS: u16 = 4;

/// BAR0: host address of a DMA (8 bytes), its length (4 bytes), what to do (4 bytes, starts it).
pub const ADDRESS: u64 = 0x00;
pub const LENGTH: u64 = 0x08;
pub const COMMAND: u64 = 0x0c;
/// DMAs that have ended (4 bytes) and completions among them that failed (4 bytes).
pub const ENDED: u64 = 0x10;
pub const FAILED: u64 = 0x14;
/// Where DMA data is.
pub const BUFFER: u64 = 0x400;
/// A TLP for [`SEND`]: four DWs of header, then the payload.
pub const RAW: u64 = 0x1800;
pub const TABLE: u64 = 0x2000;
pub const PENDING: u64 = 0x3000;

/// Commands; the vector to signal afterwards is in bits 15:8.
pub const READ: u32 = 1;
pub const WRITE: u32 = 2;
/// Sends the TLP at [`RAW`] with [`LENGTH`] bytes of payload.
pub const SEND: u32 = 3;
/// Stays busy for [`LENGTH`] cycles.
pub const WAIT: u32 = 4;
/// Answers no further request.
pub const DEAF: u32 = 5;

const EXPRESS: usize = 0x40;
const MSIX: usize = 0x80;
const POWER: usize = 0xa0;
const ARI: usize = 0x140;
const SRIOV: usize = 0x180;
const FIRST_VF: u32 = 14;

struct Function {
    config: Vec<u32>,
    writable: Vec<u32>,
    memory: Vec<u8>,
    retry: u32,
    pending_reads: usize,
    vector: u32,
}

struct Read {
    function: u8,
    to: usize,
    left: usize,
    bytes: usize,
}

/// The card.
pub struct Responder {
    functions: HashMap<u8, Function>,
    bus: u8,
    rx: Vec<u8>,
    tx: VecDeque<Tlp>,
    sending: Option<(Tlp, usize)>,
    waiting_reads: VecDeque<(u8, u64, usize, usize)>,
    reads: HashMap<u8, Read>,
    next_tag: u8,
    wait: u64,
    ready_pattern: u64,
    greedy: bool,
    deaf: bool,
}

impl Responder {
    pub fn new() -> Box<Self> {
        let functions =
            [PF0, PF2, VF0, VF1].into_iter().map(|number| (number, Function::new(number))).collect();
        Box::new(Self {
            functions,
            bus: 0,
            rx: Vec::new(),
            tx: VecDeque::new(),
            sending: None,
            waiting_reads: VecDeque::new(),
            reads: HashMap::new(),
            next_tag: 0,
            wait: 0,
            ready_pattern: u64::MAX,
            greedy: false,
            deaf: false,
        })
    }

    /// Takes beats from `rx` only now and then.
    pub fn slow() -> Box<Self> {
        let mut card = Self::new();
        card.ready_pattern = 0x8421_0f0f_1248_a5a5;
        card
    }

    /// Ignores credits.
    pub fn greedy() -> Box<Self> {
        let mut card = Self::new();
        card.greedy = true;
        card
    }

    fn enabled(&self, number: u8) -> bool {
        let sriov = self.functions[&PF2].config[SRIOV / 4 + 2];
        self.functions.contains_key(&number) && (number < VF0 || sriov & 1 != 0)
    }

    fn id(&self, number: u8) -> u16 {
        u16::from(self.bus) << 8 | u16::from(number)
    }

    fn bar(&self, number: u8) -> Option<u64> {
        let wide = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low & !0xf);
        let config = &self.functions[&number].config;
        if number < VF0 {
            return (config[1] & 2 != 0).then(|| wide(config[4], config[5]));
        }
        let pf = &self.functions[&PF2].config;
        let base = wide(pf[SRIOV / 4 + 9], pf[SRIOV / 4 + 10]);
        (pf[SRIOV / 4 + 2] & 9 == 9).then_some(base + u64::from(number - VF0) * 0x4000)
    }

    fn complete(
        &mut self,
        from: u8,
        status: Status,
        requester: u16,
        tag: u8,
        at: u8,
        count: usize,
        data: Option<Vec<u8>>,
    ) {
        let kind = Kind::Completion {
            data: data.is_some(),
            completer: self.id(from),
            status,
            byte_count: count as u16,
            requester,
            tag,
            lower_address: at,
        };
        let payload = data.unwrap_or_default();
        self.tx.push_back(Tlp::new(&Header::new((payload.len() / 4) as u16, kind), payload));
    }

    fn receive(&mut self, header: &Header, payload: &[u8]) {
        match header.kind {
            Kind::Config { write, requester, tag, first, target, offset, .. } => {
                if self.deaf {
                    return;
                }
                let number = target as u8;
                if write {
                    self.bus = (target >> 8) as u8;
                }
                if !self.enabled(number) {
                    return self.complete(number, Status::UnsupportedRequest, requester, tag, 0, 4, None);
                }
                let function = self.functions.get_mut(&number).unwrap();
                if function.retry > 0 {
                    function.retry -= 1;
                    return self.complete(number, Status::Retry, requester, tag, 0, 4, None);
                }
                let word = usize::from(offset / 4);
                if !write {
                    let data = function.config[word].to_le_bytes().to_vec();
                    return self.complete(number, Status::Success, requester, tag, 0, 4, Some(data));
                }
                let enables = (0..4)
                    .fold(0, |mask, byte| mask | if first >> byte & 1 != 0 { 0xff << (8 * byte) } else { 0 });
                let mask = function.writable[word] & enables;
                let value = u32::from_le_bytes(payload.try_into().unwrap());
                function.config[word] = function.config[word] & !mask | value & mask;
                if word == EXPRESS / 4 + 2 && value & enables & 1 << 15 != 0 {
                    *function = Function::new(number);
                    function.retry = 3;
                    if number == PF2 {
                        for vf in [VF0, VF1] {
                            self.functions.insert(vf, Function::new(vf));
                        }
                    }
                }
                self.complete(number, Status::Success, requester, tag, 0, 4, None);
            }
            Kind::Memory { write, requester, tag, first, last, address } => {
                let hit = [PF0, PF2, VF0, VF1].into_iter().find_map(|number| {
                    let base = self.bar(number)?;
                    (base..base + 0x4000).contains(&address).then(|| (number, (address - base) as usize))
                });
                let (start, len) = enabled_bytes(header.length, first, last);
                let Some((number, offset)) = hit else {
                    if !write {
                        self.complete(PF0, Status::UnsupportedRequest, requester, tag, 0, len, None);
                    }
                    return;
                };
                let (from, memory) = (offset + start, &mut self.functions.get_mut(&number).unwrap().memory);
                if write {
                    memory[from..from + len].copy_from_slice(&payload[start..start + len]);
                    if (from..from + len).contains(&(COMMAND as usize)) {
                        self.start(number);
                    }
                } else if !self.deaf {
                    self.answer(number, requester, tag, offset, start, len);
                }
            }
            Kind::Completion { data, status, byte_count, tag, lower_address, .. } => {
                let read = self.reads.get_mut(&tag).expect("a completion for a read that was not made");
                let function = self.functions.get_mut(&read.function).unwrap();
                if status != Status::Success {
                    function.count(FAILED);
                    read.left = 0;
                } else {
                    assert!(data);
                    let lead = usize::from(lower_address & 3);
                    let len = (payload.len() - lead).min(usize::from(byte_count));
                    assert_eq!(usize::from(byte_count), read.left, "byte count");
                    let to = read.to + read.bytes - read.left;
                    function.memory[to..to + len].copy_from_slice(&payload[lead..lead + len]);
                    read.left -= len;
                }
                if read.left == 0 {
                    let number = read.function;
                    self.reads.remove(&tag);
                    let function = self.functions.get_mut(&number).unwrap();
                    function.pending_reads -= 1;
                    if function.pending_reads == 0 {
                        self.end(number);
                    }
                }
            }
            Kind::Message { .. } => {}
        }
    }

    /// Completes a read of a BAR in parts of at most 128 bytes.
    fn answer(&mut self, number: u8, requester: u16, tag: u8, offset: usize, start: usize, len: usize) {
        let (mut at, end) = (offset + start, offset + start + len);
        while at < end {
            let stop = ((at & !127) + 128).min(end);
            let lead = at % 4;
            let mut data = vec![0; (lead + stop - at).next_multiple_of(4)];
            data[lead..lead + stop - at].copy_from_slice(&self.functions[&number].memory[at..stop]);
            self.complete(number, Status::Success, requester, tag, (at & 0x7f) as u8, end - at, Some(data));
            at = stop;
        }
    }

    fn start(&mut self, number: u8) {
        let id = self.id(number);
        let function = self.functions.get_mut(&number).unwrap();
        let address = u64::from_le_bytes(function.memory[..8].try_into().unwrap());
        let (len, command) = (function.word(LENGTH) as usize, function.word(COMMAND));
        function.vector = command >> 8 & 0xff;
        if function.config[1] & 4 == 0 {
            return;
        }
        let control = function.config[EXPRESS / 4 + 2];
        let (payload, request) = (128usize << (control >> 5 & 7), 128usize << (control >> 12 & 7));
        match command & 0xff {
            READ => {
                let mut done = 0;
                while done < len {
                    let at = address + done as u64;
                    let step = (len - done).min(request - (at % 4) as usize).min(4096 - (at % 4096) as usize);
                    self.waiting_reads.push_back((number, at, step, BUFFER as usize + done));
                    function.pending_reads += 1;
                    done += step;
                }
            }
            WRITE => {
                let mut done = 0;
                while done < len {
                    let at = address + done as u64;
                    let lead = (at % 4) as usize;
                    let step = (len - done).min(payload - lead).min(4096 - (at % 4096) as usize);
                    let (length, first, last) = byte_enables(at, step);
                    let kind =
                        Kind::Memory { write: true, requester: id, tag: 0, first, last, address: at & !3 };
                    let mut data = vec![0xdd; usize::from(length) * 4];
                    let from = BUFFER as usize + done;
                    data[lead..lead + step].copy_from_slice(&function.memory[from..from + step]);
                    self.tx.push_back(Tlp::new(&Header::new(length, kind), data));
                    done += step;
                }
                self.end(number);
            }
            SEND => {
                let raw = RAW as usize;
                let word = |n: usize| {
                    u32::from_le_bytes(function.memory[raw + 4 * n..raw + 4 * n + 4].try_into().unwrap())
                };
                let header = [word(0), word(1), word(2), word(3)];
                let payload = function.memory[raw + 16..raw + 16 + len].to_vec();
                self.tx.push_back(Tlp { header, payload });
            }
            WAIT => self.wait += len as u64,
            DEAF => self.deaf = true,
            _ => {}
        }
    }

    /// Counts a DMA and signals its vector.
    fn end(&mut self, number: u8) {
        let id = self.id(number);
        let function = self.functions.get_mut(&number).unwrap();
        function.count(ENDED);
        let entry = TABLE as usize + 16 * function.vector as usize;
        let word =
            |n: usize| u32::from_le_bytes(function.memory[entry + n..entry + n + 4].try_into().unwrap());
        if function.config[MSIX / 4] >> 30 != 2 || word(12) & 1 != 0 {
            return;
        }
        let address = u64::from(word(4)) << 32 | u64::from(word(0));
        let kind = Kind::Memory { write: true, requester: id, tag: 0, first: 15, last: 0, address };
        self.tx.push_back(Tlp::new(&Header::new(1, kind), word(8).to_le_bytes().to_vec()));
    }

    fn issue_reads(&mut self) {
        while self.reads.len() < 32 && self.tx.len() < 8 {
            let Some((function, address, bytes, to)) = self.waiting_reads.pop_front() else { return };
            let tag = (0..=255)
                .map(|n: u8| self.next_tag.wrapping_add(n))
                .find(|tag| !self.reads.contains_key(tag))
                .unwrap();
            self.next_tag = tag.wrapping_add(1);
            let (length, first, last) = byte_enables(address, bytes);
            let kind = Kind::Memory {
                write: false,
                requester: self.id(function),
                tag,
                first,
                last,
                address: address & !3,
            };
            self.tx.push_back(Tlp::new(&Header::new(length, kind), Vec::new()));
            self.reads.insert(tag, Read { function, to, left: bytes, bytes });
        }
    }
}

impl Function {
    fn new(number: u8) -> Self {
        let (mut config, mut writable) = (vec![0; 1024], vec![0; 1024]);
        let device = u32::from(if number == PF0 { 1 } else { DEVICE_PF2 });
        config[0] = if number >= VF0 { u32::MAX } else { device << 16 | u32::from(VENDOR) };
        config[1] = 1 << 20;
        writable[1] = if number >= VF0 { 0x4 } else { 0x0546 };
        config[2] = 0x0108_0200;
        if number < VF0 {
            config[4] = 0xc;
            (writable[4], writable[5]) = (!0x3fff, u32::MAX);
        }
        config[13] = EXPRESS as u32;
        config[EXPRESS / 4] = 0x0002_0010 | (MSIX as u32) << 8;
        config[EXPRESS / 4 + 1] = 1 << 28 | 1 << 15 | 1 << 5 | 1;
        writable[EXPRESS / 4 + 2] = 0x7fff;
        writable[EXPRESS / 4 + 10] = 0xffff;
        config[MSIX / 4] = 0x11 | (POWER as u32) << 8 | u32::from(VECTORS - 1) << 16;
        writable[MSIX / 4] = 0xc000_0000;
        config[MSIX / 4 + 1] = TABLE as u32;
        config[MSIX / 4 + 2] = PENDING as u32;
        config[POWER / 4] = 0x0003_0001;
        writable[POWER / 4 + 1] = 3;
        config[0x100 / 4] = 0x0002_0001 | (ARI as u32) << 20;
        config[ARI / 4] = 0x0001_000e | if number == PF2 { (SRIOV as u32) << 20 } else { 0 };
        config[ARI / 4 + 1] = if number == PF0 { u32::from(PF2) << 8 } else { 0 };
        if number == PF2 {
            config[SRIOV / 4] = 0x0001_0010;
            writable[SRIOV / 4 + 2] = 0x19;
            config[SRIOV / 4 + 3] = 2 << 16 | 2;
            writable[SRIOV / 4 + 4] = 0xffff;
            config[SRIOV / 4 + 5] = 1 << 16 | FIRST_VF;
            config[SRIOV / 4 + 6] = u32::from(DEVICE_VF) << 16;
            config[SRIOV / 4 + 7] = 1;
            writable[SRIOV / 4 + 8] = 1;
            config[SRIOV / 4 + 9] = 0xc;
            (writable[SRIOV / 4 + 9], writable[SRIOV / 4 + 10]) = (!0x3fff, u32::MAX);
        }
        let mut memory = vec![0; 0x4000];
        for vector in 0..usize::from(VECTORS) {
            memory[TABLE as usize + 16 * vector + 12] = 1;
        }
        Self { config, writable, memory, retry: 0, pending_reads: 0, vector: 0 }
    }

    fn word(&self, offset: u64) -> u32 {
        u32::from_le_bytes(self.memory[offset as usize..offset as usize + 4].try_into().unwrap())
    }

    fn count(&mut self, offset: u64) {
        let value = self.word(offset) + 1;
        self.memory[offset as usize..offset as usize + 4].copy_from_slice(&value.to_le_bytes());
    }
}

impl Edge for Responder {
    fn cycle(&mut self, now: u64, inputs: &Inputs, outputs: &mut Outputs) {
        outputs.rx_ready = self.ready_pattern >> (now % 64) & 1 != 0;
        outputs.tx = self.sending.as_ref().map(|(tlp, index)| tlp.beat(*index));
        outputs.busy = outputs.tx.is_some()
            || !self.tx.is_empty()
            || !self.reads.is_empty()
            || self.wait > 0
            || !self.rx.is_empty();
        // The clock's edge.
        self.wait = self.wait.saturating_sub(1);
        if let Some(Beat { header, data, last }) = inputs.rx.filter(|_| outputs.rx_ready) {
            self.rx.extend_from_slice(&data);
            if last {
                let header = Header::parse(&header);
                let payload = std::mem::take(&mut self.rx);
                if let Ok(header) = header {
                    self.receive(&header, &payload[..4 * header.payload_dws()]);
                }
            }
        }
        if inputs.tx_ready
            && let Some((tlp, index)) = &mut self.sending
        {
            *index += 1;
            if *index >= tlp.beats() {
                self.sending = None;
            }
        }
        self.issue_reads();
        if self.sending.is_none()
            && let Some(class) = self.tx.front().map(Tlp::class)
            && (self.greedy || inputs.tx_credit >> class as u8 & 1 != 0)
        {
            self.sending = self.tx.pop_front().map(|tlp| (tlp, 0));
        }
    }
}
