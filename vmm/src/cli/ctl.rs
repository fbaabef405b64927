//! `nitride ctl`: asks a card daemon.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use super::metrics;

/// Asks a running card daemon, or tells it what to do.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The daemon's control socket: `control.sock` in the directory of its sockets
    #[arg(long, short, value_name = "SOCKET")]
    socket: PathBuf,
    /// Print the daemon's answer as it is (JSON)
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the functions, their sockets and their namespaces
    Functions,
    /// List the volumes and where they are attached
    Volumes,
    /// Make a volume a namespace of a function
    Attach {
        /// The volume's name
        volume: String,
        /// The function: pf2, vf0, vf1 …
        function: String,
        /// The namespace identifier
        #[arg(long, default_value_t = 1)]
        nsid: u32,
    },
    /// Take a volume away from its function
    Detach {
        /// The volume's name
        volume: String,
    },
    /// Show what the card did so far
    Counters,
    /// Print the counters as OpenMetrics text, for Prometheus
    Metrics,
    /// Make everything durable and end the daemon
    Stop,
}

/// Sends the request and prints the answer.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let request = match &args.command {
        Command::Functions => json!({ "command": "functions" }),
        Command::Volumes => json!({ "command": "volumes" }),
        Command::Attach { volume, function, nsid } => {
            json!({ "command": "attach", "volume": volume, "function": function, "nsid": nsid })
        }
        Command::Detach { volume } => json!({ "command": "detach", "volume": volume }),
        Command::Counters | Command::Metrics => json!({ "command": "counters" }),
        Command::Stop => json!({ "command": "stop" }),
    };
    let answer = ask(&args.socket, &request)?;
    if matches!(args.command, Command::Metrics) {
        print!("{}", metrics::text(&answer)?);
    } else if args.json {
        println!("{answer}");
    } else {
        print(&answer, 0);
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends a request to a daemon's control socket; gives its answer.
pub fn ask(socket: &Path, request: &Value) -> anyhow::Result<Value> {
    let mut answer = exchange(socket, "card daemon (`nitride card`)", request)?;
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        bail!("{error}");
    }
    Ok(answer["ok"].take())
}

/// Sends one request to the control socket of `who`, and takes the answer: a JSON object a line each way.
pub(super) fn exchange(socket: &Path, who: &str, request: &Value) -> anyhow::Result<Value> {
    let name = socket.display();
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("control socket {name}: is the {who} running?"))?;
    let mut line = String::new();
    let exchanged = stream
        .write_all(format!("{request}\n").as_bytes())
        .and_then(|()| BufReader::new(stream).read_line(&mut line));
    exchanged
        .ok()
        .and_then(|_| serde_json::from_str(&line).ok())
        .with_context(|| format!("control socket {name}: the {who} ended without an answer"))
}

/// Values for people: a key and its value a line, a list's members one after the other.
pub(super) fn print(value: &Value, indent: usize) {
    match value {
        Value::Array(members) if has_objects(value) => {
            for member in members {
                print(member, indent);
                println!();
            }
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                if value.is_object() || has_objects(value) {
                    println!("{:indent$}{key}:", "");
                    print(value, indent + 2);
                } else {
                    println!("{:indent$}{key}: {}", "", plain(value));
                }
            }
        }
        Value::Null => {}
        other => println!("{:indent$}{}", "", plain(other)),
    }
}

fn has_objects(value: &Value) -> bool {
    value.as_array().is_some_and(|members| members.iter().any(Value::is_object))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        Value::Array(members) => members.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
