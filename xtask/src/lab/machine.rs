//! The lab's machine: QEMU with an IOMMU, and a processor that can run guests of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::accelerator::Accelerator;
use super::qemu::Qemu;

/// QEMU's NVMe drive, with the resources that its virtual functions share.
const NVME: &str = "nvme,serial=lab,subsys=subsystem,sriov_max_vfs=4,sriov_vq_flexible=8,sriov_vi_flexible=4,\
                    max_ioqpairs=10,msix_qsize=10,bus=drive";

/// A machine to be started.
pub struct Machine {
    pub accelerator: Accelerator,
    /// In MiB.
    pub memory: u32,
    pub cpus: u32,
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    /// A raw image that becomes an NVMe drive with SR-IOV.
    pub drive: Option<PathBuf>,
    /// Sockets of a card's functions, each of which becomes a PCI device behind a root port of its own.
    pub functions: Vec<PathBuf>,
    /// Keeps the kernel's NVMe driver from taking the drive and the functions.
    pub without_nvme: bool,
    /// Where QEMU and xtask meet; holds their sockets.
    pub folder: PathBuf,
    /// Where the console's output is kept.
    pub log: PathBuf,
    /// Shows the console as it comes.
    pub verbose: bool,
    /// When to give up.
    pub timeout: Duration,
}

/// What came back from a job.
pub struct Outcome {
    /// The command's exit status.
    pub status: u8,
    /// The files that were asked for, as a tar archive.
    pub files: PathBuf,
}

impl Machine {
    /// Boots with the console on this terminal; returns when the machine is switched off.
    pub fn interact(&self) -> Result<()> {
        let mut qemu = self.qemu()?;
        qemu.args(["-serial", "mon:stdio"]).stdin(Stdio::inherit());
        let status = qemu.status().context("lab: cannot start QEMU; run `cargo xtask setup`")?;
        if !status.success() {
            bail!("lab: QEMU ended with {status}");
        }
        Ok(())
    }

    /// Boots, runs the job and returns what it left. The job's output goes to `output`, its errors to
    /// those of this process.
    pub fn run(&self, output: impl Write + Send + 'static) -> Result<Outcome> {
        let files = self.folder.join("files.tar");
        let status_file = self.folder.join("status");
        let console = Tee { log: File::create(&self.log)?, shown: self.verbose };
        let mut qemu = self.qemu()?;
        qemu.args(["-device", "virtio-serial-pci"]);
        let mut readers = vec![
            self.connect(&mut qemu, "console", console)?,
            self.connect(&mut qemu, "output", output)?,
            self.connect(&mut qemu, "errors", std::io::stderr())?,
            self.connect(&mut qemu, "status", File::create(&status_file)?)?,
            self.connect(&mut qemu, "files", File::create(&files)?)?,
        ];
        let mut child = qemu.spawn().context("lab: cannot start QEMU; run `cargo xtask setup`")?;
        let ended = wait(&mut child, self.timeout);
        let in_time = match ended {
            Ok(in_time) => in_time,
            Err(error) => {
                let _ = child.kill();
                return Err(error);
            }
        };
        // Each reader ends when QEMU, and with it the other end of its socket, is gone.
        for reader in readers.drain(..) {
            let _ = reader.join();
        }
        if !in_time {
            bail!("lab: not done within {} s; --timeout sets another limit", self.timeout.as_secs());
        }
        let status = std::fs::read_to_string(&status_file)?;
        let Ok(status) = status.trim().parse() else {
            bail!("lab: the machine went down before the command ended{}", tail(&self.log));
        };
        Ok(Outcome { status, files })
    }

    fn qemu(&self) -> Result<Command> {
        let mut qemu = Qemu::find()?.command();
        match self.accelerator {
            Accelerator::Tcg => qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max,+svm"]),
            Accelerator::Kvm => qemu.args(["-accel", "kvm", "-cpu", "host"]),
        };
        let memory = self.memory;
        qemu.args(["-M", "q35,kernel-irqchip=split,memory-backend=ram", "-smp", &self.cpus.to_string()])
            .args(["-m", &memory.to_string()])
            // The card's process reaches the memory through the file descriptor.
            .args(["-object", &format!("memory-backend-memfd,id=ram,size={memory}M,share=on")])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            // QEMU passes on what the IOMMU maps only if the guest has to announce every change (VT-d 3.2 §6.1).
            .args(["-device", "intel-iommu,intremap=on,aw-bits=48,caching-mode=on"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initrd);
        // On a machine with much else to do, the kernel's test of its timer fails, and with interrupt remapping it gives up.
        let mut line = "console=ttyS0 panic=-1 intel_iommu=on iommu=pt no_timer_check quiet".to_owned();
        if self.without_nvme {
            line.push_str(" initcall_blacklist=nvme_init");
        }
        qemu.args(["-append", &line]);
        if let Some(drive) = &self.drive {
            qemu.args([
                "-device",
                "pcie-root-port,id=drive,chassis=1,slot=1",
                "-device",
                "nvme-subsys,id=subsystem",
            ])
            .args(["-device", NVME])
            .arg("-drive")
            .arg(format!("file={},if=none,id=image,format=raw", escaped(drive)))
            .args(["-device", "nvme-ns,drive=image"]);
        }
        for (index, socket) in self.functions.iter().enumerate() {
            let slot = index + 2;
            let device = serde_json::json!({
                "driver": "vfio-user-pci", "bus": format!("function{index}"), "socket": { "type": "unix", "path": socket },
            });
            qemu.args(["-device", &format!("pcie-root-port,id=function{index},chassis={slot},slot={slot}")])
                .args(["-device", &device.to_string()]);
        }
        Ok(qemu)
    }

    /// Gives QEMU a channel named `name`, whose output a thread copies to `sink`.
    fn connect(
        &self,
        qemu: &mut Command,
        name: &str,
        mut sink: impl Write + Send + 'static,
    ) -> Result<JoinHandle<()>> {
        let path = self.folder.join(name);
        let path = path.with_extension("socket");
        let listener =
            UnixListener::bind(&path).with_context(|| format!("cannot create {}", path.display()))?;
        qemu.arg("-chardev").arg(format!("socket,id={name},path={}", escaped(&path)));
        if name == "console" {
            qemu.args(["-serial", "chardev:console"]);
        } else {
            qemu.arg("-device").arg(format!("virtserialport,chardev={name},name={name}"));
        }
        Ok(thread::spawn(move || {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut buffer = vec![0; 65536];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                // A closed standard output must not stop the lab: what it says is just not shown.
                let _ = sink.write_all(&buffer[..count]).and_then(|()| sink.flush());
            }
        }))
    }
}

/// A path as QEMU's options take it.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Writes a log, and shows it if asked to.
struct Tee {
    log: File,
    shown: bool,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.shown {
            std::io::stderr().write_all(bytes)?;
        }
        self.log.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.log.flush()
    }
}

/// Waits for `child`; `false` says that it had to be killed after `timeout`.
fn wait(child: &mut Child, timeout: Duration) -> Result<bool> {
    let end = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            if !status.success() {
                bail!("lab: QEMU ended with {status}");
            }
            return Ok(true);
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(30));
    }
}

/// The end of the console's output, for an error.
fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(12)..).unwrap_or_default();
    last.iter().flat_map(|line| ["\n  ", line.trim_end()]).collect()
}
