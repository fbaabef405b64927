//! Running other programs: with progress, a log, and errors that name the log.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// The root of the checkout.
pub fn root() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    xtask.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |target| root().join(target))
}

/// A program of the virtual environment that `setup` made.
pub fn venv(program: &str) -> PathBuf {
    root().join(".venv/bin").join(program)
}

/// A command that runs in the root of the checkout.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// `arguments` as root: through sudo for everybody else.
pub fn as_root(arguments: &[&str]) -> Command {
    let is_root = output(command("id").arg("-u")).is_ok_and(|id| id == "0");
    let (program, rest) = if is_root { (arguments[0], &arguments[1..]) } else { ("sudo", arguments) };
    let mut command = command(program);
    command.args(rest);
    command
}

/// Cargo, the one that runs this program.
pub fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Shows that something takes its time: a spinner on a terminal, two plain lines elsewhere.
pub struct Progress {
    what: String,
    start: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts to show `what`.
    pub fn start(what: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix} ({elapsed}) {wide_msg:.dim}");
            let bar = ProgressBar::new_spinner().with_prefix(what.to_owned());
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            eprintln!("{what} ...");
        }
        Self { what: what.to_owned(), start: Instant::now(), bar }
    }

    /// Shows what the step is doing at the moment; on a terminal only.
    pub fn message(&self, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(message.to_owned());
        }
    }

    /// Ends with a line that says how it went and how long it took.
    pub fn finish(self, verdict: &str) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{} {verdict} ({:.1} s)", self.what, self.start.elapsed().as_secs_f32());
    }
}

/// Runs `command` under a progress line. Its output goes to `target/xtask/NAME.log`; the error of a
/// command that fails quotes the log's end.
pub fn run(what: &str, command: &mut Command) -> Result<()> {
    let log_path = place(what, "log")?;
    let mut log = File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let (reader, writer) = std::io::pipe()?;
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn().with_context(|| {
        format!("{what}: cannot start {program}; `cargo xtask setup` installs what is needed")
    })?;
    // The command holds write ends of the pipe, which would keep the loop below from ending.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let progress = Progress::start(what);
    let mut tail = Vec::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        writeln!(log, "{line}")?;
        progress.message(line.trim());
        tail.push(line);
        if tail.len() > 25 {
            tail.remove(0);
        }
    }
    let status = child.wait()?;
    if status.success() {
        progress.finish("ok");
        return Ok(());
    }
    progress.finish("failed");
    bail!("{what}: {program} ended with {status}; its log is {}\n{}", log_path.display(), tail.join("\n"));
}

/// Runs `command` and returns what it wrote to its standard output, without the last newline.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{program} ended with {}: {}", output.status, error.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Whether `command` can be started and succeeds; what it writes is dropped.
pub fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Waits until no other xtask of this checkout does `what`; keep the file for as long as this one does it.
pub fn alone(what: &str) -> Result<File> {
    let path = place(what, "lock")?;
    let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if lock.try_lock().is_err() {
        let progress = Progress::start(&format!("{what}: waiting for another one to end"));
        lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        progress.finish("ok");
    }
    Ok(lock)
}

/// Where a file about `what` is, in `target/xtask`.
fn place(what: &str, extension: &str) -> Result<PathBuf> {
    let directory = target().join("xtask");
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let name: String = what.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    Ok(directory.join(format!("{name}.{extension}")))
}
