//! What a guest must not do, or may do at the wrong time.

use nitride_abi::virtio::net::FRAME_BYTES;
use nitride_lang::testing::Rng;

use super::bench::Bench;
use super::frames::{QUEUES, cut, lengths, noise, packet, random_chain};
use super::model::{Buffer, Chain, Outcome, header};
use super::options::{Options, seeds};

/// A chain that gives no frame.
fn wrong(bench: &mut Bench, head: u16) -> Chain {
    let queue = bench.rng.pick(&QUEUES);
    let length = lengths(&mut bench.rng);
    let mut bytes = packet(&mut bench.rng, length);
    let parts = 1 + bench.rng.below(5) as usize;
    let far = |rng: &mut Rng| rng.pick(&[length as u16 + 1, length as u16, 0x7fff, 0xfffe, 0xffff]);
    match bench.rng.below(10) {
        // Device-writable, somewhere
        0 => {
            let mut buffers = cut(bench, &bytes, parts);
            let at = bench.rng.below(parts as u64) as usize;
            buffers[at].write = true;
            return Chain { queue, head, buffers };
        }
        // Shorter than its header
        1 => bytes.truncate(bench.rng.below(12) as usize),
        // GSO that was not offered
        2 => bytes[1] = bench.rng.pick(&[1, 3, 4, 5, 0x80, 0xff]),
        // A checksum beyond the frame
        3 => {
            let start = far(&mut bench.rng);
            let offset = bench.rng.pick(&[0, 1, 0xffff]);
            bytes[..12].copy_from_slice(&header(1, 0, start, offset));
        }
        4 => {
            let start = bench.rng.below(length as u64 - 1);
            let offset = length as u64 - 1 - start;
            bytes[..12].copy_from_slice(&header(1, 0, start as u16, offset as u16));
        }
        // No frame at all, or too short for one
        5 => {
            bytes.truncate(12 + bench.rng.below(14) as usize);
            bytes[..12].copy_from_slice(&header(0, 0, 0, 0));
        }
        // A byte too long
        6 => {
            bytes = header(0, 0, 0, 0).to_vec();
            bytes.extend(noise(&mut bench.rng, FRAME_BYTES + 1));
        }
        // Much too long, at an address that is nowhere
        7 => {
            let mut buffers = cut(bench, &bytes, parts);
            let length = bench.rng.pick(&[9031, 0x4000, 0x1_0001, 0x7fff_ffff, 0xffff_ffff, 0xffff_fffc]);
            let address = bench.rng.word();
            let at = bench.rng.below(parts as u64) as usize;
            buffers[at] = Buffer { address, length, write: false, bytes: vec![] };
            return Chain { queue, head, buffers };
        }
        // Full lengths without an end
        8 => {
            let part = noise(&mut bench.rng, 4000);
            let buffer = bench.anywhere(&part);
            return Chain { queue, head, buffers: vec![buffer; 64] };
        }
        // Nothing at all
        _ => {
            let buffers = vec![bench.anywhere(&[]); parts];
            return Chain { queue, head, buffers };
        }
    }
    let buffers = cut(bench, &bytes, parts);
    Chain { queue, head, buffers }
}

/// Of broken chains and frames that are dropped nothing is seen in the others.
#[test]
fn wrong_chains_among_right_ones() {
    for seed in seeds(3) {
        let mut rng = Rng::new(seed);
        let mut bench = Bench::new(seed, Options::random(&mut rng));
        println!("{:?}", bench.options);
        for queue in QUEUES {
            bench.queue(queue, true, true);
        }
        let mut right = 0;
        for head in 0..150 {
            if bench.rng.bit() {
                random_chain(&mut bench, head);
                right += 1;
            } else {
                let chain = wrong(&mut bench, head);
                assert!(!matches!(chain.outcome(true), Outcome::Frame(_)), "{chain:?}");
                bench.chain(chain);
            }
        }
        bench.finish();
        assert_eq!((bench.frames, bench.broken + bench.dropped), (right, 150 - right));
        assert!(bench.broken > 0 && bench.dropped > 0);
    }
}

/// What was not agreed on is not done: NEEDS_CSUM without VIRTIO_NET_F_CSUM breaks the queue, and others do not notice.
#[test]
fn checksum_that_was_not_agreed_on() {
    let mut bench = Bench::new(5, Options { latency: (0, 30), shuffle: true, ..Options::FAST });
    bench.queue(1, true, false);
    bench.queue(9, true, true);
    for head in 0..40 {
        let mut bytes = header(1, 0, 14, 2).to_vec();
        bytes.extend(noise(&mut bench.rng, 60));
        let buffers = vec![bench.anywhere(&bytes)];
        bench.chain(Chain { queue: if head % 2 == 0 { 1 } else { 9 }, head, buffers });
    }
    bench.finish();
    assert_eq!((bench.frames, bench.broken), (20, 20));
}

#[test]
fn reads_that_fail() {
    for seed in seeds(3) {
        let mut rng = Rng::new(seed);
        let mut bench = Bench::new(seed, Options { fail: 60, ..Options::random(&mut rng) });
        println!("{:?}", bench.options);
        for queue in QUEUES {
            bench.queue(queue, true, true);
        }
        for head in 0..150 {
            if bench.rng.chance(4, 5) {
                random_chain(&mut bench, head);
            } else {
                let chain = wrong(&mut bench, head);
                bench.chain(chain);
            }
        }
        bench.finish();
        assert!(bench.broken > 0 && bench.frames > 0);
    }
}

/// A queue is disabled while its frames are under way, drained, and enabled again, while others go on.
#[test]
fn disabled_and_drained() {
    for seed in seeds(3) {
        let mut rng = Rng::new(seed);
        let mut bench = Bench::new(seed, Options { fail: rng.pick(&[0, 20]), ..Options::random(&mut rng) });
        println!("{:?}", bench.options);
        for queue in QUEUES {
            bench.queue(queue, true, true);
        }
        let mut head = 0;
        for _ in 0..12 {
            for _ in 0..bench.rng.below(14) {
                random_chain(&mut bench, head);
                head += 1;
            }
            let cycles = bench.rng.below(200);
            bench.wait(cycles);
            let queue = bench.rng.pick(&QUEUES);
            bench.queue(queue, false, true);
            for _ in 0..bench.rng.below(8) {
                random_chain(&mut bench, head);
                head += 1;
            }
            bench.token(queue);
            for _ in 0..bench.rng.below(4) {
                random_chain(&mut bench, head);
                head += 1;
            }
            // The registers wait for the token.
            bench.settle();
            let csum = bench.rng.bit();
            bench.queue(queue, true, csum);
        }
        bench.finish();
    }
}

/// Tokens alone, and of queues that nobody uses.
#[test]
fn tokens_alone() {
    let mut bench = Bench::new(6, Options { latency: (0, 30), ..Options::FAST });
    for queue in [0, 1, 1, 0x7f, 0x79] {
        bench.token(queue);
    }
    bench.finish();
}
