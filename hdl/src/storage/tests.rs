//! Each block of the engine, and the whole: Rust simulation against Verilog.

use nitride_lang::prelude::*;
use nitride_lang::testing::{Rng, differential};

use super::closer::Closer;
use super::decoder::Decoder;
use super::engine::Engine;
use super::flusher::Flusher;
use super::ranges::Ranges;
use super::reads::Reads;
use super::record::Start;
use super::segmenter::Segmenter;
use super::splitter::Splitter;
use super::tracker::Tracker;
use super::volume_table::VolumeTable;
use super::writes::Writes;
use crate::bus::{Command, DmaDone, LandingWrite, VolumeUpdate};

const CYCLES: usize = 10_000;

/// Commands that get past the opcode, and often past the volume.
fn command(rng: &mut Rng) -> Command {
    Command {
        opcode: bits::<8>(rng.pick(&[0, 1, 1, 2, 2, 8, 9, 5])),
        nsid: bits::<32>(rng.pick(&[0, 1, 1, 2, 3, 4, 5, 0xffff_ffff])),
        controller: bits::<4>(rng.below(3)),
        cdw11: bits::<32>(rng.pick(&[0, 0, 4, 0x100])),
        cdw12: bits::<32>(rng.pick(&[0, 7, 0x4000_0001, 2047, 2048, 300])),
        prp1: bits::<64>(rng.pick(&[0x1000, 0x1ff8, 0x1002, 0x2e00])),
        prp2: bits::<64>(rng.pick(&[0x3000, 0x3ff8, 0x3004])),
        ..rng.value()
    }
}

fn volume(rng: &mut Rng) -> VolumeUpdate {
    let mut update: VolumeUpdate = rng.value();
    update.index = bits::<6>(rng.below(12));
    update.valid = rng.chance(1, 20);
    update.volume.attached = rng.chance(3, 4);
    update
}

fn landing(rng: &mut Rng) -> LandingWrite {
    if rng.bit() { rng.value() } else { LandingWrite::default() }
}

fn list_done(rng: &mut Rng) -> DmaDone {
    let mut done: DmaDone = rng.value();
    if rng.chance(7, 8) {
        done.status = crate::bus::DmaStatus::Ok;
    }
    done
}

fn start(rng: &mut Rng) -> Start {
    let mut start: Start = rng.value();
    start.job.remaining = bits::<21>(512 * (1 + rng.below(24)));
    start.job.left = bits::<13>(rng.pick(&[4096, 512, 4, 0]));
    start.job.media = bits::<48>(512 * rng.below(64));
    start.job.window = bits::<6>(rng.pick(&[0, 0, 2, 32]));
    start
}

#[test]
fn volume_table_is_the_same_in_verilog() {
    differential(
        "storage-volume-table",
        VolumeTable::default,
        |uut, rng| {
            uut.update.next = volume(rng);
            uut.index.next = bits::<6>(rng.below(12));
        },
        CYCLES,
    );
}

#[test]
fn decoder_is_the_same_in_verilog() {
    differential(
        "storage-decoder",
        Decoder::default,
        |uut, rng| {
            uut.command.data.next = command(rng);
            uut.command.valid.next = rng.bit();
            uut.volume.next = volume(rng);
            uut.start.ready.next = rng.bit();
            uut.ranges.ready.next = rng.bit();
            uut.flush.ready.next = rng.bit();
            uut.media.ready.next = rng.bit();
            uut.event.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn splitter_is_the_same_in_verilog() {
    differential(
        "storage-splitter",
        Splitter::default,
        |uut, rng| {
            uut.start.data.next = start(rng);
            uut.start.valid.next = rng.chance(1, 8);
            uut.read.ready.next = rng.bit();
            uut.write.ready.next = rng.bit();
            uut.read_free.data.next = rng.bits();
            uut.read_free.valid.next = rng.chance(1, 16);
            uut.write_free.data.next = rng.bits();
            uut.write_free.valid.next = rng.chance(1, 16);
            uut.list.ready.next = rng.bit();
            uut.list_done.data.next = list_done(rng);
            uut.list_done.valid.next = rng.chance(1, 16);
            uut.landing.next = landing(rng);
            uut.event.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn segmenter_is_the_same_in_verilog() {
    differential(
        "storage-segmenter",
        Segmenter::default,
        |uut, rng| {
            uut.chunk.data.next = rng.value();
            uut.chunk.valid.next = rng.bit();
            uut.segment.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn closer_is_the_same_in_verilog() {
    differential(
        "storage-closer",
        Closer::default,
        |uut, rng| {
            uut.chunk.next = rng.value();
            uut.opens.next = rng.bit();
            uut.ended.data.next = rng.value();
            uut.ended.valid.next = rng.bit();
            uut.event.ready.next = rng.bit();
            uut.free.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn reads_are_the_same_in_verilog() {
    differential(
        "storage-reads",
        Reads::default,
        |uut, rng| {
            uut.chunk.data.next = rng.value();
            uut.chunk.valid.next = rng.bit();
            uut.free.ready.next = rng.bit();
            uut.address.ready.next = rng.bit();
            uut.data.data.next = rng.value();
            uut.data.valid.next = rng.bit();
            uut.dma.ready.next = rng.bit();
            uut.done.data.next = list_done(rng);
            uut.done.valid.next = rng.chance(1, 4);
            uut.launch.next = rng.value();
            uut.event.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn writes_are_the_same_in_verilog() {
    differential(
        "storage-writes",
        Writes::default,
        |uut, rng| {
            uut.chunk.data.next = rng.value();
            uut.chunk.valid.next = rng.bit();
            uut.free.ready.next = rng.bit();
            uut.dma.ready.next = rng.bit();
            uut.done.data.next = list_done(rng);
            uut.done.valid.next = rng.chance(1, 4);
            uut.landing.next = landing(rng);
            uut.address.ready.next = rng.bit();
            uut.data.ready.next = rng.chance(3, 4);
            uut.response.data.next = rng.value();
            uut.response.valid.next = rng.chance(1, 4);
            uut.event.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn ranges_are_the_same_in_verilog() {
    differential(
        "storage-ranges",
        Ranges::default,
        |uut, rng| {
            uut.list.data.next = rng.value();
            uut.list.valid.next = rng.bit();
            uut.dma.ready.next = rng.bit();
            uut.done.data.next = list_done(rng);
            uut.done.valid.next = rng.chance(1, 8);
            uut.landing.next = landing(rng);
            uut.media.ready.next = rng.bit();
            uut.event.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn flusher_is_the_same_in_verilog() {
    differential(
        "storage-flusher",
        Flusher::default,
        |uut, rng| {
            uut.volume.next = volume(rng);
            uut.request.data.next = rng.value();
            uut.request.valid.next = rng.bit();
            uut.media.ready.next = rng.bit();
            uut.event.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn tracker_is_the_same_in_verilog() {
    differential(
        "storage-tracker",
        Tracker::default,
        |uut, rng| {
            let mut event: super::record::Event = rng.value();
            event.slot = bits::<6>(rng.below(4));
            event.last = rng.chance(1, 4);
            uut.event.data.next = event;
            uut.event.valid.next = rng.bit();
            uut.flush.ready.next = rng.bit();
            uut.result.ready.next = rng.bit();
        },
        CYCLES,
    );
}

#[test]
fn engine_is_the_same_in_verilog() {
    differential(
        "storage-engine",
        Engine::default,
        |uut, rng| {
            uut.command.data.next = command(rng);
            uut.command.valid.next = rng.chance(1, 8);
            uut.result.ready.next = rng.bit();
            uut.volume.next = volume(rng);
            uut.read.ready.next = rng.bit();
            uut.read_done.data.next = list_done(rng);
            uut.read_done.valid.next = rng.chance(1, 16);
            uut.list.ready.next = rng.bit();
            uut.list_done.data.next = list_done(rng);
            uut.list_done.valid.next = rng.chance(1, 16);
            uut.landing.next = landing(rng);
            uut.write.ready.next = rng.bit();
            uut.write_done.data.next = list_done(rng);
            uut.write_done.valid.next = rng.chance(1, 16);
            uut.launch.next = rng.value();
            uut.axi_ar.ready.next = rng.bit();
            uut.axi_r.data.next = rng.value();
            uut.axi_r.valid.next = rng.bit();
            uut.axi_aw.ready.next = rng.bit();
            uut.axi_w.ready.next = rng.bit();
            uut.axi_b.data.next = rng.value();
            uut.axi_b.valid.next = rng.chance(1, 16);
            uut.media.ready.next = rng.bit();
            uut.media_response.data.next = rng.value();
            uut.media_response.valid.next = rng.chance(1, 16);
        },
        CYCLES,
    );
}
