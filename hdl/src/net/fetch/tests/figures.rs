//! What a chain costs.

use super::bench::{Bench, Options};
use crate::bus::Landing;
use crate::net::records::RingReader;

/// Cycles a chain while `queues` transmit queues have more than enough of them.
fn cost(queues: u8, latency: u64, buffers: usize) -> f64 {
    let options = Options { latency: (latency, latency), ..Options::SMOOTH };
    let mut bench = Bench::<false, { Landing::TRANSMIT_CHAINS }, { RingReader::TRANSMIT }>::new(1, options);
    let indices: Vec<u8> = (0..queues).map(|device| 8 * device + 1).collect();
    for index in &indices {
        bench.enable(*index, 256);
    }
    bench.run(40);
    let mut mark = 0;
    for cycle in 0..12_000 {
        for index in &indices {
            let chain = bench.buffers(buffers);
            while bench.chain(*index, &chain, 0) {}
            bench.kick(*index);
        }
        bench.step();
        if cycle == 4_000 {
            mark = bench.given.len();
        }
    }
    8_000.0 / (bench.given.len() - mark) as f64
}

#[test]
fn a_chain_costs_what_it_is_said_to() {
    for (queues, latency, buffers, most) in [(1, 125, 1, 11.5), (1, 250, 1, 18.0), (8, 250, 1, 15.0)] {
        let cost = cost(queues, latency, buffers);
        println!("{queues} queues, {latency} cycles, {buffers} buffers: {cost:.2} cycles a chain");
        assert!(cost <= most, "{queues} queues, {latency} cycles, {buffers} buffers: {cost:.2}");
    }
}

#[test]
fn long_chains_of_one_queue_do_not_stop_another() {
    let mut bench =
        Bench::<false, { Landing::TRANSMIT_CHAINS }, { RingReader::TRANSMIT }>::new(1, Options::SMOOTH);
    bench.enable(1, 1024);
    bench.enable(9, 256);
    bench.run(20);
    for _ in 0..16_000 {
        let long = bench.buffers(64);
        while bench.chain(1, &long, 0) {}
        bench.kick(1);
        let short = bench.buffers(1);
        while bench.chain(9, &short, 0) {}
        bench.kick(9);
        bench.step();
    }
    let short = bench.given.iter().filter(|(queue, _)| *queue == 9).count();
    println!("{:.2} cycles a chain beside chains of 64", 16_000.0 / short as f64);
    assert!(short > 16_000 / 25, "{short} chains");
}
