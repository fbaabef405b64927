//! A virtual machine of the demo.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::card::Card;
use super::watch::Watch;
use super::{Demo, MEMORY};
use crate::lab::Job;
use crate::sh;

/// Where the card's functions are in the lab.
const PLACES: [&str; 3] = ["0000:01:00.0", "0000:02:00.0", "0000:03:00.0"];

/// Who uses which functions of the card: a disk, and a network device of each tenant.
pub struct Guest {
    pub name: &'static str,
    pub functions: [&'static str; 3],
}

pub const GUESTS: [Guest; 2] = [
    Guest { name: "alice", functions: ["vf0", "net0", "net2"] },
    Guest { name: "bob", functions: ["vf1", "net1", "net3"] },
];

impl Guest {
    /// A file of this guest.
    pub fn file(&self, demo: &Demo, extension: &str) -> PathBuf {
        demo.at(&format!("{}.{extension}", self.name))
    }

    /// The name of the file that its exits are written to.
    pub fn stats(&self) -> String {
        format!("{}.exits.json", self.name)
    }

    /// Boots it and waits for its end; an error unless it said that all went well.
    pub fn run(&self, demo: &Demo, card: &Card, start: Instant) -> Result<()> {
        let watch = Watch::new(self.name, start, File::create(self.file(demo, "console.log"))?);
        let status =
            if demo.here { self.here(demo, card, &watch)? } else { self.in_lab(demo, card, &watch)? };
        if status != 0 || !watch.passed() {
            bail!(
                "{} did not pass (`nitride run` ended with {status}); its console is in {0}.console.log",
                self.name
            );
        }
        Ok(())
    }

    /// On this machine; returns the status of `nitride run`.
    fn here(&self, demo: &Demo, card: &Card, watch: &Watch) -> Result<u8> {
        let functions = self.functions.map(|name| card.socket(name).to_string_lossy().into_owned());
        let mut command = sh::command(&demo.nitride);
        command
            .args(self.arguments(&demo.kernel.vmlinux, &functions, card.outside))
            .current_dir(&demo.folder);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut output = child.stdout.take().context("the virtual machine has no console")?;
        std::io::copy(&mut output, &mut watch.clone())?;
        Ok(child.wait()?.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
    }

    /// In a lab of its own, where the card's functions are PCI devices; returns the status of `nitride run`.
    fn in_lab(&self, demo: &Demo, card: &Card, watch: &Watch) -> Result<u8> {
        let run = self.arguments(Path::new("/guest/vmlinux"), &PLACES.map(str::to_owned), card.outside);
        let stats = self.stats();
        let job = Job {
            inputs: vec![
                (demo.nitride.clone(), "/lab/nitride".to_owned()),
                (demo.at("guest.cpio"), "/lab/guest.cpio".to_owned()),
            ],
            outputs: vec![(format!("/lab/{stats}"), demo.at(&stats))],
            functions: self.functions.map(|name| card.socket(name)).to_vec(),
            vfio: true,
            hugepages: MEMORY,
            timeout: Duration::from_mins(7),
            ..Job::new(["nitride".to_owned()].into_iter().chain(run))
        };
        job.run(watch.clone())
    }

    /// The command line of `nitride`, for a working folder with the guest's initramfs.
    fn arguments(&self, kernel: &Path, functions: &[String], outside: bool) -> Vec<String> {
        let kernel = kernel.to_string_lossy();
        let memory = format!("{MEMORY}M");
        let outside = if outside { "yes" } else { "no" };
        let line = format!("console=ttyS0 panic=-1 quiet role={} outside={outside}", self.name);
        let stats = self.stats();
        let machine = ["run", "--kernel", &kernel, "--initrd", "guest.cpio", "--cmdline", &line, "--cpus=1"];
        let rest = ["--memory", &memory, "--stats", &stats];
        let functions = functions.iter().flat_map(|function| ["--function", function]);
        machine.into_iter().chain(rest).chain(functions).map(str::to_owned).collect()
    }
}
