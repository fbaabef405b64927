//! A cpio archive in the "newc" form, which the kernel unpacks as its initramfs
//! (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail};

const DIRECTORY: u32 = 0o040_755;
const LINK: u32 = 0o120_777;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive in the making. Paths are absolute; the folders above a path are added by themselves.
pub struct Archive<W: Write> {
    writer: W,
    inode: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    pub fn new(writer: W) -> Self {
        Self { writer, inode: 0, directories: BTreeSet::new() }
    }

    /// Adds a file. `mode` holds its permissions.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.parents(path)?;
        self.entry(path, FILE | mode & 0o7777, (0, 0), content)
    }

    /// Adds a folder.
    pub fn directory(&mut self, path: &str) -> Result<()> {
        self.parents(path)?;
        if self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY, (0, 0), &[])?;
        }
        Ok(())
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.parents(path)?;
        self.entry(path, LINK, (0, 0), target.as_bytes())
    }

    /// Adds a character device.
    pub fn device(&mut self, path: &str, major: u32, minor: u32) -> Result<()> {
        self.parents(path)?;
        self.entry(path, CHARACTER_DEVICE, (major, minor), &[])
    }

    /// Adds what is at `source` on this machine: a file, or a folder with all that is in it.
    pub fn tree(&mut self, path: &str, source: &Path) -> Result<()> {
        let describe = || format!("cannot read {}", source.display());
        let metadata = fs::symlink_metadata(source).with_context(describe)?;
        if metadata.is_symlink() && fs::metadata(source).is_ok_and(|target| target.is_dir()) {
            let target = fs::read_link(source).with_context(describe)?;
            return self.link(path, &target.to_string_lossy());
        }
        if metadata.is_dir() {
            self.directory(path)?;
            let mut entries = fs::read_dir(source).with_context(describe)?.collect::<Result<Vec<_>, _>>()?;
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let name = entry.file_name();
                self.tree(&format!("{path}/{}", name.to_string_lossy()), &entry.path())?;
            }
            return Ok(());
        }
        let metadata = fs::metadata(source).with_context(describe)?;
        if !metadata.is_file() {
            bail!(
                "{} is neither a file nor a folder, and nothing else can go into the lab",
                source.display()
            );
        }
        self.file(path, metadata.permissions().mode(), &fs::read(source).with_context(describe)?)
    }

    /// Ends the archive, padded so that another one can follow it.
    pub fn finish(mut self) -> Result<W> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.writer.flush()?;
        Ok(self.writer)
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        if !path.starts_with('/') || Path::new(path).components().any(|part| part == Component::ParentDir) {
            bail!("{path} is not an absolute path without `..`, as a place in the lab must be");
        }
        let slashes = path.char_indices().filter(|&(at, character)| character == '/' && at > 0);
        for (at, _) in slashes {
            let parent = &path[..at];
            if self.directories.insert(parent.to_owned()) {
                self.entry(parent, DIRECTORY, (0, 0), &[])?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        let name = path.trim_start_matches('/');
        let size =
            u32::try_from(content.len()).ok().with_context(|| format!("{path} is larger than 4 GiB"))?;
        self.inode += 1;
        let (major, minor) = device;
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name.len() as u32 + 1, 0]
            .map(|v| format!("{v:08x}"));
        let header = format!("070701{}{name}\0", fields.concat());
        self.padded(header.as_bytes())?;
        self.padded(content)
    }

    fn padded(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes)?;
        self.writer.write_all(&[0; 3][..bytes.len().wrapping_neg() % 4])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn busybox_unpacks_what_was_packed() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/a/b/hello", 0o755, b"hello").unwrap();
        archive.file("/a/empty", 0o600, b"").unwrap();
        archive.link("/a/link", "b/hello").unwrap();
        let bytes = archive.finish().unwrap();
        let folder = tempfile::tempdir().unwrap();
        // busybox is among the packages that set-up installs.
        let mut child = Command::new("busybox")
            .args(["cpio", "-id"])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        assert!(child.wait().unwrap().success());
        let at = |path: &str| folder.path().join(path);
        assert_eq!(fs::read(at("a/b/hello")).unwrap(), b"hello");
        assert_eq!(fs::read(at("a/link")).unwrap(), b"hello");
        assert_eq!(fs::metadata(at("a/empty")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_path_cannot_leave_the_archive() {
        let mut archive = Archive::new(Vec::new());
        assert!(archive.file("/a/../../b", 0o644, b"").is_err());
        assert!(archive.file("a", 0o644, b"").is_err());
    }
}
