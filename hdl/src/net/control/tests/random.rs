//! Chains of all kinds, of several queues, against the model.

use nitride_lang::testing::Rng;

use super::bench::Bench;
use super::commands::cut;
use super::model::Buffer;
use super::options::{Options, seeds};

/// Control queues of several devices, early ones too.
const QUEUES: [u8; 4] = [0x04, 0x0a, 0x44, 0x7c];

/// The lengths of parts of `length` bytes, but for the last.
fn parts(rng: &mut Rng, length: usize) -> Vec<usize> {
    let mut left = length;
    let count = if rng.chance(1, 4) { rng.below(30) } else { rng.below(4) };
    (0..count)
        .map(|_| {
            let part = rng.below(1 + left.min(6) as u64) as usize;
            left -= part;
            part
        })
        .collect()
}

fn command(bench: &mut Bench) -> Vec<Buffer> {
    let length = if bench.rng.chance(1, 3) { bench.rng.below(64) } else { bench.rng.below(20) } as usize;
    let bytes: Vec<u8> = (0..length).map(|_| bench.rng.bits::<8>().to_u64() as u8).collect();
    let parts = parts(&mut bench.rng, length);
    let mut buffers = cut(bench, &bytes, &parts);
    if bench.rng.chance(1, 6) {
        let length = bench.rng.pick(&[0x1000, 0xfff0, 0x1_0000, u32::MAX]);
        let address = bench.rng.word();
        buffers.push(Buffer { address, length, write: false });
    }
    for _ in 0..bench.rng.below(3) {
        let length = bench.rng.below(3) as u32;
        buffers.push(bench.writable(length));
    }
    let length = 1 + bench.rng.below(2) as u32;
    buffers.push(bench.writable(length));
    buffers
}

/// Anything at all, at addresses that are anywhere.
fn nonsense(bench: &mut Bench) -> Vec<Buffer> {
    let count = bench.rng.pick(&[1, 1, 2, 3, 8, 64]);
    let writes = bench.rng.pick(&[0, 1, 50, 100]);
    (0..count)
        .map(|_| Buffer {
            address: bench.rng.word(),
            length: bench.rng.pick(&[0, 1, 2, 5, 15, 16, 17, 0xffff, u32::MAX]),
            write: bench.rng.chance(writes, 100),
        })
        .collect()
}

fn chain(bench: &mut Bench, head: u16) {
    let buffers = if bench.rng.chance(3, 4) { command(bench) } else { nonsense(bench) };
    let queue = bench.rng.pick(&QUEUES);
    bench.chain(queue, head, buffers);
}

fn start(seed: u64, fail: u32) -> Bench {
    let mut rng = Rng::new(seed);
    let mut bench = Bench::new(seed, Options { fail, ..Options::random(&mut rng) });
    println!("{:?}", bench.options);
    for queue in QUEUES {
        bench.queue(queue, true);
    }
    bench
}

#[test]
fn chains_of_all_kinds() {
    for seed in seeds(4) {
        let mut bench = start(seed, if seed % 2 == 0 { 0 } else { 30 });
        for head in 0..80 {
            chain(&mut bench, head);
        }
        bench.finish();
        assert_eq!(bench.returned + bench.broken, 80);
        assert!(bench.returned > 30 && bench.broken > 2, "{} {}", bench.returned, bench.broken);
    }
}

/// Queues are disabled, drained and enabled again, while others go on.
#[test]
fn disabled_and_drained() {
    for seed in seeds(4) {
        let mut bench = start(seed, if seed % 2 == 0 { 0 } else { 30 });
        let mut head = 0;
        for _ in 0..12 {
            for _ in 0..bench.rng.below(8) {
                chain(&mut bench, head);
                head += 1;
            }
            let cycles = bench.rng.below(200);
            bench.wait(cycles);
            let queue = bench.rng.pick(&QUEUES);
            bench.queue(queue, false);
            for _ in 0..bench.rng.below(6) {
                chain(&mut bench, head);
                head += 1;
            }
            bench.token(queue);
            for _ in 0..bench.rng.below(4) {
                chain(&mut bench, head);
                head += 1;
            }
            // The registers wait for the token.
            bench.settle();
            bench.queue(queue, true);
        }
        bench.finish();
        assert!(bench.returned > 20);
    }
}
