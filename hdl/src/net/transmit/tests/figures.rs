//! Cycles a frame, with a round trip of 250 cycles and 32 reads under way, which is what the DMA reader can do.

use super::bench::Bench;
use super::frames::noise;
use super::model::{Chain, header};
use super::options::Options;

/// Cycles from frame to frame, in the middle of many.
fn pace(length: usize, count: usize, separate: bool) -> f64 {
    let mut bench = Bench::new(7, Options::FAST);
    bench.queue(1, true, true);
    for head in 0..count {
        let mut bytes = header(1, 0, 20, 6).to_vec();
        bytes.extend(noise(&mut bench.rng, length));
        let buffers = if separate {
            vec![bench.anywhere(&bytes[..12]), bench.anywhere(&bytes[12..])]
        } else {
            vec![bench.anywhere(&bytes)]
        };
        bench.chain(Chain { queue: 1, head: head as u16, buffers });
    }
    bench.finish();
    let (first, last) = (count / 4, count - 1);
    let pace = (bench.ends[last] - bench.ends[first]) as f64 / (last - first) as f64;
    println!(
        "{length} bytes, header {}: {pace:.1} cycles a frame",
        if separate { "apart" } else { "in front" }
    );
    pace
}

#[test]
fn frames_of_64_bytes() {
    assert!(pace(64, 400, false) <= 8.0);
    // Two reads a frame
    assert!(pace(64, 400, true) <= 16.0);
}

#[test]
fn frames_of_1500_bytes() {
    assert!(pace(1500, 100, false) <= 55.0);
    assert!(pace(1500, 100, true) <= 55.0);
}

#[test]
fn frames_of_9018_bytes() {
    assert!(pace(9018, 20, false) <= 300.0);
}
