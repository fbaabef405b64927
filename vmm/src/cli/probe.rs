//! `nitride probe`: can this machine's KVM run a guest at speed?

use std::process::ExitCode;

use nitride::probe::{self, Verdict};

/// Runs a counting loop of a few milliseconds in a scratch virtual machine. Exit code 0: it can; 1: it cannot.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print a JSON object: `usable`, `instructions_per_second` (null if the loop did not run), `detail`
    #[arg(long)]
    json: bool,
}

/// Prints the verdict on this machine's KVM.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let verdict = probe::probe();
    if args.json {
        println!("{}", serde_json::to_string(&verdict)?);
    } else {
        println!("{}", describe(&verdict));
    }
    Ok(if verdict.usable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(verdict: &Verdict) -> String {
    let answer = if verdict.usable { "KVM is usable" } else { "KVM is not usable" };
    format!("{answer}: {}", verdict.detail)
}
