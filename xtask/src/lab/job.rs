//! What is to be done in the lab: files go in, a command runs, files come out.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::accelerator::{self, Accelerator};
use super::cpio::Archive;
use super::machine::Machine;
use super::{image, kernel};
use crate::sh;

/// A command in the lab, with all that it needs.
pub struct Job {
    /// What goes in: places here, and there.
    pub inputs: Vec<(PathBuf, String)>,
    /// What comes out: places there, and here.
    pub outputs: Vec<(String, PathBuf)>,
    /// A raw image that becomes an NVMe drive with SR-IOV.
    pub drive: Option<PathBuf>,
    /// Sockets of a card's functions, which become PCI devices.
    pub functions: Vec<PathBuf>,
    /// Whether NVMe and Ethernet devices are bound to vfio-pci.
    pub vfio: bool,
    /// Memory on pages of 2 MiB, for guests; in MiB.
    pub hugepages: u32,
    /// In MiB.
    pub memory: u32,
    pub cpus: u32,
    /// When to give up.
    pub timeout: Duration,
    /// Shows the console.
    pub verbose: bool,
    /// What executes the lab's instructions; chosen by a measurement unless given.
    pub accelerator: Option<Accelerator>,
    /// A program and its arguments.
    pub command: Vec<String>,
}

impl Job {
    /// A command that needs nothing but itself.
    pub fn new(command: impl IntoIterator<Item = String>) -> Self {
        Self {
            inputs: Vec::new(),
            outputs: Vec::new(),
            drive: None,
            functions: Vec::new(),
            vfio: false,
            hugepages: 0,
            memory: 3072,
            cpus: 2,
            timeout: Duration::from_mins(9),
            verbose: false,
            accelerator: None,
            command: command.into_iter().collect(),
        }
    }

    /// Runs the command and returns its exit status. Its output goes to `output`, its errors to those of this process.
    pub fn run(&self, output: impl Write + Send + 'static) -> Result<u8> {
        let folder = tempfile::Builder::new().prefix("nitride-lab").tempdir()?;
        let machine = self.machine(folder.path())?;
        let outcome = machine.run(output);
        // Labs may run at the same time, so each has a log of its own until it ends.
        let logs = sh::root().join(".lab/logs");
        fs::create_dir_all(&logs).and_then(|()| fs::copy(&machine.log, logs.join("console.log")))?;
        let outcome = outcome.context("its console is in .lab/logs/console.log")?;
        if !self.outputs.is_empty() {
            self.fetch(&outcome.files, folder.path())?;
        }
        Ok(outcome.status)
    }

    /// Starts a shell on the terminal instead of the command.
    pub fn shell(&self) -> Result<()> {
        let folder = tempfile::Builder::new().prefix("nitride-lab").tempdir()?;
        let machine = self.machine(folder.path())?;
        eprintln!("lab: a shell in the lab's host; `poweroff -f` or Ctrl-A X ends it");
        machine.interact()
    }

    /// Prepares the machine in `folder`.
    fn machine(&self, folder: &Path) -> Result<Machine> {
        let kernel = kernel::get()?;
        let base = folder.join("base.cpio");
        let mut archive = Archive::new(BufWriter::new(File::create(&base)?));
        image::base(&mut archive, &kernel)?;
        archive.finish()?;

        let initrd = folder.join("lab.cpio");
        fs::copy(&base, &initrd)?;
        let mut archive = Archive::new(BufWriter::new(File::options().append(true).open(&initrd)?));
        archive.tree("/guest/vmlinux", &kernel.vmlinux)?;
        archive.tree("/guest/base.cpio", &base)?;
        self.files(&mut archive)?;
        archive.finish()?;

        Ok(Machine {
            accelerator: self.accelerator(),
            memory: self.memory,
            cpus: self.cpus,
            kernel: kernel.vmlinux,
            initrd,
            drive: self.drive.clone(),
            functions: self.functions.clone(),
            without_nvme: self.vfio,
            folder: folder.to_owned(),
            log: folder.join("console.log"),
            verbose: self.verbose,
            timeout: self.timeout,
        })
    }

    /// Adds what this job brings to the lab.
    fn files(&self, archive: &mut Archive<impl Write>) -> Result<()> {
        archive.file("/job/start", 0o755, include_bytes!("host.sh"))?;
        if self.command.is_empty() {
            archive.file("/job/shell", 0o755, b"")?;
        } else {
            archive.file("/job/command", 0o755, script("exec", &self.command).as_bytes())?;
        }
        if self.vfio {
            archive.file("/job/vfio", 0o644, b"")?;
        }
        if self.hugepages > 0 {
            archive.file("/job/hugepages", 0o644, format!("{}\n", self.hugepages.div_ceil(2)).as_bytes())?;
        }
        if !self.outputs.is_empty() {
            let names = self.outputs.iter().map(|(there, _)| there.trim_start_matches('/').to_owned());
            let pack = script("exec tar -c -f \"$1\" -C /", &names.collect::<Vec<_>>());
            archive.file("/job/pack", 0o755, pack.as_bytes())?;
        }
        for (here, there) in &self.inputs {
            archive.tree(there, here)?;
        }
        let programs: Vec<PathBuf> =
            self.inputs.iter().map(|(here, _)| here.clone()).filter(|here| here.is_file()).collect();
        image::libraries(archive, &programs)
    }

    fn accelerator(&self) -> Accelerator {
        self.accelerator.unwrap_or_else(|| {
            let (accelerator, why) = accelerator::choose();
            if self.verbose {
                let name = if accelerator == Accelerator::Kvm { "KVM" } else { "QEMU's translator" };
                eprintln!("lab: on {name}, because {why}");
            }
            accelerator
        })
    }

    /// Unpacks what the lab sent and moves each file or folder to its place.
    fn fetch(&self, archive: &Path, folder: &Path) -> Result<()> {
        let unpacked = folder.join("out");
        fs::create_dir(&unpacked)?;
        sh::output(sh::command("tar").arg("-xf").arg(archive).arg("-C").arg(&unpacked))
            .context("lab: the files that came back are damaged")?;
        for (there, here) in &self.outputs {
            let source = unpacked.join(there.trim_start_matches('/'));
            if !source.exists() {
                bail!("lab: --out {there}: the command left no such file");
            }
            sh::output(
                sh::command("cp")
                    .args(["-a", "--sparse=always", "--no-target-directory"])
                    .arg(&source)
                    .arg(here),
            )
            .with_context(|| format!("lab: cannot write {}", here.display()))?;
        }
        Ok(())
    }
}

/// A shell script that runs `command` with exactly `words` behind it.
fn script(command: &str, words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    format!("#!/bin/sh\n{command} {}\n", quoted.join(" "))
}
