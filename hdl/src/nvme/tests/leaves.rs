//! Each block's Verilog against its simulation.

use nitride_lang::testing::differential;

use crate::nvme::queues::Queues;
use crate::nvme::registers::Registers;

const CYCLES: usize = 10_000;

#[test]
fn registers_verilog_equals_simulation() {
    differential(
        "nvme_registers",
        Registers::default,
        |uut, rng| {
            uut.register.data.next = rng.value();
            uut.register.valid.next = rng.bit();
            uut.response.ready.next = rng.bit();
            uut.flr.data.next = rng.bits();
            uut.flr.valid.next = rng.chance(1, 8);
            uut.flr_done.ready.next = rng.bit();
            uut.fatal.data.next = rng.bits();
            uut.fatal.valid.next = rng.chance(1, 8);
            uut.doorbell.ready.next = rng.bit();
            uut.work.ready.next = rng.bit();
            uut.step.data.next = rng.value();
            uut.step.valid.next = rng.chance(1, 4);
        },
        CYCLES,
    );
}

#[test]
fn queues_verilog_equals_simulation() {
    differential(
        "nvme_queues",
        Queues::default,
        |uut, rng| {
            for request in &mut uut.request {
                let mut data: crate::nvme::records::QueueRequest = rng.value();
                data.value = rng.below(8).into();
                request.data.next = data;
                request.valid.next = rng.chance(1, 4);
            }
            uut.fetch.ready.next = true;
            uut.room.next = rng.bit();
            uut.admin_room.next = rng.bit();
        },
        CYCLES,
    );
}
