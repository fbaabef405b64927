//! Each part's Verilog against its simulation.

use std::collections::VecDeque;

use nitride_lang::prelude::*;
use nitride_lang::testing::{Rng, differential};

use crate::bus::{DmaDone, DmaStatus, LandingWrite, LaunchRead};
use crate::net::Control;
use crate::net::control::executor::Executor;
use crate::net::control::gatherer::Gatherer;
use crate::net::control::records::{Chain, Fate, Portion};
use crate::net::control::walker::Walker;
use crate::net::records::{Segment, VirtqueueUpdate};

const CYCLES: usize = 10_000;

/// One of four queues.
fn queue(rng: &mut Rng) -> Bits<7> {
    rng.pick(&[2, 4, 0x14, 0x7c]).into()
}

/// An update, that mostly enables.
fn update(rng: &mut Rng) -> VirtqueueUpdate {
    let mut update: VirtqueueUpdate = rng.value();
    update.valid = rng.chance(1, 20);
    update.index = queue(rng);
    update.queue.enabled = rng.chance(7, 8);
    update
}

fn segment(rng: &mut Rng) -> Segment {
    let length = match rng.below(8) {
        0 => 0,
        1 => rng.below(1 << 32),
        2 => rng.below(70_000),
        _ => rng.below(10),
    };
    let last = rng.chance(1, 3);
    Segment {
        queue: queue(rng),
        drain: rng.chance(1, 20),
        length: length.into(),
        write: rng.chance(if last { 7 } else { 1 }, 8),
        last,
        ..rng.value()
    }
}

fn landing(rng: &mut Rng) -> LandingWrite {
    let reader = rng.pick(&[0, 1, 2, 3, 3, 3, 3]);
    LandingWrite { row: (7 << 12 | reader << 10 | rng.below(16)).into(), ..rng.value() }
}

fn launch(rng: &mut Rng) -> LaunchRead {
    LaunchRead { row: (rng.pick(&[0, 1, 4, 5, 5, 7]) << 12).into(), ..rng.value() }
}

/// Ends for what was asked, in any order.
#[derive(Default)]
struct Ends {
    flying: VecDeque<Bits<8>>,
}

impl Ends {
    fn next(&mut self, rng: &mut Rng) -> Option<DmaDone> {
        if self.flying.is_empty() || rng.chance(1, 2) {
            return None;
        }
        let at = rng.below(self.flying.len() as u64) as usize;
        let context = self.flying.remove(at).unwrap_or_default();
        let status = if rng.chance(1, 20) { rng.value() } else { DmaStatus::Ok };
        Some(DmaDone { context, status })
    }
}

#[test]
fn control_verilog_equals_simulation() {
    let mut reads = Ends::default();
    let mut writes = Ends::default();
    differential(
        "net_control",
        Control::default,
        |uut, rng| {
            uut.update.next = update(rng);
            uut.segments.data.next = segment(rng);
            uut.segments.valid.next = rng.chance(1, 4);
            uut.command.ready.next = rng.chance(3, 4);
            uut.answer.valid.next = rng.bit();
            uut.answer.data.next = rng.value();
            uut.used.ready.next = rng.chance(3, 4);
            uut.broken.ready.next = rng.chance(1, 2);
            let done = reads.next(rng);
            uut.read_done.valid.next = done.is_some();
            uut.read_done.data.next = done.unwrap_or_default();
            let done = writes.next(rng);
            uut.write_done.valid.next = done.is_some();
            uut.write_done.data.next = done.unwrap_or_default();
            uut.landing.next = landing(rng);
            uut.launch.next = launch(rng);
            // What they offer does not depend on this cycle's inputs.
            let ready = rng.chance(3, 4);
            uut.read.ready.next = ready;
            if uut.read.valid.val() && ready {
                reads.flying.push_back(uut.read.data.val().context);
            }
            let ready = rng.chance(3, 4);
            uut.write.ready.next = ready;
            if uut.write.valid.val() && ready {
                writes.flying.push_back(uut.write.data.val().context);
            }
        },
        CYCLES,
    );
}

#[test]
fn walker_verilog_equals_simulation() {
    differential(
        "net_control_walker",
        Walker::default,
        |uut, rng| {
            uut.update.next = update(rng);
            uut.segments.data.next = segment(rng);
            uut.segments.valid.next = rng.chance(7, 8);
            uut.portion.ready.next = rng.chance(7, 8);
            uut.chain.ready.next = rng.chance(7, 8);
        },
        CYCLES,
    );
}

#[test]
fn gatherer_verilog_equals_simulation() {
    let mut reads = Ends::default();
    // Portions of the command, which may be all; and whether the next ones are another's.
    let mut count = 0;
    let mut full = false;
    differential(
        "net_control_gatherer",
        Gatherer::default,
        |uut, rng| {
            let clear = uut.gathered.val() && full;
            uut.clear.next = clear;
            if clear {
                (count, full) = (0, false);
            }
            full = full || count == 16 || rng.chance(1, 20);
            let valid = !clear && !full && rng.chance(3, 4);
            uut.portion.valid.next = valid;
            uut.portion.data.next = Portion { bytes: (1 + rng.below(16)).into(), ..rng.value() };
            if valid && uut.portion.ready.val() {
                count += 1;
            }
            let done = reads.next(rng);
            uut.read_done.valid.next = done.is_some();
            uut.read_done.data.next = done.unwrap_or_default();
            uut.landing.next = landing(rng);
            let ready = rng.chance(3, 4);
            uut.read.ready.next = ready;
            if uut.read.valid.val() && ready {
                reads.flying.push_back(uut.read.data.val().context);
            }
        },
        CYCLES,
    );
}

#[test]
fn executor_verilog_equals_simulation() {
    differential(
        "net_control_executor",
        Executor::default,
        |uut, rng| {
            uut.update.next = update(rng);
            let fate =
                if rng.chance(3, 4) { Fate::Command } else { rng.pick(&[Fate::Broken, Fate::Disabled]) };
            let chain = Chain { queue: queue(rng), drain: rng.chance(1, 8), fate, ..rng.value() };
            uut.chain.data.next = chain;
            uut.chain.valid.next = rng.bit();
            uut.gathered.next = rng.bit();
            uut.bytes.next = rng.bits();
            uut.failed.next = rng.chance(1, 8);
            uut.command.ready.next = rng.bit();
            uut.answer.valid.next = rng.bit();
            uut.answer.data.next = rng.value();
            uut.write.ready.next = rng.bit();
            uut.write_done.valid.next = rng.bit();
            uut.write_done.data.next = rng.value();
            uut.launch.next = launch(rng);
            uut.used.ready.next = rng.bit();
            uut.broken.ready.next = rng.bit();
        },
        CYCLES,
    );
}
