//! The card's daemon as its users meet it: processes, signals, sockets.
#![cfg(feature = "sim")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use nitride_driver::{Function, VfioUser};
use serde_json::Value;
use tempfile::TempDir;

/// Controller Configuration and its Enable bit (NVMe 1.4 §3.1.5).
const CC: u64 = 0x14;
const CC_EN: u32 = 1;

const CARD: &str = "sockets = 'sockets'
[[volume]]
name = 'alice'
image = 'alice.img'
size = '8 MiB'
function = 'vf0'
[[volume]]
name = 'bob'
image = 'bob.img'
size = '8 MiB'
function = 'vf1'
[[network]]
function = 'net0'
network = 1
mac = '02:4e:54:00:00:01'
[[network]]
function = 'net1'
network = 1
mac = '02:4e:54:00:00:02'
mtu = 1400
[[network]]
function = 'pf1'
network = 2
mac = '02:4e:54:00:00:03'
";

/// A process that does not outlive its test.
struct Process(Child);

impl Process {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nitride"));
        command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A daemon with two volumes, each on a function of its own.
struct Daemon {
    process: Process,
    folder: TempDir,
}

impl Daemon {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("card.toml"), CARD).unwrap();
        let log = ["--tlp", "card.pcapng", "--stats", "stats.json"];
        let process = Process::start(folder.path(), &[&["card", "card.toml"][..], &log].concat());
        let mut daemon = Self { process, folder };
        // The last function's socket is there when the card has booted.
        while !daemon.socket("vf7").exists() {
            assert!(daemon.process.0.try_wait().unwrap().is_none(), "the daemon ended");
            thread::sleep(Duration::from_millis(20));
        }
        daemon
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("sockets/{name}.sock"))
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nitride"));
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null()).output().unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn ask(&self, command: &str) -> Value {
        let answer = self.succeeds(&["ctl", "--json", "--socket", "sockets/control.sock", command]);
        serde_json::from_slice(&answer).unwrap()
    }

    fn commands(&self) -> u64 {
        self.ask("counters")["card"]["commands"].as_u64().unwrap()
    }

    fn connected(&self, function: &str) -> bool {
        let functions = self.ask("functions");
        let named = functions.as_array().unwrap().iter().find(|entry| entry["function"] == function);
        named.unwrap()["connected"].as_bool().unwrap()
    }

    /// Waits until the card has carried out `more` commands.
    fn works(&self, more: u64) {
        let before = self.commands();
        while self.commands() < before + more {
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Processor time of all its threads so far, in seconds (proc(5), utime and stime in ticks of 10 ms).
    fn processor_time(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.0.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
    }

    fn bench(&self, function: &str) -> Process {
        let socket = format!("sockets/{function}.sock");
        let arguments = ["nvme", "bench", "--on", &socket, "--pattern", "random-write", "--overwrite"];
        Process::start(self.folder.path(), &[&arguments[..], &["--seconds", "600"]].concat())
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * n / 7 + n) as u8).collect()
}

#[test]
fn frames_go_from_one_network_function_to_another_and_are_counted() {
    let daemon = Daemon::start();
    daemon.ask("functions");
    let json = |arguments: &[&str]| -> Value { serde_json::from_slice(&daemon.succeeds(arguments)).unwrap() };
    let info = json(&["net", "info", "--on", "sockets/net1.sock", "--json"]);
    assert_eq!((&info["mac"], &info["mtu"]), (&"02:4e:54:00:00:02".into(), &1400.into()));
    let bench = ["net", "bench", "--on", "sockets/net0.sock", "--to", "sockets/net1.sock"];
    let result = json(&[&bench[..], &["--seconds", "1", "--size", "600", "--json"]].concat());
    let frames = result["frames"].as_u64().unwrap();
    assert!(
        frames > 0 && result["lost"] == 0 && result["cycles_per_frame"].as_f64().unwrap() > 2.0,
        "{result}"
    );
    // The 100 round trips are frames, too.
    let sent = &daemon.ask("counters")["ports"]["net1"]["sent"];
    assert!(sent["packets"].as_u64().unwrap() >= frames + 100, "{sent}, {result}");
    let metrics = daemon.succeeds(&["ctl", "--socket", "sockets/control.sock", "metrics"]);
    let line = format!("nitride_port_packets_total{{port=\"net1\",event=\"sent\"}} {}", sent["packets"]);
    assert!(String::from_utf8(metrics).unwrap().lines().any(|found| found == line), "{line}");
}

#[test]
fn a_network_bench_says_what_stops_it() {
    let daemon = Daemon::start();
    daemon.ask("functions");
    for (arguments, part) in [
        (["--on", "sockets/net0.sock", "--to", "sockets/pf1.sock"], "no frame came back within 10 s"),
        (
            ["--on", "sockets/net0.sock", "--to", "sockets/vf0.sock"],
            "sockets/vf0.sock is not a network function",
        ),
        (["--on", "sim", "--to", "sockets/net1.sock"], "leave --to out"),
    ] {
        let output = daemon.run(&[&["net", "bench"][..], &arguments].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(error.contains(part) && error.lines().count() == 1, "{arguments:?}: {error}");
    }
}

#[test]
fn sigterm_makes_what_was_written_durable_and_ends_with_0() {
    let mut daemon = Daemon::start();
    let data = pattern(64 << 10);
    std::fs::write(daemon.folder.path().join("data"), &data).unwrap();
    daemon.succeeds(&["nvme", "write", "--on", "sockets/vf0.sock", "--input", "data"]);
    let id = daemon.process.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(daemon.process.0.wait().unwrap().code(), Some(0));
    let image = std::fs::read(daemon.folder.path().join("alice.img")).unwrap();
    assert!(image[..data.len()] == data);
    assert!(!daemon.folder.path().join("sockets").exists());
    let log = std::fs::read(daemon.folder.path().join("card.pcapng")).unwrap();
    assert_eq!(log[..4], [0x0a, 0x0d, 0x0d, 0x0a], "a section header block of pcapng");
    assert!(log.len() > 2 * data.len(), "all TLPs are in the log");
    let stats = std::fs::read(daemon.folder.path().join("stats.json")).unwrap();
    let stats: Value = serde_json::from_slice(&stats).unwrap();
    assert!(stats["card"]["commands"].as_u64().unwrap() >= 6 && stats["violations"] == 0, "{stats}");
}

#[test]
fn a_client_that_is_killed_leaves_its_function_reset_and_the_others_at_work() {
    let mut daemon = Daemon::start();
    let (mut dying, other) = (daemon.bench("vf0"), daemon.bench("vf1"));
    while !(daemon.connected("vf0") && daemon.connected("vf1")) {
        thread::sleep(Duration::from_millis(20));
    }
    daemon.works(500);
    dying.kill();
    while daemon.connected("vf0") {
        thread::sleep(Duration::from_millis(20));
    }
    daemon.works(500);

    let function = VfioUser::open(&daemon.socket("vf0")).unwrap();
    let mut configuration = [0; 4];
    function.bar_read(0, CC, &mut configuration).unwrap();
    assert_eq!(u32::from_le_bytes(configuration) & CC_EN, 0);
    drop(function);
    while daemon.connected("vf0") {
        thread::sleep(Duration::from_millis(20));
    }
    std::fs::write(daemon.folder.path().join("data"), [0x5a; 8192]).unwrap();
    daemon.succeeds(&["nvme", "write", "--on", "sockets/vf0.sock", "--input", "data"]);
    let read = daemon.succeeds(&["nvme", "read", "--on", "sockets/vf0.sock", "--bytes", "8192"]);
    assert!(read == [0x5a; 8192]);

    daemon.works(100);
    drop(other);
    let counters = daemon.ask("counters");
    assert_eq!((&counters["violations"], &counters["dma_faults"]), (&0.into(), &0.into()));
    daemon.ask("stop");
    assert_eq!(daemon.process.0.wait().unwrap().code(), Some(0));
}

#[test]
fn who_comes_to_a_function_in_use_is_told_so() {
    let daemon = Daemon::start();
    let function = VfioUser::open(&daemon.socket("vf0")).unwrap();
    let output = daemon.run(&["nvme", "id", "--on", "sockets/vf0.sock"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
    assert!(error.contains("sockets/vf0.sock") && error.contains("busy with another client"), "{error}");
    drop(function);
}

#[test]
fn a_volume_moves_to_another_function_by_the_control_socket_and_bad_requests_say_why() {
    let daemon = Daemon::start();
    let ctl = ["ctl", "--socket", "sockets/control.sock"];
    let refused = |arguments: &[&str], expected: &str| {
        let output = daemon.run(&[&ctl, arguments].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
        assert!(error.contains(expected), "{error}");
    };
    refused(&["attach", "bob", "vf2"], "attached to vf1 already, detach it first");
    daemon.succeeds(&[&ctl[..], &["detach", "bob"]].concat());
    refused(&["detach", "bob"], "not attached to any function");
    refused(&["attach", "bob", "vf0"], "namespace 1 of vf0 is alice already");
    refused(&["attach", "carol", "vf2"], "carol");
    refused(&["attach", "bob", "vf8"], "use pf2 or vf0 to vf7");
    daemon.succeeds(&[&ctl[..], &["attach", "bob", "vf2", "--nsid", "3"]].concat());
    let list = daemon.succeeds(&["nvme", "list", "--json", "--on", "sockets/vf2.sock"]);
    let list: Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(
        (&list[0]["namespace"]["nsid"], &list[0]["namespace"]["bytes"]),
        (&3.into(), &(8 << 20).into())
    );
}

#[test]
fn an_idle_card_takes_no_processor_time() {
    let daemon = Daemon::start();
    daemon.succeeds(&["nvme", "id", "--on", "sockets/vf0.sock"]);
    let cycles = daemon.ask("counters")["cycles"].clone();
    let before = daemon.processor_time();
    thread::sleep(Duration::from_secs(4));
    let used = daemon.processor_time() - before;
    assert!(used < 0.04, "an idle card used {used} s of 4 s");
    // Asking for the counters wakes the card: 250 cycles for each of some 60 registers.
    assert!(daemon.ask("counters")["cycles"].as_u64().unwrap() - cycles.as_u64().unwrap() < 30_000);
}

#[test]
fn a_waveform_from_a_build_without_them_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("card.toml"), "sockets = 'sockets'").unwrap();
    let arguments = ["card", "card.toml", "--trace", "card.vcd", "--trace-from", "1000000"];
    let output =
        Command::new(env!("CARGO_BIN_EXE_nitride")).args(arguments).current_dir(&folder).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && error.lines().count() == 1, "{error}");
    assert!(error.contains("card.vcd") && error.contains("--features nitride-sim/trace"), "{error}");
    assert!(!folder.path().join("card.vcd").exists() && !folder.path().join("sockets").exists());
}

#[test]
fn a_card_in_the_process_of_the_command_reads_and_writes_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let data = pattern(40 << 10);
    std::fs::write(folder.path().join("data"), &data).unwrap();
    std::fs::File::create(folder.path().join("disk.img")).unwrap().set_len(1 << 20).unwrap();
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_nitride"))
            .arg("nvme")
            .args(arguments)
            .current_dir(&folder)
            .output()
            .unwrap()
    };
    let on = ["--on", "sim", "--image", "disk.img"];
    let written = run(&[&["write", "--input", "data", "--lba", "16"][..], &on].concat());
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    assert!(std::fs::read(folder.path().join("disk.img")).unwrap()[8192..8192 + data.len()] == data);
    let list: Value = serde_json::from_slice(&run(&[&["list", "--json"][..], &on].concat()).stdout).unwrap();
    assert_eq!(list[0]["namespace"]["blocks"], 2048);
    let bench = run(&["bench", "--on", "sim", "--count", "100", "--json"]);
    let bench: Value = serde_json::from_slice(&bench.stdout).unwrap();
    assert_eq!(bench["commands"], 100);
    assert!(bench["cycles_per_command"].as_f64().unwrap() > 100.0, "{bench}");
    for (arguments, part) in [
        (&["id", "--on", "sim", "--image", "none.img"][..], "image none.img: open: No such file"),
        (&["id", "--on", "none.sock", "--image", "disk.img"], "--image is for --on sim"),
    ] {
        let output = run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(1) && error.contains(part) && error.lines().count() == 1,
            "{error}"
        );
    }
}
