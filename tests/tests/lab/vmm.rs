//! `nitride run` on the lab's KVM: what it boots, how it ends, and a guest with two functions of the simulated card.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{lab, nitride, path, root, text};

/// A file of this test, beside its source.
fn source(name: &str) -> String {
    path(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab").join(name))
}

/// Runs `script` on the lab's host, with `guest` as the job of its guests. The lines `NAME: TEXT` that it prints, by name.
fn host(
    script: &str,
    guest: &str,
    inputs: &[String],
    arguments: &[String],
) -> Option<BTreeMap<String, String>> {
    let inputs =
        [&[nitride()?, source(script), format!("{}:/lab/guest/job/start", source(guest))], inputs].concat();
    let mut given: Vec<&str> = inputs.iter().flat_map(|input| ["--in", input]).collect();
    given.extend(["--", "sh", script]);
    given.extend(arguments.iter().map(String::as_str));
    let output = lab(&given)?;
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    println!("{said}{errors}");
    assert!(output.status.success(), "{:?}", output.status);
    let lines = said.lines().filter_map(|line| line.split_once(": "));
    Some(lines.map(|(name, text)| (name.to_owned(), text.trim().to_owned())).collect())
}

fn expect(said: &BTreeMap<String, String>, name: &str, parts: &[&str]) {
    let line = said.get(name).unwrap_or_else(|| panic!("nothing was said about {name}"));
    for part in parts {
        assert!(line.contains(part), "{name}: {line}: no `{part}`");
    }
}

/// Where in an ELF file the types of its note segments are.
fn notes(elf: &[u8]) -> Vec<String> {
    const PT_NOTE: u32 = 4;
    let number = |at: usize, len: usize| {
        elf[at..at + len].iter().rev().fold(0usize, |value, byte| value << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let headers = (0..count).map(|index| table + index * size);
    headers.filter(|at| number(*at, 4) == PT_NOTE as usize).map(|at| at.to_string()).collect()
}

#[test]
#[ignore = "boots seven machines in a machine: a minute"]
fn lab_guests_of_every_kind_of_kernel_end_with_the_status_of_what_they_did() {
    let kernel = root().join(".lab/kernel");
    let images: Vec<PathBuf> = std::fs::read_dir(kernel.join("boot"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|image| image.to_string_lossy().contains("vmlinuz"))
        .collect();
    let Some(image) = images.first() else {
        println!("skipped: the lab is not set up here; `cargo xtask setup` does that");
        return;
    };
    let notes = notes(&std::fs::read(kernel.join("vmlinux")).unwrap());
    assert!(!notes.is_empty());
    let inputs = [format!("{}:/lab/bzImage", path(image))];
    let Some(said) = host("kernels.sh", "kernels-guest.sh", &inputs, &notes) else { return };
    expect(&said, "pvh", &["status 0", "4 processors", "APIC", "DSDT", "FACP", "MCFG"]);
    expect(&said, "bzimage", &["status 3", "1 processors"]);
    expect(&said, "elf", &["status 4", "8 processors"]);
    expect(&said, "crashed", &["nitride: the guest crashed: triple fault"]);
    expect(&said, "panic", &["status 3"]);
    expect(&said, "button", &["status 0", "guest saw the power button"]);
    expect(&said, "button status", &["cpus: 1", "memory: 268435456", "state: running"]);
    expect(&said, "button exits", &["\"port_write\":", "\"total\":"]);
    expect(&said, "typed", &["status 0", "guest got: forty-two"]);
    expect(&said, "api", &["status 0"]);
    expect(&said, "sigterm", &["status 143"]);
    expect(&said, "sigint", &["status 130"]);
    expect(&said, "left", &["0 sockets"]);
    expect(&said, "no kernel", &["status 1", "nitride: kernels.sh is no kernel that can be booted here"]);
    expect(
        &said,
        "busy api",
        &["status 1", "the API socket busy.sock is in use by another process: give another"],
    );
    expect(
        &said,
        "no daemon",
        &["status 1", "connecting to absent.sock: No such file", "is `nitride card` running"],
    );
}

#[test]
#[ignore = "boots a machine in a machine, with the card simulated there: a minute"]
fn lab_guest_uses_two_functions_of_the_card_and_moves_their_bars() {
    let Some(said) = host("functions.sh", "functions-guest.sh", &[], &[]) else { return };
    expect(&said, "guest", &["status 0"]);
    expect(&said, "functions", &["0000:00:00.0 0000:00:01.0 0000:00:02.0"]);
    expect(&said, "first disk", &["ok"]);
    expect(&said, "second disk", &["ok"]);
    expect(&said, "moved", &["old place 0xFFFFFFFF", "new place as before"]);
    expect(&said, "found again", &["ok"]);
    expect(&said, "busy function", &["status 1", "opening sockets/vf0.sock: busy with another client"]);
    expect(&said, "daemon", &["status 0"]);
    expect(&said, "alice", &["ok"]);
    expect(&said, "bob", &["ok"]);
}

#[test]
#[ignore = "boots two machines in a machine, with the card simulated there: a minute"]
fn lab_up_starts_a_card_and_its_machine_and_takes_both_down() {
    let Some(said) = host("up.sh", "up-guest.sh", &[], &[]) else { return };
    expect(&said, "status", &["0"]);
    expect(&said, "alice | guest disk", &["written"]);
    expect(&said, "alice | guest network", &["3 packets transmitted, 3 packets received"]);
    expect(&said, "card", &["card | card stopped: "]);
    expect(&said, "left", &["0 sockets", "alice.log card.log"]);
    expect(&said, "disk", &["ok"]);
    expect(&said, "interrupted", &["status 130, 0 sockets, 0 processes"]);
}
