//! The device's part of virtio 1.2 (§7), clause by clause, on the Verilated card. `docs/conformance.md` has the list.
//!
//! Registers and rings are accessed here by themselves, not by the driver's code; only the other end of a frame is our driver.

mod network;
mod pci;
mod queues;
mod raw;
mod registers;

use std::collections::BTreeSet;
use std::path::Path;

/// The table in the documentation names the tests that there are, and no others.
#[test]
fn the_table_names_every_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("../docs/conformance.md")).unwrap();
    let named: BTreeSet<String> = table
        .split('`')
        .filter(|word| ["network::", "pci::", "queues::", "registers::"].iter().any(|m| word.starts_with(m)))
        .map(str::to_owned)
        .collect();
    let mut written = BTreeSet::new();
    for module in ["network", "pci", "queues", "registers"] {
        let source = root.join(format!("tests/virtio_conformance/{module}.rs"));
        let text = std::fs::read_to_string(source).unwrap();
        let tests = text.split("#[test]\nfn ").skip(1).map(|rest| rest.split('(').next().unwrap());
        written.extend(tests.map(|name| format!("{module}::{name}")));
    }
    assert_eq!(named, written);
}
