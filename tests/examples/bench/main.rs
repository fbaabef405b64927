//! What the card costs, in clock cycles, and how fast it is simulated. `cargo xtask bench` runs it.
//!
//! The driver polls, and is far quicker than the simulation, so that cycles per command are the card's and the
//! link's: the assumed latencies are printed with them.

#![expect(clippy::cast_precision_loss, reason = "figures that people read need no 53 bits")]

mod load;
mod network;
mod system;

use std::process::ExitCode;
use std::time::Duration;

use nitride_sim::{LinkOptions, MediaOptions};
use serde_json::{Value, json};

use load::{Load, Pattern};
use network::{Bed, Way};
use system::System;

/// The clock that cycles are converted with.
const CLOCK: f64 = 250e6;

/// Functions of the largest load.
const FUNCTIONS: u8 = 8;

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let json = std::env::args().nth(1);
    match bench(json.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, prints a table, and writes the same to the file `json`.
fn bench(json: Option<&str>) -> Result<(), Error> {
    let system = System::start(FUNCTIONS)?;
    let (link, media) = (LinkOptions::default(), MediaOptions::default());
    println!(
        "link {} cycles each way, media {} cycles to read, {} to write; {:.0} MHz",
        link.latency,
        media.read_latency,
        media.write_latency,
        CLOCK / 1e6
    );
    println!();
    println!(
        "{:<8}{:>6}{:>7}{:>11}{:>17}{:>13}{:>8}",
        "", "bytes", "depth", "functions", "cycles/command", "IOPS", "kHz"
    );
    let mut rows = Vec::new();
    for load in loads() {
        let result = load.run(&system)?;
        let cycles = result.cycles_per_command();
        let (name, kilohertz) = (load.pattern.name(), result.kilohertz());
        println!(
            "{name:<8}{:>6}{:>7}{:>11}{cycles:>17.1}{:>13.0}{kilohertz:>8.0}",
            load.size,
            load.depth,
            load.functions,
            CLOCK / cycles
        );
        rows.push(json!({
            "pattern": name, "bytes": load.size, "depth": load.depth, "functions": load.functions,
            "commands": result.commands, "cycles_per_command": cycles, "iops": CLOCK / cycles, "kilohertz": kilohertz,
        }));
    }
    let network = network()?;
    let idle = system.idle_kilohertz(200_000)?;
    let cpu = system.idle_cpu(Duration::from_secs(2))?;
    println!();
    println!("an idle card that is simulated all the same: {idle:.0} kHz");
    println!("a card that nobody uses: {:.2} % of a core", 100.0 * cpu);
    if let Some(path) = json {
        let report = json!({
            "clock_hertz": CLOCK,
            "link_latency_cycles": link.latency,
            "media_read_latency_cycles": media.read_latency,
            "media_write_latency_cycles": media.write_latency,
            "loads": rows,
            "network": network,
            "idle_kilohertz": idle,
            "idle_cpu": cpu,
        });
        write(path, &report)?;
    }
    Ok(())
}

/// Measures the network at two distances from the host, and prints a table.
fn network() -> Result<Value, Error> {
    println!();
    println!(
        "{:<14}{:>6}{:>13}{:>14}{:>8}{:>8}{:>7}{:>8}",
        "network", "bytes", "round trip", "cycles/frame", "Mpps", "Gb/s", "lost", "kHz"
    );
    let mut rows = Vec::new();
    for latency in [125, 62] {
        let bed = Bed::new(latency, FUNCTIONS)?;
        for way in [Way::Functions(1), Way::Functions(FUNCTIONS), Way::Out, Way::In, Way::Ports] {
            for bytes in [64, 512, 1500, 9000] {
                let result = bed.run(way, bytes)?;
                let frames = CLOCK / result.cycles_per_frame;
                println!(
                    "{way:<14}{bytes:>6}{:>13}{:>14.1}{:>8.2}{:>8.1}{:>7}{:>8.0}",
                    2 * latency,
                    result.cycles_per_frame,
                    frames / 1e6,
                    frames * 8.0 * bytes as f64 / 1e9,
                    result.lost,
                    result.kilohertz
                );
                rows.push(json!({
                    "way": way.to_string(), "bytes": bytes, "link_round_trip_cycles": 2 * latency, "frames": result.frames,
                    "lost": result.lost, "cycles_per_frame": result.cycles_per_frame, "kilohertz": result.kilohertz,
                }));
            }
        }
        let (there_and_back, (megabits, cycles)) = (bed.round_trip(64)?, bed.tcp(4 << 20)?);
        println!(
            "{:<14}{:>6}{:>13}{there_and_back:>14.0}  cycles there and back",
            "VF to VF",
            64,
            2 * latency
        );
        println!(
            "{:<14}{:>6}{:>13}{cycles:>14.2}  cycles a byte; {megabits:.1} Mb/s here",
            "TCP",
            "",
            2 * latency
        );
        rows.push(json!({
            "link_round_trip_cycles": 2 * latency, "frame_round_trip_cycles": there_and_back, "tcp_cycles_per_byte": cycles,
            "tcp_megabits_per_second_here": megabits,
        }));
    }
    Ok(json!(rows))
}

fn write(path: &str, report: &Value) -> Result<(), Error> {
    std::fs::write(path, format!("{report:#}\n"))
        .map_err(|error| format!("cannot write {path}: {error}").into())
}

/// 4 KiB and 512 B, reads and writes, one at a time and 32, on one function and on all.
fn loads() -> impl Iterator<Item = Load> {
    let patterns = [Pattern::Read, Pattern::Write];
    let shapes = [(1, 1), (32, 1), (1, FUNCTIONS), (32, FUNCTIONS)];
    patterns.into_iter().flat_map(move |pattern| {
        [4096, 512].into_iter().flat_map(move |size| {
            shapes.into_iter().map(move |(depth, functions)| Load { pattern, size, depth, functions })
        })
    })
}
