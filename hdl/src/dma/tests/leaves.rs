//! Each block alone: the Rust simulation against its Verilog, and what the others rely on.

use nitride_lang::prelude::*;
use nitride_lang::testing::{Rng, differential, low, step};

use super::bench::{bus_master, dw, number, wide};
use crate::bus::{DmaStatus, FunctionUpdate, LandingWrite, LaunchRead, LinkConfig, TlpBeat};
use crate::dma::free_list::FreeList;
use crate::dma::intake::Intake;
use crate::dma::issuer::Issuer;
use crate::dma::matcher::{Issued, Matcher, Outstanding};
use crate::dma::placer::{Placement, Placer};
use crate::dma::requests::{Opened, Requests, Settled};
use crate::dma::splitter::{Splitter, Transfer};
use crate::dma::{CLIENTS, LandingRam, LaunchRam, Reader, Writer};
use crate::profile::Profile;

const VECTORS: usize = 10_000;

fn update(rng: &mut Rng) -> FunctionUpdate {
    FunctionUpdate { valid: rng.chance(1, 4), ..bus_master(rng.below(32), rng.bit()) }
}

fn link(rng: &mut Rng) -> LinkConfig {
    LinkConfig { bus: rng.below(2).into(), ..rng.value() }
}

fn transfer(rng: &mut Rng) -> Transfer {
    let most = rng.pick(&[8, 100, 1024]);
    Transfer { length: (rng.below(most) + 1).into(), ..rng.value() }
}

/// A header with likely values in the fields that a matcher looks at.
fn completion(rng: &mut Rng) -> TlpBeat {
    let length = rng.below(3);
    let dws = [
        0x4a00_0000 | length as u32,
        (4 * rng.below(4)) as u32,
        (rng.below(2) << 24 | rng.below(3) << 16 | rng.below(64) << 8 | rng.below(2) << 2) as u32,
        0,
    ];
    TlpBeat { hdr: if rng.chance(1, 8) { rng.bits() } else { wide(&dws) }, data: rng.bits(), last: rng.bit() }
}

#[test]
fn landing_ram_is_the_same_in_verilog() {
    differential(
        "dma-landing-ram",
        LandingRam::<1, 3>::default,
        |uut, rng| {
            uut.write.next = LandingWrite {
                enable: rng.bits(),
                wrap: rng.bits(),
                row: (rng.below(2) << 12 | rng.below(8)).into(),
                data: rng.bits(),
            };
            uut.row.next = rng.bits();
        },
        VECTORS,
    );
}

#[test]
fn launch_ram_is_the_same_in_verilog() {
    differential(
        "dma-launch-ram",
        LaunchRam::<2, 3>::default,
        |uut, rng| {
            uut.write_row.next = rng.bits();
            uut.write_data.next = rng.bits();
            uut.write_enable.next = rng.bits();
            uut.launch.next =
                LaunchRead { wrap: rng.bits(), row: ((1 + rng.below(2)) << 12 | rng.below(8)).into() };
        },
        VECTORS,
    );
}

#[test]
fn free_list_is_the_same_in_verilog() {
    differential(
        "dma-free-list",
        || FreeList::<8, 3>::new(|i| i + 32),
        |uut, rng| {
            uut.source.ready.next = rng.bit();
            uut.give.next = rng.bit();
            uut.back.next = rng.bits();
        },
        VECTORS,
    );
}

#[test]
fn free_list_hands_out_every_entry_once_until_it_comes_back() {
    let mut uut = FreeList::<8, 3>::new(|i| i + 32);
    let mut rng = Rng::new(7);
    let mut away = vec![];
    let mut count = 0;
    for _ in 0..4000 {
        uut.source.ready.next = rng.bit();
        let back = !away.is_empty() && rng.chance(2, 5);
        uut.give.next = back;
        if back {
            uut.back.next = away.remove(0);
        }
        low(&mut uut);
        assert_eq!(uut.full.val(), away.is_empty() && !back);
        if uut.source.valid.val() && uut.source.ready.val() {
            let entry: Bits<8> = uut.source.data.val();
            assert!((32..40).contains(&number(entry)) && !away.contains(&entry));
            away.push(entry);
            count += 1;
        }
        step(&mut uut);
    }
    assert!(count > 1000);
}

#[test]
fn intake_is_the_same_in_verilog() {
    differential(
        "dma-intake",
        Intake::default,
        |uut, rng| {
            for i in 0..CLIENTS {
                uut.request[i].valid.next = rng.bit();
                uut.request[i].data.next = rng.value();
            }
            uut.source.ready.next = rng.bit();
        },
        VECTORS,
    );
}

#[test]
fn splitter_is_the_same_in_verilog() {
    differential(
        "dma-splitter",
        Splitter::default,
        |uut, rng| {
            uut.sink.valid.next = rng.bit();
            uut.sink.data.next = transfer(rng);
            uut.source.ready.next = rng.bit();
            uut.limit.next = rng.bits();
            uut.update.next = update(rng);
        },
        VECTORS,
    );
}

#[test]
fn placer_is_the_same_in_verilog() {
    differential(
        "dma-placer",
        Placer::default,
        |uut, rng| {
            uut.placement.next = Placement {
                valid: rng.bit(),
                place: rng.bits(),
                count: rng.below(9).into(),
                data: rng.bits(),
            };
        },
        VECTORS,
    );
}

#[test]
fn placer_puts_consecutive_dws_into_consecutive_places() {
    for lane in 0..8u64 {
        for count in 0..=8usize {
            let mut uut = Placer::default();
            let words: Vec<u32> = (100..108).collect();
            uut.placement.next = Placement {
                valid: true,
                place: (0x1_2340 + lane).into(),
                count: (count as u64).into(),
                data: wide(&words),
            };
            step(&mut uut);
            let write = uut.landing.val();
            let mut landed: Vec<(u64, u32)> = (0..8)
                .filter(|l| write.enable.get_bit(*l))
                .map(|l| {
                    (8 * (number(write.row) + u64::from(write.wrap.get_bit(l))) + l as u64, dw(write.data, l))
                })
                .collect();
            landed.sort_unstable();
            let wanted: Vec<(u64, u32)> =
                (0..count).map(|i| (0x1_2340 + lane + i as u64, words[i])).collect();
            assert_eq!(landed, wanted);
        }
    }
}

#[test]
fn requests_is_the_same_in_verilog() {
    let statuses = [DmaStatus::Ok, DmaStatus::NotEnabled, DmaStatus::Failed, DmaStatus::Timeout];
    differential(
        "dma-requests",
        Requests::default,
        |uut, rng| {
            uut.opened.next = Opened {
                valid: rng.chance(1, 3),
                slot: rng.below(3).into(),
                pieces: rng.below(4).into(),
                ..rng.value()
            };
            uut.settled.next =
                Settled { valid: rng.bit(), slot: rng.below(3).into(), status: rng.pick(&statuses) };
            uut.refused.valid.next = rng.bit();
            uut.refused.data.next = rng.below(3).into();
            for done in &mut uut.done {
                done.ready.next = true;
            }
        },
        VECTORS,
    );
}

#[test]
fn matcher_is_the_same_in_verilog() {
    differential(
        "dma-matcher",
        || Matcher::new(2000),
        |uut, rng| {
            uut.completions.valid.next = rng.chance(2, 3);
            uut.completions.data.next = completion(rng);
            uut.link.next = LinkConfig { bus: 0u64.into(), ..link(rng) };
            uut.waiting.next = rng.chance(3, 4);
            uut.issued.next = Issued {
                valid: rng.chance(1, 3),
                index: rng.below(4).into(),
                request: Outstanding {
                    generation: rng.below(2).into(),
                    function: rng.below(3).into(),
                    lower: rng.below(2).into(),
                    length: (1 + rng.below(3)).into(),
                    ..rng.value()
                },
            };
        },
        VECTORS,
    );
}

#[test]
fn issuer_is_the_same_in_verilog() {
    differential(
        "dma-issuer",
        Issuer::default,
        |uut, rng| {
            for request in &mut uut.request {
                request.valid.next = rng.bit();
                let like = transfer(rng);
                request.data.next.function = like.function;
                request.data.next.address = like.address;
                request.data.next.length = like.length;
                request.data.next.destination = like.buffer;
                request.data.next.context = like.context;
            }
            uut.tlp.ready.next = rng.bit();
            uut.link.next = link(rng);
            uut.update.next = update(rng);
            uut.round.next = rng.bits();
            uut.refused.ready.next = rng.bit();
            // Whatever comes back, the free lists wrap in the same way.
            uut.free_tag.next = rng.chance(1, 4);
            uut.freed_tag.next = rng.bits();
            uut.free_slot.next = rng.chance(1, 4);
            uut.freed_slot.next = rng.bits();
        },
        VECTORS,
    );
}

#[test]
fn reader_is_the_same_in_verilog() {
    differential(
        "dma-reader",
        || Reader::new(&Profile::LAB),
        |uut, rng| {
            for request in &mut uut.request {
                request.valid.next = rng.chance(1, 4);
                request.data.next = rng.value();
                request.data.next.length = (1 + rng.below(40)).into();
            }
            for done in &mut uut.done {
                done.ready.next = true;
            }
            uut.tlp.ready.next = rng.bit();
            uut.completions.valid.next = rng.bit();
            uut.completions.data.next = completion(rng);
            uut.link.next = link(rng);
            uut.update.next = update(rng);
        },
        VECTORS,
    );
}

#[test]
fn writer_is_the_same_in_verilog() {
    differential(
        "dma-writer",
        Writer::default,
        |uut, rng| {
            for request in &mut uut.request {
                request.valid.next = rng.chance(1, 4);
                request.data.next = rng.value();
                request.data.next.length = (1 + rng.below(40)).into();
            }
            for done in &mut uut.done {
                done.ready.next = true;
            }
            uut.launch_data.next = rng.bits();
            uut.tlp.ready.next = rng.bit();
            uut.link.next = link(rng);
            uut.update.next = update(rng);
        },
        VECTORS,
    );
}

#[test]
fn what_was_landed_is_read_and_what_was_written_is_launched() {
    // A landing RAM and a launch RAM with the same contents agree, at every lane.
    let mut landing = LandingRam::<1, 4>::default();
    let mut launch = LaunchRam::<2, 4>::default();
    for row in 0..16u64 {
        let words: Vec<u32> = (0..8).map(|l| (8 * row + l) as u32).collect();
        landing.write.next = LandingWrite {
            enable: 0xffu64.into(),
            wrap: 0u64.into(),
            row: (1 << 12 | row).into(),
            data: wide(&words),
        };
        step(&mut landing);
        // The other region's writes leave it alone.
        landing.write.next.row = (row).into();
        landing.write.next.data = Bits::default();
        step(&mut landing);
        launch.write_row.next = row.into();
        launch.write_data.next = wide(&words);
        launch.write_enable.next = 0xffu64.into();
        step(&mut launch);
    }
    launch.write_enable.next = 0u64.into();
    for place in 0..120usize {
        let (row, lane) = (place / 8, place % 8);
        landing.row.next = (row as u64).into();
        step(&mut landing);
        launch.launch.next =
            LaunchRead { wrap: ((1u64 << lane) - 1).into(), row: (2 << 12 | row as u64).into() };
        step(&mut launch);
        for l in 0..8 {
            assert_eq!(dw(landing.data.val(), l), (8 * row + l) as u32);
            let wanted = 8 * (row + usize::from(l < lane)) + l;
            assert_eq!(dw(launch.data.val(), l), wanted as u32);
        }
        launch.launch.next.row = (1 << 12 | row as u64).into();
        step(&mut launch);
        assert_eq!(launch.data.val(), Bits::default());
    }
}
