//! What the demo counted.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::guest::GUESTS;

/// Prints the card's counters, those of the switch's ports among them, and the virtual machines' exits.
pub fn print(folder: &Path, session: Duration) -> Result<()> {
    let read = |name: &str| -> Result<Value> {
        let text =
            fs::read_to_string(folder.join(name)).with_context(|| format!("the session left no {name}"))?;
        serde_json::from_str(&text).with_context(|| format!("{name} is not JSON"))
    };
    let card = read("counters.json")?;
    let count = |name: &str| {
        let value = card.get(name).or_else(|| card.get("card")?.get(name)).and_then(Value::as_f64);
        value.with_context(|| format!("the card counts no {name}"))
    };
    let mebibytes = |name: &str| count(name).map(|bytes| bytes / f64::from(1 << 20));
    println!();
    line("simulated", &format!("{} cycles at {:.0} kHz", count("cycles")?, count("kilohertz")?));
    line("commands", &count("commands")?.to_string());
    let (read_bytes, written) = (mebibytes("dma_read_bytes")?, mebibytes("dma_write_bytes")?);
    line(
        "DMA",
        &format!(
            "{read_bytes:.1} MiB from the guest, {written:.1} MiB to it, {} faults",
            count("dma_faults")?
        ),
    );
    line("interrupts", &count("interrupts")?.to_string());
    for (port, events) in card.get("ports").and_then(Value::as_object).into_iter().flatten() {
        line(port, &packets(events));
    }
    for guest in &GUESTS {
        line(&format!("{}'s exits", guest.name), &exits(&read(&guest.stats())?));
    }
    line("session", &format!("{:.1} s", session.as_secs_f32()));
    Ok(())
}

fn line(name: &str, value: &str) {
    println!("  {name:<15}{value}");
}

/// What passed a port of the switch, and what it dropped.
fn packets(events: &Value) -> String {
    let each = events.as_object().into_iter().flatten().map(|(event, counts)| {
        let count = |what: &str| counts.get(what).and_then(Value::as_u64).unwrap_or_default();
        format!(
            "{} packets {} ({:.2} MiB)",
            count("packets"),
            event.replace('_', " "),
            count("bytes") as f64 / f64::from(1 << 20)
        )
    });
    each.collect::<Vec<_>>().join(", ")
}

/// The exits by reason, the most frequent first.
fn exits(stats: &Value) -> String {
    let reasons = stats.get("exits").and_then(Value::as_object).into_iter().flatten();
    let mut counts: Vec<(u64, &str)> =
        reasons.filter_map(|(reason, count)| Some((count.as_u64()?, reason.as_str()))).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let listed = counts.iter().filter(|(count, _)| *count > 0);
    listed
        .map(|(count, reason)| format!("{count} {}", reason.replace('_', " ")))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ports_events_are_told_with_their_packets_and_bytes() {
        let events = serde_json::json!({ "sent": { "packets": 3, "bytes": 1_572_864 }, "source_mac": { "packets": 1, "bytes": 0 } });
        assert_eq!(packets(&events), "3 packets sent (1.50 MiB), 1 packets source mac (0.00 MiB)");
    }

    #[test]
    fn exits_are_listed_by_frequency_without_those_that_never_happened() {
        let stats = serde_json::json!({ "exits": { "bar_write": 7, "total": 9, "nowhere": 0, "msix": 2 } });
        assert_eq!(exits(&stats), "9 total, 7 bar write, 2 msix");
    }
}
