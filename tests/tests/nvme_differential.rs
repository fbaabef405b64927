//! Random NVMe commands: the model against itself, which must agree, and against itself with a planted error,
//! which must not.

use std::sync::Arc;
use std::thread;

use nitride_abi::card::PF_STORAGE;
use nitride_driver::VfioUser;
use nitride_tests::differential::{self, Mismatch, NAMESPACES};
use nitride_tests::nvme_model::{Controller, ModelFunction, Namespace};
use nitride_tests::reference_server::ReferenceServer;

/// The seed: `NITRIDE_SEED`, or one that is the same every time.
fn seed() -> u64 {
    std::env::var("NITRIDE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

#[test]
fn the_model_agrees_with_itself_on_ten_thousand_commands() {
    let tested = Arc::new(differential::reference(PF_STORAGE));
    let report = differential::run(tested, seed(), 10_000).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    println!("{report:?}");
    // A run that hardly does anything would agree too.
    assert!(report.commands >= 10_000 && report.resets >= 10 && report.depth >= 16);
    assert!((report.commands / 2..report.commands * 19 / 20).contains(&report.succeeded));
}

#[test]
fn the_model_agrees_with_itself_across_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("function.sock");
    let server = ReferenceServer::bind(&socket, Arc::new(differential::reference(PF_STORAGE))).unwrap();
    let server = thread::spawn(move || server.serve().unwrap());
    let tested = Arc::new(VfioUser::open(&socket).unwrap());
    differential::run(tested, seed(), 1_000).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    server.join().unwrap();
}

/// Runs on a controller whose namespaces were changed.
fn run_with(change: impl Fn(usize, Namespace) -> Namespace, function: u8) -> Mismatch {
    let namespaces = std::array::from_fn(|index| {
        let shape = NAMESPACES[index]?;
        let namespace = Namespace::new(shape.blocks, shape.format);
        Some(change(index, if shape.read_only { namespace.read_only() } else { namespace }))
    });
    let tested = ModelFunction::new("with an error", Controller::new(function, namespaces));
    differential::run(Arc::new(tested), seed(), 10_000).expect_err("an error was planted")
}

#[test]
fn a_namespace_that_is_one_block_too_long_is_found() {
    let mismatch = run_with(
        |index, n| if index == 0 { Namespace::new(n.blocks() + 1, n.format()) } else { n },
        PF_STORAGE,
    );
    println!("{mismatch}");
}

#[test]
fn a_namespace_that_lost_its_write_protection_is_found() {
    let mismatch =
        run_with(|index, n| if index == 3 { Namespace::new(n.blocks(), n.format()) } else { n }, PF_STORAGE);
    println!("{mismatch}");
}

#[test]
fn a_wrong_byte_on_the_medium_is_found() {
    let wrong = |index, n: Namespace| {
        let mut data = n.data().to_vec();
        if index == 3 {
            data[100] = 1;
            return Namespace::with_data(data, n.format()).read_only();
        }
        n
    };
    let mismatch = run_with(wrong, PF_STORAGE);
    assert!(mismatch.detail.contains("is 0x01 instead of 0x00"), "{mismatch}");
}

#[test]
fn another_functions_identity_is_found() {
    let mismatch = run_with(|_, n| n, PF_STORAGE + 14);
    assert!(mismatch.detail.contains("opcode 06h"), "{mismatch}");
}
