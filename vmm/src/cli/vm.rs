//! `nitride vm`: asks a running virtual machine, or tells it what to do.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde_json::{Value, json};

use super::ctl;

/// Asks a running virtual machine, or tells it what to do.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The machine's control socket: what `nitride run` got as --api-socket
    #[arg(long, short, value_name = "SOCKET")]
    socket: PathBuf,
    /// Print the machine's answer as it is (JSON)
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Show the machine and its functions
    Status,
    /// Show how often its guest left guest mode, by reason
    Exits,
    /// Press the power button: the guest is to shut down
    PowerButton,
    /// End the machine at once
    Stop,
}

/// Sends the request and prints the answer.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let operation = match args.command {
        Command::Status => "status",
        Command::Exits => "exits",
        Command::PowerButton => "power_button",
        Command::Stop => "stop",
    };
    let mut answer =
        ctl::exchange(&args.socket, "virtual machine (`nitride run`)", &json!({ "op": operation }))?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        bail!("{error}");
    }
    if args.json {
        println!("{answer}");
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(fields) = answer.as_object_mut() {
        fields.remove("ok");
    }
    ctl::print(&answer, 0);
    Ok(ExitCode::SUCCESS)
}
