//! The lab, through the command that everybody uses. Each test boots it once.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// `cargo xtask lab` with `arguments`; nothing where the lab is not set up.
fn lab(arguments: &[&str]) -> Option<Output> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
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

#[test]
#[ignore = "boots a machine: 20 s"]
fn lab_linux_drives_the_model_outside_of_it_with_its_own_nvme_driver() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, image) = (folder.path().join("socket"), folder.path().join("image"));
    std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let model = PathBuf::from(env!("CARGO_BIN_EXE_nvme-model"));
    let mut server = Command::new(model).args([&socket, &image]).spawn().unwrap();
    while !socket.exists() {
        assert!(server.try_wait().unwrap().is_none(), "the model's server ended");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let script =
        "mkfs.ext4 -q /dev/nvme0n1 && mount /dev/nvme0n1 /mnt && cp /bin/busybox /mnt && umount /mnt &&
        sha256sum /bin/busybox";
    let outcome = lab(&["--function", &path(&socket), "--", "sh", "-c", script]);
    let Some(output) = outcome else { return server.kill().unwrap() };
    assert!(output.status.success(), "{}", text(&output.stderr));
    // The server writes the image when QEMU hangs up.
    assert!(server.wait().unwrap().success());
    let check = Command::new("e2fsck").arg("-fn").arg(&image).output().unwrap();
    assert!(check.status.success(), "{}", text(&check.stdout));
    let copy = folder.path().join("copy");
    let dump = format!("dump /busybox {}", copy.display());
    assert!(Command::new("debugfs").args(["-R", &dump]).arg(&image).output().unwrap().status.success());
    let sum = Command::new("sha256sum").arg(&copy).output().unwrap();
    assert_eq!(text(&sum.stdout).split(' ').next(), text(&output.stdout).split(' ').next());
}
