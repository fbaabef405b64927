//! What a user gets for input that cannot be: one line that says what to do, an exit code, and nothing half-made.
//! The tables in `docs/vmm.md` and `docs/daemon.md` list the same; what needs a working KVM is tested in the lab.

use std::ffi::OsString;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn nitride(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nitride")).args(arguments).current_dir(folder).output().unwrap()
}

/// What is below a folder.
fn contents(folder: &Path) -> Vec<OsString> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        }
        found.push(path.into());
    }
    found.sort();
    found
}

/// Runs `nitride` in `folder` and expects one line of error that contains all of `expected`, and an untouched folder.
fn refused_in(folder: &TempDir, arguments: &[&str], expected: &[&str]) {
    let before = contents(folder.path());
    let output = nitride(folder.path(), arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with("nitride: ") && output.stdout.is_empty(), "{error}");
    for text in expected {
        assert!(error.contains(text), "`{text}` is missing in: {error}");
    }
    assert_eq!(contents(folder.path()), before);
}

/// A folder with a file.
fn folder(name: &str, text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), text).unwrap();
    folder
}

/// `nitride run` with this `vm.toml`, beside a file that is no kernel.
fn refused(toml: &str, arguments: &[&str], expected: &[&str]) {
    let folder = folder("vm.toml", toml);
    std::fs::write(folder.path().join("kernel"), "no kernel").unwrap();
    refused_in(&folder, &[&["run", "vm.toml"], arguments].concat(), expected);
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
    refused_in(&folder("file", ""), &["run", "absent.toml"], &["cannot read absent.toml", "No such file"]);
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
fn a_daemon_that_is_not_there_is_missed() {
    let folder = folder("file", "");
    for socket in ["absent.sock", "file"] {
        let expected = [socket, "is `nitride card` running there?"];
        refused_in(&folder, &["nvme", "id", "--on", socket], &expected);
    }
    let expected = ["absent.sock", "is the card daemon (`nitride card`) running?"];
    refused_in(&folder, &["ctl", "--socket", "absent.sock", "functions"], &expected);
    let expected = ["absent.sock", "is the virtual machine (`nitride run`) running?"];
    refused_in(&folder, &["vm", "--socket", "absent.sock", "status"], &expected);
}

#[test]
fn usage_errors_have_an_exit_code_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(nitride(folder.path(), &["run", "--no-such-flag"]).status.code(), Some(2));
    assert_eq!(nitride(folder.path(), &["run", "--memory", "12 parsecs"]).status.code(), Some(2));
}

/// `nitride card` with this `card.toml`.
#[cfg(feature = "sim")]
fn card_refused(toml: &str, expected: &[&str]) {
    refused_in(&folder("card.toml", toml), &["card", "card.toml"], expected);
}

#[cfg(feature = "sim")]
const VOLUME: &str = "sockets = 'run/sockets'\n[[volume]]\nname = 'alice'\nimage = 'alice.img'\n";

#[cfg(feature = "sim")]
#[test]
fn a_card_that_is_described_wrongly_is_refused() {
    card_refused("socket = 's'\n", &["configuration card.toml: line 1: unknown field `socket`"]);
    card_refused("sockets = 7\n", &["configuration card.toml: line 1"]);
    card_refused(&format!("{VOLUME}function = 'vf9'\n"), &["line 5", "use pf2 or vf0 to vf7"]);
    let expected = ["configuration absent.toml: No such file"];
    refused_in(&folder("file", ""), &["card", "absent.toml"], &expected);
}

#[cfg(feature = "sim")]
#[test]
fn an_image_that_cannot_be_a_volume_is_refused_and_none_is_made_for_the_others() {
    card_refused(VOLUME, &["volume alice: image alice.img: no such file; give a size to have it created"]);
    let other = "[[volume]]\nname = 'bob'\nimage = 'bob.img'\n";
    card_refused(&format!("{VOLUME}size = '1 MiB'\n{other}"), &["volume bob: image bob.img: no such file"]);
    let folder = folder("card.toml", &format!("{VOLUME}size = '64 MiB'\n"));
    std::fs::write(folder.path().join("alice.img"), vec![0; 1 << 20]).unwrap();
    let expected = ["volume alice: image alice.img is too small: 1048576 bytes, size says 67108864"];
    refused_in(&folder, &["card", "card.toml"], &expected);
}

#[cfg(feature = "sim")]
#[test]
fn what_another_process_uses_is_refused() {
    let folder = folder("card.toml", &format!("{VOLUME}size = '1 MiB'\n"));
    std::fs::create_dir_all(folder.path().join("run/sockets")).unwrap();
    let control = UnixListener::bind(folder.path().join("run/sockets/control.sock")).unwrap();
    let expected = ["run/sockets/control.sock: another daemon serves it: stop that one"];
    refused_in(&folder, &["card", "card.toml"], &expected);
    drop(control);
    std::fs::remove_dir_all(folder.path().join("run")).unwrap();

    let image = std::fs::File::create(folder.path().join("alice.img")).unwrap();
    image.set_len(1 << 20).unwrap();
    image.lock().unwrap();
    refused_in(&folder, &["card", "card.toml"], &["alice.img: in use by another process (stop it"]);
}

#[test]
fn a_topology_that_is_wrong_starts_nothing() {
    let vm = "[[vm]]\nname = 'alice'\nfile = 'vm.toml'\n";
    for (text, part) in [
        (format!("{vm}colour = 'red'\n"), "topology topology.toml: line 4: unknown field `colour`"),
        (format!("card = 'absent.toml'\n{vm}"), "there is no absent.toml"),
        (vm.replace("vm.toml", "other.toml"), "there is no other.toml"),
        (
            format!("card = 'card.toml'\n{vm}"),
            "the card did not start (exit status: 1): configuration card.toml: line 1",
        ),
    ] {
        let folder = folder("topology.toml", &text);
        std::fs::write(folder.path().join("vm.toml"), "").unwrap();
        std::fs::write(folder.path().join("card.toml"), "cockets = 's'\n").unwrap();
        let before = contents(folder.path());
        let output = nitride(folder.path(), &["up", "topology.toml"]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
        assert!(error.contains(part), "{error}");
        assert_eq!(contents(folder.path()), before);
    }
}
