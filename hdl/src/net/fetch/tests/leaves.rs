//! The Verilog is the same.

use nitride_lang::prelude::*;
use nitride_lang::testing::{Rng, differential};

use super::bench::Transmit;
use crate::net::fetch::bell::Bell;
use crate::net::records::{Credit, DeviceSettings, Notification, VirtqueueUpdate};

#[test]
fn the_bell_is_the_same_in_verilog() {
    differential(
        "bell",
        Bell::default,
        |uut, rng| {
            uut.notify.next = Notification { valid: rng.chance(2, 3), index: rng.below(6).into() };
            uut.rung.ready.next = rng.bit();
        },
        10_000,
    );
}

fn update(rng: &mut Rng) -> VirtqueueUpdate {
    let mut update: VirtqueueUpdate = rng.value();
    update.valid = rng.chance(1, 40);
    update.index = rng.below(16).into();
    update.settings = DeviceSettings { indirect: true, ..update.settings };
    update
}

#[test]
fn the_fetcher_is_the_same_in_verilog() {
    differential(
        "transmit_fetcher",
        || {
            let mut uut = Transmit::default();
            uut.connect_all();
            uut
        },
        |uut, rng| {
            uut.update.next = update(rng);
            uut.notify.next = Notification { valid: rng.chance(1, 4), index: rng.below(16).into() };
            uut.credit.next =
                Credit { valid: rng.chance(1, 8), queue: rng.below(16).into(), segments: 1.into() };
            uut.drain.valid.next = rng.chance(1, 30);
            uut.drain.data.next = rng.below(16).into();
            uut.read.ready.next = rng.bit();
            uut.read_done.valid.next = rng.bit();
            uut.read_done.data.next = rng.value();
            uut.landing.next = rng.value();
            uut.segments.ready.next = rng.bit();
            uut.idle.ready.next = rng.bit();
            uut.idle_done.valid.next = rng.chance(1, 6);
            uut.idle_done.data.next = rng.below(16).into();
            uut.broken.ready.next = rng.bit();
        },
        10_000,
    );
}
