//! Media that answer with errors.

use nitride_abi::card::VF_STORAGE_FIRST;
use nitride_sim::{ErrorRange, Options};
use rand::Rng;

use crate::disk::{BLOCK, Disk};
use crate::host::{BLOCKS, Host};

const ROUNDS: u64 = 12;

/// Reads, writes and commands of random places fail, each place in its own way.
fn random_errors(host: &mut Host, base: u64) -> Vec<ErrorRange> {
    let error = |host: &mut Host| {
        let start = base + host.rng.random_range(0..BLOCKS) * BLOCK as u64;
        let kind = host.rng.random_range(0..3);
        let bytes = host.rng.random_range(1..=2 * BLOCK as u64);
        ErrorRange {
            range: start..(start + bytes).min(base + BLOCKS * BLOCK as u64),
            reads: kind == 0,
            writes: kind == 1,
            // Every flush fails with one of these: not in every round.
            commands: kind == 2 && host.rng.random_ratio(1, 4),
            decode: host.rng.random(),
        }
    };
    (0..24).map(|_| error(&mut *host)).collect()
}

#[test]
fn a_media_error_ends_the_command_that_met_it_and_no_other() {
    let image = tempfile::NamedTempFile::new().unwrap();
    let functions = [VF_STORAGE_FIRST, VF_STORAGE_FIRST + 1];
    let disks = vec![Disk::new(BLOCKS, false); 2];
    let seed = 7;
    println!("seed {seed}");
    let mut host = Host::boot(image.path(), Options { seed, ..Options::default() }, &functions, disks);
    for round in 0..ROUNDS {
        println!("round {round}");
        let base = host.drivers[0].base;
        let errors = if round % 3 == 2 { Vec::new() } else { random_errors(&mut host, base) };
        host.drain();
        host.system.media().clear_errors();
        for error in &errors {
            host.system.media().inject_error(error.clone());
        }
        host.drivers[0].media_errors = errors;
        host.run(15_000);
    }
    host.drivers[0].media_errors.clear();
    host.drain();
    host.system.media().clear_errors();
    host.run(20_000);
    host.verify();
    let [ended, failed] = host.drivers[0].ended;
    assert!(ended > 1000 && failed > 100, "{ended} commands succeeded, {failed} failed");
    assert_eq!(host.drivers[1].ended[1], 0, "the other function's volume has no errors");
}
