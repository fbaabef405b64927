//! `nitride up`: a card and its virtual machines, from one file.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::ctl;

mod member;
mod topology;
mod view;

use member::{Log, Member};
use topology::Topology;
use view::View;

/// How long the card may take to boot, and each process to end.
const PATIENCE: Duration = Duration::from_mins(1);
/// Time between two looks at the processes.
const LOOK: Duration = Duration::from_millis(100);
/// Time between two looks at the card's counters.
const REFRESH: Duration = Duration::from_millis(500);
/// Added to the number of a signal that ended the session, as shells do.
const SIGNAL: u8 = 128;

/// Starts a simulated card and virtual machines on its functions, shows their consoles and the card's counters, and takes all of it
/// down on Ctrl-C or when the last machine has ended.
///
/// The file names the card's (`card = "card.toml"`) and the machines' (`[[vm]]` with `name` and `file`, as `nitride run` takes it).
/// Exit codes: the first one of a machine that is not 0; 128 + n if signal n ended the session; 1 an error; 2 a usage error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topology (TOML)
    file: PathBuf,
    /// Write what each process says to NAME.log in this folder
    #[arg(long, value_name = "FOLDER")]
    logs: Option<PathBuf>,
}

/// Runs the session to its end.
pub fn run(args: &Args) -> Result<ExitCode> {
    let topology = Topology::load(&args.file)?;
    let signals = Signals::new()?;
    if let Some(folder) = &args.logs {
        std::fs::create_dir_all(folder).with_context(|| format!("logs {}", folder.display()))?;
    }
    let log = |name: &str| -> Result<Log> {
        let file = args.logs.as_ref().map(|folder| folder.join(format!("{name}.log")));
        let file = file.map(|path| File::create(&path).with_context(|| format!("log {}", path.display())));
        Ok(Log::new(name, file.transpose()?, !io::stdout().is_terminal()))
    };
    // Dropped last, when no machine uses its functions any more.
    let card = match &topology.card {
        Some(file) => Some(start_card(file, log("card")?, &signals)?),
        None => None,
    };
    let mut session = Session { card, machines: Vec::new(), control: topology.control()? };
    for vm in &topology.machines {
        session.machines.push(Member::start(&["run".as_ref(), vm.file.as_os_str()], log(&vm.name)?)?);
    }
    session.run(&signals)
}

/// Starts the card's daemon and waits until it serves.
fn start_card(file: &std::path::Path, log: Log, signals: &Signals) -> Result<Member> {
    let mut card = Member::start(&["card".as_ref(), file.as_os_str()], log)?;
    let start = Instant::now();
    while !card.said("card ready") {
        if let Some(status) = card.ended()? {
            bail!("the card did not start ({status}): {}", card.last_line());
        }
        if signals.came().is_some() || start.elapsed() > PATIENCE {
            bail!("the card did not start: {}", card.last_line());
        }
        std::thread::sleep(LOOK);
    }
    Ok(card)
}

/// What runs. Machines end before the card does.
struct Session {
    machines: Vec<Member>,
    card: Option<Member>,
    control: Option<PathBuf>,
}

impl Session {
    fn run(&mut self, signals: &Signals) -> Result<ExitCode> {
        let mut view = View::new()?;
        let mut counters = (Instant::now(), Value::Null);
        loop {
            std::thread::sleep(LOOK);
            if let Some(signal) = signals.came() {
                return Ok(ExitCode::from(SIGNAL.saturating_add(signal)));
            }
            if let Some(card) = &mut self.card
                && let Some(status) = card.ended()?
            {
                bail!("the card ended ({status}): {}", card.last_line());
            }
            let mut running = false;
            for machine in &mut self.machines {
                running |= machine.ended()?.is_none();
            }
            if let Some(view) = &mut view {
                if counters.0.elapsed() > REFRESH
                    && let Some(control) = &self.control
                {
                    let answer = ctl::ask(control, &json!({ "command": "counters" })).unwrap_or_default();
                    counters = (Instant::now(), answer);
                }
                view.draw(&self.machines, &counters.1)?;
            }
            if !running {
                break;
            }
        }
        drop(view);
        let mut code = 0;
        for machine in &mut self.machines {
            let status = machine.ended()?.and_then(|status| status.code()).unwrap_or(1);
            if status != 0 {
                eprintln!("nitride: {} ended with {status}: {}", machine.name(), machine.last_line());
                code = if code == 0 { u8::try_from(status).unwrap_or(1) } else { code };
            }
        }
        Ok(ExitCode::from(code))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.machines.iter().for_each(Member::terminate);
        self.machines.clear();
        self.card.take();
    }
}

/// What asks the session to end. The signals are caught and not blocked, since processes that it starts would inherit that.
struct Signals(Arc<AtomicUsize>);

impl Signals {
    fn new() -> Result<Self> {
        let came = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGQUIT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_usize(signal, Arc::clone(&came), signal as usize)
                .context("signals")?;
        }
        Ok(Self(came))
    }

    /// The number of the last one that came.
    fn came(&self) -> Option<u8> {
        u8::try_from(self.0.load(Ordering::Relaxed)).ok().filter(|signal| *signal != 0)
    }
}
