//! A host that does not complete the card's reads, or not as it should.

use nitride_abi::card::VF_STORAGE_FIRST;
use nitride_sim::{Options, ReadFault, ReadFaultKind};
use rand::Rng;

use crate::controller::DEPTH;
use crate::disk::Disk;
use crate::host::{BLOCKS, Host};

/// Slots whose data has a hole.
const HOLES: usize = 6;

#[test]
fn a_read_that_the_host_fails_or_forgets_ends_its_command_alone() {
    let image = tempfile::NamedTempFile::new().unwrap();
    let functions = [VF_STORAGE_FIRST, VF_STORAGE_FIRST + 1];
    let disks = vec![Disk::new(BLOCKS, false); 2];
    let seed = 11;
    println!("seed {seed}");
    let mut host = Host::boot(image.path(), Options { seed, ..Options::default() }, &functions, disks);
    for kind in [
        ReadFaultKind::UnsupportedRequest,
        ReadFaultKind::CompleterAbort,
        ReadFaultKind::Poisoned,
        ReadFaultKind::Dropped,
        ReadFaultKind::Truncated,
    ] {
        println!("{kind:?}");
        host.drain();
        let failed = host.drivers[0].ended[1];
        for _ in 0..HOLES {
            let slot = host.rng.random_range(0..DEPTH);
            let area = host.drivers[0].controller.data_area(slot);
            let start = area.start + host.rng.random_range(0..6 * 1024) / 4 * 4;
            let range = start..start + host.rng.random_range(1..300);
            host.drivers[0].unreadable.push(range.clone());
            host.system.fail_reads(ReadFault { function: VF_STORAGE_FIRST, range, kind });
        }
        host.run(30_000);
        host.drain();
        host.drivers[0].unreadable.clear();
        host.system.clear_read_faults();
        assert!(host.drivers[0].ended[1] > failed + 2, "{kind:?} met no command");
        host.run(10_000);
    }
    host.verify();
    assert!(host.drivers[0].ended[0] > 1000, "{} commands succeeded", host.drivers[0].ended[0]);
    assert_eq!(host.drivers[1].ended[1], 0, "the other function's reads are completed");
}
