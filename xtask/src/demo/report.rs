//! What the demo counted.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// Prints the card's counters and the virtual machine's exits.
pub fn print(folder: &Path, session: Duration) -> Result<()> {
    let read = |name: &str| -> Result<Value> {
        let text =
            fs::read_to_string(folder.join(name)).with_context(|| format!("the session left no {name}"))?;
        serde_json::from_str(&text).with_context(|| format!("{name} is not JSON"))
    };
    println!();
    section("card", &read("counters.json")?);
    section("exits", &read("exits.json")?);
    println!("{:<28} {:>14.1} s", "session, wall time", session.as_secs_f32());
    Ok(())
}

/// Prints every number of `value` that is not 0, by its path.
fn section(name: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                section(&format!("{name} {key}"), value);
            }
        }
        Value::Number(number) if number.as_f64() != Some(0.0) => {
            println!("{:<28} {number:>14}", name.replace('_', " "));
        }
        _ => {}
    }
}
