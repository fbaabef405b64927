//! The lab, through the command that everybody uses. Each test boots it once.

mod network;
mod vmm;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The root of the checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The `nitride` that is built beside the tests; nothing where it is not.
fn nitride() -> Option<String> {
    let nitride = Path::new(env!("CARGO_BIN_EXE_nvme-model")).with_file_name("nitride");
    if !nitride.exists() {
        println!("skipped: {} is not built; `cargo build -p nitride` does that", nitride.display());
        return None;
    }
    Some(path(&nitride))
}

/// `cargo xtask lab` with `arguments`; nothing where the lab is not set up.
fn lab(arguments: &[&str]) -> Option<Output> {
    let root = root();
    if !root.join(".lab/qemu").exists() && !root.join(".lab/kernel").exists() {
        println!("skipped: the lab is not set up here; `cargo xtask setup` does that");
        return None;
    }
    let mut xtask = Command::new(env!("CARGO"));
    xtask.args(["run", "--quiet", "--locked", "--package", "xtask", "--", "lab"]).args(arguments);
    Some(xtask.current_dir(root).stdin(Stdio::null()).output().expect("cargo runs"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A shell word without what a shell or an option of the lab would take apart.
fn path(path: &Path) -> String {
    path.to_str().expect("a temporary folder has a plain name").to_owned()
}

#[test]
#[ignore = "boots a machine: 15 s"]
fn lab_has_kvm_vfio_and_an_iommu_and_hands_back_status_output_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input");
    std::fs::write(&input, "from outside").unwrap();
    let back = folder.path().join("back");
    let script = "test -c /dev/kvm && test -c /dev/vfio/vfio && ls /sys/kernel/iommu_groups | wc -l
        mkdir result && cp input result/copy && echo complaint >&2; exit 42";
    let given =
        ["--in", &path(&input), "--out", &format!("result:{}", path(&back)), "--", "sh", "-c", script];
    let Some(output) = lab(&given) else { return };
    assert_eq!(output.status.code(), Some(42), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).trim().parse::<u32>().is_ok_and(|groups| groups > 2),
        "{}",
        text(&output.stdout)
    );
    assert!(text(&output.stderr).lines().any(|line| line == "complaint"), "{}", text(&output.stderr));
    assert_eq!(std::fs::read_to_string(back.join("copy")).unwrap(), "from outside");
}

/// The model, served on a socket in a folder, with an empty disk.
struct Model {
    folder: tempfile::TempDir,
    server: Child,
}

impl Model {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (socket, image) = (folder.path().join("socket"), folder.path().join("image"));
        std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let mut server =
            Command::new(env!("CARGO_BIN_EXE_nvme-model")).args([&socket, &image]).spawn().unwrap();
        while !socket.exists() {
            assert!(server.try_wait().unwrap().is_none(), "the model's server ended");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Self { folder, server }
    }

    fn socket(&self) -> String {
        path(&self.folder.path().join("socket"))
    }

    /// Waits until the image is written, which is when QEMU hangs up, and takes a file out of its file system.
    fn file(&mut self, name: &str) -> Vec<u8> {
        assert!(self.server.wait().unwrap().success());
        let (image, copy) = (self.folder.path().join("image"), self.folder.path().join("copy"));
        let check = Command::new("/sbin/e2fsck").arg("-fn").arg(&image).output().unwrap();
        assert!(check.status.success(), "{}", text(&check.stdout));
        let dump = format!("dump {name} {}", copy.display());
        let dump = Command::new("/sbin/debugfs").args(["-R", &dump]).arg(&image).output().unwrap();
        std::fs::read(&copy).unwrap_or_else(|error| panic!("{error}: {}", text(&dump.stderr)))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The simulated card's daemon, outside of the lab.
struct Card {
    folder: tempfile::TempDir,
    daemon: Child,
}

impl Card {
    fn start(nitride: &str) -> Self {
        Self::with(nitride, "")
    }

    /// One with what else is to be in its file.
    fn with(nitride: &str, tables: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sockets = \"sockets\"\n{tables}");
        std::fs::write(folder.path().join("card.toml"), file).unwrap();
        let mut daemon =
            Command::new(nitride).args(["card", "card.toml"]).current_dir(folder.path()).spawn().unwrap();
        while !folder.path().join("sockets/control.sock").exists() {
            assert!(daemon.try_wait().unwrap().is_none(), "the card's daemon ended");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Self { folder, daemon }
    }

    /// The socket of a function.
    fn socket(&self, function: &str) -> String {
        let socket = self.folder.path().join(format!("sockets/{function}.sock"));
        while !socket.exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        path(&socket)
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// QEMU shows neither SR-IOV nor ARI to the lab; `sim/tests/lspci.rs` looks at these.
#[test]
#[ignore = "boots a machine: 20 s"]
fn lab_lspci_decodes_every_capability_of_the_cards_functions_without_a_complaint() {
    let Some(nitride) = nitride() else { return };
    let card = Card::start(&nitride);
    let (pf, vf) = (card.socket("pf2"), card.socket("vf0"));
    let script = "lspci -vvv -xxxx -s 01:00.0 2>&1 && echo ==== && lspci -vvv -xxxx -s 02:00.0 2>&1";
    let Some(output) = lab(&["--function", &pf, "--function", &vf, "--", "sh", "-c", script]) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    println!("{shown}");
    let (pf, vf) = shown.split_once("====").expect("two functions");
    // A VF's Link Status is reserved: its link is its PF's (PCIe 4.0 §9.3.5).
    let vf = vf.lines().filter(|line| !line.contains("LnkSta:")).collect::<Vec<_>>().join("\n");
    for complaint in ["access denied", "!!!", "nknown", "<chain", "???", "pcilib"] {
        assert!(!pf.contains(complaint) && !vf.contains(complaint), "{complaint}");
    }
    let common = [
        "Non-Volatile memory controller",
        "(64-bit, prefetchable) [size=16K]",
        "Express (v2) Endpoint, MSI 00",
        "FLReset+",
        "TimeoutDis+",
        "MSI-X: Enable+ Count=8 Masked-",
        "Vector table: BAR=0 offset=00002000",
        "Kernel driver in use: nvme",
        // The last row of extended configuration space.
        "\nff0:",
    ];
    for part in common {
        assert!(pf.contains(part) && vf.contains(part), "{part}");
    }
    for part in [
        "Power Management version 3",
        "Advanced Error Reporting",
        "AERCap:\tFirst Error Pointer: 00",
        "Device Serial Number 4e-54-00-ff-fe-00-00-01",
    ] {
        assert!(pf.contains(part), "{part}");
    }
    // IDs and, in the PF, the serial number's capability, as they lie in the dump.
    assert!(pf.contains("\n00: 54 4e 03 00") && vf.contains("\n00: 54 4e 04 00"));
    assert!(pf.contains("\n140: 03 00 01"));
}

/// What the tests put on the disk: it is the same program here and there.
fn busybox() -> Vec<u8> {
    std::fs::read("/bin/busybox").unwrap()
}

const USE_DISK: &str =
    "mkfs.ext4 -q /dev/nvme0n1 && mount /dev/nvme0n1 /mnt && cp /bin/busybox /mnt && umount /mnt";

#[test]
#[ignore = "boots a machine: 20 s"]
fn lab_linux_drives_the_model_outside_of_it_with_its_own_nvme_driver() {
    let mut model = Model::start();
    let Some(output) = lab(&["--function", &model.socket(), "--", "sh", "-c", USE_DISK]) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(model.file("/busybox") == busybox());
}

#[test]
#[ignore = "boots a machine in a machine: 40 s"]
fn lab_guest_of_the_vmm_gets_the_model_through_vfio_and_its_disk_survives() {
    let Some(nitride) = nitride() else { return };
    let mut model = Model::start();
    let script = format!(
        "mkdir -p guest/job && printf '%s\\n' '#!/bin/sh' '{USE_DISK} && echo GUEST DONE' >guest/job/start
        chmod +x guest/job/start && (cd guest && find . | cpio -o -H newc) >job.cpio
        cat /guest/base.cpio job.cpio >guest.cpio
        nitride run --kernel /guest/vmlinux --initrd guest.cpio --cmdline 'console=ttyS0 panic=-1 quiet' \\
            --memory 256M --function 0000:01:00.0"
    );
    let socket = model.socket();
    let given =
        ["--function", &socket, "--vfio", "--hugepages", "256", "--in", &nitride, "--", "sh", "-c", &script];
    let Some(output) = lab(&given) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("GUEST DONE"), "{}", text(&output.stdout));
    assert!(model.file("/busybox") == busybox());
}
