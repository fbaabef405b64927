//! A host on the link of a [`Front`], and a stand-in for what is behind it.

use std::collections::VecDeque;

use nitride_abi::card::{BAR0_SIZE, PF_STORAGE};
use nitride_abi::pci;
use nitride_abi::pci::space::Kind as Kinds;
use nitride_abi::tlp::{self, Header, Kind, Status};
use nitride_lang::prelude::*;
use nitride_lang::testing::{low, step};

use crate::bus::{
    ErrorKind, ErrorPulse, ErrorReport, FunctionState, InterruptRequest, LinkConfig, RegisterRequest,
    RegisterResponse, TlpBeat,
};
use crate::pcie::Front;
use crate::profile::Profile;

/// The host's requester ID and the bus it gives to the card.
pub const HOST: u16 = 0x0018;
/// The card's bus number.
pub const BUS: u16 = 0x3b;
/// Cycles after which a request counts as lost.
const PATIENCE: usize = 5000;

/// A TLP with its whole payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Tlp {
    pub words: [u32; 4],
    pub data: Vec<u32>,
}

impl Tlp {
    pub fn header(&self) -> Header {
        Header::parse(&self.words).expect("the card sends well-formed TLPs")
    }
}

/// A completion as its requester sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    pub status: Status,
    pub data: u64,
    pub byte_count: u16,
    pub lower_address: u8,
    pub completer: u16,
}

pub struct Host {
    pub uut: Front,
    pub cycle: usize,
    /// Completions and messages that the card has sent.
    pub completer: VecDeque<Tlp>,
    pub interrupts: VecDeque<Tlp>,
    /// Beats passed on to the DMA reader.
    pub completions: Vec<(TlpBeat, usize)>,
    /// Register writes that reached NVMe.
    pub nvme_writes: Vec<RegisterRequest>,
    /// Register writes that reached network devices.
    pub network_writes: Vec<RegisterRequest>,
    /// Functions that were announced for a reset and not acknowledged.
    pub resetting: VecDeque<u64>,
    /// Whether the link takes completions and messages.
    pub link_open: bool,
    /// Pulses counted.
    pub events: [u64; nitride_abi::management::COUNTER_COUNT],
    pub states: [FunctionState; 32],
    answers: VecDeque<u64>,
    network_answers: VecDeque<u64>,
    tag: u16,
}

/// What the NVMe stand-in reads at an offset of a function.
pub fn pattern(function: u64, offset: u64) -> u64 {
    0x0102_0304_0506_0708 ^ function << 56 ^ offset << 16
}

fn beat(words: &[u32; 4], data: &[u32], last: bool) -> TlpBeat {
    let hdr = words.iter().rev().fold(Bits::<128>::default(), |x, w| (x << 32) | u64::from(*w));
    let data = data.iter().rev().fold(Bits::<256>::default(), |x, w| (x << 32) | u64::from(*w));
    TlpBeat { hdr, data, last }
}

pub fn tlp_of(beat: TlpBeat) -> Tlp {
    let hdr = beat.hdr.to_u128();
    let words = std::array::from_fn(|i| (hdr >> (32 * i)) as u32);
    let dws = if words[0] >> 30 & 1 == 1 { tlp::LENGTH.get(&words) as usize } else { 0 };
    Tlp { words, data: (0..dws.min(8)).map(|i| beat.data.get_bits::<32>(32 * i).to_u32()).collect() }
}

impl Host {
    pub fn new() -> Self {
        Self::with(&Profile::LAB)
    }

    pub fn with(profile: &Profile) -> Self {
        Self {
            uut: Front::new(profile),
            cycle: 0,
            completer: VecDeque::new(),
            interrupts: VecDeque::new(),
            completions: Vec::new(),
            nvme_writes: Vec::new(),
            network_writes: Vec::new(),
            resetting: VecDeque::new(),
            link_open: true,
            events: Default::default(),
            states: [FunctionState::default(); 32],
            answers: VecDeque::new(),
            network_answers: VecDeque::new(),
            tag: 0,
        }
    }

    /// One cycle, in which the stand-ins do their part.
    pub fn step(&mut self) {
        let uut = &mut self.uut;
        uut.completer.ready.next = self.link_open;
        uut.interrupts.ready.next = self.link_open;
        uut.completions.ready.next = true;
        uut.nvme.ready.next = true;
        uut.management.ready.next = true;
        uut.flr.ready.next = true;
        uut.network_flr.ready.next = true;
        uut.network.ready.next = true;
        uut.network_response.valid.next = !self.network_answers.is_empty();
        uut.network_response.data.next =
            RegisterResponse { data: self.network_answers.front().copied().unwrap_or_default().into() };
        uut.nvme_response.valid.next = !self.answers.is_empty();
        uut.nvme_response.data.next =
            RegisterResponse { data: self.answers.front().copied().unwrap_or_default().into() };
        uut.management_response.valid.next = uut.management_response.ready.val();
        uut.management_response.data.next = RegisterResponse { data: nitride_abi::management::MAGIC.into() };
        low(uut);
        if uut.nvme_response.valid.val() && uut.nvme_response.ready.val() {
            self.answers.pop_front();
        }
        if uut.completer.valid.val() && self.link_open {
            self.completer.push_back(tlp_of(uut.completer.data.val()));
        }
        if uut.interrupts.valid.val() && self.link_open {
            self.interrupts.push_back(tlp_of(uut.interrupts.data.val()));
        }
        if uut.completions.valid.val() {
            self.completions.push((uut.completions.data.val(), self.cycle));
        }
        if uut.nvme.valid.val() {
            let request = uut.nvme.data.val();
            if request.write {
                self.nvme_writes.push(request);
            } else {
                self.answers.push_back(pattern(request.function.to_u64(), request.offset.to_u64()));
            }
        }
        if uut.network_response.valid.val() && uut.network_response.ready.val() {
            self.network_answers.pop_front();
        }
        if uut.network.valid.val() {
            let request = uut.network.data.val();
            if request.write {
                self.network_writes.push(request);
            } else {
                self.network_answers.push_back(!pattern(request.function.to_u64(), request.offset.to_u64()));
            }
        }
        if uut.network_flr.valid.val() {
            self.resetting.push_back(uut.network_flr.data.val().to_u64());
        }
        if uut.flr.valid.val() {
            self.resetting.push_back(uut.flr.data.val().to_u64());
        }
        let update = uut.update.val();
        if update.valid {
            self.states[update.function.to_u64() as usize] = update.state;
        }
        let events = uut.events.val().to_u64();
        for (i, count) in self.events.iter_mut().enumerate() {
            *count += events >> i & 1;
        }
        step(uut);
        self.cycle += 1;
    }

    pub fn run(&mut self, cycles: usize) {
        (0..cycles).for_each(|_| self.step());
    }

    /// Until the card is idle.
    pub fn settle(&mut self) {
        for _ in 0..PATIENCE {
            self.step();
            if !self.uut.busy.val() {
                return;
            }
        }
        panic!("the card stays busy");
    }

    /// One beat, with all of its signals chosen by the caller.
    pub fn send_beat(&mut self, words: &[u32; 4], data: &[u32], last: bool) {
        self.uut.rx.data.next = beat(words, data, last);
        self.uut.rx.valid.next = true;
        low(&mut self.uut);
        for _ in 0..PATIENCE {
            low(&mut self.uut);
            let taken = self.uut.rx.ready.val();
            self.step();
            if taken {
                self.uut.rx.valid.next = false;
                low(&mut self.uut);
                return;
            }
        }
        panic!("the card takes no more TLPs");
    }

    /// A TLP, well-formed in its beats.
    pub fn send(&mut self, words: &[u32; 4], data: &[u32]) {
        if data.is_empty() {
            return self.send_beat(words, &[], true);
        }
        let beats = data.chunks(tlp::BEAT_DWS).count();
        for (i, part) in data.chunks(tlp::BEAT_DWS).enumerate() {
            self.send_beat(words, part, i + 1 == beats);
        }
    }

    pub fn tag(&mut self) -> u8 {
        self.tag = (self.tag + 1) & 0xff;
        self.tag as u8
    }

    /// The completion with this tag.
    pub fn answer(&mut self, tag: u8) -> Answer {
        for _ in 0..PATIENCE {
            if let Some(tlp) = self.completer.pop_front() {
                let Kind::Completion {
                    status,
                    byte_count,
                    lower_address,
                    requester,
                    tag: got,
                    completer,
                    data,
                } = tlp.header().kind
                else {
                    panic!("not a completion: {tlp:x?}")
                };
                assert_eq!((requester, got), (HOST, tag));
                assert_eq!(data, !tlp.data.is_empty());
                let data = tlp.data.iter().rev().fold(0, |x, w| x << 32 | u64::from(*w));
                return Answer { status, data, byte_count, lower_address, completer };
            }
            self.step();
        }
        panic!("no completion");
    }

    fn config(&mut self, write: bool, function: u8, offset: u16, first: u8) -> (u8, Header) {
        let tag = self.tag();
        let target = BUS << 8 | u16::from(function);
        let kind = Kind::Config { write, forwarded: false, requester: HOST, tag, first, target, offset };
        (tag, Header::new(1, kind))
    }

    /// A configuration read and its completion.
    pub fn try_config_read(&mut self, function: u8, offset: u16) -> Answer {
        let (tag, header) = self.config(false, function, offset & !3, 0xf);
        self.send(&header.emit(), &[]);
        self.answer(tag)
    }

    /// A configuration write of some bytes of a DW, and its completion.
    pub fn try_config_write(&mut self, function: u8, offset: u16, value: u32, enable: u8) -> Answer {
        let (tag, header) = self.config(true, function, offset & !3, enable);
        self.send(&header.emit(), &[value]);
        self.answer(tag)
    }

    pub fn config_read(&mut self, function: u8, offset: u16) -> u32 {
        let answer = self.try_config_read(function, offset);
        assert_eq!(answer.status, Status::Success, "reading {offset:#x} of function {function}");
        answer.data as u32
    }

    pub fn config_write(&mut self, function: u8, offset: u16, value: u32) {
        let answer = self.try_config_write(function, offset, value, 0xf);
        assert_eq!(answer.status, Status::Success, "writing {offset:#x} of function {function}");
    }

    /// A 16-bit register.
    pub fn config_write_16(&mut self, function: u8, offset: u16, value: u16) {
        let shift = offset & 2;
        let answer = self.try_config_write(function, offset, u32::from(value) << (8 * shift), 0b11 << shift);
        assert_eq!(answer.status, Status::Success, "writing {offset:#x} of function {function}");
    }

    pub fn memory_header(&mut self, write: bool, address: u64, len: usize) -> Header {
        let (length, first, last) = tlp::byte_enables(address, len);
        let (tag, address) = (self.tag(), address & !3);
        Header::new(length, Kind::Memory { write, requester: HOST, tag, first, last, address })
    }

    /// A memory read of up to 8 bytes and its completion.
    pub fn try_read(&mut self, address: u64, len: usize) -> Answer {
        let header = self.memory_header(false, address, len);
        let tag = self.tag as u8;
        self.send(&header.emit(), &[]);
        self.answer(tag)
    }

    /// Reads up to 8 bytes.
    pub fn read(&mut self, address: u64, len: usize) -> u64 {
        let answer = self.try_read(address, len);
        assert_eq!(answer.status, Status::Success, "reading {len} bytes at {address:#x}");
        let mask = if len == 8 { u64::MAX } else { (1 << (8 * len)) - 1 };
        answer.data >> (8 * (address % 4)) & mask
    }

    /// Writes up to 8 bytes.
    pub fn write(&mut self, address: u64, value: u64, len: usize) {
        let header = self.memory_header(true, address, len);
        let value = u128::from(value) << (8 * (address % 4));
        let data: Vec<u32> = (0..header.length).map(|i| (value >> (32 * i)) as u32).collect();
        self.send(&header.emit(), &data);
    }

    /// The firmware's work: BARs, memory and bus mastering of both PFs; 8 VFs. Gives the BARs' addresses: of PF0, PF2, the first VF.
    pub fn boot(&mut self) -> [u64; 3] {
        let bars = [0x20_0000_0000, 0x20_0000_4000, 0x21_0004_0000];
        for (function, bar) in [(0, bars[0]), (PF_STORAGE, bars[1])] {
            self.config_write(function, pci::BAR0, bar as u32);
            self.config_write(function, pci::BAR0 + 4, (bar >> 32) as u32);
            self.config_write_16(function, pci::COMMAND, 6);
        }
        self.config_write_16(PF_STORAGE, pci::SRIOV_NUM_VFS, 8);
        self.config_write(PF_STORAGE, pci::SRIOV_BAR0, bars[2] as u32);
        self.config_write(PF_STORAGE, pci::SRIOV_BAR0 + 4, (bars[2] >> 32) as u32);
        self.config_write_16(PF_STORAGE, pci::SRIOV_CONTROL, 0x19);
        assert_eq!(BAR0_SIZE, 0x4000);
        bars
    }

    /// Tells the card that the reset of every announced function is complete.
    pub fn finish_resets(&mut self) {
        while let Some(function) = self.resetting.pop_front() {
            let network = matches!(Kinds::of(function as u8, 8), Some(Kinds::Network | Kinds::NetworkVf));
            let done = |uut: &mut Front, valid: bool| {
                let sink = if network { &mut uut.network_flr_done } else { &mut uut.flr_done };
                sink.valid.next = valid;
                sink.data.next = function.into();
                low(uut);
                if network { uut.network_flr_done.ready.val() } else { uut.flr_done.ready.val() }
            };
            while !done(&mut self.uut, true) {
                self.step();
            }
            self.step();
            done(&mut self.uut, false);
        }
    }

    /// Asks for an interrupt of a function, and waits until the request was taken.
    pub fn interrupt(&mut self, function: u8, vector: u8) {
        self.uut.interrupt.valid.next = true;
        self.uut.interrupt.data.next =
            InterruptRequest { function: u64::from(function).into(), vector: u64::from(vector).into() };
        for _ in 0..PATIENCE {
            low(&mut self.uut);
            let taken = self.uut.interrupt.ready.val();
            self.step();
            if taken {
                self.uut.interrupt.valid.next = false;
                return;
            }
        }
        panic!("the interrupt request is not taken");
    }

    /// The DMA reader finds an error of a function.
    pub fn read_error(&mut self, kind: ErrorKind, function: u8, header: [u32; 4]) {
        let header = beat(&header, &[], true).hdr;
        let report = ErrorReport { kind, specific: true, function: u64::from(function).into(), header };
        self.uut.read_error.next = ErrorPulse { valid: true, report };
        self.step();
        self.uut.read_error.next = ErrorPulse::default();
        self.settle();
    }

    /// The error messages since the last call: requester's function and message code.
    pub fn messages(&mut self) -> Vec<(u16, u8)> {
        self.settle();
        let told = |tlp: Tlp| match tlp.header().kind {
            Kind::Message { data: false, routing: 0, requester, tag: 0, code, rest: [0, 0] } => {
                assert_eq!(requester & 0xff00, BUS << 8);
                (requester & 0xff, code)
            }
            other => panic!("not an error message: {other:x?}"),
        };
        self.interrupts.drain(..).map(told).collect()
    }

    pub fn link(&self) -> LinkConfig {
        self.uut.link.val()
    }
}
