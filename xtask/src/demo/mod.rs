//! `cargo xtask demo`: a Linux guest puts a file system on the card's disk, and the host checks it.

mod card;
mod report;
mod verify;
mod watch;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::lab::{self, Job, cpio::Archive, kernel::Kernel};
use crate::{interrupt, setup, sh};
use card::Card;
use watch::Watch;

/// The guest's memory in MiB.
const MEMORY: u32 = 256;

/// Where the card's function is in the lab.
const FUNCTION: &str = "0000:01:00.0";

/// Runs the demo and prints its report.
pub fn run() -> Result<ExitCode> {
    setup::run()?;
    sh::run(
        "demo: build nitride",
        sh::cargo().args(["build", "--release", "--locked", "--package", "nitride"]),
    )?;
    let nitride = sh::target().join("release/nitride");
    // Not in the checkout: the path of a socket has at most 107 bytes.
    let folder = tempfile::Builder::new().prefix("nitride-demo").tempdir()?;
    let demo = Demo { kernel: lab::kernel::get()?, nitride, folder: folder.path().to_owned() };
    let start = Instant::now();
    if let Err(error) = demo.show() {
        if interrupt::came() {
            return Err(error);
        }
        let place = folder.keep();
        return Err(error.context(format!("demo: failed; its files are in {}", place.display())));
    }
    println!("demo: passed in {:.0} s", start.elapsed().as_secs_f32());
    Ok(ExitCode::SUCCESS)
}

struct Demo {
    kernel: Kernel,
    nitride: PathBuf,
    /// Holds everything that the demo makes.
    folder: PathBuf,
}

impl Demo {
    fn show(&self) -> Result<()> {
        self.prepare()?;
        let here = sh::succeeds(sh::command(&self.nitride).arg("probe"));
        println!(
            "demo: the card is simulated here; the virtual machine runs {}",
            if here {
                "here too: this machine's KVM can run a guest"
            } else {
                "in the lab: this machine's KVM cannot run a guest at speed"
            }
        );
        println!("demo: booting ...");
        let card = Card::start(&self.nitride, &self.folder)?;
        let watch = Watch::new(File::create(self.at("console.log"))?);
        let start = Instant::now();
        let status = if here { self.here(&card, &watch)? } else { self.in_lab(&card, &watch)? };
        let session = start.elapsed();
        if status != 0 || !watch.passed() {
            bail!(
                "the guest did not pass (`nitride run` ended with {status}); its console is in console.log"
            );
        }
        card.stop()?;
        verify::image(&self.at("disk.img"), &self.at("tree.sha256"))?;
        report::print(&self.folder, session)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The tree that the guest copies: the kernel's file system modules, about 23 MiB.
    fn tree(&self) -> PathBuf {
        self.kernel.modules.join("kernel/fs")
    }

    /// Makes the guest's initramfs, with the tree and the list of its checksums.
    fn prepare(&self) -> Result<()> {
        let list = r#"cd "$1" && find . -type f | LC_ALL=C sort | xargs sha256sum"#;
        let checksums = sh::output(sh::command("sh").args(["-c", list, "sh"]).arg(self.tree()))?;
        fs::write(self.at("tree.sha256"), checksums + "\n")?;
        let mut archive = Archive::new(BufWriter::new(File::create(self.at("guest.cpio"))?));
        lab::image::base(&mut archive, &self.kernel)?;
        archive.file("/job/start", 0o755, include_bytes!("guest.sh"))?;
        archive.tree("/tree", &self.tree())?;
        archive.tree("/tree.sha256", &self.at("tree.sha256"))?;
        archive.finish()?;
        Ok(())
    }

    /// Runs the virtual machine on this machine; returns the status of `nitride run`.
    fn here(&self, card: &Card, watch: &Watch) -> Result<u8> {
        let arguments = arguments(&self.kernel.vmlinux, &card.socket().to_string_lossy());
        let mut command = sh::command(&self.nitride);
        let mut child = command.args(arguments).current_dir(&self.folder).stdout(Stdio::piped()).spawn()?;
        let mut output = child.stdout.take().context("the virtual machine has no console")?;
        std::io::copy(&mut output, &mut watch.clone())?;
        Ok(child.wait()?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
    }

    /// Runs the virtual machine in the lab, where the card's function is a PCI device; returns the status of `nitride run`.
    fn in_lab(&self, card: &Card, watch: &Watch) -> Result<u8> {
        let command =
            ["nitride".to_owned()].into_iter().chain(arguments(Path::new("/guest/vmlinux"), FUNCTION));
        let job = Job {
            inputs: vec![
                (self.nitride.clone(), "/lab/nitride".to_owned()),
                (self.at("guest.cpio"), "/lab/guest.cpio".to_owned()),
            ],
            outputs: vec![("/lab/exits.json".to_owned(), self.at("exits.json"))],
            functions: vec![card.socket()],
            vfio: true,
            hugepages: MEMORY,
            timeout: Duration::from_mins(8),
            ..Job::new(command)
        };
        job.run(watch.clone())
    }
}

/// The command line of `nitride`, for a working folder with the guest's initramfs.
fn arguments(kernel: &Path, function: &str) -> [String; 14] {
    let kernel = kernel.to_string_lossy();
    let memory = format!("{MEMORY}M");
    let line = "console=ttyS0 panic=-1 quiet";
    [
        "run",
        "--kernel",
        &kernel,
        "--initrd",
        "guest.cpio",
        "--cmdline",
        line,
        "--memory",
        &memory,
        "--function",
        function,
        "--stats",
        "exits.json",
        "--cpus=1",
    ]
    .map(str::to_owned)
}
