//! What a guest must not do, or may do at the wrong time.

use super::bench::Bench;
use super::commands::{QUEUE, bench, cut};
use super::options::Options;

const COMMAND: [u8; 4] = [1, 2, 3, 4];

/// A command that is carried out.
fn right(bench: &mut Bench, queue: u8, head: u16) {
    let mut buffers = cut(bench, &COMMAND, &[2]);
    buffers.push(bench.writable(1));
    bench.chain(queue, head, buffers);
}

/// Nobody could see what came of it: it is not carried out.
#[test]
fn no_writable_byte() {
    let mut bench = bench();
    let command = cut(&mut bench, &COMMAND, &[2]);
    bench.chain(QUEUE, 0, command);
    let mut command = cut(&mut bench, &COMMAND, &[2]);
    command.push(bench.writable(0));
    command.push(bench.writable(0));
    bench.chain(QUEUE, 1, command);
    let nothing = bench.place(0, false, 0);
    bench.chain(QUEUE, 2, vec![nothing; 64]);
    bench.finish();
    assert_eq!((bench.broken, bench.commands.len(), bench.returned), (3, 0, 0));
}

/// Device-readable buffers come first (§2.7.4.2).
#[test]
fn readable_behind_writable() {
    let mut bench = bench();
    for (head, empty) in [false, true].into_iter().enumerate() {
        let mut command = cut(&mut bench, &COMMAND, &[2]);
        command.insert(if empty { 2 } else { 1 }, bench.writable(1));
        command.push(bench.place(if empty { 0 } else { 4 }, false, 0));
        bench.chain(QUEUE, 2 * head as u16, command);
        let mut command = cut(&mut bench, &COMMAND, &[2]);
        command.insert(1, bench.writable(u32::from(!empty)));
        command.push(bench.writable(1));
        bench.chain(QUEUE, 2 * head as u16 + 1, command);
    }
    right(&mut bench, QUEUE, 4);
    bench.finish();
    assert_eq!((bench.broken, bench.commands.len(), bench.returned), (4, 1, 1));
}

/// The queue breaks if any of a command's reads fails, and the next chain is as new.
#[test]
fn reads_that_fail() {
    let mut bench = Bench::new(2, Options { fail: 150, ..Options::FAST });
    bench.queue(QUEUE, true);
    for head in 0..60 {
        let mut buffers = cut(&mut bench, &COMMAND, &[1, 1, 1]);
        buffers.push(bench.writable(1));
        bench.chain(QUEUE, head, buffers);
    }
    bench.finish();
    assert_eq!(bench.broken + bench.returned, 60);
    assert!(bench.broken > 10 && bench.returned > 10);
}

/// Nothing is done for a disabled queue, whatever is in its chains.
#[test]
fn disabled_queue() {
    let mut bench = bench();
    for head in 0..4 {
        right(&mut bench, 0x14, head);
        let unanswered = bench.readable(&COMMAND, 0);
        bench.chain(0x14, head, vec![unanswered]);
    }
    right(&mut bench, QUEUE, 4);
    bench.finish();
    assert_eq!((bench.broken, bench.commands.len(), bench.returned, bench.reads), (0, 1, 1, 2));
}

/// A queue is disabled while its chain is at any point: after the token nothing of it is done any more, and others go on.
#[test]
fn disabled_while_under_way() {
    let mut bench = Bench::new(3, Options { latency: (5, 5), ..Options::FAST });
    bench.queue(QUEUE, true);
    for cycle in 0..40 {
        bench.queue(0x14, true);
        right(&mut bench, 0x14, cycle);
        bench.wait(u64::from(cycle));
        bench.queue(0x14, false);
        right(&mut bench, 0x14, cycle);
        bench.token(0x14);
        right(&mut bench, QUEUE, cycle);
        bench.settle();
    }
    bench.finish();
    // Early ones are dropped, late ones are not.
    assert!(bench.returned > 45 && bench.returned < 75, "{}", bench.returned);
}

/// Tokens alone, and of queues that nobody uses.
#[test]
fn tokens_alone() {
    let mut bench = bench();
    for queue in [0, QUEUE, QUEUE, 0x7f, 0x7a] {
        bench.token(queue);
    }
    bench.finish();
}

/// All control queues give as much as there is room for, while the first of them is slow.
#[test]
fn all_room_is_used() {
    let mut bench = Bench::new(4, Options { latency: (2500, 2500), ..Options::FAST });
    for device in 0..16 {
        bench.queue(8 * device + 4, true);
    }
    for head in 0..2 {
        for device in 0..16 {
            let mut buffers = vec![bench.place(0, false, 0); 63];
            buffers[usize::from(device)] = bench.readable(&COMMAND, 1);
            buffers.push(bench.writable(1));
            bench.chain(8 * device + 4, head, buffers);
        }
    }
    while bench.cycle < 2200 {
        bench.step();
    }
    assert!(bench.all_sent() && bench.returned == 0);
    bench.options.latency = (1, 1);
    bench.finish();
    assert_eq!(bench.returned, 32);
}
