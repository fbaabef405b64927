//! The kernel of the lab's host and of its guests: Debian's kernel for virtual machines, downloaded once.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::sh;

/// Debian's package that depends on its newest kernel for virtual machines.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// A kernel, ready to boot.
pub struct Kernel {
    /// The uncompressed kernel: a bzImage would take seconds to unpack itself under emulation.
    pub vmlinux: PathBuf,
    /// `lib/modules/RELEASE`, with `modules.dep`.
    pub modules: PathBuf,
    /// What `uname -r` says.
    pub release: String,
}

/// The kernel in `.lab/kernel`, downloaded if it is not there yet.
pub fn get() -> Result<Kernel> {
    let folder = sh::root().join(".lab/kernel");
    if !folder.exists() {
        download(&folder)?;
    }
    let release = release(&folder)?;
    Ok(Kernel {
        vmlinux: folder.join("vmlinux"),
        modules: folder.join("lib/modules").join(&release),
        release,
    })
}

fn download(folder: &Path) -> Result<()> {
    // Made beside its place and moved there when complete, so that a half-made one is never used.
    let partial = folder.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
    let package = newest().or_else(|_| {
        sh::run("lab: apt-get update", &mut sh::as_root(&["apt-get", "update"]))?;
        newest()
    })?;
    sh::run(
        "lab: download the kernel",
        sh::command("apt-get").args(["download", &package]).current_dir(&partial),
    )?;
    let archive = only_entry(&partial)?;
    sh::run("lab: unpack the kernel", sh::command("dpkg").arg("-x").arg(&archive).arg(&partial))?;
    fs::remove_file(&archive)?;
    if !partial.join("lib").exists() {
        std::os::unix::fs::symlink("usr/lib", partial.join("lib"))?;
    }
    let release = release(&partial)?;
    sh::output(sh::command("/sbin/depmod").arg("-b").arg(&partial).arg(&release))
        .context("lab: cannot index the modules")?;
    let image = fs::read(partial.join("boot").join(format!("vmlinuz-{release}")))?;
    fs::write(partial.join("vmlinux"), vmlinux(&image).context("lab: cannot unpack Debian's kernel image")?)?;
    fs::rename(&partial, folder).with_context(|| format!("cannot create {}", folder.display()))
}

/// The package that [`PACKAGE`] depends on.
fn newest() -> Result<String> {
    let depends = sh::output(sh::command("apt-cache").args(["depends", PACKAGE]).env("LC_ALL", "C"))
        .with_context(|| format!("lab: apt does not know Debian's kernel package {PACKAGE}"))?;
    let mut names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let name = names.find(|name| name.starts_with("linux-image-"));
    Ok(name.with_context(|| format!("lab: {PACKAGE} depends on no kernel; run `apt-get update`"))?.to_owned())
}

fn only_entry(folder: &Path) -> Result<PathBuf> {
    let entry = fs::read_dir(folder)?.next().with_context(|| format!("{} is empty", folder.display()))??;
    Ok(entry.path())
}

fn release(folder: &Path) -> Result<String> {
    let entry = only_entry(&folder.join("lib/modules"))
        .context("lab: the downloaded kernel is not complete; remove .lab/kernel and run this again")?;
    Ok(entry.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// Unpacks the ELF file in a bzImage whose payload is LZ4 (Linux, Documentation/arch/x86/boot.rst).
fn vmlinux(image: &[u8]) -> Result<Vec<u8>> {
    const LEGACY_MAGIC: u32 = 0x184c_2102;
    const LARGEST_BLOCK: usize = 8 << 20;
    let word = |at: usize| {
        let bytes =
            at.checked_add(4).and_then(|end| image.get(at..end)).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_le_bytes).context("the image is too short")
    };
    let setup_sectors = match image.get(0x1f1) {
        None | Some(0) => 4,
        Some(&sectors) => usize::from(sectors),
    };
    let mut at = (setup_sectors + 1) * 512 + word(0x248)? as usize;
    // The kernel's build appends the unpacked size to the payload.
    let end = at + word(0x24c)? as usize - 4;
    if word(at)? != LEGACY_MAGIC {
        bail!("its payload is not in the LZ4 format that Debian uses");
    }
    at += 4;
    let mut elf = Vec::new();
    while at < end {
        let size = word(at)? as usize;
        let block = image.get(at + 4..at + 4 + size).context("the image is too short")?;
        elf.extend(lz4_flex::block::decompress(block, LARGEST_BLOCK)?);
        at += 4 + size;
    }
    if elf.len() != word(end)? as usize || !elf.starts_with(b"\x7fELF") {
        bail!("its payload is damaged");
    }
    Ok(elf)
}
