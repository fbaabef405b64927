//! A card's counters as OpenMetrics text, which Prometheus reads.

use anyhow::Result;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde_json::Value;

/// Counters that differ by labels.
type Labelled = Family<Vec<(&'static str, String)>, Counter>;

/// The text for what a daemon answers to `counters`.
pub fn text(counters: &Value) -> Result<String> {
    let mut registry = Registry::with_prefix("nitride");
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    for (name, key, help) in [
        ("clock_cycles", "clock", "Clock cycles of the card"),
        ("simulated_cycles", "cycles", "Clock cycles that were simulated"),
        ("dma_read_bytes", "dma_read_bytes", "Bytes that functions read of host memory"),
        ("dma_write_bytes", "dma_write_bytes", "Bytes that functions wrote to host memory"),
        ("dma_faults", "dma_faults", "DMA requests that no mapping allowed"),
        ("interrupts", "interrupts", "Interrupt messages"),
        ("error_messages", "error_messages", "Error messages (AER)"),
        ("media_read_bytes", "media_read_bytes", "Bytes read from the media"),
        ("media_write_bytes", "media_write_bytes", "Bytes written to the media"),
        ("violations", "violations", "Rules of PCIe that the card broke"),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(number(&counters[key]));
        registry.register(name, help, counter);
    }
    let events = Labelled::default();
    registry.register("card_events", "The card's own counters", events.clone());
    for (event, count) in counters["card"].as_object().into_iter().flatten() {
        events.get_or_create(&vec![("event", event.clone())]).inc_by(number(count));
    }
    let (packets, bytes) = (Labelled::default(), Labelled::default());
    registry.register(
        "port_packets",
        "Packets at a port of the switch, by what became of them",
        packets.clone(),
    );
    registry.register("port_bytes", "Their bytes", bytes.clone());
    for (port, events) in counters["ports"].as_object().into_iter().flatten() {
        for (event, counted) in events.as_object().into_iter().flatten() {
            let labels = vec![("port", port.clone()), ("event", event.clone())];
            packets.get_or_create(&labels).inc_by(number(&counted["packets"]));
            bytes.get_or_create(&labels).inc_by(number(&counted["bytes"]));
        }
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_names_types_and_labels() {
        let counters = serde_json::json!({
            "clock": 7, "interrupts": 3, "card": { "commands": 5 },
            "ports": { "net0": { "source_mac": { "packets": 2, "bytes": 120 } } },
        });
        let text = text(&counters).unwrap();
        for line in [
            "# TYPE nitride_clock_cycles counter",
            "nitride_clock_cycles_total 7",
            "nitride_interrupts_total 3",
            "nitride_card_events_total{event=\"commands\"} 5",
            "nitride_port_packets_total{port=\"net0\",event=\"source_mac\"} 2",
            "nitride_port_bytes_total{port=\"net0\",event=\"source_mac\"} 120",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
