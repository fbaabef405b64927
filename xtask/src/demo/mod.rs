//! `cargo xtask demo`: a Linux guest puts a file system on the card's disk, and the host checks it.

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
use crate::{setup, sh};
use watch::Watch;

/// Where the demo's files are in the lab.
const LAB: &str = "/lab";

/// What the session leaves behind: the disk, the exits of the virtual machine, the card's counters and its log.
const RESULTS: [&str; 4] = ["disk.img", "exits.json", "counters.json", "card.log"];

/// The size of the card's volume.
const DISK: &str = "64 MiB";

/// Runs the demo and prints its report.
pub fn run() -> Result<ExitCode> {
    setup::run()?;
    sh::run(
        "demo: build nitride",
        sh::cargo().args(["build", "--release", "--locked", "--package", "nitride"]),
    )?;
    let nitride = sh::target().join("release/nitride");
    let folder = tempfile::Builder::new().prefix("nitride-demo").tempdir()?;
    let demo = Demo { kernel: lab::kernel::get()?, nitride, folder: folder.path().to_owned() };
    let start = Instant::now();
    if let Err(error) = demo.show(start) {
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
    fn show(&self, start: Instant) -> Result<()> {
        self.prepare()?;
        let watch = Watch::new(File::create(self.at("console.log"))?);
        let status = if sh::succeeds(sh::command(&self.nitride).arg("probe")) {
            println!("demo: card and virtual machine run here: this machine's KVM can run a guest");
            self.here(&watch)?
        } else {
            println!(
                "demo: card and virtual machine run in the lab: this machine's KVM cannot run a guest at speed"
            );
            self.in_lab(&watch)?
        };
        let guest = start.elapsed();
        if status != 0 || !watch.passed() {
            bail!("the guest did not pass; {} has its console", self.at("console.log").display());
        }
        verify::image(&self.at("disk.img"), &self.at("tree.sha256"))?;
        report::print(&self.folder, guest)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The tree that the guest copies: the kernel's file system modules, about 23 MiB.
    fn tree(&self) -> PathBuf {
        self.kernel.modules.join("kernel/fs")
    }

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
        fs::write(self.at("session.sh"), include_bytes!("session.sh"))?;
        let card = format!(
            "sockets = \"sockets\"\n\n[[volume]]\nname = \"demo\"\nimage = \"disk.img\"\nsize = \"{DISK}\"\nfunction = \"vf0\"\n"
        );
        fs::write(self.at("card.toml"), card)?;
        Ok(())
    }

    /// Runs the session on this machine; returns its exit status.
    fn here(&self, watch: &Watch) -> Result<u8> {
        let path = std::env::var("PATH").unwrap_or_default();
        let programs = self.nitride.parent().unwrap_or(Path::new("/")).display();
        let mut session = sh::command("sh");
        session.arg("session.sh").arg(&self.kernel.vmlinux).current_dir(&self.folder);
        let mut child = session.env("PATH", format!("{programs}:{path}")).stdout(Stdio::piped()).spawn()?;
        let mut output = child.stdout.take().context("the session has no output")?;
        std::io::copy(&mut output, &mut watch.clone())?;
        Ok(child.wait()?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
    }

    /// Runs the session in the lab; returns its exit status.
    fn in_lab(&self, watch: &Watch) -> Result<u8> {
        let inputs = ["session.sh", "card.toml", "guest.cpio"];
        let inputs = inputs.map(|name| (self.at(name), format!("{LAB}/{name}")));
        let job = Job {
            inputs: inputs.into_iter().chain([(self.nitride.clone(), format!("{LAB}/nitride"))]).collect(),
            outputs: RESULTS.map(|name| (format!("{LAB}/{name}"), self.at(name))).into(),
            timeout: Duration::from_mins(8),
            ..Job::new(["sh", "session.sh", "/guest/vmlinux"])
        };
        job.run(watch.clone())
    }
}
