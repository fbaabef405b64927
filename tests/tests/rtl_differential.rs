//! Random NVMe commands: the RTL against the model.

use std::sync::Arc;

use nitride_abi::card::{PF_MANAGEMENT, VF_STORAGE_FIRST, VFS, controller_of};
use nitride_driver::management::Management;
use nitride_sim::{Card, Options, Simulator};
use nitride_tests::differential;

/// A number from the environment, or what it is without one.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn the_card_answers_random_commands_as_the_model_does() {
    let (seed, commands) = (number("NITRIDE_SEED", 1), number("NITRIDE_COMMANDS", 10_000));
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(64 << 20).unwrap();
    let simulator = Simulator::start(Box::new(Card::new()), Options { seed, ..Options::default() }).unwrap();
    let path = image.path().to_path_buf();
    simulator.with(move |system| system.media().attach(0, &path, false)).unwrap().unwrap();
    let card = Management::open(Arc::new(simulator.endpoint(PF_MANAGEMENT).unwrap())).unwrap();
    let function = VF_STORAGE_FIRST;
    differential::attach(&card, controller_of(function, VFS).unwrap(), 1 << 20).unwrap();
    let tested = Arc::new(simulator.endpoint(function).unwrap());
    let report = differential::run_as(function, tested, seed, commands as usize);
    let report = report.unwrap_or_else(|mismatch| panic!("{mismatch}"));
    let violations = simulator.with(|system| system.violations().to_vec()).unwrap();
    assert!(violations.is_empty(), "{violations:?}");
    println!("{report:?}, {} cycles", simulator.counters().unwrap().simulated);
}
