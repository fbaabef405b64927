//! Ctrl-C, `kill` and a terminal that closes: the programs that were started end, and what was half-made goes with the
//! values that own it, as after an error.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::sh;

static CAME: AtomicBool = AtomicBool::new(false);

/// Exit code after Ctrl-C, as shells have it.
pub const EXIT_CODE: u8 = 130;

/// How long the programs may take before they are told again, with those that were started meanwhile.
const AGAIN: Duration = Duration::from_millis(300);
/// So many times without a program that runs: this process waits for something that will not come.
const PATIENCE: u32 = 30;

/// From now on, a signal that asks this process to end makes the programs that it has started end instead.
pub fn watch() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot handle signals")?;
    thread::spawn(move || {
        if signals.forever().next().is_none() {
            return;
        }
        CAME.store(true, Ordering::SeqCst);
        eprintln!("\nxtask: interrupted; cleaning up ...");
        let mut alone = 0;
        while alone < PATIENCE {
            let children = children();
            alone = if children.is_empty() { alone + 1 } else { 0 };
            if alone == 0 {
                // One that is gone already is what was wanted.
                let _ = sh::succeeds(sh::command("kill").arg("-TERM").args(children));
            }
            thread::sleep(AGAIN);
        }
        std::process::exit(EXIT_CODE.into());
    });
    Ok(())
}

/// Whether such a signal came.
pub fn came() -> bool {
    CAME.load(Ordering::SeqCst)
}

/// The processes that this one has started, by number (proc(5), /proc/tid/children).
fn children() -> Vec<String> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_started_is_found_until_it_ended() {
        let mut child = sh::command("sleep").arg("600").spawn().unwrap();
        let id = child.id().to_string();
        assert!(children().contains(&id));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children().contains(&id));
    }
}
