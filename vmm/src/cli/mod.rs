//! The command line. One subcommand is one module with `Args` (clap) and
//! `run(Args) -> anyhow::Result<ExitCode>`; an error it returns is printed as one line.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

#[cfg(feature = "sim")]
mod card;
mod ctl;
mod metrics;
mod net;
mod nvme;
mod probe;
mod run;
mod target;
#[cfg(feature = "sim")]
mod up;
mod vm;

/// An open, Nitro-style offload card: its simulator, its driver and its virtual machines.
#[derive(Debug, Parser)]
#[command(name = "nitride", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Simulate a card and serve its functions to drivers and virtual machines
    #[cfg(feature = "sim")]
    Card(card::Args),
    /// Ask a running card, or tell it what to do
    Ctl(ctl::Args),
    /// Look at and measure network functions of a card
    Net(net::Args),
    /// List, read, write and measure NVMe functions of a card
    Nvme(nvme::Args),
    /// Tell whether this machine's KVM can run a guest at speed
    Probe(probe::Args),
    /// Run a virtual machine with functions of a card
    Run(run::Args),
    /// Start a card and its virtual machines from one file
    #[cfg(feature = "sim")]
    Up(up::Args),
    /// Ask a running virtual machine, or tell it what to do
    Vm(vm::Args),
}

/// Parses the arguments, runs the subcommand and prints its error.
///
/// Exit codes: what the subcommand returns, 1 after an error, 2 after a usage error.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        #[cfg(feature = "sim")]
        Command::Card(args) => card::run(&args),
        Command::Ctl(args) => ctl::run(&args),
        Command::Net(args) => net::run(&args),
        Command::Nvme(args) => nvme::run(args),
        Command::Probe(args) => probe::run(&args),
        Command::Run(args) => run::run(args),
        #[cfg(feature = "sim")]
        Command::Up(args) => up::run(&args),
        Command::Vm(args) => vm::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("nitride: {}", one_line(&error));
        ExitCode::FAILURE
    })
}

/// A bar of the work that is done, with a message, on a terminal; elsewhere nothing is shown.
fn bar(total: u64) -> ProgressBar {
    let bar = if io::stderr().is_terminal() { ProgressBar::new(total) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg}") {
        bar.set_style(style);
    }
    bar
}

/// The error with its causes, whatever they hold, on one line. Many errors name their cause themselves:
/// it is not said twice.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_and_its_causes_are_one_line_that_says_nothing_twice() {
        let error =
            anyhow::anyhow!("no such\nfile").context("cannot open x: no such\nfile").context("starting");
        assert_eq!(one_line(&error), "starting: cannot open x: no such file");
    }
}
