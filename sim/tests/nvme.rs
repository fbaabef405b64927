//! The RTL's NVMe functions, used by the driver through endpoints.

use std::sync::Arc;
use std::time::Duration;

use nitride_abi::card::{PF_MANAGEMENT, VF_STORAGE_FIRST};
use nitride_driver::management::{Management, Volume};
use nitride_driver::nvme::{Command, Nvme, Options as NvmeOptions, Wait};
use nitride_sim::{Card, LinkOptions, Options, Simulator};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const BLOCKS: u64 = 8192;
const LEN: u64 = 512 * BLOCKS;

fn start(file: &tempfile::NamedTempFile, options: Options) -> Simulator {
    file.as_file().set_len(2 * LEN).unwrap();
    let simulator = Simulator::start(Box::new(Card::new()), options).unwrap();
    let path = file.path().to_path_buf();
    simulator.with(move |system| system.media().attach(0, &path, false)).unwrap().unwrap();
    let management = Management::open(Arc::new(simulator.endpoint(PF_MANAGEMENT).unwrap())).unwrap();
    for controller in 1..=2u8 {
        let base = u64::from(controller - 1) * LEN;
        management
            .set_volume(controller, 1, Volume { base, blocks: BLOCKS, large_blocks: false, read_only: false })
            .unwrap();
    }
    simulator
}

fn open(simulator: &Simulator, function: u8, wait: Wait) -> Nvme {
    let options = NvmeOptions { wait, timeout: Duration::from_mins(2), ..NvmeOptions::default() };
    Nvme::open(Arc::new(simulator.endpoint(function).unwrap()), options).unwrap()
}

#[test]
fn two_functions_write_and_read_their_own_volumes() {
    for (wait, stall_percent, extended_tags) in [(Wait::Interrupt, 0, true), (Wait::Poll, 20, false)] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let link = LinkOptions { stall_percent, extended_tags, ..LinkOptions::default() };
        let simulator = start(&file, Options { link, seed: 1, ..Options::default() });
        std::thread::scope(|scope| {
            for index in 0..2u8 {
                let (simulator, file) = (&simulator, &file);
                scope.spawn(move || {
                    let mut rng = SmallRng::seed_from_u64(u64::from(index));
                    let nvme = open(simulator, VF_STORAGE_FIRST + index, wait);
                    let queue = nvme.queue_pair(0).unwrap();
                    let (from, to) = (nvme.allocate(1 << 18).unwrap(), nvme.allocate(1 << 18).unwrap());
                    for blocks in [1u32, 8, 9, 64, 255] {
                        let len = 512 * blocks as usize;
                        let data: Vec<u8> = (0..len).map(|_| rng.random()).collect();
                        let (offset, lba) = (
                            4 * rng.random_range(0..2000usize),
                            rng.random_range(0..BLOCKS - u64::from(blocks)),
                        );
                        from.write(offset, &data).unwrap();
                        let write = Command::Write {
                            namespace: 1,
                            lba,
                            blocks,
                            buffer: &from,
                            offset,
                            durable: false,
                        };
                        queue.execute(&write).unwrap();
                        queue.execute(&Command::Flush { namespace: 1 }).unwrap();
                        let disk = std::fs::read(file.path()).unwrap();
                        let at = (u64::from(index) * LEN + 512 * lba) as usize;
                        assert!(disk[at..at + len] == data, "{blocks} blocks at {lba} on the image");
                        queue
                            .execute(&Command::Read { namespace: 1, lba, blocks, buffer: &to, offset: 8 })
                            .unwrap();
                        let mut got = vec![0; len];
                        to.read(8, &mut got).unwrap();
                        assert!(got == data, "{blocks} blocks at {lba}");
                    }
                });
            }
        });
        let counters = simulator.counters().unwrap();
        let violations = simulator.with(|system| system.violations().to_vec()).unwrap();
        assert!(violations.is_empty(), "{violations:?}");
        assert!(counters.functions.iter().all(|function| function.faults == 0));
        println!("{} cycles, {:.0} kHz", counters.simulated, simulator.speed().unwrap().kilohertz());
    }
}
