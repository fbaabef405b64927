//! Each part's Verilog against its simulation.

use std::collections::VecDeque;

use nitride_lang::prelude::*;
use nitride_lang::testing::{Rng, differential};

use crate::bus::{DmaDone, DmaReadRequest, DmaStatus, LandingWrite};
use crate::net::Transmit;
use crate::net::records::{Segment, VirtqueueUpdate};
use crate::net::transmit::arrivals::Arrivals;
use crate::net::transmit::asker::Asker;
use crate::net::transmit::cursor::Cursor;
use crate::net::transmit::giver::Giver;
use crate::net::transmit::intake::Intake;
use crate::net::transmit::joiner::Joiner;
use crate::net::transmit::records::{Arrived, Beat, Chain, Frame, Piece, Portion, Step};
use crate::net::transmit::sealer::Sealer;
use crate::net::transmit::summer::{Summand, Summer};

const CYCLES: usize = 10_000;

/// One of four queues.
fn queue(rng: &mut Rng) -> Bits<7> {
    rng.pick(&[1, 3, 9, 0x79]).into()
}

/// An update, that mostly enables.
fn update(rng: &mut Rng) -> VirtqueueUpdate {
    let mut update: VirtqueueUpdate = rng.value();
    update.valid = rng.chance(1, 20);
    update.index = queue(rng);
    update.queue.enabled = rng.chance(7, 8);
    update.settings.csum = rng.chance(7, 8);
    update
}

fn segment(rng: &mut Rng) -> Segment {
    let length = match rng.below(8) {
        0 => 0,
        1 => rng.below(1 << 32),
        2 => rng.below(6000),
        _ => rng.below(100),
    };
    Segment {
        queue: queue(rng),
        drain: rng.chance(1, 20),
        length: length.into(),
        write: rng.chance(1, 20),
        last: rng.chance(1, 2),
        ..rng.value()
    }
}

fn chain(rng: &mut Rng) -> Chain {
    Chain { queue: queue(rng), drain: rng.chance(1, 20), ..rng.value() }
}

fn piece(rng: &mut Rng) -> Piece {
    let bytes = if rng.chance(1, 8) { rng.below(4097) } else { rng.below(100) };
    Piece {
        chain: chain(rng),
        bytes: bytes.into(),
        dwords: bytes.div_ceil(4).into(),
        last: rng.bit(),
        ..rng.value()
    }
}

#[test]
fn transmit_verilog_equals_simulation() {
    let mut flying: VecDeque<DmaReadRequest> = VecDeque::new();
    let mut ended: VecDeque<DmaDone> = VecDeque::new();
    let mut offered = Segment::default();
    let mut open = false;
    differential(
        "net_transmit",
        Transmit::default,
        |uut, rng| {
            uut.update.next = update(rng);
            // What was offered in the last cycle has left, unless it still waits.
            if !open || rng.chance(1, 4) {
                offered = segment(rng);
                open = true;
            }
            uut.segments.data.next = offered;
            uut.segments.valid.next = rng.bit();
            uut.packet.ready.next = rng.chance(3, 4);
            uut.used.ready.next = rng.chance(3, 4);
            uut.broken.ready.next = rng.chance(1, 4);
            let ready = rng.chance(3, 4);
            uut.read.ready.next = ready;
            uut.read_done.valid.next = false;
            uut.read_done.data.next = rng.value();
            if let Some(done) = ended.pop_front() {
                uut.read_done.valid.next = true;
                uut.read_done.data.next = done;
            }
            let mut landing: LandingWrite = rng.value();
            landing.row = (5 << 12 | rng.below(1024)).into();
            if rng.bit() {
                landing.data = Bits::default();
            }
            landing.enable = if rng.chance(3, 4) { rng.bits() } else { Bits::default() };
            uut.landing.next = landing;
            if !flying.is_empty() && rng.chance(1, 2) {
                let at = rng.below(flying.len().min(4) as u64) as usize;
                let context = flying.remove(at).map(|request| request.context).unwrap_or_default();
                let status = if rng.chance(1, 20) { rng.value() } else { DmaStatus::Ok };
                ended.push_back(DmaDone { context, status });
            }
            if uut.read.valid.val() && ready {
                flying.push_back(uut.read.data.val());
            }
        },
        CYCLES,
    );
}

#[test]
fn intake_verilog_equals_simulation() {
    differential(
        "net_transmit_intake",
        Intake::default,
        |uut, rng| {
            uut.update.next = update(rng);
            uut.segments.data.next = segment(rng);
            uut.segments.valid.next = rng.chance(3, 4);
            uut.portion.ready.next = rng.chance(3, 4);
        },
        CYCLES,
    );
}

#[test]
fn asker_verilog_equals_simulation() {
    let mut given: VecDeque<Bits<11>> = VecDeque::new();
    differential(
        "net_transmit_asker",
        Asker::default,
        |uut, rng| {
            let length = if rng.bit() { rng.below(9031) } else { rng.below(64) };
            uut.portion.data.next = Portion { length: length.into(), ..rng.value() };
            uut.portion.valid.next = rng.chance(3, 4);
            uut.next_context.next = rng.bits();
            uut.read.ready.next = rng.chance(3, 4);
            let ready = rng.chance(3, 4);
            uut.piece.ready.next = ready;
            uut.freed.next = match given.front() {
                Some(_) if rng.chance(1, 4) => given.pop_front().unwrap_or_default(),
                _ => Bits::default(),
            };
            // What it gives does not depend on this cycle's inputs, but for `ready`.
            if uut.piece.valid.val() && ready {
                given.push_back(uut.piece.data.val().dwords);
            }
        },
        CYCLES,
    );
}

#[test]
fn arrivals_verilog_equals_simulation() {
    let mut flying: Vec<u64> = vec![];
    differential(
        "net_transmit_arrivals",
        Arrivals::default,
        |uut, rng| {
            uut.piece.data.next = piece(rng);
            uut.piece.valid.next = rng.bit();
            uut.arrived.ready.next = rng.chance(3, 4);
            let context = uut.next_context.val().to_u64();
            if flying.last() != Some(&context) {
                flying.push(context);
            }
            let old = rng.below(flying.len() as u64) as usize;
            uut.read_done.data.next = DmaDone { context: flying[old].into(), status: rng.value() };
            uut.read_done.valid.next = rng.bit();
            if flying.len() > 20 {
                flying.remove(old);
            }
        },
        CYCLES,
    );
}

#[test]
fn cursor_verilog_equals_simulation() {
    differential(
        "net_transmit_cursor",
        Cursor::default,
        |uut, rng| {
            if rng.chance(1, 8) {
                uut.arrived.data.next = Arrived { piece: piece(rng), failed: rng.bit() };
            }
            uut.arrived.valid.next = rng.chance(7, 8);
            uut.room.next = rng.chance(7, 8);
            uut.quiet.next = rng.chance(1, 8);
        },
        CYCLES,
    );
}

#[test]
fn joiner_verilog_equals_simulation() {
    differential(
        "net_transmit_joiner",
        Joiner::default,
        |uut, rng| {
            let before = rng.below(32);
            let after = before + rng.below(33);
            uut.step.next = Step { before: before.into(), after: after.into(), ..rng.value() };
            uut.data.next = rng.bits();
        },
        CYCLES,
    );
}

#[test]
fn summer_verilog_equals_simulation() {
    differential(
        "net_transmit_summer",
        Summer::default,
        |uut, rng| {
            uut.summand.next = Summand {
                clear: rng.chance(1, 20),
                valid: rng.chance(3, 4),
                bytes: rng.below(33).into(),
                index: rng.below(4).into(),
                start: rng.below(100).into(),
                ..rng.value()
            };
        },
        CYCLES,
    );
}

/// A beat; every other header asks for nothing, and the others for a checksum near the start.
fn beat(rng: &mut Rng) -> Beat {
    let mut beat: Beat = rng.value();
    beat.header = rng.chance(1, 3);
    beat.end = rng.chance(1, 3);
    beat.bytes = rng.below(33).into();
    beat.copied.chain = chain(rng);
    beat.copied.total = rng.below(150).into();
    beat.copied.failed = rng.chance(1, 10);
    if beat.header {
        let header =
            u128::from(rng.below(2)) | u128::from(rng.below(60)) << 48 | u128::from(rng.below(60)) << 64;
        let header = (0..4).rev().fold(Bits::<256>::default(), |all, i| {
            (all << 32) | Bits::from((header >> (32 * i)) as u64 & 0xffff_ffff)
        });
        beat.data = header << 160;
    }
    beat
}

#[test]
fn sealer_verilog_equals_simulation() {
    differential(
        "net_transmit_sealer",
        Sealer::default,
        |uut, rng| {
            uut.update.next = update(rng);
            uut.beat.next = beat(rng);
            uut.used.ready.next = rng.chance(3, 4);
            uut.broken.ready.next = rng.chance(3, 4);
        },
        CYCLES,
    );
}

#[test]
fn giver_verilog_equals_simulation() {
    // Rows that were written since the last frame.
    let mut rows = 0;
    differential(
        "net_transmit_giver",
        Giver::default,
        |uut, rng| {
            let room = uut.room.val();
            let write = room && rng.chance(7, 8);
            rows += u64::from(write);
            let sealed = room && rows > 0 && rng.chance(1, 6);
            uut.write.next = write;
            uut.data.next = rng.bits();
            uut.sealed.next = sealed;
            uut.frame.next = Frame {
                bytes: (32 * rows - rng.below(32).min(32 * rows)).max(1).into(),
                give: rng.chance(3, 4),
                position: rng.below(32 * rows + 1).into(),
                ..rng.value()
            };
            if sealed {
                rows = 0;
            }
            uut.packet.ready.next = rng.chance(3, 4);
        },
        CYCLES,
    );
}
