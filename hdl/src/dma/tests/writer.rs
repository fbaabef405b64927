//! The write engine against a host that takes what comes.

use std::collections::HashMap;
use std::collections::VecDeque;

use nitride_abi::tlp::{Header, Kind};
use nitride_lang::prelude::*;
use nitride_lang::testing::{low, step};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::bench::{bus_master, dw, header, number, wide};
use super::host::memory;
use crate::bus::{DmaStatus, DmaWriteRequest, FunctionUpdate, LaunchRead, LinkConfig};
use crate::dma::{CLIENTS, Writer};

const BUS: u64 = 0xc3;
/// Never bus master.
const DISABLED: u64 = 9;
/// Bus master now and then.
const FICKLE: u64 = 20;

#[derive(Debug, Clone)]
struct Request {
    client: usize,
    function: u64,
    address: u64,
    length: usize,
    first: u8,
    last: u8,
    source: usize,
    context: u64,
    written: usize,
}

impl Request {
    fn end(&self) -> u64 {
        self.address + 4 * self.length as u64
    }
}

/// What a launch RAM holds at a DW.
fn launched(place: usize) -> u32 {
    memory(place as u64 * 4 + (1 << 50))
}

struct Bench {
    uut: Writer,
    rng: SmallRng,
    /// In a hundred cycles: a request is made, a beat taken.
    asking: u32,
    taking: u32,
    /// FICKLE changes its mind, in a thousand cycles.
    moody: u32,
    mps: u64,
    offered: [Option<Request>; CLIENTS],
    flying: Vec<Request>,
    updates: VecDeque<FunctionUpdate>,
    /// What the launch RAMs were asked for in the last cycle.
    launch: LaunchRead,
    /// Of the TLP in progress: its header and DWs so far.
    tlp: Option<([u32; 4], Vec<u32>)>,
    /// Client and context of the request whose last DW was taken in the last cycle.
    ended: Option<(usize, u64)>,
    budget: usize,
    done: usize,
    statuses: [usize; 4],
    cycle: u64,
    beats: u64,
    order: HashMap<usize, Vec<u64>>,
}

impl Bench {
    fn new(seed: u64, mps: u64) -> Self {
        println!("seed {seed}");
        let mut uut = Writer::default();
        uut.connect_all();
        uut.link.next = LinkConfig { bus: BUS.into(), mps: mps.into(), ..LinkConfig::default() };
        Self {
            uut,
            rng: SmallRng::seed_from_u64(seed),
            asking: 30,
            taking: 70,
            moody: 0,
            mps,
            offered: Default::default(),
            flying: vec![],
            updates: (0..32).filter(|f| *f != DISABLED).map(|f| bus_master(f, true)).collect(),
            launch: LaunchRead::default(),
            tlp: None,
            ended: None,
            budget: 0,
            done: 0,
            statuses: [0; 4],
            cycle: 0,
            beats: 0,
            order: HashMap::new(),
        }
    }

    fn invent(&mut self, client: usize) -> Request {
        loop {
            let rows = [32 * 128, 2 * 128, 64, 64, 1024][client];
            let most: usize = [1024, 1024, 4, 8, 1024][client];
            let length: usize = match self.rng.random_range(0..4) {
                0 => most,
                1 => self.rng.random_range(1..=most.min(20)),
                _ => self.rng.random_range(1..=most),
            };
            let aligned = self.rng.random();
            let source = if aligned {
                8 * self.rng.random_range(0..=rows - length.div_ceil(8))
            } else {
                self.rng.random_range(0..=8 * rows - length)
            };
            // From its first byte to its last: at most 3 bytes are spared at either end.
            let first: u8 = 0xf << self.rng.random_range(0..4) & 0xf;
            let last: u8 = if length == 1 { first } else { 0xf >> self.rng.random_range(0..4) };
            let high = if self.rng.random() { 0 } else { u64::from(self.rng.random::<u32>()) << 32 };
            let page = self.rng.random_range(1..1 << 20) << 12;
            let request = Request {
                client,
                function: self.rng.random_range(0..32),
                address: high + page + if self.rng.random() { 0 } else { 4 * self.rng.random_range(0..1024) },
                length,
                first,
                last,
                source: (client << 15) + source,
                context: self.rng.random_range(0..256),
                written: 0,
            };
            let clash = self.flying.iter().chain(self.offered.iter().flatten()).any(|other| {
                (other.client == client && other.context == request.context)
                    || (other.address < request.end() && request.address < other.end())
            });
            if !clash {
                return request;
            }
        }
    }

    fn step(&mut self) {
        for client in 0..CLIENTS {
            if self.offered[client].is_none() && self.budget > 0 && self.rng.random_ratio(self.asking, 100) {
                self.budget -= 1;
                self.offered[client] = Some(self.invent(client));
            }
            let offered = self.offered[client].as_ref();
            self.uut.request[client].valid.next = offered.is_some();
            if let Some(request) = offered {
                self.uut.request[client].data.next = DmaWriteRequest {
                    function: request.function.into(),
                    address: request.address.into(),
                    length: (request.length as u64).into(),
                    first: u64::from(request.first).into(),
                    last: u64::from(request.last).into(),
                    source: (request.source as u64).into(),
                    context: request.context.into(),
                };
            }
            self.uut.done[client].ready.next = true;
        }
        self.uut.tlp.ready.next = self.rng.random_ratio(self.taking, 100);
        if self.rng.random_ratio(self.moody, 1000) {
            self.updates.push_back(bus_master(FICKLE, self.rng.random()));
        }
        self.uut.update.next = self.updates.pop_front().unwrap_or_default();
        let row = number(self.launch.row) as usize;
        let data: Vec<u32> =
            (0..8).map(|l| launched(8 * (row + usize::from(self.launch.wrap.get_bit(l))) + l)).collect();
        self.uut.launch_data.next = wide(&data);

        low(&mut self.uut);
        self.observe();
        step(&mut self.uut);
        self.cycle += 1;
    }

    fn observe(&mut self) {
        self.launch = self.uut.launch.val();
        let ended = self.ended.take();
        for client in 0..CLIENTS {
            if self.uut.request[client].ready.val()
                && let Some(request) = self.offered[client].take()
            {
                self.order.entry(client).or_default().push(request.context);
                self.flying.push(request);
            }
            if self.uut.done[client].valid.val() {
                let done = self.uut.done[client].data.val();
                let context = number(done.context);
                let at = self.flying.iter().position(|r| r.client == client && r.context == context);
                let request = self.flying.remove(at.expect("a done of a request in flight"));
                let wanted =
                    if request.written == request.length { DmaStatus::Ok } else { DmaStatus::NotEnabled };
                assert_eq!(done.status, wanted, "{request:x?}");
                if wanted == DmaStatus::Ok {
                    assert_eq!(ended, Some((client, context)), "done comes right after the last beat");
                }
                assert_eq!(self.order.get_mut(&client).map(|o| o.remove(0)), Some(context));
                self.statuses[done.status as usize] += 1;
                self.done += 1;
            }
        }
        if self.uut.tlp.valid.val() && self.uut.tlp.ready.val() {
            let beat = self.uut.tlp.data.val();
            self.beats += 1;
            let words = header(&beat);
            let (started, dws) = self.tlp.get_or_insert((words, vec![]));
            assert_eq!(*started, words, "the header is the same in every beat");
            dws.extend((0..8).map(|i| dw(beat.data, i)));
            if beat.last {
                let (words, dws) = self.tlp.take().unwrap();
                self.write(&words, &dws);
            }
        }
    }

    fn write(&mut self, words: &[u32; 4], dws: &[u32]) {
        let header = Header::parse(words).expect("a well-formed header");
        let Kind::Memory { write: true, requester, address, first, last, .. } = header.kind else {
            panic!("{header:?}")
        };
        let length = usize::from(header.length);
        assert!(length <= 32 << self.mps);
        assert_eq!(dws.len(), length.next_multiple_of(8), "as many beats as DWs need");
        let request = self.flying.iter_mut().find(|r| address >= r.address && address < r.end());
        let request = request.unwrap_or_else(|| panic!("nobody asked for {header:x?}"));
        assert_eq!(u64::from(requester), BUS << 8 | request.function);
        assert_ne!(request.function, DISABLED);
        assert!(address + 4 * length as u64 <= request.end());
        let offset = (address - request.address) as usize / 4;
        let begins = if offset == 0 { request.first } else { 0xf };
        let ends = if offset + length == request.length { request.last } else { 0xf };
        let enables = if length == 1 { (begins & ends, 0) } else { (begins, ends) };
        assert_eq!((first, last), enables, "{header:x?} of {request:x?}");
        if request.function != FICKLE {
            assert_eq!(offset, request.written, "pieces follow each other");
        }
        for i in 0..length {
            assert_eq!(dws[i], launched(request.source + offset + i), "DW {i} of {header:x?}, {request:x?}");
        }
        request.written += length;
        if offset + length == request.length {
            self.ended = Some((request.client, request.context));
        }
    }

    /// Lets the functions' states take effect.
    fn set_up(&mut self) {
        for _ in 0..self.updates.len() + 3 {
            self.step();
        }
    }

    /// Makes `count` requests and waits for their ends.
    fn run(&mut self, count: usize) {
        self.set_up();
        self.budget += count;
        let target = self.done + count;
        let limit = self.cycle + 3000 + 400 * count as u64;
        while self.done < target || self.uut.busy.val() {
            self.step();
            assert!(self.cycle < limit, "stuck with {} done, {:x?}", self.done, self.flying);
        }
        assert!(self.flying.is_empty() && self.tlp.is_none());
    }
}

#[test]
fn every_byte_is_written_once_in_legal_tlps() {
    for (seed, mps) in [(1, 0), (2, 1), (3, 5), (4, 7)] {
        // A reserved size counts as the smallest.
        let mut bench = Bench::new(seed, mps);
        bench.mps = if mps > 5 { 0 } else { mps };
        bench.run(150);
        assert!(bench.statuses[DmaStatus::Ok as usize] > 100);
        assert!(bench.statuses[DmaStatus::NotEnabled as usize] > 0);
    }
}

#[test]
fn a_function_that_stops_being_bus_master_stops_writing() {
    let mut bench = Bench::new(5, 1);
    bench.moody = 40;
    bench.run(300);
    bench.updates.push_back(bus_master(FICKLE, false));
    bench.run(200);
    assert!(bench.statuses[DmaStatus::NotEnabled as usize] > 10);
}

#[test]
fn a_full_page_takes_its_beats_and_nothing_more() {
    let mut bench = Bench::new(6, 1);
    bench.taking = 100;
    bench.set_up();
    let start = bench.cycle;
    let mut next = 0;
    while bench.done < 16 {
        if bench.offered[0].is_none() && next < 16 {
            bench.offered[0] = Some(Request {
                client: 0,
                function: 16,
                address: 0x1_0000_0000 + (next << 12),
                length: 1024,
                first: 0xf,
                last: 0xf,
                source: (next as usize) << 10,
                context: next,
                written: 0,
            });
            next += 1;
        }
        bench.step();
    }
    let cycles = bench.cycle - start;
    println!("16 writes of 4 KiB: {cycles} cycles, {} a page", cycles / 16);
    assert_eq!(bench.beats, 16 * 128);
    assert!(cycles < 16 * 128 + 16, "{cycles}");
}
