//! Verilator, and what it compiles to.
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Why a design could not be Verilated.
#[derive(Debug, thiserror::Error)]
pub enum VerilatorError {
    /// There is no Verilator.
    #[error("Verilator is not installed: run `cargo xtask setup`")]
    Missing,
    /// A file or a process.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    /// A tool refused its input.
    #[error("{tool} failed:\n{output}")]
    Failed {
        /// The tool.
        tool: String,
        /// What it wrote.
        output: String,
    },
}

/// An installed Verilator.
#[derive(Clone, Debug)]
pub struct Verilator {
    program: PathBuf,
    /// Holds `include/`.
    root: PathBuf,
}

fn run(tool: &str, command: &mut Command) -> Result<Output, VerilatorError> {
    let output = command.output().map_err(|e| VerilatorError::Io(tool.into(), e))?;
    if output.status.success() {
        return Ok(output);
    }
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    Err(VerilatorError::Failed { tool: tool.into(), output: String::from_utf8_lossy(&text).into_owned() })
}

fn io<T>(path: &Path, result: io::Result<T>) -> Result<T, VerilatorError> {
    result.map_err(|e| VerilatorError::Io(path.display().to_string(), e))
}

impl Verilator {
    /// The one in the checkout's `.venv`, looked for in `start` and the folders above it; else the one on `PATH`.
    pub fn find(start: &Path) -> Result<Self, VerilatorError> {
        let installed = |folder: &Path| {
            let versions = fs::read_dir(folder.join(".venv/lib")).ok()?;
            versions
                .flatten()
                .map(|v| v.path().join("site-packages/verilator"))
                .find(|v| v.join("bin/verilator").exists())
        };
        if let Some(root) = start.ancestors().find_map(installed) {
            return Ok(Self { program: root.join("bin/verilator"), root });
        }
        let program = PathBuf::from("verilator");
        let output = run("verilator", Command::new(&program).args(["--getenv", "VERILATOR_ROOT"]));
        let root = output.map_err(|_| VerilatorError::Missing)?;
        Ok(Self { program, root: String::from_utf8_lossy(&root.stdout).trim().into() })
    }

    /// Verilator itself, its root set.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("VERILATOR_ROOT", &self.root);
        command
    }

    /// Compiles `verilog` and the C++ of `main`, which includes `model.h` (class `model`), to a program in `folder`.
    pub fn program(
        &self,
        verilog: &str,
        top: &str,
        main: &str,
        folder: &Path,
    ) -> Result<PathBuf, VerilatorError> {
        if folder.exists() {
            io(folder, fs::remove_dir_all(folder))?;
        }
        io(folder, fs::create_dir_all(folder))?;
        let source = folder.join(format!("{top}.v"));
        io(&source, fs::write(&source, verilog))?;
        let flags = [
            "--cc",
            "-O3",
            "--x-assign",
            "fast",
            "--x-initial",
            "fast",
            "--noassert",
            "-Wno-fatal",
            "-Wno-lint",
        ];
        let mut verilate = self.command();
        verilate.args(flags).args([
            "-Wwarn-LATCH",
            "-Wwarn-UNOPTFLAT",
            "-Wwarn-MULTIDRIVEN",
            "-Werror-WIDTH",
            "-Werror-LATCH",
        ]);
        verilate.args(["-Werror-UNOPTFLAT", "-Werror-MULTIDRIVEN"]).args([
            "--prefix",
            "model",
            "--top-module",
            top,
        ]);
        run("verilator", verilate.arg("--Mdir").arg(folder).arg(&source))?;
        // One translation unit: the headers are most of what there is to compile.
        let mut unit = String::new();
        let mut files: Vec<_> =
            io(folder, fs::read_dir(folder))?.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "cpp")) {
            let _ = writeln!(unit, "#include \"{}\"", file.display());
        }
        let unit_path = folder.join("unit.cc");
        io(&unit_path, fs::write(&unit_path, unit + main))?;
        let program = folder.join("program");
        let mut compile = Command::new("c++");
        compile
            .args(["-O1", "-w", "-I"])
            .arg(folder)
            .args(self.includes())
            .arg(&unit_path)
            .args(self.runtime(folder)?);
        run("c++", compile.args(["-pthread", "-o"]).arg(&program))?;
        Ok(program)
    }

    fn includes(&self) -> Vec<String> {
        let include = self.root.join("include");
        vec![format!("-I{}", include.display()), format!("-I{}", include.join("vltstd").display())]
    }

    /// Verilator's own C++, compiled once beside `folder`.
    fn runtime(&self, folder: &Path) -> Result<Vec<PathBuf>, VerilatorError> {
        let cache = folder.with_file_name("verilator-runtime");
        io(&cache, fs::create_dir_all(&cache))?;
        ["verilated", "verilated_threads"]
            .iter()
            .map(|name| {
                let object = cache.join(format!("{name}.o"));
                if !object.exists() {
                    // Tests run at once: each compiles its own, the first to rename it wins.
                    let unique = format!("{name}.{}.{:?}.o", std::process::id(), std::thread::current().id());
                    let own = cache.join(unique.replace(['(', ')'], ""));
                    let source = self.root.join("include").join(format!("{name}.cpp"));
                    run(
                        "c++",
                        Command::new("c++")
                            .args(["-O1", "-w", "-c"])
                            .args(self.includes())
                            .arg(source)
                            .arg("-o")
                            .arg(&own),
                    )?;
                    io(&own, fs::rename(&own, &object))?;
                }
                Ok(object)
            })
            .collect()
    }
}
