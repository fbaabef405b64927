//! Which QEMU runs the lab: this machine's, or a newer one where that is too old.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::sh;

const PROGRAM: &str = "qemu-system-x86_64";

/// The first Debian whose backports have a QEMU that speaks vfio-user as a client (QEMU 10.1 and later).
const SUITE: &str = "trixie";

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// A QEMU that can be started.
pub enum Qemu {
    /// The one on `PATH`.
    System,
    /// One in a root of its own, with its own C library: that of this machine may be too old for it.
    Unpacked(PathBuf),
}

impl Qemu {
    /// One with the device `vfio-user-pci`, downloaded if this machine's QEMU is too old. That tells more than the device:
    /// the translator of older ones loses interrupts while it enters and leaves a guest of the lab's.
    pub fn find() -> Result<Self> {
        let system = Self::System;
        // An unknown device is no error of this question; its list of options is just empty.
        let options = sh::output(system.command().args(["-M", "q35", "-device", "vfio-user-pci,help"]));
        if options.is_ok_and(|options| options.contains("socket=")) {
            return Ok(system);
        }
        let folder = sh::root().join(".lab/qemu");
        if !folder.exists() {
            download(&folder)?;
        }
        Ok(Self::Unpacked(folder))
    }

    /// The start of a command line.
    pub fn command(&self) -> Command {
        let Self::Unpacked(root) = self else { return sh::command(PROGRAM) };
        let mut command = sh::command(root.join("usr/lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(root.join(LIBRARIES)).arg(root.join("usr/bin").join(PROGRAM));
        for data in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(root.join(data));
        }
        command.env("QEMU_MODULE_DIR", root.join(LIBRARIES).join("qemu"));
        command
    }
}

/// The mirror of Debian that this machine's own apt uses.
fn mirror() -> Result<String> {
    let targets = sh::output(sh::command("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]))?;
    let debian = |uri: &&str| uri.trim_end_matches('/').ends_with("/debian");
    let uri = targets.lines().map(str::trim).find(debian);
    uri.map(str::to_owned)
        .context("apt has no source of Debian's packages: add one, then run `apt-get update`")
}

/// Unpacks a newer Debian's QEMU, and all it depends on, into `folder`. apt works in a root of its own for that:
/// its sources, lists and packages are not those of this machine.
fn download(folder: &Path) -> Result<()> {
    let partial = folder.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    let apt = partial.join("apt");
    for directory in [
        "etc/apt/apt.conf.d",
        "etc/apt/preferences.d",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
        "var/lib/dpkg",
    ] {
        fs::create_dir_all(apt.join(directory))
            .with_context(|| format!("cannot create {}", apt.display()))?;
    }
    let mirror = mirror()?;
    let source = |suite: &str| {
        format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {suite} main\n")
    };
    let backports = format!("{SUITE}-backports");
    fs::write(apt.join("etc/apt/sources.list"), source(SUITE) + &source(&backports))?;
    fs::write(apt.join("var/lib/dpkg/status"), "")?;
    let apt_get = |arguments: &[&str]| {
        let mut command = sh::command("apt-get");
        for (key, value) in [("Dir", apt.as_path()), ("Dir::State::status", &apt.join("var/lib/dpkg/status"))]
        {
            command.arg("-o").arg(format!("{key}={}", value.display()));
        }
        // Without a user of its own apt can write here whoever runs it.
        command.args(["-o", "APT::Architecture=amd64", "-o", "APT::Sandbox::User="]).args(arguments);
        command
    };
    sh::run("lab: read the package lists of a newer Debian", &mut apt_get(&["update"]))?;
    let install =
        ["install", "-y", "--download-only", "--no-install-recommends", "-t", &backports, "qemu-system-x86"];
    sh::run("lab: download a newer QEMU", &mut apt_get(&install))?;
    let unpack =
        r#"for package in "$1"/var/cache/apt/archives/*.deb; do dpkg -x "$package" "$2" || exit 1; done"#;
    sh::run("lab: unpack it", sh::command("sh").args(["-c", unpack, "sh"]).arg(&apt).arg(&partial))?;
    fs::remove_dir_all(&apt)?;
    fs::rename(&partial, folder).with_context(|| format!("cannot create {}", folder.display()))
}
