//! Asynchronous events, log pages, interrupt coalescing and the arbitration burst.

use nitride_abi::nvme::command::{abort, admin};
use nitride_abi::nvme::register::{self, cq_head_doorbell, sq_tail_doorbell};
use nitride_abi::nvme::{Cqe, Sqe, Status, event, feature, log};

use super::directed::{admin as command, create_pair, page, read_command};
use super::host::{CC_ENABLE, Host, QueuePair};
use crate::bus::Volume;

const RETAIN: u32 = 1 << 15;

/// Attaches a volume as PF0 does.
fn attach(host: &mut Host, controller: u8, nsid: u8) {
    host.attach(controller, nsid, Volume { attached: true, blocks: 8.into(), ..Volume::default() });
    host.attributes_changed(controller);
}

/// Reads `dwords` of a log page from byte `offset` on.
fn read_log(host: &mut Host, pair: &mut QueuePair, id: u32, dwords: u32, offset: u32) -> Status {
    let mut sqe = command(admin::GET_LOG_PAGE, 50, (dwords - 1) << 16 | id, 0);
    sqe.cdw10[2] = offset;
    host.command(pair, &sqe).status
}

/// Puts an Asynchronous Event Request into the queue, and waits until nothing happens any more.
fn request(host: &mut Host, pair: &mut QueuePair, cid: u16) {
    host.put(pair, &command(admin::ASYNC_EVENT_REQUEST, cid, 0, 0));
    host.ring(pair);
    host.settle();
}

/// The next completion, with its doorbell.
fn take(host: &mut Host, pair: &mut QueuePair) -> Option<(u16, Status, u32)> {
    let Cqe { cid, status, result, .. } = host.take(pair)?;
    host.write32(pair.controller, cq_head_doorbell(pair.queue), u32::from(pair.head));
    Some((cid, status, result))
}

/// A controller whose host wants to hear of its namespaces.
fn listening(host: &mut Host, controller: u8, entries: u16) -> QueuePair {
    let mut pair = host.enable(controller, entries);
    let notices = feature::NAMESPACE_NOTICES.mask() as u32;
    let configure = command(admin::SET_FEATURES, 1, feature::ASYNC_EVENT_CONFIGURATION.into(), notices);
    assert_eq!(host.command(&mut pair, &configure).status, Status::SUCCESS);
    pair
}

fn changed_namespaces(host: &Host) -> Vec<u8> {
    page(host)[..16].chunks(4).map(|dword| dword[0]).take_while(|nsid| *nsid != 0).collect()
}

const CHANGED: u32 = log::CHANGED_NAMESPACES as u32;
const ERRORS: u32 = log::ERROR_INFORMATION as u32;

#[test]
fn a_changed_namespace_is_told_once_until_its_log_page_is_read() {
    let mut host = Host::new();
    let mut pair = listening(&mut host, 3, 16);
    request(&mut host, &mut pair, 7);
    assert_eq!(host.peek(&pair), None);
    attach(&mut host, 3, 2);
    assert_eq!(take(&mut host, &mut pair), Some((7, Status::SUCCESS, event::NAMESPACE_CHANGED)));
    // The type is masked now.
    request(&mut host, &mut pair, 8);
    attach(&mut host, 3, 4);
    assert_eq!(host.peek(&pair), None);
    assert_eq!(read_log(&mut host, &mut pair, CHANGED | RETAIN, 1024, 0), Status::SUCCESS);
    assert_eq!(changed_namespaces(&host), [2, 4]);
    host.settle();
    assert_eq!(host.peek(&pair), None);
    // What the page has told needs no event.
    assert_eq!(read_log(&mut host, &mut pair, CHANGED, 1024, 4), Status::SUCCESS);
    assert_eq!(changed_namespaces(&host), [4]);
    host.settle();
    assert_eq!(host.peek(&pair), None);
    assert_eq!(read_log(&mut host, &mut pair, CHANGED, 1024, 0), Status::SUCCESS);
    assert_eq!(changed_namespaces(&host), []);
    attach(&mut host, 3, 1);
    assert_eq!(take(&mut host, &mut pair), Some((8, Status::SUCCESS, event::NAMESPACE_CHANGED)));
    // An event without a request waits for one.
    assert_eq!(read_log(&mut host, &mut pair, CHANGED, 1024, 0), Status::SUCCESS);
    attach(&mut host, 3, 3);
    request(&mut host, &mut pair, 9);
    assert_eq!(take(&mut host, &mut pair), Some((9, Status::SUCCESS, event::NAMESPACE_CHANGED)));
}

#[test]
fn a_host_that_did_not_ask_for_notices_hears_of_no_namespace() {
    let mut host = Host::new();
    let mut pair = host.enable(0, 16);
    request(&mut host, &mut pair, 7);
    attach(&mut host, 0, 1);
    attach(&mut host, 5, 1);
    assert_eq!(host.peek(&pair), None);
    assert_eq!(read_log(&mut host, &mut pair, CHANGED, 1024, 0), Status::SUCCESS);
    assert_eq!(changed_namespaces(&host), [1]);
}

#[test]
fn bad_doorbells_are_told_and_logged() {
    let mut host = Host::new();
    let mut pair = host.enable(2, 16);
    request(&mut host, &mut pair, 7);
    request(&mut host, &mut pair, 8);
    host.write32(2, sq_tail_doorbell(0), 16);
    host.settle();
    assert_eq!(take(&mut host, &mut pair), Some((7, Status::SUCCESS, event::INVALID_DOORBELL_VALUE)));
    // A queue that was not created, and one that cannot be.
    host.write32(2, cq_head_doorbell(3), 0);
    host.write32(2, sq_tail_doorbell(9), 0);
    host.settle();
    assert_eq!(host.peek(&pair), None, "error events are masked");
    assert_eq!(read_log(&mut host, &mut pair, ERRORS, 64, 0), Status::SUCCESS);
    let statuses: Vec<_> = page(&host)[..256]
        .chunks(64)
        .map(|entry| (entry[0], Status::from_bits(u16::from_le_bytes([entry[12], entry[13]]) >> 1)))
        .collect();
    assert_eq!(
        statuses[..3],
        [(3, Status::INVALID_QUEUE_ID), (2, Status::INVALID_QUEUE_ID), (1, Status::INVALID_FIELD)]
    );
    assert_eq!(statuses[3], (0, Status::SUCCESS));
    assert_eq!(page(&host)[8..12], [0xff; 4]);
    host.settle();
    assert_eq!(host.peek(&pair), None, "the log has told");
    host.write32(2, sq_tail_doorbell(9), 0);
    host.settle();
    assert_eq!(take(&mut host, &mut pair), Some((8, Status::SUCCESS, event::INVALID_DOORBELL_REGISTER)));
}

#[test]
fn an_event_waits_for_a_place_in_the_completion_queue() {
    let mut host = Host::new();
    let mut pair = listening(&mut host, 0, 2);
    request(&mut host, &mut pair, 7);
    // The only place is taken by a completion that the host has not seen.
    host.put(&mut pair, &command(admin::GET_FEATURES, 8, 1, 0));
    host.ring(&pair);
    host.settle();
    attach(&mut host, 0, 1);
    assert!(host.is_idle(), "waiting for a host is no work");
    assert_eq!(take(&mut host, &mut pair).map(|cqe| cqe.0), Some(8));
    host.settle();
    assert_eq!(take(&mut host, &mut pair), Some((7, Status::SUCCESS, event::NAMESPACE_CHANGED)));
}

#[test]
fn an_event_request_can_be_aborted() {
    let mut host = Host::new();
    let mut pair = listening(&mut host, 0, 16);
    for cid in [7, 8, 9] {
        request(&mut host, &mut pair, cid);
    }
    let sqe = |queue, cid: u32| command(admin::ABORT, 20, cid << 16 | queue, 0);
    let aborted = |host: &mut Host, pair: &mut QueuePair, queue, cid| {
        host.put(pair, &sqe(queue, cid));
        host.ring(pair);
        host.settle();
        let mut all: Vec<_> = std::iter::from_fn(|| take(host, pair)).collect();
        all.sort_by_key(|cqe| cqe.0);
        all
    };
    let not = [(20, Status::SUCCESS, abort::NOT_ABORTED)];
    assert_eq!(aborted(&mut host, &mut pair, 1, 8), not);
    assert_eq!(aborted(&mut host, &mut pair, 0, 4), not);
    let done = [(8, Status::ABORT_REQUESTED, 0), (20, Status::SUCCESS, abort::ABORTED)];
    assert_eq!(aborted(&mut host, &mut pair, 0, 8), done);
    assert_eq!(aborted(&mut host, &mut pair, 0, 8), not);
    // The others are still there, in their order.
    attach(&mut host, 0, 1);
    assert_eq!(take(&mut host, &mut pair).map(|cqe| cqe.0), Some(7));
    assert_eq!(read_log(&mut host, &mut pair, CHANGED, 4, 0), Status::SUCCESS);
    attach(&mut host, 0, 1);
    assert_eq!(take(&mut host, &mut pair).map(|cqe| cqe.0), Some(9));
    assert_eq!(host.free_slots(), 64);
}

#[test]
fn a_reset_forgets_requests_events_and_errors() {
    let mut host = Host::new();
    let mut pair = listening(&mut host, 0, 16);
    request(&mut host, &mut pair, 7);
    host.command(&mut pair, &command(0x7f, 1, 0, 0));
    host.write32(0, register::CC, 0);
    host.run_until("CSTS.RDY 0", 2000, |host| host.status(0) == 0);
    attach(&mut host, 0, 1);
    let mut pair = listening(&mut host, 0, 16);
    host.settle();
    assert_eq!(host.peek(&pair), None);
    assert_eq!(read_log(&mut host, &mut pair, CHANGED, 4, 0), Status::SUCCESS);
    assert_eq!(changed_namespaces(&host), []);
    assert_eq!(read_log(&mut host, &mut pair, ERRORS, 64, 0), Status::SUCCESS);
    assert!(page(&host)[..256].iter().all(|byte| *byte == 0));
    request(&mut host, &mut pair, 8);
    attach(&mut host, 0, 1);
    assert_eq!(take(&mut host, &mut pair).map(|cqe| cqe.0), Some(8));
    // The count of errors goes on.
    host.command(&mut pair, &command(0x7f, 1, 0, 0));
    assert_eq!(read_log(&mut host, &mut pair, ERRORS, 16, 0), Status::SUCCESS);
    assert_eq!(page(&host)[0], 2);
}

#[test]
fn the_error_log_has_the_last_errors_and_is_read_from_any_offset() {
    let mut host = Host::new();
    let mut pair = host.enable(1, 16);
    let mut io = create_pair(&mut host, &mut pair, 2, 8);
    for cid in 0..6 {
        let mut sqe = Sqe { opcode: 0x66, nsid: 40 + u32::from(cid), ..read_command(cid) };
        if cid == 5 {
            // One that has an LBA.
            (sqe.opcode, sqe.flags, sqe.cdw10[0], sqe.cdw10[1]) = (0x02, 0x40, 0x1234, 0x5);
        }
        host.command(&mut io, &sqe);
    }
    assert_eq!(read_log(&mut host, &mut pair, ERRORS, 64, 0), Status::SUCCESS);
    let whole = page(&host)[..256].to_vec();
    for (entry, count) in whole.chunks(64).zip((3..=6).rev()) {
        assert_eq!((entry[0], entry[8], entry[10], entry[24]), (count, 2, count - 1, 39 + count));
    }
    assert_eq!(u16::from_le_bytes([whole[12], whole[13]]) >> 1, Status::INVALID_FIELD.bits());
    assert_eq!(whole[16..24], 0x5_0000_1234u64.to_le_bytes());
    assert_eq!(read_log(&mut host, &mut pair, ERRORS, 20, 56), Status::SUCCESS);
    assert_eq!(page(&host)[..80], whole[56..136]);
    // At the end there is nothing, beyond it is no place to begin.
    assert_eq!(read_log(&mut host, &mut pair, ERRORS, 4, 256), Status::SUCCESS);
    assert_eq!(page(&host)[..16], [0; 16]);
    for offset in [260, 2, 4096] {
        assert_eq!(read_log(&mut host, &mut pair, ERRORS, 4, offset), Status::INVALID_FIELD);
    }
    let long = command(admin::GET_LOG_PAGE, 1, ERRORS, 1);
    assert_eq!(host.command(&mut pair, &long).status, Status::INVALID_FIELD, "NUMDU");
}

#[test]
fn interrupts_are_coalesced_by_number_and_time() {
    let mut host = Host::new();
    let mut pair = host.enable(0, 16);
    let mut io = create_pair(&mut host, &mut pair, 1, 32);
    // 4 completions, or 100 microseconds.
    let set = |id: u8, value| command(admin::SET_FEATURES, 1, id.into(), value);
    host.command(&mut pair, &set(feature::INTERRUPT_COALESCING, 0x0103));
    let mut run = |host: &mut Host, count: u16| {
        host.interrupts.clear();
        let start = host.cycles;
        for cid in 0..count {
            host.put(&mut io, &read_command(cid));
        }
        host.ring(&io);
        host.run_until("idle", 60_000, |host| host.cycles > start + 100 && host.is_idle());
        while host.take(&mut io).is_some() {}
        host.write32(0, cq_head_doorbell(1), u32::from(io.head));
        (host.interrupts.iter().filter(|interrupt| **interrupt == (2, 1)).count(), host.cycles - start)
    };
    let (interrupts, _) = run(&mut host, 8);
    assert_eq!(interrupts, 2);
    let (interrupts, cycles) = run(&mut host, 5);
    assert_eq!(interrupts, 2);
    assert!((feature::TIME_CYCLES..2 * feature::TIME_CYCLES + 2000).contains(&cycles), "{cycles}");
    // The admin queue does not wait, and neither does a vector without coalescing.
    host.interrupts.clear();
    host.command(&mut pair, &set(feature::INTERRUPT_VECTOR_CONFIGURATION, 0x1_0001));
    host.settle();
    assert_eq!(host.interrupts, [(2, 0)]);
    assert_eq!(run(&mut host, 3).0, 3);
}

#[test]
fn a_queue_starts_as_many_commands_as_its_arbitration_burst() {
    let mut host = Host::new();
    let mut pair = host.enable(0, 16);
    let mut queues = [1, 2].map(|queue| create_pair(&mut host, &mut pair, queue, 16));
    for (burst, expected) in [(0, 1), (2, 4), (7, 8)] {
        host.command(&mut pair, &command(admin::SET_FEATURES, 1, feature::ARBITRATION.into(), burst));
        host.io.clear();
        for queue in &mut queues {
            for cid in 0..8 {
                host.put(queue, &read_command(queue.queue * 16 + cid));
            }
            host.ring(queue);
        }
        host.settle();
        let order: Vec<_> = host.io.iter().map(|io| io.cid.to_u64() / 16).collect();
        // The first queue had a start until the second one's doorbell came.
        let longest = order.chunk_by(|a, b| a == b).skip(1).map(<[u64]>::len).max();
        assert_eq!((order.len(), longest), (16, Some(expected)), "burst {burst}: {order:?}");
        for queue in &mut queues {
            while host.take(queue).is_some() {}
            host.write32(0, cq_head_doorbell(queue.queue), u32::from(queue.head));
        }
    }
}

#[test]
fn a_controller_with_more_queues_gets_no_more_of_the_card() {
    let mut host = Host::new();
    let mut queues = vec![];
    for (controller, count) in [(0, 3), (1, 1)] {
        let mut pair = host.enable(controller, 16);
        for queue in 1..=count {
            queues.push(create_pair(&mut host, &mut pair, queue, 16));
        }
    }
    host.io.clear();
    for queue in &mut queues {
        for cid in 0..8 {
            host.put(queue, &read_command(cid));
        }
        host.ring(queue);
    }
    host.settle();
    let first: Vec<_> = host.io.iter().map(|io| io.controller.to_u64()).collect();
    let start = first.iter().position(|controller| *controller == 1).unwrap_or(0);
    assert!(first[start..start + 15].chunk_by(|a, b| a == b).all(|run| run.len() == 1), "{first:?}");
}

#[test]
fn a_request_is_not_told_after_a_shutdown() {
    let mut host = Host::new();
    let mut pair = listening(&mut host, 0, 16);
    request(&mut host, &mut pair, 7);
    host.write32(0, register::CC, CC_ENABLE | 1 << 14);
    host.run_until("CSTS.SHST", 5000, |host| host.status(0) == 0b1001);
    attach(&mut host, 0, 1);
    assert_eq!(host.peek(&pair), None);
}
