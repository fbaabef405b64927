//! `cargo xtask lab`: a Linux host with KVM, VFIO and an IOMMU, wherever there is QEMU. `docs/lab.md` is its manual.

mod accelerator;
mod cpio;
mod image;
mod kernel;
mod machine;
mod qemu;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::sh;
use accelerator::Accelerator;
use cpio::Archive;
use machine::Machine;

/// Where files are in the lab, unless another place is given.
const HOME: &str = "/lab";

#[derive(clap::Args)]
pub struct Args {
    /// Hand a file or folder in; its place in the lab is /lab/NAME unless given
    #[arg(long = "in", value_name = "HOST[:LAB]")]
    inputs: Vec<String>,
    /// Fetch a file or folder afterwards; its place here is NAME in the current folder unless given
    #[arg(long = "out", value_name = "LAB[:HOST]")]
    outputs: Vec<String>,
    /// Add an NVMe drive with SR-IOV, on this raw image
    #[arg(long, value_name = "IMAGE")]
    nvme: Option<PathBuf>,
    /// Add the function of a card that a daemon outside of the lab serves on this socket
    #[arg(long = "function", value_name = "SOCKET")]
    functions: Vec<PathBuf>,
    /// Bind NVMe drive and functions to vfio-pci instead of the kernel's own driver
    #[arg(long)]
    vfio: bool,
    /// The lab's memory in MiB
    #[arg(long, default_value_t = 3072, value_parser = clap::value_parser!(u32).range(512..))]
    memory: u32,
    /// The lab's processors; with a single one, QEMU does not order its memory accesses for other processes
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=16))]
    cpus: u32,
    /// What executes the lab's instructions; chosen by a measurement unless given
    #[arg(long)]
    accelerator: Option<Accelerator>,
    /// Give up after so many seconds
    #[arg(long, default_value_t = 540)]
    timeout: u64,
    /// Show the console of the lab
    #[arg(long, short)]
    verbose: bool,
    /// What to run in the lab, without a shell around it; a shell on the terminal if nothing is given
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Boots the lab and runs the command in it; its exit status becomes ours.
pub fn run(args: &Args) -> Result<ExitCode> {
    let kernel = kernel::get()?;
    let folder = tempfile::Builder::new().prefix("nitride-lab").tempdir()?;
    let base = folder.path().join("base.cpio");
    let mut archive = Archive::new(BufWriter::new(File::create(&base)?));
    image::base(&mut archive, &kernel)?;
    archive.finish()?;

    let initrd = folder.path().join("lab.cpio");
    fs::copy(&base, &initrd)?;
    let mut archive = Archive::new(BufWriter::new(File::options().append(true).open(&initrd)?));
    archive.file("/job/start", 0o755, include_bytes!("host.sh"))?;
    archive.tree("/guest/vmlinux", &kernel.vmlinux)?;
    archive.tree("/guest/base.cpio", &base)?;
    for input in &args.inputs {
        let (here, there) = input_places(input)?;
        archive.tree(&there, &here)?;
    }
    if args.command.is_empty() {
        archive.file("/job/shell", 0o755, b"")?;
    } else {
        archive.file("/job/command", 0o755, script(&args.command).as_bytes())?;
    }
    if args.vfio {
        archive.file("/job/vfio", 0o644, b"")?;
    }
    let outputs = args.outputs.iter().map(|output| output_places(output)).collect::<Result<Vec<_>>>()?;
    if !outputs.is_empty() {
        let names = outputs.iter().map(|(there, _)| quoted(there.trim_start_matches('/')));
        let pack = format!("#!/bin/sh\nexec tar -c -f \"$1\" -C / {}\n", names.collect::<Vec<_>>().join(" "));
        archive.file("/job/pack", 0o755, pack.as_bytes())?;
    }
    archive.finish()?;

    let logs = sh::root().join(".lab/logs");
    fs::create_dir_all(&logs)?;
    let accelerator = args.accelerator.unwrap_or_else(|| {
        let (accelerator, why) = accelerator::choose();
        if args.verbose {
            let name = if accelerator == Accelerator::Kvm { "KVM" } else { "QEMU's translator" };
            eprintln!("lab: on {name}, because {why}");
        }
        accelerator
    });
    let machine = Machine {
        accelerator,
        memory: args.memory,
        cpus: args.cpus,
        kernel: kernel.vmlinux,
        initrd,
        drive: args.nvme.as_ref().map(std::path::absolute).transpose()?,
        functions: args.functions.iter().map(std::path::absolute).collect::<Result<_, _>>()?,
        without_nvme: args.vfio,
        folder: folder.path().to_owned(),
        log: logs.join("console.log"),
        verbose: args.verbose,
        timeout: Duration::from_secs(args.timeout),
    };
    if args.command.is_empty() {
        eprintln!("lab: a shell in the lab's host; `poweroff -f` or Ctrl-A X ends it");
        machine.interact()?;
        return Ok(ExitCode::SUCCESS);
    }
    let outcome = machine.run()?;
    if !outputs.is_empty() {
        fetch(&outcome.files, &outputs, folder.path())?;
    }
    Ok(ExitCode::from(outcome.status))
}

/// Splits `HOST[:LAB]`.
fn input_places(input: &str) -> Result<(PathBuf, String)> {
    let (here, there) = input.split_once(':').map_or((input, None), |(here, there)| (here, Some(there)));
    let path = PathBuf::from(here);
    if !path.exists() {
        bail!("lab: --in {input}: there is no {here}");
    }
    let path = fs::canonicalize(path)?;
    let name =
        Path::new(here).file_name().or(path.file_name()).unwrap_or_default().to_string_lossy().into_owned();
    Ok((path, there.map_or_else(|| format!("{HOME}/{name}"), str::to_owned)))
}

/// Splits `LAB[:HOST]`; a relative place in the lab is meant from [`HOME`].
fn output_places(output: &str) -> Result<(String, PathBuf)> {
    let (there, here) = output.split_once(':').map_or((output, None), |(there, here)| (there, Some(here)));
    let name = Path::new(there)
        .file_name()
        .with_context(|| format!("lab: --out {output}: {there} names no file"))?;
    let place = here.map_or_else(|| PathBuf::from(name), PathBuf::from);
    let there = if there.starts_with('/') { there.to_owned() } else { format!("{HOME}/{there}") };
    Ok((there, std::path::absolute(place)?))
}

/// A shell script that runs exactly `command`.
fn script(command: &[String]) -> String {
    let words: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    format!("#!/bin/sh\nexec {}\n", words.join(" "))
}

/// `word` as the shell takes it literally.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Unpacks what the lab sent and moves each file or folder to its place.
fn fetch(archive: &Path, outputs: &[(String, PathBuf)], folder: &Path) -> Result<()> {
    let unpacked = folder.join("out");
    fs::create_dir(&unpacked)?;
    sh::output(sh::command("tar").arg("-xf").arg(archive).arg("-C").arg(&unpacked))
        .context("lab: the files that came back are damaged")?;
    for (there, here) in outputs {
        let source = unpacked.join(there.trim_start_matches('/'));
        if !source.exists() {
            bail!("lab: --out {there}: the command left no such file");
        }
        sh::output(sh::command("cp").args(["-a", "--no-target-directory"]).arg(&source).arg(here))
            .with_context(|| format!("lab: cannot write {}", here.display()))?;
    }
    Ok(())
}
