//! The card's disk as the host sees it, with tools that know nothing of the card.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::sh;

/// Checks the file system in `image`, which is called `name`, and every file of its `tree` against the list of checksums.
pub fn image(name: &str, image: &Path, checksums: &Path) -> Result<()> {
    sh::output(sh::command("/sbin/e2fsck").arg("-fn").arg(image))
        .with_context(|| format!("e2fsck -fn finds faults in the disk of {name}"))?;
    println!("demo: host: {name}'s disk: e2fsck -fn finds no fault");
    let folder = tempfile::Builder::new().prefix("nitride-tree").tempdir()?;
    let dump = format!("rdump /tree \"{}\"", folder.path().display());
    // debugfs complains that it cannot set owners if it is not run by root; the checksums tell what counts.
    sh::output(sh::command("/sbin/debugfs").args(["-R", &dump]).arg(image))
        .context("cannot read the card's disk")?;
    let tree = folder.path().join("tree");
    if !tree.is_dir() {
        bail!("the card's disk has no /tree");
    }
    sh::output(
        sh::command("sha256sum").args(["--check", "--strict", "--quiet"]).arg(checksums).current_dir(&tree),
    )
    .context("a file on the card's disk differs from the one that the guest copied")?;
    let files = fs::read_to_string(checksums)?.lines().count();
    println!("demo: host: {name}'s disk: the checksums of all {files} files are right");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"a line that is found nowhere else in the image";

    #[test]
    fn one_wrong_byte_in_a_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("root/tree")).unwrap();
        fs::write(at("root/tree/file"), TEXT).unwrap();
        let list = sh::output(sh::command("sha256sum").arg("file").current_dir(at("root/tree"))).unwrap();
        fs::write(at("list"), list + "\n").unwrap();
        let disk = at("disk.img");
        let mut mkfs = sh::command("/sbin/mke2fs");
        sh::output(mkfs.args(["-q", "-t", "ext4", "-d"]).arg(at("root")).arg(&disk).arg("4M")).unwrap();
        image("it", &disk, &at("list")).unwrap();

        let mut bytes = fs::read(&disk).unwrap();
        let place = bytes.windows(TEXT.len()).position(|window| window == TEXT).unwrap();
        bytes[place] ^= 1;
        fs::write(&disk, bytes).unwrap();
        assert!(image("it", &disk, &at("list")).unwrap_err().to_string().contains("differs"));
    }
}
