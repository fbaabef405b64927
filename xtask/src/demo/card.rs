//! The card's daemon, as the demo runs it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::sh;

/// The size of the card's volume.
const DISK: &str = "64 MiB";
/// How long the daemon may take to boot the card.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running daemon with one volume, the disk of the card's first virtual function. It is killed when this is dropped.
pub struct Card {
    daemon: Child,
    folder: PathBuf,
}

impl Card {
    /// Starts `nitride card` in `folder` and waits until it serves the function.
    pub fn start(nitride: &Path, folder: &Path) -> Result<Self> {
        let description = format!(
            "sockets = \"sockets\"\n\n[[volume]]\nname = \"demo\"\nimage = \"disk.img\"\nsize = \"{DISK}\"\nfunction = \"vf0\"\n"
        );
        fs::write(folder.join("card.toml"), description)?;
        let log = File::create(folder.join("card.log"))?;
        let mut command = sh::command(nitride);
        command.args(["card", "card.toml", "--stats", "counters.json"]).current_dir(folder);
        let daemon =
            command.stdout(log.try_clone()?).stderr(log).spawn().context("cannot start nitride card")?;
        let mut card = Self { daemon, folder: folder.to_owned() };
        let start = Instant::now();
        while !card.socket().exists() {
            if let Some(status) = card.daemon.try_wait()? {
                bail!("nitride card did not start ({status}): {}", card.last_line());
            }
            if start.elapsed() > PATIENCE {
                bail!("nitride card serves no function after {} s: {}", PATIENCE.as_secs(), card.last_line());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(card)
    }

    /// The socket of the function that the volume is on.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("sockets/vf0.sock")
    }

    /// Ends the daemon as an administrator would; it makes the disk durable and writes its counters.
    pub fn stop(mut self) -> Result<()> {
        sh::output(sh::command("kill").args(["-TERM", &self.daemon.id().to_string()]))?;
        let status: ExitStatus = self.daemon.wait()?;
        if !status.success() {
            bail!("nitride card ended with {status}: {}", self.last_line());
        }
        Ok(())
    }

    fn last_line(&self) -> String {
        let log = fs::read_to_string(self.folder.join("card.log")).unwrap_or_default();
        log.lines().last().unwrap_or("it said nothing").to_owned()
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
