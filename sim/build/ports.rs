//! The card's ports: from Verilator's header to a table of fields in Rust.

use std::fmt::Write;

use nitride_abi::card::ETHERNET_PORTS;

/// A port of the Verilated top module.
pub struct Port {
    /// As the Verilog has it.
    pub name: String,
    /// In bits.
    pub width: usize,
}

impl Port {
    /// As the C++ has it.
    pub fn member(&self) -> String {
        self.name.replace('$', "__024")
    }
}

/// Streams of the edge (`docs/interfaces.md`): names of the record, its fields and their widths, least
/// significant first. A stream's fields are ports of their own, or the record is one port `data`.
const STREAMS: &[(&str, &[(&str, usize)])] = &[
    ("rx", &[("hdr", 128), ("data", 256), ("last", 1)]),
    ("tx", &[("hdr", 128), ("data", 256), ("last", 1)]),
    ("axi_ar", &[("id", 6), ("address", 48), ("length", 8)]),
    ("axi_r", &[("id", 6), ("data", 256), ("error", 1), ("last", 1)]),
    ("axi_aw", &[("id", 6), ("address", 48), ("length", 8)]),
    ("axi_w", &[("data", 256), ("last", 1)]),
    ("axi_b", &[("id", 6), ("error", 1)]),
    ("media", &[("operation", 2), ("address", 48), ("length", 48), ("id", 6)]),
    ("media_response", &[("id", 6), ("error", 1)]),
];

/// Streams that each Ethernet port has, `eth0_rx` and so on: their constants are arrays by port.
const ETHERNET: &[&str] = &["rx", "tx"];

/// A beat of an Ethernet frame. Its last field, the switch's port, nobody looks at.
const FRAME: &[(&str, usize)] = &[("data", 256), ("bytes", 6), ("last", 1), (UNUSED, 5)];
const UNUSED: &str = "_";

/// Ports that belong to no stream.
const SINGLE: &[(&str, usize)] = &[("clock", 1), ("tx_credit", 3), ("busy", 1)];

/// The ports in a header of Verilator's: `VL_IN8(&clock,0,0);`, `VL_OUTW(&rx__024hdr,127,0,4);`.
pub fn parse(header: &str) -> Vec<Port> {
    let port = |line: &str| {
        let rest = line.trim().strip_prefix("VL_")?;
        let (kind, arguments) = rest.split_once("(&")?;
        if !kind.starts_with("IN") && !kind.starts_with("OUT") {
            return None;
        }
        let mut arguments = arguments.trim_end_matches(");").split(',');
        let name = arguments.next()?.replace("__024", "$");
        let high: usize = arguments.next()?.parse().ok()?;
        let low: usize = arguments.next()?.parse().ok()?;
        Some(Port { name, width: high - low + 1 })
    };
    header.lines().filter_map(port).collect()
}

/// `ports.rs`: how many ports there are, their names and widths, and where each field of the edge is.
pub fn rust(ports: &[Port]) -> Result<String, String> {
    let mut text = String::new();
    let _ = writeln!(text, "pub const NAMES: [(&str, usize); {}] = [", ports.len());
    for port in ports {
        let _ = writeln!(text, "    ({:?}, {}),", port.name, port.width);
    }
    text.push_str("];\n");
    for (name, width) in SINGLE {
        let field = field((find(ports, name, *width)?, 0, *width));
        let _ = writeln!(text, "pub const {}: Field = {field};", name.to_uppercase());
    }
    for (stream, fields) in STREAMS {
        for (name, place) in places(ports, stream, fields)? {
            let name = format!("{stream}_{name}").to_uppercase();
            let _ = writeln!(text, "pub const {name}: Field = {};", field(place));
        }
    }
    for stream in ETHERNET {
        let of_port = |port| places(ports, &format!("eth{port}_{stream}"), FRAME);
        let all = (0..ETHERNET_PORTS).map(of_port).collect::<Result<Vec<_>, _>>()?;
        for (at, (name, _)) in all[0].iter().enumerate() {
            let fields: Vec<_> = all.iter().map(|places| field(places[at].1)).collect();
            let name = format!("eth_{stream}_{name}").to_uppercase();
            let _ = writeln!(text, "pub const {name}: [Field; {ETHERNET_PORTS}] = [{}];", fields.join(", "));
        }
    }
    Ok(text)
}

/// Where a field is: the port's index, the lowest bit in it, the width.
type Place = (usize, usize, usize);

fn field((port, bit, width): Place) -> String {
    format!("Field {{ port: {port}, bit: {bit}, width: {width} }}")
}

/// The handshake and the fields of a stream.
fn places(
    ports: &[Port],
    stream: &str,
    fields: &[(&'static str, usize)],
) -> Result<Vec<(&'static str, Place)>, String> {
    let mut places = Vec::new();
    for handshake in ["valid", "ready"] {
        places.push((handshake, (find(ports, &format!("{stream}${handshake}"), 1)?, 0, 1)));
    }
    let record: usize = fields.iter().map(|(_, width)| width).sum();
    let packed = find(ports, &format!("{stream}$data"), record).ok();
    let mut bit = 0;
    for (field, width) in fields {
        if *field != UNUSED {
            let place = match packed {
                Some(port) => (port, bit, *width),
                None => (find(ports, &format!("{stream}${field}"), *width)?, 0, *width),
            };
            places.push((field, place));
        }
        bit += width;
    }
    Ok(places)
}

/// The index of a port; `axi_ar$…` may be called `axi$ar$…` too.
fn find(ports: &[Port], name: &str, width: usize) -> Result<usize, String> {
    let nested = name.replacen('_', "$", 1);
    let index = ports.iter().position(|port| port.name == name || port.name == nested);
    match index {
        Some(index) if ports[index].width == width => Ok(index),
        Some(index) => Err(format!("the card's port {name} has {} bits, not {width}", ports[index].width)),
        None => Err(format!("the card has no port {name} of {width} bits (docs/interfaces.md)")),
    }
}
