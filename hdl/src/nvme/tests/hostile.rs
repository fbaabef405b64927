//! A host that does anything at any time.

use nitride_abi::card::function_of;
use nitride_abi::nvme::command::{admin, io};
use nitride_abi::nvme::register::{self, cq_head_doorbell, sq_tail_doorbell};
use nitride_abi::nvme::{SQE_BYTES, Sqe, Status};
use nitride_lang::testing::{Rng, differential, low, step};

use super::host::{CC_ENABLE, Host, Surroundings};
use crate::bus::RegisterRequest;
use crate::nvme::Front;

/// Fills memory with entries of all kinds, so that whatever a queue's base is, commands are found there.
fn sow(rng: &mut Rng, memory: &mut [u8]) {
    for at in (0..memory.len()).step_by(SQE_BYTES) {
        let opcode = rng.pick(&[
            admin::DELETE_SQ,
            admin::CREATE_SQ,
            admin::CREATE_SQ,
            admin::CREATE_CQ,
            admin::CREATE_CQ,
            admin::DELETE_CQ,
            admin::IDENTIFY,
            admin::SET_FEATURES,
            admin::GET_FEATURES,
            admin::ASYNC_EVENT_REQUEST,
            admin::GET_LOG_PAGE,
            io::READ,
            0x55,
        ]);
        let queue = rng.below(4) as u32;
        let sqe = Sqe {
            opcode,
            flags: if rng.chance(1, 16) { 0x40 } else { 0 },
            cid: rng.word() as u16,
            nsid: rng.below(6) as u32,
            prp1: rng.below(200) << 12 | if rng.chance(1, 8) { rng.below(4096) } else { 0 },
            prp2: rng.below(200) << 12,
            cdw10: [
                (rng.below(6) as u32) << 16 | queue,
                (rng.below(4) as u32) << 16 | 3,
                rng.word() as u32,
                rng.word() as u32,
                rng.word() as u32,
                rng.word() as u32,
            ],
            ..Sqe::default()
        };
        memory[at..at + SQE_BYTES].copy_from_slice(&sqe.to_bytes());
    }
}

/// A register access that a bad guest might do: 4 controllers, queues 0 to 8.
fn access(rng: &mut Rng) -> RegisterRequest {
    let controller = rng.pick(&[0, 1, 7, 15]);
    let (offset, value) = match rng.below(20) {
        0 => (register::CC, if rng.chance(3, 4) { CC_ENABLE } else { rng.word() as u32 }),
        1 => (register::CC, 0),
        2 => (register::AQA, rng.below(8) as u32 | (rng.below(8) as u32) << 16),
        3 => (register::ASQ, (rng.below(200) as u32) << 12),
        4 => (register::ACQ, (rng.below(200) as u32) << 12),
        5..9 => (cq_head_doorbell(rng.below(9) as u16), rng.below(9) as u32),
        9 => (register::CSTS, 0),
        _ => (sq_tail_doorbell(rng.below(5) as u16), rng.below(9) as u32),
    };
    RegisterRequest {
        write: rng.chance(15, 16),
        function: u64::from(function_of(controller)).into(),
        offset: (offset & !7).into(),
        data: (u64::from(value) << (8 * (offset & 4))).into(),
        enable: (0xf << (offset & 4)).into(),
    }
}

/// One cycle's worth of it.
fn drive(uut: &mut Front, rng: &mut Rng, around: &mut Surroundings) {
    if around.cycles == 0 {
        sow(rng, &mut around.memory);
    }
    if !uut.register.valid.val() || rng.chance(1, 2) {
        uut.register.data.next = access(rng);
    }
    uut.register.valid.next = rng.chance(1, 3);
    uut.flr.data.next = u64::from(function_of(rng.pick(&[0, 1, 7, 15]))).into();
    uut.flr.valid.next = rng.chance(1, 2000);
    uut.volume.next = if rng.chance(1, 200) { rng.value() } else { Default::default() };
    around.fail_reads = rng.chance(1, 500);
    around.drive(uut);
}

#[test]
fn front_verilog_equals_simulation() {
    let mut around = Surroundings::default();
    differential("nvme_front", Front::default, |uut, rng| drive(uut, rng, &mut around), 10_000);
    // The run says something only if commands came through.
    assert!(!around.io.is_empty(), "the host got no I/O command through");
    assert!(!around.interrupts.is_empty(), "the host got no interrupt");
}

#[test]
fn every_controller_starts_cleanly_after_a_hostile_host() {
    for seed in [1, 2, 3] {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let mut host = Host::new();
        for _ in 0..8_000 {
            drive(&mut host.uut, &mut rng, &mut host.around);
            step(&mut host.uut);
        }
        host.uut.register.valid.next = false;
        host.uut.flr.valid.next = false;
        host.uut.volume.next = Default::default();
        host.around.fail_reads = false;
        low(&mut host.uut);
        host.settle();
        for controller in [0, 1, 7, 15, 3] {
            host.write32(controller, register::CC, 0);
            host.run_until("CSTS 0", 4000, |host| host.status(controller) == 0);
            let mut pair = host.enable(controller, 8);
            let sqe = Sqe { opcode: admin::ABORT, cid: 0x77, ..Sqe::default() };
            let cqe = host.command(&mut pair, &sqe);
            assert_eq!((cqe.status, cqe.cid), (Status::SUCCESS, 0x77));
        }
        // No slot was lost: a queue's worth of commands still fits.
        host.settle();
        assert_eq!(host.free_slots(), 64);
    }
}
