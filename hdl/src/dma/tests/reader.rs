//! The read engine against a host.

use std::collections::VecDeque;

use nitride_abi::tlp::{Header, Kind};
use nitride_lang::prelude::*;
use nitride_lang::testing::{low, step};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::bench::{beats, bus_master, dw, header, number};
use super::host::{Fate, Host, memory};
use crate::bus::{DmaReadRequest, DmaStatus, ErrorKind, FunctionUpdate, LandingWrite, LinkConfig, TlpBeat};
use crate::dma::{CLIENTS, Reader};
use crate::profile::Profile;

const BUS: u64 = 0x5a;
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
    destination: usize,
    context: u64,
    /// DWs whose reads were seen.
    issued: usize,
    fates: Vec<Fate>,
}

impl Request {
    fn end(&self) -> u64 {
        self.address + 4 * self.length as u64
    }
    fn signal(&self) -> DmaReadRequest {
        DmaReadRequest {
            function: self.function.into(),
            address: self.address.into(),
            length: (self.length as u64).into(),
            destination: (self.destination as u64).into(),
            context: self.context.into(),
        }
    }
}

/// How the bench behaves.
struct Options {
    /// In a hundred cycles: a request is made, a TLP taken, a completion's beat sent.
    asking: u32,
    taking: u32,
    answering: u32,
    /// In a thousand cycles: a completion comes that nobody expects.
    strays: u32,
    mrrs: u64,
    /// FICKLE changes its mind, in a thousand cycles.
    moody: u32,
    /// Completion timeout in cycles.
    timeout: u32,
    /// 8-bit tags.
    extended_tags: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            asking: 30,
            taking: 70,
            answering: 80,
            strays: 0,
            mrrs: 2,
            moody: 0,
            timeout: 3000,
            extended_tags: true,
        }
    }
}

struct Bench {
    uut: Reader,
    rng: SmallRng,
    host: Host,
    options: Options,
    offered: [Option<Request>; CLIENTS],
    flying: Vec<Request>,
    coming: VecDeque<TlpBeat>,
    /// The card let a completion wait in the last cycle.
    held: bool,
    updates: VecDeque<FunctionUpdate>,
    landing: Vec<u32>,
    cycle: u64,
    /// Requests that may still be made.
    budget: usize,
    done: usize,
    statuses: [usize; 4],
    strays: usize,
    unexpected: usize,
    timeouts: usize,
    /// UR, CA and poisoned completions.
    refusals: usize,
    lost: usize,
    issued: usize,
}

impl Bench {
    fn new(seed: u64, options: Options) -> Self {
        println!("seed {seed}");
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut uut = Reader::new(&Profile { completion_timeout: options.timeout, ..Profile::LAB });
        uut.connect_all();
        uut.link.next = LinkConfig {
            bus: BUS.into(),
            mps: 1u64.into(),
            mrrs: options.mrrs.into(),
            extended_tags: options.extended_tags,
            timeout_disable: false,
        };
        let host = Host::new(SmallRng::seed_from_u64(rng.random()));
        Self {
            uut,
            rng,
            host,
            options,
            offered: Default::default(),
            flying: vec![],
            coming: VecDeque::new(),
            held: false,
            updates: (0..32).filter(|f| *f != DISABLED).map(|f| bus_master(f, true)).collect(),
            landing: vec![0; 1 << 18],
            cycle: 0,
            budget: 0,
            done: 0,
            statuses: [0; 4],
            strays: 0,
            unexpected: 0,
            timeouts: 0,
            refusals: 0,
            lost: 0,
            issued: 0,
        }
    }

    /// A request that shares neither bytes nor buffer nor context with another one.
    fn invent(&mut self, client: usize) -> Request {
        loop {
            let slots = [32, 64, 64, 64, 32][client];
            let slot_dws = [1024, 16, 64, 16, 1024][client];
            let length = match self.rng.random_range(0..4) {
                0 => slot_dws,
                1 => self.rng.random_range(1..=slot_dws.min(9)),
                _ => self.rng.random_range(1..=slot_dws),
            };
            let offset = if self.rng.random() { 0 } else { self.rng.random_range(0..=slot_dws - length) };
            let slot = self.rng.random_range(0..slots);
            let page = self.rng.random_range(1..1 << 20) << 12;
            let high = if self.rng.random() { 0 } else { u64::from(self.rng.random::<u32>()) << 32 };
            let aligned = self.rng.random();
            let request = Request {
                client,
                function: self.rng.random_range(0..32),
                address: high + page + if aligned { 0 } else { 4 * self.rng.random_range(0..1024) },
                length,
                destination: (client << 15) + slot * slot_dws + offset,
                context: self.rng.random_range(0..256),
                issued: 0,
                fates: vec![],
            };
            let clash = self.flying.iter().chain(self.offered.iter().flatten()).any(|other| {
                (other.client == client && other.context == request.context)
                    || (other.address < request.end() && request.address < other.end())
                    || (other.destination < request.destination + length
                        && request.destination < other.destination + other.length)
            });
            if !clash {
                return request;
            }
        }
    }

    fn step(&mut self) {
        // Inputs
        for client in 0..CLIENTS {
            if self.offered[client].is_none()
                && self.budget > 0
                && self.rng.random_ratio(self.options.asking, 100)
                && self.flying.len() < 60
            {
                self.budget -= 1;
                self.offered[client] = Some(self.invent(client));
            }
            let offered = self.offered[client].as_ref();
            self.uut.request[client].valid.next = offered.is_some();
            if let Some(request) = offered {
                self.uut.request[client].data.next = request.signal();
            }
            self.uut.done[client].ready.next = true;
        }
        self.uut.tlp.ready.next = self.rng.random_ratio(self.options.taking, 100);
        if self.coming.is_empty() {
            let stray = self.rng.random_ratio(self.options.strays, 1000);
            let tlp = if stray { self.host.stray() } else { self.host.completion() };
            if let Some(tlp) = tlp {
                self.coming = beats(&tlp).into();
                self.strays += usize::from(stray);
            }
        }
        let answer =
            self.held || !self.coming.is_empty() && self.rng.random_ratio(self.options.answering, 100);
        self.uut.completions.valid.next = answer;
        if answer {
            self.uut.completions.data.next = self.coming[0];
        }
        if self.rng.random_ratio(self.options.moody, 1000) {
            self.updates.push_back(bus_master(FICKLE, self.rng.random()));
        }
        self.uut.update.next = self.updates.pop_front().unwrap_or_default();

        low(&mut self.uut);
        self.observe();
        step(&mut self.uut);
        self.cycle += 1;
    }

    fn observe(&mut self) {
        for client in 0..CLIENTS {
            if self.uut.request[client].ready.val()
                && let Some(request) = self.offered[client].take()
            {
                self.flying.push(request);
            }
        }
        if self.uut.completions.valid.val() && self.uut.completions.ready.val() {
            self.coming.pop_front();
        }
        self.held = self.uut.completions.valid.val() && !self.uut.completions.ready.val();
        if self.uut.tlp.valid.val() && self.uut.tlp.ready.val() {
            let beat = self.uut.tlp.data.val();
            self.read(&beat);
        }
        let write = self.uut.landing.val();
        self.land(&write);
        let error = self.uut.error.val();
        if error.valid {
            match error.report.kind {
                ErrorKind::Unexpected => self.unexpected += 1,
                ErrorKind::Timeout => {
                    assert_eq!(error.report.header, !Bits::default());
                    self.timeouts += 1;
                }
                _ => self.refusals += 1,
            }
        }
        for client in 0..CLIENTS {
            if self.uut.done[client].valid.val() {
                let done = self.uut.done[client].data.val();
                self.finish(client, number(done.context), done.status);
            }
        }
    }

    fn read(&mut self, beat: &TlpBeat) {
        assert!(beat.last && beat.data == Bits::<256>::default());
        let header = Header::parse(&header(beat)).expect("a well-formed header");
        let Kind::Memory { write: false, requester, address, first, last, .. } = header.kind else {
            panic!("{header:?}")
        };
        assert_eq!((first, last), (0xf, if header.length == 1 { 0 } else { 0xf }));
        assert!(u64::from(header.length) <= 32 << self.options.mrrs, "{header:?}");
        let Kind::Memory { tag, .. } = header.kind else { unreachable!() };
        assert!(self.options.extended_tags || tag < 32, "a tag of more than 5 bits: {tag:#x}");
        let fate = self.host.take(&header);
        self.lost += usize::from(fate == Fate::Lost);
        let request = self
            .flying
            .iter_mut()
            .find(|r| address >= r.address && address < r.end())
            .unwrap_or_else(|| panic!("nobody asked for {header:x?}"));
        assert_eq!(u64::from(requester), BUS << 8 | request.function);
        assert_ne!(request.function, DISABLED);
        assert!(address + 4 * u64::from(header.length) <= request.end());
        if request.function != FICKLE {
            assert_eq!(address, request.address + 4 * request.issued as u64, "pieces follow each other");
        }
        request.issued += usize::from(header.length);
        request.fates.push(fate);
        self.issued += 1;
    }

    fn land(&mut self, write: &LandingWrite) {
        for lane in (0..8).filter(|l| write.enable.get_bit(*l)) {
            let row = number(write.row) as usize + usize::from(write.wrap.get_bit(lane));
            let place = 8 * row + lane;
            let request =
                self.flying.iter().find(|r| place >= r.destination && place < r.destination + r.length);
            let request =
                request.unwrap_or_else(|| panic!("a write outside of any request's buffer: {place:#x}"));
            let data = dw(write.data, lane);
            let wanted = memory(request.address + 4 * (place - request.destination) as u64);
            assert_eq!(data, wanted, "cycle {}: {request:x?}", self.cycle);
            self.landing[place] = data;
        }
    }

    fn finish(&mut self, client: usize, context: u64, status: DmaStatus) {
        let at = self.flying.iter().position(|r| r.client == client && r.context == context);
        let request = self.flying.remove(at.expect("a done of a request in flight"));
        let all_issued = request.issued == request.length;
        let expected: Vec<DmaStatus> = request
            .fates
            .iter()
            .filter_map(|fate| match fate {
                Fate::Answered => None,
                Fate::Lost => Some(DmaStatus::Timeout),
                _ => Some(DmaStatus::Failed),
            })
            .chain((!all_issued).then_some(DmaStatus::NotEnabled))
            .collect();
        if expected.is_empty() {
            assert_eq!(status, DmaStatus::Ok, "cycle {}: {request:x?}", self.cycle);
            for i in 0..request.length {
                assert_eq!(self.landing[request.destination + i], memory(request.address + 4 * i as u64));
                self.landing[request.destination + i] = 0;
            }
        } else {
            assert!(expected.contains(&status), "{status:?} instead of {expected:?}: {request:x?}");
        }
        assert!(
            !self.host.owes(request.address, 4 * request.length as u64),
            "done before all its reads were answered: {request:x?}"
        );
        self.host.give_up(request.address, 4 * request.length as u64);
        self.statuses[status as usize] += 1;
        self.done += 1;
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
        self.run_out();
        assert_eq!(self.done, target);
    }

    /// Goes on until nothing is under way.
    fn run_out(&mut self) {
        let limit = self.cycle + 6000 + 400 * (self.budget + self.flying.len()) as u64;
        while self.budget > 0
            || self.offered.iter().any(Option::is_some)
            || !self.flying.is_empty()
            || !self.coming.is_empty()
            || self.uut.busy.val()
        {
            self.step();
            assert!(self.cycle < limit, "stuck with {} done, {:x?}", self.done, self.flying);
        }
        assert!(self.host.idle());
        assert_eq!(self.timeouts, self.lost);
    }
}

#[test]
fn data_arrives_where_it_was_asked_for_whatever_the_order_of_completions() {
    for (seed, mrrs, rcb) in [(1, 2, 64), (2, 0, 128), (3, 5, 64)] {
        let mut bench = Bench::new(seed, Options { mrrs, timeout: 100_000, ..Options::default() });
        bench.host.rcb = rcb;
        bench.run(150);
        assert_eq!(bench.unexpected, 0);
        assert!(bench.statuses[DmaStatus::Ok as usize] > 100);
        assert!(bench.statuses[DmaStatus::NotEnabled as usize] > 0);
    }
}

#[test]
fn every_request_ends_once_and_no_tag_leaks_with_a_hostile_host() {
    let mut bench = Bench::new(4, Options { strays: 40, moody: 20, taking: 95, ..Options::default() });
    bench.host.bad = 100;
    bench.run(800);
    for (status, count) in bench.statuses.iter().enumerate() {
        assert!(*count > 5, "status {status} came {count} times");
    }
    assert_eq!(bench.unexpected, bench.strays);
    assert!(bench.strays > 100, "{}", bench.strays);
    assert!(bench.refusals > 20, "{}", bench.refusals);
}

#[test]
fn five_bit_tags_carry_everything_and_come_back_late_after_an_error() {
    let options = Options { extended_tags: false, moody: 20, ..Options::default() };
    let mut bench = Bench::new(6, options);
    bench.host.bad = 100;
    bench.run(1000);
    assert!(bench.timeouts > 5 && bench.refusals > 10);
    assert_eq!(bench.unexpected, 0);
}

#[test]
fn a_late_completion_of_a_five_bit_tag_meets_no_other_read() {
    let options = Options { extended_tags: false, taking: 100, ..Options::default() };
    let mut bench = Bench::new(7, options);
    bench.host.bad = 150;
    bench.set_up();
    let mut all = 0;
    for round in 0..20 {
        bench.budget = 10;
        while bench.budget > 0 || !bench.flying.is_empty() || bench.offered.iter().any(Option::is_some) {
            bench.step();
        }
        // What was lost arrives when its time is over, while other reads are under way.
        let before = bench.unexpected;
        bench.budget = 5;
        let mut strays = 0;
        while let Some(late) = bench.host.late_completion() {
            strays += 1;
            bench.coming.extend(beats(&late));
            while !bench.coming.is_empty() {
                bench.step();
            }
        }
        bench.run_out();
        assert_eq!(bench.unexpected - before, strays, "round {round}");
        all += strays;
    }
    assert!(all > 10, "{all}");
}

#[test]
fn reads_wait_for_ever_while_the_completion_timeout_is_disabled() {
    let mut bench = Bench::new(8, Options::default());
    bench.uut.link.next.timeout_disable = true;
    bench.host.bad = 1000;
    bench.host.only_lost = true;
    bench.set_up();
    bench.budget = 3;
    for _ in 0..40 * 1500 {
        bench.step();
    }
    assert_eq!((bench.timeouts, bench.done), (0, 0));
    assert!(bench.lost > 0 && bench.uut.busy.val());
    bench.uut.link.next.timeout_disable = false;
    bench.run_out();
    assert_eq!((bench.timeouts, bench.done), (bench.lost, 3));
}

#[test]
fn a_full_page_takes_its_beats_and_a_round_trip() {
    let mut bench = Bench::new(
        5,
        Options { asking: 100, taking: 100, answering: 100, timeout: 250_000, ..Options::default() },
    );
    bench.host.orderly = true;
    bench.set_up();
    // 16 pages of one client, back to back.
    let start = bench.cycle;
    let mut left = 16;
    let mut next = 0;
    while left > 0 || bench.uut.busy.val() {
        if bench.offered[0].is_none() && left > 0 {
            left -= 1;
            bench.offered[0] = Some(Request {
                client: 0,
                function: 16,
                address: 0x1_0000_0000 + (next << 12),
                length: 1024,
                destination: (next as usize) << 10,
                context: next,
                issued: 0,
                fates: vec![],
            });
            next += 1;
        }
        bench.step();
    }
    let cycles = bench.cycle - start;
    println!("16 reads of 4 KiB: {cycles} cycles, {} a page", cycles / 16);
    assert_eq!(bench.done, 16);
    assert!(cycles < 16 * 128 + 64, "{cycles}");
}
