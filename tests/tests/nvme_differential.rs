//! Random NVMe commands: the model against itself, which must agree, and against itself with a planted error,
//! which must not.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nitride_abi::card::PF_STORAGE;
use nitride_driver::VfioUser;
use nitride_tests::differential::{self, Fault, Faulty, Mismatch, NAMESPACES, Subject};
use nitride_tests::nvme_model::{Controller, ModelFunction, Namespace};
use nitride_tests::reference_server::ReferenceServer;

/// The seed: `NITRIDE_SEED`, or one that is the same every time.
fn seed() -> u64 {
    std::env::var("NITRIDE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

#[test]
fn the_model_agrees_with_itself_on_ten_thousand_commands() {
    let tested = Arc::new(differential::reference(PF_STORAGE));
    let changed = tested.clone();
    let touch = move |nsid: u32| {
        let namespace =
            changed.with_controller(|controller| controller.namespaces[nsid as usize - 1].clone());
        changed.change_namespace(nsid, namespace);
        Ok(())
    };
    let subject = Subject { touch: Some(Box::new(touch)), interrupt: true, ..Subject::new(tested) };
    let report =
        differential::run_on(subject, seed(), 10_000).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    println!("{report:?}");
    // A run that hardly does anything would agree too.
    assert!(report.commands >= 10_000 && report.resets >= 10 && report.depth >= 16);
    assert!(report.events >= 10 && report.interrupted >= 10);
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

/// Runs on a function that goes wrong once.
fn run_faulty(fault: Fault) -> Mismatch {
    let tested = Arc::new(Faulty::new(differential::reference(PF_STORAGE), fault, 200));
    let subject = Subject { patience: Duration::from_millis(200), ..Subject::new(tested) };
    let mismatch = differential::run_on(subject, seed(), 10_000).expect_err("a fault was planted");
    println!("{fault:?}: {mismatch}");
    mismatch
}

#[test]
fn a_wrong_bit_of_data_is_found() {
    let mismatch = run_faulty(Fault::DataBit);
    assert!(mismatch.detail.contains("of memory is"), "{mismatch}");
}

#[test]
fn a_wrong_status_is_found() {
    let mismatch = run_faulty(Fault::Status);
    assert!(mismatch.detail.contains("instead of"), "{mismatch}");
}

#[test]
fn a_phase_tag_that_does_not_change_is_found() {
    let mismatch = run_faulty(Fault::Phase);
    assert!(mismatch.detail.contains("completions instead of"), "{mismatch}");
}

#[test]
fn a_completion_of_another_command_is_found() {
    let mismatch = run_faulty(Fault::Identifier);
    assert!(mismatch.detail.contains("nothing instead of"), "{mismatch}");
}

#[test]
fn interrupts_that_stop_are_found() {
    let mismatch = run_faulty(Fault::Interrupts);
    assert!(mismatch.detail.contains("interrupt vectors"), "{mismatch}");
}
