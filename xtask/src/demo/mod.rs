//! `cargo xtask demo`: two Linux guests use disks and network devices of one card, and the host checks what they left.

mod card;
mod guest;
mod report;
mod verify;
mod watch;

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow};

use crate::lab::{self, cpio::Archive, kernel::Kernel};
use crate::{interrupt, setup, sh};
use card::Card;
use guest::GUESTS;

/// A guest's memory in MiB.
const MEMORY: u32 = 256;

/// Runs the demo and prints its report.
pub fn run() -> Result<ExitCode> {
    setup::run()?;
    sh::run(
        "demo: build nitride",
        sh::cargo().args(["build", "--release", "--locked", "--package", "nitride"]),
    )?;
    let nitride = sh::target().join("release/nitride");
    let here = sh::succeeds(sh::command(&nitride).arg("probe"));
    // Not in the checkout: the path of a socket has at most 107 bytes.
    let folder = tempfile::Builder::new().prefix("nitride-demo").tempdir()?;
    let demo = Demo { kernel: lab::kernel::get()?, nitride, here, folder: folder.path().to_owned() };
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
    /// Guests run on this machine; else each has a lab.
    here: bool,
    /// Holds everything that the demo makes.
    folder: PathBuf,
}

impl Demo {
    fn show(&self) -> Result<()> {
        self.prepare()?;
        println!(
            "demo: the card is simulated here; the virtual machines run {}",
            if self.here {
                "here too: this machine's KVM can run a guest"
            } else {
                "in labs: this machine's KVM cannot run a guest at speed"
            }
        );
        let card = Card::start(&self.nitride, &self.folder)?;
        if !card.outside {
            println!("demo: nothing is behind the card's Ethernet port: this user can make no TAP device");
        }
        println!("demo: booting ...");
        let start = Instant::now();
        thread::scope(|scope| {
            let run = |guest| {
                let card = &card;
                scope.spawn(move || guest::Guest::run(guest, self, card, start))
            };
            let guests: Vec<_> = GUESTS.iter().map(run).collect();
            let ended = guests.into_iter().map(|guest| guest.join().map_err(|_| anyhow!("a guest's thread")));
            ended.flatten().collect::<Result<Vec<_>>>()
        })?;
        let session = start.elapsed();
        card.stop()?;
        for guest in &GUESTS {
            verify::image(guest.name, &guest.file(self, "img"), &self.at("tree.sha256"))?;
        }
        report::print(&self.folder, session)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The tree that the guests copy: the kernel's file system modules, about 23 MiB.
    fn tree(&self) -> PathBuf {
        self.kernel.modules.join("kernel/fs")
    }

    /// Makes the guests' initramfs, with the tree and the list of its checksums, and 4 MiB to send.
    fn prepare(&self) -> Result<()> {
        let list = r#"cd "$1" && find . -type f | LC_ALL=C sort | xargs sha256sum"#;
        let checksums = sh::output(sh::command("sh").args(["-c", list, "sh"]).arg(self.tree()))?;
        fs::write(self.at("tree.sha256"), checksums + "\n")?;
        let mut four = fs::read(&self.kernel.vmlinux)?;
        four.truncate(4 << 20);
        let mut archive = Archive::new(BufWriter::new(File::create(self.at("guest.cpio"))?));
        lab::image::base(&mut archive, &self.kernel)?;
        archive.file("/job/start", 0o755, include_bytes!("guest.sh"))?;
        archive.file("/network.sh", 0o644, include_bytes!("network.sh"))?;
        archive.file("/four", 0o644, &four)?;
        archive.tree("/tree", &self.tree())?;
        archive.tree("/tree.sha256", &self.at("tree.sha256"))?;
        archive.finish()?;
        Ok(())
    }
}
