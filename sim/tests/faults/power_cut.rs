//! What was flushed is there after a power cut.

use nitride_abi::card::VF_STORAGE_FIRST;
use nitride_sim::{MediaOptions, Options};

use crate::disk::Disk;
use crate::host::{BLOCKS, Host};

const CUTS: u64 = 60;

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_flushed_and_tears_no_block() {
    let image = tempfile::NamedTempFile::new().unwrap();
    let mut disks = vec![Disk::new(BLOCKS, true); 2];
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..CUTS {
        println!("seed {seed}");
        let media = MediaOptions { volatile: true, ..MediaOptions::default() };
        let functions = [VF_STORAGE_FIRST, VF_STORAGE_FIRST + 1];
        let mut host =
            Host::boot(image.path(), Options { seed, media, ..Options::default() }, &functions, disks);
        let cycles = host.moment(8000);
        host.run(cycles);
        let sums;
        (disks, sums) = host.power_cut();
        lost += sums[0];
        kept += sums[1];
    }
    assert!(
        lost > 1000 && kept > 1000,
        "the cuts came at bad moments: {lost} blocks lost, {kept} kept what was not durable"
    );
}
