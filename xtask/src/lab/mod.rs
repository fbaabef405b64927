//! `cargo xtask lab`: a Linux host with KVM, VFIO and an IOMMU, wherever there is QEMU. `docs/lab.md` is its manual.

mod accelerator;
pub mod cpio;
pub mod image;
mod job;
pub mod kernel;
mod machine;
pub mod qemu;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use accelerator::Accelerator;
pub use job::Job;

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
    /// Set memory aside for guests, on pages of 2 MiB; in MiB
    #[arg(long, default_value_t = 0)]
    hugepages: u32,
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
pub fn run(args: Args) -> Result<ExitCode> {
    let job = Job {
        inputs: args.inputs.iter().map(|input| input_places(input)).collect::<Result<_>>()?,
        outputs: args.outputs.iter().map(|output| output_places(output)).collect::<Result<_>>()?,
        drive: args.nvme.as_ref().map(std::path::absolute).transpose()?,
        functions: args.functions.iter().map(std::path::absolute).collect::<Result<_, _>>()?,
        vfio: args.vfio,
        hugepages: args.hugepages,
        memory: args.memory,
        cpus: args.cpus,
        timeout: Duration::from_secs(args.timeout),
        verbose: args.verbose,
        accelerator: args.accelerator,
        command: args.command,
    };
    if job.command.is_empty() {
        job.shell()?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(job.run(std::io::stdout())?))
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
