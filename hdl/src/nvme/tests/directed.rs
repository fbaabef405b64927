//! The front end as a host sees it.

use nitride_abi::card::function_of;
use nitride_abi::nvme::command::{admin, io};
use nitride_abi::nvme::register::{self, cq_head_doorbell, sq_tail_doorbell};
use nitride_abi::nvme::{self, CAP_VALUE, Sqe, Status, VERSION};

use super::host::{CC_ENABLE, Host, QueuePair};
use crate::bus::Volume;

const BUFFER: u64 = 0x8_0000;
const IO_SQ: u64 = 0x9_0000;
const IO_CQ: u64 = 0xa_0000;

pub fn admin(opcode: u8, cid: u16, cdw10: u32, cdw11: u32) -> Sqe {
    Sqe { opcode, cid, prp1: BUFFER, cdw10: [cdw10, cdw11, 0, 0, 0, 0], ..Sqe::default() }
}

pub fn create_pair(host: &mut Host, admin_pair: &mut QueuePair, queue: u16, entries: u16) -> QueuePair {
    let offset = 0x1000 * u64::from(queue - 1);
    let (sq, cq) = (IO_SQ + offset, IO_CQ + offset);
    let size = u32::from(entries - 1) << 16 | u32::from(queue);
    let create = Sqe { prp1: cq, ..admin(admin::CREATE_CQ, 1, size, u32::from(queue) << 16 | 3) };
    assert_eq!(host.command(admin_pair, &create).status, Status::SUCCESS);
    let create = Sqe { prp1: sq, ..admin(admin::CREATE_SQ, 2, size, u32::from(queue) << 16 | 1) };
    assert_eq!(host.command(admin_pair, &create).status, Status::SUCCESS);
    QueuePair::new(admin_pair.controller, queue, sq, cq, entries)
}

pub fn read_command(cid: u16) -> Sqe {
    Sqe { opcode: io::READ, cid, nsid: 1, prp1: BUFFER, ..Sqe::default() }
}

#[test]
fn registers_read_as_the_specification_has_them() {
    let mut host = Host::new();
    assert_eq!(host.read64(0, register::CAP), CAP_VALUE);
    assert_eq!(host.read32(3, register::VS), VERSION);
    assert_eq!(host.status(0), 0);
    host.write64(1, register::ASQ, 0xffff_ffff_ffff_ffff);
    host.write32(1, register::ACQ + 4, 0x1234_5678);
    host.write32(1, register::AQA, 0xffff_ffff);
    assert_eq!(host.read64(1, register::ASQ), 0xffff_ffff_ffff_f000);
    assert_eq!(host.read64(1, register::ACQ), 0x1234_5678_0000_0000);
    assert_eq!(host.read32(1, register::AQA), 0x0fff_0fff);
    assert_eq!(host.read64(2, register::ASQ), 0, "another controller's registers changed");
    assert_eq!(host.read64(1, sq_tail_doorbell(0)), 0);
}

#[test]
fn identify_controller_gives_the_bytes_of_each_function() {
    let mut host = Host::new();
    for controller in [0, 9] {
        let mut pair = host.enable(controller, 16);
        let cqe = host.command(&mut pair, &admin(admin::IDENTIFY, 7, 1, 0));
        assert_eq!((cqe.status, cqe.cid, cqe.sq_head, cqe.sq_id), (Status::SUCCESS, 7, 1, 0));
        let page = &host.memory[BUFFER as usize..BUFFER as usize + 4096];
        assert_eq!(page, nvme::identify_controller(function_of(controller)));
        host.settle();
        assert_eq!(host.interrupts, [(function_of(controller), 0)]);
        host.interrupts.clear();
    }
}

pub fn page(host: &Host) -> &[u8] {
    &host.memory[BUFFER as usize..BUFFER as usize + 4096]
}

#[test]
fn identify_gives_namespaces_their_list_and_descriptors() {
    let mut host = Host::new();
    let volume = Volume {
        attached: true,
        read_only: true,
        large_blocks: true,
        base: 0x1000.into(),
        blocks: 0x12_3456_789a.into(),
    };
    host.attach(2, 3, volume);
    host.attach(2, 1, Volume { read_only: false, large_blocks: false, blocks: 8.into(), ..volume });
    let mut pair = host.enable(2, 16);
    let identify = |cns, nsid| Sqe { nsid, ..admin(admin::IDENTIFY, 1, cns, 0) };

    assert_eq!(host.command(&mut pair, &identify(0, 3)).status, Status::SUCCESS);
    assert_eq!(page(&host), nvme::identify_namespace(17, 3, 0x12_3456_789a, 1, true));
    assert_eq!(host.command(&mut pair, &identify(0, 2)).status, Status::SUCCESS);
    assert_eq!(page(&host), [0; 4096]);
    assert_eq!(host.command(&mut pair, &identify(2, 0)).status, Status::SUCCESS);
    let list: Vec<_> = page(&host).chunks(4).map(|id| id[0]).collect();
    assert_eq!(
        (list[..3].to_vec(), page(&host).iter().map(|b| u32::from(*b)).sum::<u32>()),
        (vec![1, 3, 0], 4)
    );
    assert_eq!(host.command(&mut pair, &identify(3, 1)).status, Status::SUCCESS);
    assert_eq!(page(&host), nvme::namespace_descriptors(17, 1));
    for (cns, nsid, status) in [
        (0, 0, Status::INVALID_NAMESPACE),
        (0, 5, Status::INVALID_NAMESPACE),
        (2, 0xffff_fffe, Status::INVALID_NAMESPACE),
        (3, 2, Status::INVALID_NAMESPACE),
        (4, 1, Status::INVALID_FIELD),
    ] {
        assert_eq!(host.command(&mut pair, &identify(cns, nsid)).status, status, "CNS {cns}, NSID {nsid:#x}");
    }
}

#[test]
fn a_page_is_split_at_its_boundary_between_prp1_and_prp2() {
    let mut host = Host::new();
    let mut pair = host.enable(0, 16);
    let split = Sqe { prp1: BUFFER + 0xffc, prp2: BUFFER + 0x3000, ..admin(admin::IDENTIFY, 1, 1, 0) };
    assert_eq!(host.command(&mut pair, &split).status, Status::SUCCESS);
    let expected = nvme::identify_controller(2);
    let at = BUFFER as usize;
    assert_eq!(host.memory[at + 0xffc..at + 0x1000], expected[..4]);
    assert_eq!(host.memory[at + 0x3000..at + 0x3ffc], expected[4..]);
    for (prp1, prp2) in [(BUFFER + 2, 0), (BUFFER + 4, BUFFER + 8)] {
        let bad = Sqe { prp1, prp2, ..split };
        assert_eq!(host.command(&mut pair, &bad).status, Status::PRP_OFFSET_INVALID);
    }
    // Get Log Page, firmware slot, 16 bytes: no second page.
    let log = Sqe { prp1: BUFFER, prp2: 1, ..admin(admin::GET_LOG_PAGE, 1, 3 << 16 | 3, 0) };
    host.memory[at + 16] = 0xee;
    assert_eq!(host.command(&mut pair, &log).status, Status::SUCCESS);
    assert_eq!((host.memory[at], &host.memory[at + 8..at + 17]), (1, &b"0.1.0   \xee"[..]));
    for (cdw10, nsid, status) in [
        (5, 0, Status::INVALID_LOG_PAGE),
        (1024 << 16 | 1, 0, Status::INVALID_FIELD),
        (2, 1, Status::INVALID_FIELD),
    ] {
        let bad = Sqe { nsid, ..admin(admin::GET_LOG_PAGE, 1, cdw10, 0) };
        assert_eq!(host.command(&mut pair, &bad).status, status);
    }
}

#[test]
fn queue_commands_answer_with_the_first_fault() {
    let mut host = Host::new();
    let mut pair = host.enable(1, 32);
    let create_cq = |qid: u32, size: u32, low: u32| Sqe {
        prp1: IO_CQ,
        ..admin(admin::CREATE_CQ, 1, size << 16 | qid, low)
    };
    let create_sq = |qid: u32, size: u32, low: u32| Sqe {
        prp1: IO_SQ,
        ..admin(admin::CREATE_SQ, 1, size << 16 | qid, low)
    };
    let delete = |opcode, qid| admin(opcode, 1, qid, 0);
    let vector = |v: u32| v << 16 | 3;
    for (sqe, status) in [
        (create_cq(0, 15, vector(1)), Status::INVALID_QUEUE_ID),
        (create_cq(8, 15, vector(1)), Status::INVALID_QUEUE_ID),
        (create_cq(1, 0, vector(1)), Status::INVALID_QUEUE_SIZE),
        (create_cq(1, 1024, vector(1)), Status::INVALID_QUEUE_SIZE),
        (create_cq(1, 15, 2), Status::INVALID_FIELD),
        (create_cq(1, 15, vector(8)), Status::INVALID_VECTOR),
        (Sqe { prp1: IO_CQ + 8, ..create_cq(1, 15, vector(1)) }, Status::PRP_OFFSET_INVALID),
        (create_cq(1, 15, vector(1)), Status::SUCCESS),
        (create_cq(1, 0, vector(1)), Status::INVALID_QUEUE_ID),
        (create_sq(1, 15, 2 << 16 | 1), Status::COMPLETION_QUEUE_INVALID),
        (create_sq(1, 15, 9 << 16 | 1), Status::INVALID_QUEUE_ID),
        (create_sq(1, 15, 1), Status::INVALID_QUEUE_ID),
        (create_sq(1, 0, 1 << 16 | 1), Status::INVALID_QUEUE_SIZE),
        (create_sq(1, 15, 1 << 16 | 1), Status::SUCCESS),
        (create_sq(1, 15, 1 << 16 | 1), Status::INVALID_QUEUE_ID),
        (delete(admin::DELETE_CQ, 1), Status::INVALID_QUEUE_DELETION),
        (admin(admin::SET_FEATURES, 1, 7, 0x0003_0003), Status::COMMAND_SEQUENCE_ERROR),
        (delete(admin::DELETE_SQ, 2), Status::INVALID_QUEUE_ID),
        (delete(admin::DELETE_SQ, 1), Status::SUCCESS),
        (delete(admin::DELETE_CQ, 1), Status::SUCCESS),
        (delete(admin::DELETE_CQ, 0), Status::INVALID_QUEUE_ID),
        (admin(0x7f, 1, 0, 0), Status::INVALID_OPCODE),
        (Sqe { flags: 0x40, ..admin(admin::ABORT, 1, 0, 0) }, Status::INVALID_FIELD),
    ] {
        assert_eq!(host.command(&mut pair, &sqe).status, status, "{sqe:x?}");
    }
    let features = host.command(&mut pair, &admin(admin::SET_FEATURES, 1, 7, 0x0003_0003));
    assert_eq!((features.status, features.result), (Status::SUCCESS, nvme::feature::NUMBER_OF_QUEUES_ANSWER));
}

#[test]
fn features_are_kept_and_go_back_to_their_defaults() {
    let mut host = Host::new();
    let mut pair = host.enable(0, 16);
    let set = |id, value| admin(admin::SET_FEATURES, 1, id, value);
    let get = |id, value| admin(admin::GET_FEATURES, 1, id, value);
    for (sqe, status, result) in [
        (get(1, 0), Status::SUCCESS, 0),
        (set(1, 0x0102_03ff), Status::SUCCESS, 0),
        (get(1, 0), Status::SUCCESS, 0x0102_0307),
        (get(4, 0), Status::SUCCESS, nvme::feature::TEMPERATURE_OVER_DEFAULT),
        (set(4, 0x10_0123), Status::SUCCESS, 0),
        (get(4, 0x10_0000), Status::SUCCESS, 0x10_0123),
        (get(4, 0x20_0000), Status::INVALID_FIELD, 0),
        (get(4, 0xf_0000), Status::INVALID_FIELD, 0),
        (set(9, 0x1_0003), Status::SUCCESS, 0),
        (get(9, 3), Status::SUCCESS, 0x1_0003),
        (get(9, 2), Status::SUCCESS, 2),
        (get(9, 8), Status::INVALID_FIELD, 0),
        (set(2, 1), Status::INVALID_FIELD, 0),
        (set(3, 1), Status::INVALID_FIELD, 0),
        (set(7, 0xffff), Status::INVALID_FIELD, 0),
        (set(0x8000_0006, 0), Status::FEATURE_NOT_SAVEABLE, 0),
        (set(6, 0), Status::SUCCESS, 0),
        (get(6, 0), Status::SUCCESS, 0),
        (admin(admin::ABORT, 1, 0, 0), Status::SUCCESS, 1),
    ] {
        let cqe = host.command(&mut pair, &sqe);
        assert_eq!((cqe.status, cqe.result), (status, result), "{sqe:x?}");
    }
    host.write32(0, register::CC, 0);
    host.run_until("CSTS.RDY 0", 2000, |host| host.status(0) == 0);
    let mut pair = host.enable(0, 16);
    assert_eq!(host.command(&mut pair, &get(6, 0)).result, 1);
    assert_eq!(host.command(&mut pair, &get(1, 0)).result, 0);
}

#[test]
fn event_requests_wait_and_the_fifth_is_refused() {
    let mut host = Host::new();
    let mut pair = host.enable(0, 16);
    for cid in 0..5 {
        host.put(&mut pair, &admin(admin::ASYNC_EVENT_REQUEST, cid, 0, 0));
    }
    host.ring(&pair);
    host.settle();
    let cqe = host.take(&mut pair).expect("a completion");
    assert_eq!((cqe.cid, cqe.status), (4, Status::ASYNC_LIMIT_EXCEEDED));
    assert_eq!(host.peek(&pair), None);
    // They hold no slot and no reset up.
    host.write32(0, register::CC, 0);
    host.run_until("CSTS.RDY 0", 2000, |host| host.status(0) == 0);
}

#[test]
fn a_full_completion_queue_holds_up_its_own_commands_only() {
    let mut host = Host::new();
    let mut pair = host.enable(0, 16);
    let mut small = create_pair(&mut host, &mut pair, 1, 4);
    let mut other = create_pair(&mut host, &mut pair, 2, 16);
    host.interrupts.clear();
    for cid in 0..3 {
        host.put(&mut small, &read_command(cid));
    }
    host.ring(&small);
    host.settle();
    assert_eq!(host.io.len(), 3);
    // Nothing was taken out of the completion queue: 3 of 4 entries are used.
    for cid in 3..6 {
        host.put(&mut small, &read_command(cid));
    }
    host.ring(&small);
    for cid in 0..5 {
        host.put(&mut other, &read_command(cid));
    }
    host.ring(&other);
    host.settle();
    assert_eq!(host.io.len(), 3 + 5, "commands without a place for their completion were started");
    for cid in 0..6 {
        let cqe = host.take(&mut small).expect("a completion");
        assert_eq!((cqe.cid, cqe.status, cqe.sq_id), (cid, Status::SUCCESS, 1));
        host.write32(0, cq_head_doorbell(1), u32::from(small.head));
        host.settle();
    }
    assert_eq!(host.io.len(), 6 + 5);
    assert_eq!(host.interrupts.iter().filter(|i| **i == (2, 1)).count(), 6);
    assert_eq!(host.interrupts.iter().filter(|i| **i == (2, 2)).count(), 5);
}

#[test]
fn doorbells_with_bad_values_change_nothing() {
    let mut host = Host::new();
    host.write32(0, sq_tail_doorbell(0), 3);
    let mut pair = host.enable(0, 16);
    let mut io = create_pair(&mut host, &mut pair, 1, 8);
    for value in [8, 0x7fff, 0xffff] {
        host.write32(0, sq_tail_doorbell(1), value);
        host.write32(0, cq_head_doorbell(1), value);
    }
    for queue in [2, 7, 8, 255] {
        host.write32(0, sq_tail_doorbell(queue), 1);
        host.write32(0, cq_head_doorbell(queue), 1);
    }
    host.settle();
    assert!(host.io.is_empty());
    assert_eq!(host.command(&mut io, &read_command(9)).status, Status::SUCCESS);
    assert_eq!(host.status(0), 1);
    // A word of 8 bytes rings both: two more commands, the head where it is.
    host.put(&mut io, &read_command(1));
    host.put(&mut io, &read_command(2));
    host.write64(0, sq_tail_doorbell(1), u64::from(io.head) << 32 | u64::from(io.tail));
    host.settle();
    assert_eq!(host.io.len(), 3);
}

#[test]
fn a_reset_waits_for_its_commands_and_posts_nothing_more() {
    let mut host = Host::new();
    host.answer_io = false;
    let mut pair = host.enable(0, 16);
    let mut other_pair = host.enable(5, 16);
    let mut io = create_pair(&mut host, &mut pair, 1, 8);
    let mut other = create_pair(&mut host, &mut other_pair, 2, 8);
    host.put(&mut io, &read_command(1));
    host.ring(&io);
    host.put(&mut other, &read_command(2));
    host.ring(&other);
    host.run_until("both commands", 2000, |host| host.io.len() == 2);
    host.write32(0, register::CC, 0);
    for _ in 0..300 {
        host.cycle();
    }
    assert_eq!(host.status(0) & 1, 1, "ready although a command is under way");
    host.interrupts.clear();
    for command in host.io.clone() {
        host.finish_io(&command, Status::SUCCESS);
    }
    host.run_until("CSTS.RDY 0", 2000, |host| host.status(0) == 0);
    host.settle();
    assert_eq!(host.peek(&io), None);
    assert_eq!(host.take(&mut other).map(|cqe| cqe.cid), Some(2));
    assert_eq!(host.interrupts, [(20, 2)]);
    // It starts again, without its old queues.
    let mut pair = host.enable(0, 16);
    host.ring(&io);
    host.settle();
    assert_eq!(host.io.len(), 2);
    let again = create_pair(&mut host, &mut pair, 1, 8);
    assert_eq!(again.queue, 1);
}

#[test]
fn a_shutdown_flushes_before_it_is_complete() {
    let mut host = Host::new();
    host.answer_io = false;
    host.enable(3, 16);
    host.write32(3, register::CC, CC_ENABLE | 1 << 14);
    host.run_until("the flush", 2000, |host| host.io.len() == 1);
    assert_eq!(host.status(3), 0b0101);
    let flush = host.io[0];
    assert_eq!((flush.opcode.to_u64(), flush.nsid.to_u64(), flush.flags.to_u64()), (0, 0xffff_ffff, 1));
    host.finish_io(&flush, Status::SUCCESS);
    host.run_until("SHST", 2000, |host| host.status(3) == 0b1001);
    host.settle();
    assert!(host.interrupts.is_empty());
    host.answer_io = true;
    host.write32(3, register::CC, 0);
    host.run_until("CSTS 0", 2000, |host| host.status(3) == 0);
    // A shutdown of a disabled controller.
    host.write32(3, register::CC, 2 << 14);
    host.run_until("SHST", 2000, |host| host.status(3) == 0b1000);
    host.enable(3, 16);
}

#[test]
fn a_function_level_reset_clears_every_register() {
    let mut host = Host::new();
    let mut pair = host.enable(4, 16);
    create_pair(&mut host, &mut pair, 1, 8);
    host.function_reset(4);
    host.run_until("the reset", 3000, |host| host.resets_done == [19]);
    for offset in [register::CC, register::CSTS, register::AQA, register::ASQ, register::ACQ] {
        assert_eq!(host.read32(4, offset), 0, "register {offset:#x}");
    }
    host.enable(4, 16);
}

#[test]
fn an_entry_that_cannot_be_read_is_fatal_until_a_reset() {
    let mut host = Host::new();
    let mut pair = host.enable(0, 16);
    host.fail_reads = true;
    host.put(&mut pair, &admin(admin::ABORT, 1, 0, 0));
    host.ring(&pair);
    host.run_until("CSTS.CFS", 2000, |host| host.status(0) == 0b11);
    host.fail_reads = false;
    host.put(&mut pair, &admin(admin::ABORT, 2, 0, 0));
    host.ring(&pair);
    host.settle();
    assert_eq!(host.peek(&pair), None);
    host.write32(0, register::CC, 0);
    host.run_until("CSTS 0", 2000, |host| host.status(0) == 0);
    let mut pair = host.enable(0, 16);
    assert_eq!(host.command(&mut pair, &admin(admin::ABORT, 3, 0, 0)).status, Status::SUCCESS);
}

#[test]
fn an_unsupported_configuration_is_fatal() {
    let mut host = Host::new();
    host.write32(0, register::CC, CC_ENABLE);
    host.run_until("CSTS.CFS", 2000, |host| host.status(0) == 0b10);
    host.write32(0, register::CC, 0);
    host.run_until("CSTS 0", 2000, |host| host.status(0) == 0);
    host.write32(0, register::AQA, 0x000f_000f);
    host.write32(0, register::CC, CC_ENABLE | 1 << 7);
    host.run_until("CSTS.CFS", 2000, |host| host.status(0) == 0b10);
}

#[test]
fn counters_of_the_smart_log_count_what_succeeded() {
    let mut host = Host::new();
    let mut pair = host.enable(6, 16);
    let mut io = create_pair(&mut host, &mut pair, 1, 8);
    let write = Sqe { opcode: io::WRITE, ..read_command(1) };
    for sqe in [read_command(0), write, read_command(2), Sqe { opcode: 0x55, ..write }] {
        host.command(&mut io, &sqe);
    }
    host.answer_io = false;
    host.put(&mut io, &read_command(3));
    host.ring(&io);
    let started = host.io.len();
    host.run_until("the command", 2000, |host| host.io.len() == started + 1);
    let last = host.io[started];
    host.finish_io(&last, Status::LBA_OUT_OF_RANGE);
    host.settle();
    assert_eq!(host.take(&mut io).map(|cqe| cqe.status), Some(Status::LBA_OUT_OF_RANGE));
    let log = Sqe { nsid: 0xffff_ffff, ..admin(admin::GET_LOG_PAGE, 1, 127 << 16 | 2, 0) };
    assert_eq!(host.command(&mut pair, &log).status, Status::SUCCESS);
    let counter =
        |at: usize| page(&host)[at..at + 16].iter().rev().fold(0u128, |n, b| n << 8 | u128::from(*b));
    assert_eq!((counter(64), counter(80)), (2, 1));
    // Two blocks and one: a part of 1,000 units of 512 bytes each.
    assert_eq!((counter(32), counter(48)), (1, 1));
    // An unknown opcode and an LBA out of range.
    assert_eq!((counter(160), counter(176)), (0, 2));
    assert_eq!(page(&host)[1..3], nvme::TEMPERATURE.to_le_bytes());
}

#[test]
fn writes_are_durable_while_the_write_cache_is_off() {
    const FUA: u64 = 1 << 30;
    let mut host = Host::new();
    let mut pair = host.enable(0, 16);
    let mut io = create_pair(&mut host, &mut pair, 1, 8);
    let write = Sqe { opcode: io::WRITE, ..read_command(1) };
    host.command(&mut io, &write);
    host.command(&mut pair, &admin(admin::SET_FEATURES, 1, 6, 0));
    host.command(&mut io, &write);
    host.command(&mut io, &read_command(1));
    let fua: Vec<_> = host.io.iter().map(|command| command.cdw12.to_u64() & FUA != 0).collect();
    assert_eq!(fua, [false, true, false]);
}

#[test]
fn a_queue_is_deleted_after_its_commands() {
    let mut host = Host::new();
    host.answer_io = false;
    let mut pair = host.enable(0, 16);
    let mut io = create_pair(&mut host, &mut pair, 1, 8);
    host.put(&mut io, &read_command(1));
    host.ring(&io);
    host.run_until("the command", 2000, |host| host.io.len() == 1);
    host.put(&mut pair, &admin(admin::DELETE_SQ, 9, 1, 0));
    host.put(&mut pair, &admin(admin::ABORT, 10, 1, 0));
    host.ring(&pair);
    host.run_until("the other command", 2000, |host| host.peek(&pair).is_some());
    assert_eq!(host.take(&mut pair).map(|cqe| cqe.cid), Some(10));
    assert_eq!(host.peek(&pair), None, "deleted with a command under way");
    let command = host.io[0];
    host.finish_io(&command, Status::SUCCESS);
    host.settle();
    assert_eq!(host.take(&mut io).map(|cqe| cqe.cid), Some(1));
    assert_eq!(host.take(&mut pair).map(|cqe| (cqe.cid, cqe.status)), Some((9, Status::SUCCESS)));
}

#[test]
fn commands_flow_at_better_than_forty_cycles_each() {
    let mut host = Host::new();
    let mut pair = host.enable(0, 16);
    let mut io = create_pair(&mut host, &mut pair, 1, 64);
    for cid in 0..48 {
        host.put(&mut io, &read_command(cid));
    }
    let start = host.cycles;
    host.ring(&io);
    host.run_until("48 completions", 10_000, |host| {
        while host.take(&mut io).is_some() {}
        io.head == 48
    });
    let cycles = host.cycles - start;
    println!("48 commands: {cycles} cycles, {} each", cycles / 48);
    assert!(cycles < 48 * 40, "{cycles} cycles for 48 commands");
}
