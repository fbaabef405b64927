//! The card's disk as the host sees it, with tools that know nothing of the card.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::sh;

/// Checks the file system in `image`, and every file of its `tree` against the list of checksums.
pub fn image(image: &Path, checksums: &Path) -> Result<()> {
    sh::output(sh::command("e2fsck").arg("-fn").arg(image))
        .context("e2fsck -fn finds faults in the card's disk")?;
    println!("demo: host: e2fsck -fn finds no fault");
    let folder = tempfile::Builder::new().prefix("nitride-tree").tempdir()?;
    let dump = format!("rdump /tree \"{}\"", folder.path().display());
    // debugfs complains that it cannot set owners if it is not run by root; the checksums tell what counts.
    sh::output(sh::command("debugfs").args(["-R", &dump]).arg(image))
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
    println!("demo: host: the checksums of all {files} files are right");
    Ok(())
}
