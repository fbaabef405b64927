//! What a user gets for input that cannot be: one line that says what to do, an exit code, and nothing half-made.

use std::path::Path;
use std::process::{Command, Output};

fn nitride(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nitride")).args(arguments).current_dir(folder).output().unwrap()
}

/// Runs `nitride run` with a `vm.toml` and expects one line of error that contains all of `expected`.
fn refused(toml: &str, arguments: &[&str], expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vm.toml"), toml).unwrap();
    std::fs::write(folder.path().join("kernel"), "no kernel").unwrap();
    let output = nitride(folder.path(), &[&["run", "vm.toml"], arguments].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with("nitride: ") && output.stdout.is_empty(), "{error}");
    for text in expected {
        assert!(error.contains(text), "`{text}` is missing in: {error}");
    }
    let mut left: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["kernel", "vm.toml"]);
}

#[test]
fn a_description_that_is_wrong_is_named_by_line_and_key() {
    refused("kernel = 'kernel'\ncpuz = 2\n", &[], &["vm.toml:2", "unknown field `cpuz`"]);
    refused("kernel = 'kernel'\nmemory = 'lots'\n", &[], &["vm.toml:2", "`lots` is not a size"]);
    refused("kernel = [\n", &[], &["vm.toml:"]);
}

#[test]
fn machines_that_cannot_be_are_refused() {
    refused("", &[], &["no kernel", "--kernel"]);
    refused("kernel = 'kernel'\n", &["--cpus", "9"], &["cpus = 9", "1 to 8"]);
    refused("kernel = 'kernel'\n", &["--memory", "16M"], &["too small", "at least 32 MiB"]);
    refused("kernel = 'kernel'\n", &["--memory", "8000G"], &["too large"]);
}

#[test]
fn a_missing_file_is_named() {
    refused("kernel = 'vmlinux'\n", &[], &["cannot read the kernel", "vmlinux", "No such file"]);
    refused("kernel = 'kernel'\ninitrd = 'initrd'\n", &[], &["cannot read the initrd", "No such file"]);
    refused("kernel = '/'\n", &[], &["cannot read the kernel /", "is a directory"]);
    let folder = tempfile::tempdir().unwrap();
    let output = nitride(folder.path(), &["run", "absent.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read absent.toml"));
}

#[test]
fn where_kvm_works_an_absent_socket_and_a_file_that_is_no_kernel_are_refused_and_elsewhere_kvm_is() {
    let verdict = nitride::probe::probe();
    let expected: [&[&str]; 2] = if verdict.usable {
        [&["absent.sock"], &["is no kernel that can be booted here"]]
    } else {
        eprintln!("KVM is not usable here: only that error is tested");
        [&["KVM cannot run a guest", "cargo xtask lab"]; 2]
    };
    let toml = "kernel = 'kernel'\napi_socket = 'api'\nstats = 'stats'\n";
    refused(toml, &["--function", "absent.sock"], expected[0]);
    refused(toml, &[], expected[1]);
}

#[test]
fn usage_errors_have_an_exit_code_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(nitride(folder.path(), &["run", "--no-such-flag"]).status.code(), Some(2));
    assert_eq!(nitride(folder.path(), &["run", "--memory", "12 parsecs"]).status.code(), Some(2));
}
