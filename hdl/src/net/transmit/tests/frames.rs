//! Frames of all lengths, cut into chains in all ways.

use nitride_abi::virtio::net::FRAME_BYTES;
use nitride_lang::testing::Rng;

use super::bench::Bench;
use super::model::{Buffer, Chain, header};
use super::options::{Options, seeds};

/// Transmit queues of several devices.
pub const QUEUES: [u8; 6] = [0x01, 0x03, 0x09, 0x23, 0x43, 0x79];

pub fn noise(rng: &mut Rng, length: usize) -> Vec<u8> {
    (0..length).map(|_| rng.below(256) as u8).collect()
}

/// Cuts bytes into `parts` buffers, some of them empty.
pub fn cut(bench: &mut Bench, bytes: &[u8], parts: usize) -> Vec<Buffer> {
    let head = bench.rng.bit();
    let mut ends: Vec<usize> = (1..parts)
        .map(|_| {
            // Half of the chains are cut around the header.
            let end = if head { bytes.len().min(20) } else { bytes.len() };
            bench.rng.below(end as u64 + 1) as usize
        })
        .collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    let mut buffers = vec![];
    for end in ends {
        buffers.push(bench.anywhere(&bytes[start..end]));
        start = end;
    }
    buffers
}

/// A frame of noise, often with a checksum to be put in.
pub fn packet(rng: &mut Rng, length: usize) -> Vec<u8> {
    let mut bytes = header(0, 0, rng.below(1 << 16) as u16, rng.below(1 << 16) as u16).to_vec();
    if length >= 2 && rng.bit() {
        let start = rng.below(length as u64 - 1);
        let most = length as u64 - 2 - start;
        let offset = if rng.bit() { rng.below(most + 1) } else { rng.pick(&[0, most, most / 2]) };
        bytes = header(rng.pick(&[1, 3, 0xff]), 0, start as u16, offset as u16).to_vec();
    }
    // The driver does not have to clear it, nor has the device to look at it.
    bytes[2..6].copy_from_slice(&(rng.word() as u32).to_le_bytes());
    bytes[10..12].copy_from_slice(&(rng.word() as u16).to_le_bytes());
    match rng.below(8) {
        0 => bytes.extend(vec![0; length]),
        1 => bytes.extend(vec![0xff; length]),
        _ => bytes.extend(noise(rng, length)),
    }
    bytes
}

pub fn lengths(rng: &mut Rng) -> usize {
    match rng.below(8) {
        0 => 14 + rng.below(40) as usize,
        1 => FRAME_BYTES - rng.below(40) as usize,
        2 => 14 + rng.below(FRAME_BYTES as u64 - 13) as usize,
        _ => 14 + rng.below(300) as usize,
    }
}

pub fn random_chain(bench: &mut Bench, head: u16) {
    let length = lengths(&mut bench.rng);
    let bytes = packet(&mut bench.rng, length);
    let parts = match bench.rng.below(4) {
        0 => 1,
        1 => 2,
        2 => 1 + bench.rng.below(8) as usize,
        _ => 1 + bench.rng.below(64) as usize,
    };
    let buffers = cut(bench, &bytes, parts);
    let queue = bench.rng.pick(&QUEUES);
    bench.chain(Chain { queue, head, buffers });
}

#[test]
fn random_chains() {
    for seed in seeds(4) {
        let mut rng = Rng::new(seed);
        let mut bench = Bench::new(seed, Options::random(&mut rng));
        println!("{:?}", bench.options);
        for queue in QUEUES {
            bench.queue(queue, true, true);
        }
        for head in 0..120 {
            random_chain(&mut bench, head);
        }
        bench.finish();
        assert_eq!((bench.frames, bench.broken, bench.dropped), (120, 0, 0));
    }
}

/// Each byte of the header and of a short frame in a buffer of its own, with empty ones in between.
#[test]
fn byte_by_byte() {
    let mut bench = Bench::new(1, Options { latency: (0, 40), shuffle: true, ..Options::FAST });
    bench.queue(9, true, true);
    for head in 0..20 {
        let bytes = packet(&mut bench.rng, 14 + head as usize);
        let mut buffers = vec![];
        for byte in &bytes {
            buffers.push(bench.anywhere(&[*byte]));
            if buffers.len() < 60 && bench.rng.chance(1, 4) {
                buffers.push(bench.anywhere(&[]));
            }
        }
        if bench.rng.bit() {
            buffers.push(bench.anywhere(&[]));
        }
        bench.chain(Chain { queue: 9, head, buffers });
    }
    bench.finish();
    assert_eq!(bench.frames, 20);
}

/// Every length around the beats' borders at every alignment, so that a beat too many or too few would show.
#[test]
fn lengths_and_alignments() {
    let mut bench = Bench::new(2, Options { latency: (5, 5), ..Options::FAST });
    bench.queue(1, true, true);
    let mut head = 0;
    for length in 14..84 {
        for offset in [0, 1, 3, 12, 20, 31] {
            let bytes = packet(&mut bench.rng, length);
            let buffers = vec![bench.buffer(&bytes, offset)];
            bench.chain(Chain { queue: 1, head, buffers });
            head += 1;
        }
    }
    bench.finish();
    assert_eq!(bench.frames, usize::from(head));
}

/// The host answers nothing for long: as many frames as the ring holds are under way, then all come.
#[test]
fn the_ring_fills() {
    let options = Options { latency: (8000, 9000), shuffle: true, ..Options::FAST };
    let mut bench = Bench::new(3, options);
    bench.queue(1, true, false);
    for head in 0..60 {
        let mut bytes = header(0, 0, 0, 0).to_vec();
        bytes.extend(noise(&mut bench.rng, if head < 40 { 1488 } else { 60 }));
        let buffers = cut(&mut bench, &bytes, 3);
        bench.chain(Chain { queue: 1, head, buffers });
    }
    bench.finish();
    assert_eq!(bench.frames, 60);
}
