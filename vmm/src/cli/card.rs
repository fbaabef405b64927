//! `nitride card`: the card daemon.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use nitride_sim::Card;
use nitride_sim::daemon::config::Config;
use nitride_sim::daemon::{self, CounterReport, Daemon};

/// Time between two states on the terminal.
const REFRESH: Duration = Duration::from_millis(500);

/// Simulates a card and serves its functions on vfio-user sockets, until SIGTERM, Ctrl-C or `nitride ctl stop`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Description of the card and its volumes (TOML)
    file: PathBuf,
    /// Write a waveform (VCD) to this file (needs a build with `--features nitride-sim/trace`)
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// First cycle of the waveform
    #[arg(long, value_name = "CYCLE", default_value_t = 0, requires = "trace")]
    trace_from: u64,
    /// Log every TLP: to a pcapng file, or as text if the name does not end in .pcapng
    #[arg(long, value_name = "FILE")]
    tlp: Option<PathBuf>,
    /// At the end, write the counters to this file (JSON)
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,
}

/// Runs the daemon to its end.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(&args.file)?;
    if let Some(path) = &args.tlp {
        config.simulation.tlp_log = Some(path.clone());
    }
    if let Some(path) = &args.trace {
        (config.simulation.trace, config.simulation.trace_from) = (Some(path.clone()), args.trace_from);
    }
    let state = State::default();
    let report = daemon::run(&config, Box::new(Card::new()), |daemon| {
        announce(daemon);
        state.show(daemon);
    });
    state.end();
    let report = report?;
    println!("card stopped: {}", line(&report));
    if let Some(path) = &args.stats {
        write_stats(path, &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn announce(daemon: &Daemon) {
    println!("card ready: sockets in {}", daemon.sockets().display());
    for function in daemon.functions() {
        for (nsid, volume) in function.namespaces {
            println!("  {} namespace {nsid}: {volume}", function.function);
        }
    }
    let _ = std::io::stdout().flush();
}

fn line(report: &CounterReport) -> String {
    let count = |name: &str| report.card.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
    format!(
        "{} commands, {:.1} MiB from the host, {:.1} MiB to it, {} interrupts, {} cycles at {:.0} kHz",
        count("commands"),
        report.dma_read_bytes as f64 / f64::from(1 << 20),
        report.dma_write_bytes as f64 / f64::from(1 << 20),
        report.interrupts,
        report.cycles,
        report.kilohertz,
    )
}

fn write_stats(path: &Path, report: &CounterReport) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(report)?;
    std::fs::write(path, text + "\n")
        .map_err(|error| anyhow::anyhow!("statistics {}: {error}", path.display()))
}

/// The line of state on a terminal; elsewhere there is none.
#[derive(Default)]
struct State {
    over: Arc<AtomicBool>,
    thread: std::sync::Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl State {
    /// Shows the state until [`State::end`]. It wakes the card only when something has happened since.
    fn show(&self, daemon: &Arc<Daemon>) {
        if !std::io::stdout().is_terminal() {
            return;
        }
        let (daemon, over) = (Arc::clone(daemon), Arc::clone(&self.over));
        let thread = std::thread::spawn(move || {
            let mut shown = 0;
            while !over.load(Ordering::Relaxed) {
                let cycles = daemon.speed().map_or(shown, |speed| speed.cycles);
                if cycles != shown
                    && let Ok(report) = daemon.counters()
                {
                    print!("\r\x1b[K{}", line(&report));
                    let _ = std::io::stdout().flush();
                    shown = daemon.speed().map_or(cycles, |speed| speed.cycles);
                }
                std::thread::park_timeout(REFRESH);
            }
            println!();
        });
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
