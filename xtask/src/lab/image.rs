//! The initramfs that the lab's host and its guests share: busybox, kernel modules, and Debian's tools with
//! the libraries that they need. What the two do with it is in `/job`, which a second archive adds.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cpio::Archive;
use super::kernel::Kernel;
use crate::sh;

/// Kernel modules, without their dependencies. NVMe, ext4 and the 8250 are built in.
const MODULES: &[&str] = &[
    "kvm-amd",
    "kvm-intel",
    "vfio-pci",
    "vfio_iommu_type1",
    "virtio_pci",
    "virtio_console",
    "virtio_blk",
    "virtio_net",
    "8021q",
    "tun",
    "button",
    "evdev",
];

/// Debian's programs.
const TOOLS: &[&str] =
    &["lspci", "setpci", "nvme", "ethtool", "iperf3", "ip", "mke2fs", "e2fsck", "debugfs", "dumpe2fs"];

/// Writes the archive of everything that does not depend on the job.
pub fn base(archive: &mut Archive<impl Write>, kernel: &Kernel) -> Result<()> {
    archive.file("/init", 0o755, include_bytes!("init.sh"))?;
    archive.device("/dev/console", 5, 1)?;
    for directory in ["/proc", "/sys", "/tmp", "/run", "/root", "/mnt", "/lab", "/etc"] {
        archive.directory(directory)?;
    }
    archive.file("/etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n")?;
    archive.file("/etc/group", 0o644, b"root:x:0:\n")?;
    archive.link("/etc/mtab", "/proc/mounts")?;
    busybox(archive)?;
    modules(archive, kernel)?;
    let tools = TOOLS.iter().map(|tool| which(tool)).collect::<Result<Vec<_>>>()?;
    for tool in &tools {
        let name = tool.file_name().unwrap_or_default().to_string_lossy();
        archive.tree(&format!("/usr/bin/{name}"), tool)?;
    }
    archive.link("/usr/bin/mkfs.ext4", "mke2fs")?;
    archive.tree("/etc/mke2fs.conf", Path::new("/etc/mke2fs.conf"))?;
    let names = Path::new("/usr/share/misc/pci.ids");
    if names.exists() {
        archive.tree("/usr/share/misc/pci.ids", names)?;
    }
    libraries(archive, &tools)
}

/// Adds the shared libraries, and the loader, that `programs` need; a static program needs none.
pub fn libraries(archive: &mut Archive<impl Write>, programs: &[PathBuf]) -> Result<()> {
    let mut libraries = BTreeSet::new();
    for program in programs {
        // ldd fails for a static program and for a script.
        let Ok(list) = sh::output(sh::command("ldd").arg(program).stderr(std::process::Stdio::null())) else {
            continue;
        };
        let words = list.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':'));
        libraries.extend(words.map(str::to_owned));
    }
    for library in libraries {
        archive.file(
            &library,
            0o755,
            &fs::read(&library).with_context(|| format!("cannot read {library}"))?,
        )?;
    }
    Ok(())
}

/// Where a program is, the folders for administrators included.
fn which(program: &str) -> Result<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let mut places = folders.iter().map(|folder| Path::new(folder).join(program));
    places
        .find(|place| place.exists())
        .with_context(|| format!("lab: no {program} here; run `cargo xtask setup`"))
}

fn busybox(archive: &mut Archive<impl Write>) -> Result<()> {
    let busybox = which("busybox")?;
    let applets = sh::output(sh::command(&busybox).arg("--list"))?;
    archive.file("/bin/busybox", 0o755, &fs::read(&busybox)?)?;
    for applet in applets.lines().filter(|&applet| applet != "busybox") {
        archive.link(&format!("/bin/{applet}"), "busybox")?;
    }
    Ok(())
}

fn modules(archive: &mut Archive<impl Write>, kernel: &Kernel) -> Result<()> {
    let index = fs::read_to_string(kernel.modules.join("modules.dep"))
        .context("lab: the downloaded kernel is not complete; remove .lab/kernel and run this again")?;
    let mut wanted = BTreeSet::new();
    let mut lines = String::new();
    for module in MODULES {
        let file = format!("/{module}.ko");
        let Some((path, needs)) =
            index.lines().find_map(|line| line.split_once(':').filter(|(path, _)| path.contains(&file)))
        else {
            anyhow::bail!("lab: kernel {} has no module {module}", kernel.release);
        };
        wanted.insert(path);
        wanted.extend(needs.split_whitespace());
    }
    let place = format!("/lib/modules/{}", kernel.release);
    for line in
        index.lines().filter(|line| line.split_once(':').is_some_and(|(path, _)| wanted.contains(path)))
    {
        lines.push_str(line);
        lines.push('\n');
    }
    for path in wanted {
        let source = kernel.modules.join(path);
        let mode = fs::metadata(&source)?.permissions().mode();
        archive.file(&format!("{place}/{path}"), mode, &fs::read(&source)?)?;
    }
    archive.file(&format!("{place}/modules.dep"), 0o644, lines.as_bytes())
}
