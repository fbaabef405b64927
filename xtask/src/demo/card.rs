//! The card's daemon, as the demo runs it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::sh;

/// The card's file: for each guest a disk and a network device of each tenant; the host is behind an Ethernet port of the first.
const DESCRIPTION: &str = include_str!("card.toml");
/// The Ethernet port's part of it, with the TAP device.
const TAP: &str = "\n[[ethernet]]\nnetwork = 1\ntap = \"nitride0\"\n";
/// The host's address there.
const ADDRESS: &str = "192.0.2.3/24";
/// How long the daemon may take to boot the card.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running daemon. It is killed when this is dropped.
pub struct Card {
    daemon: Child,
    folder: PathBuf,
    /// The host is behind the card's Ethernet port.
    pub outside: bool,
}

impl Card {
    /// Starts `nitride card` in `folder` and waits until it serves its functions. It has a network namespace of its own, where that can be
    /// had, so that the host's network stays as it is.
    pub fn start(nitride: &Path, folder: &Path) -> Result<Self> {
        let namespace = Namespace::find();
        let tap = if namespace.is_some() { TAP } else { "" };
        fs::write(folder.join("card.toml"), DESCRIPTION.to_owned() + tap)?;
        let log = File::create(folder.join("card.log"))?;
        let mut command = match namespace {
            Some(namespace) => {
                let mut command = sh::command("unshare");
                command.args(namespace.unshare()).arg(nitride);
                command
            }
            None => sh::command(nitride),
        };
        command.args(["card", "card.toml", "--stats", "counters.json"]).current_dir(folder);
        let daemon =
            command.stdout(log.try_clone()?).stderr(log).spawn().context("cannot start nitride card")?;
        let mut card = Self { daemon, folder: folder.to_owned(), outside: namespace.is_some() };
        let start = Instant::now();
        while !card.log().contains("card ready") {
            if let Some(status) = card.daemon.try_wait()? {
                bail!("nitride card did not start ({status}): {}", card.last_line());
            }
            if start.elapsed() > PATIENCE {
                bail!("nitride card serves no function after {} s: {}", PATIENCE.as_secs(), card.last_line());
            }
            thread::sleep(Duration::from_millis(50));
        }
        if let Some(namespace) = namespace {
            let ip = ["ip", "address", "add", ADDRESS, "dev", "nitride0"];
            sh::output(namespace.enter(card.daemon.id()).args(ip))
                .context("cannot give the host its address behind the card")?;
        }
        Ok(card)
    }

    /// The socket of a function.
    pub fn socket(&self, function: &str) -> PathBuf {
        self.folder.join(format!("sockets/{function}.sock"))
    }

    /// Ends the daemon as an administrator would; it makes the disks durable and writes its counters.
    pub fn stop(mut self) -> Result<()> {
        sh::output(sh::command("kill").args(["-TERM", &self.daemon.id().to_string()]))?;
        let status: ExitStatus = self.daemon.wait()?;
        if !status.success() {
            bail!("nitride card ended with {status}: {}", self.last_line());
        }
        Ok(())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("card.log")).unwrap_or_default()
    }

    fn last_line(&self) -> String {
        self.log().lines().last().unwrap_or("it said nothing").to_owned()
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// How this user gets a network namespace in which TAP devices can be made.
#[derive(Clone, Copy)]
enum Namespace {
    /// As root.
    Root,
    /// Together with a user namespace.
    User,
}

impl Namespace {
    /// The first way that works here.
    fn find() -> Option<Self> {
        let works = |namespace: &Self| {
            let mut probe = sh::command("unshare");
            probe.args(namespace.unshare());
            sh::succeeds(probe.args(["ip", "tuntap", "add", "dev", "probe", "mode", "tap"]))
        };
        [Self::Root, Self::User].into_iter().find(works)
    }

    fn unshare(self) -> &'static [&'static str] {
        match self {
            Self::Root => &["--net"],
            Self::User => &["--map-root-user", "--net"],
        }
    }

    /// The start of a command in the namespace of a process.
    fn enter(self, process: u32) -> Command {
        let mut command = sh::command("nsenter");
        command.args(["--target", &process.to_string(), "--net"]);
        if matches!(self, Self::User) {
            command.args(["--user", "--preserve-credentials"]);
        }
        command
    }
}
