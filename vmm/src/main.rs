//! `nitride`: a Nitride card, the virtual machines that use it, and the tools to look at both.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::run()
}
