//! Random NVMe commands: the RTL against the model.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nitride_abi::card::{PF_MANAGEMENT, VF_STORAGE_FIRST, VFS, controller_of};
use nitride_driver::management::{Management, Volume};
use nitride_sim::{Card, Options, Simulator};
use nitride_tests::differential::{self, Subject};

/// Bytes of the media.
const MEDIA: u64 = 64 << 20;
/// What lies on the media where no function under test has a volume.
const FOREIGN: u8 = 0xa5;

/// A number from the environment, or what it is without one.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

fn start(image: &tempfile::NamedTempFile, seed: u64) -> (Simulator, Arc<Management>) {
    image.as_file().set_len(MEDIA).unwrap();
    let simulator = Simulator::start(Box::new(Card::new()), Options { seed, ..Options::default() }).unwrap();
    let path = image.path().to_path_buf();
    simulator.with(move |system| system.media().attach(0, &path, false)).unwrap().unwrap();
    let card = Management::open(Arc::new(simulator.endpoint(PF_MANAGEMENT).unwrap())).unwrap();
    (simulator, Arc::new(card))
}

fn check_rules(simulator: &Simulator) {
    let violations = simulator.with(|system| system.violations().to_vec()).unwrap();
    assert!(violations.is_empty(), "{violations:?}");
    println!("{} cycles", simulator.counters().unwrap().simulated);
}

#[test]
fn the_card_answers_random_commands_as_the_model_does() {
    let (seed, commands) = (number("NITRIDE_SEED", 1), number("NITRIDE_COMMANDS", 10_000));
    let image = tempfile::NamedTempFile::new().unwrap();
    let (simulator, card) = start(&image, seed);
    let function = VF_STORAGE_FIRST;
    differential::attach(&card, controller_of(function, VFS).unwrap(), 1 << 20, 0).unwrap();
    let tested = Arc::new(simulator.endpoint(function).unwrap());
    let report = differential::run_on(Subject::on_card(function, tested, card), seed, commands as usize);
    let report = report.unwrap_or_else(|mismatch| panic!("{mismatch}"));
    println!("{report:?}");
    assert!(report.events > 0, "{report:?}");
    check_rules(&simulator);
}

/// Fills a range of the media with [`FOREIGN`].
fn fill(media: &File, range: Range<u64>) {
    media.write_all_at(&vec![FOREIGN; (range.end - range.start) as usize], range.start).unwrap();
}

#[test]
fn functions_answer_for_themselves_while_others_work_and_are_reset() {
    let (seed, commands) = (number("NITRIDE_SEED", 1), number("NITRIDE_COMMANDS_TOGETHER", 1_000));
    let image = tempfile::NamedTempFile::new().unwrap();
    let (simulator, card) = start(&image, seed);
    // Not PF2: its function level reset is also theirs (SR-IOV 1.1 §2.2.2).
    let functions = [VF_STORAGE_FIRST, VF_STORAGE_FIRST + 2, VF_STORAGE_FIRST + 5];
    let (mut places, mut next) = (Vec::new(), 1 << 20);
    for function in functions {
        let controller = controller_of(function, VFS).unwrap();
        places.extend(differential::attach(&card, controller, next, 64 << 10).unwrap());
        next = places.last().map_or(next, |place| place.end) + (64 << 10);
    }
    // All the rest is another tenant's.
    let mut foreign = Vec::new();
    let mut from = 0;
    for place in &places {
        foreign.push(from..place.start);
        from = place.end;
    }
    foreign.push(from..MEDIA);
    for range in &foreign {
        fill(image.as_file(), range.clone());
    }
    let tenant = controller_of(VF_STORAGE_FIRST + 1, VFS).unwrap();
    let volume = Volume { base: next, blocks: 1024, large_blocks: false, read_only: false };
    card.set_volume(tenant, 1, volume).unwrap();

    let subjects = functions.map(|function| Subject {
        interrupt: true,
        ..Subject::on_card(function, Arc::new(simulator.endpoint(function).unwrap()), card.clone())
    });
    let reports = differential::run_together(subjects.into(), seed, commands as usize);
    let reports = reports.unwrap_or_else(|mismatch| panic!("{mismatch}"));
    for report in &reports {
        println!("{report:?}");
        assert!(report.interrupted > 0, "{report:?}");
    }
    check_rules(&simulator);
    for range in foreign {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        image.as_file().read_exact_at(&mut bytes, range.start).unwrap();
        let changed = bytes.iter().position(|byte| *byte != FOREIGN);
        assert_eq!(
            changed, None,
            "after byte {:#x} of the media, which is nobody's who was at work",
            range.start
        );
    }
}
