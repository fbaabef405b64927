//! `cargo xtask`: the only command that a newcomer needs beside Rust.

mod bench;
mod demo;
mod interrupt;
mod lab;
mod resources;
mod setup;
mod sh;
mod test;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Sets up, tests and shows Nitride.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing: Debian packages, Python tools, crates
    Setup,
    /// Show a Linux guest with its disk on the card, and check the disk from outside
    Demo,
    /// Measure the card in clock cycles, and its simulation
    Bench(bench::Args),
    /// Synthesize the card for an FPGA and write the table in docs/resources.md
    Resources(resources::Args),
    /// Run every check and test
    Test,
    /// Run a command, or a shell, on a Linux host with KVM, VFIO and an IOMMU in QEMU
    Lab(lab::Args),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match interrupt::watch().and_then(|()| run(arguments)) {
        // What failed, failed because of it.
        _ if interrupt::came() => ExitCode::from(interrupt::EXIT_CODE),
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    match arguments.command {
        Task::Setup => {
            setup::run()?;
            println!("setup: everything is there");
            Ok(ExitCode::SUCCESS)
        }
        Task::Bench(args) => bench::run(&args),
        Task::Demo => demo::run(),
        Task::Resources(args) => resources::run(&args),
        Task::Test => test::run(),
        Task::Lab(args) => lab::run(args),
    }
}
