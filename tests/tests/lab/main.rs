//! The lab, through the command that everybody uses. Each test boots it once.

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
