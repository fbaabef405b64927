//! `cargo xtask bench`: what the card costs in clock cycles, and how fast it is simulated.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{setup, sh};

#[derive(clap::Args)]
pub struct Args {
    /// Write the figures to this file too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Builds the benchmark, optimised, and runs it.
pub fn run(args: &Args) -> Result<ExitCode> {
    setup::run()?;
    let json = args.json.as_deref().map(std::path::absolute).transpose()?;
    let build = ["build", "--release", "--locked", "--package", "nitride-tests", "--example", "bench"];
    sh::run("bench: build", sh::cargo().args(build))?;
    let mut bench = sh::command(sh::target().join("release/examples/bench"));
    let status =
        bench.args(json.as_deref().map(Path::as_os_str)).status().context("cannot start the benchmark")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
