//! A log of every TLP that crosses the card's edge, as text or as pcapng.
//!
//! Text has one line a TLP: cycle, `>` to the card or `<` from it, what it is, and its payload.
//!
//! pcapng has link type 147 (`DLT_USER0`); a packet is the header's DWs in the byte order of the link (12 or
//! 16 bytes, by bit 5 of byte 0), then the payload. The packet's flags say inbound (to the card) or outbound;
//! its time is the cycle at 250 MHz, 4 ns a cycle.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use nitride_abi::tlp::{ERR_COR, ERR_FATAL, ERR_NONFATAL, Header, Kind};
use pcap_file::DataLink;

use crate::pcapng::{self, Direction};
use crate::tlp::Tlp;

/// Bytes of payload that a line of text shows.
const SHOWN: usize = 64;

pub(crate) enum TlpLog {
    Text(BufWriter<File>),
    Pcapng(pcapng::Writer),
}

impl TlpLog {
    pub(crate) fn create(path: &Path) -> std::io::Result<Self> {
        if path.extension().is_some_and(|extension| extension == "pcapng") {
            return pcapng::Writer::create(path, DataLink::USER0, "card").map(Self::Pcapng);
        }
        Ok(Self::Text(BufWriter::new(File::create(path)?)))
    }

    pub(crate) fn record(&mut self, cycle: u64, to_card: bool, tlp: &Tlp) -> std::io::Result<()> {
        match self {
            Self::Text(file) => {
                writeln!(file, "{cycle:>10} {} {}", if to_card { '>' } else { '<' }, describe(tlp))
            }
            Self::Pcapng(writer) => {
                let words = if tlp.header[0] >> 29 & 1 != 0 { 4 } else { 3 };
                let mut data: Vec<u8> =
                    tlp.header[..words].iter().flat_map(|word| word.to_be_bytes()).collect();
                data.extend_from_slice(&tlp.payload);
                let direction = if to_card { Direction::Inbound } else { Direction::Outbound };
                writer.packet(cycle, direction, &data)
            }
        }
    }

    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Text(file) => file.flush(),
            Self::Pcapng(writer) => writer.flush(),
        }
    }
}

/// A TLP in one line.
fn describe(tlp: &Tlp) -> String {
    let id = |id: u16| format!("{:02x}:{:02x}", id >> 8, id & 0xff);
    let mut line = match Header::parse(&tlp.header) {
        Err(why) => format!("malformed {:08x?}: {why}", tlp.header),
        Ok(header) => match header.kind {
            Kind::Memory { write, requester, tag, first, last, address } => {
                let name = if write { "MWr" } else { "MRd" };
                let length = header.length;
                format!(
                    "{name} {address:016x} dws={length} be={first:x}/{last:x} from={} tag={tag:02x}",
                    id(requester)
                )
            }
            Kind::Config { write, forwarded, tag, first, target, offset, .. } => {
                let name = if write { "CfgWr" } else { "CfgRd" };
                format!(
                    "{name}{} {} {offset:03x} be={first:x} tag={tag:02x}",
                    u8::from(forwarded),
                    id(target)
                )
            }
            Kind::Completion { data, completer, status, byte_count, requester, tag, lower_address } => {
                let name = if data { "CplD" } else { "Cpl" };
                format!(
                    "{name} {} bytes={byte_count} at={lower_address:02x} from={} to={} tag={tag:02x}",
                    status.name(),
                    id(completer),
                    id(requester)
                )
            }
            Kind::Message { requester, code, .. } => match code {
                ERR_COR => format!("Msg ERR_COR from={}", id(requester)),
                ERR_NONFATAL => format!("Msg ERR_NONFATAL from={}", id(requester)),
                ERR_FATAL => format!("Msg ERR_FATAL from={}", id(requester)),
                _ => format!("Msg code={code:02x} from={}", id(requester)),
            },
        },
    };
    if !tlp.payload.is_empty() {
        line.push_str(" :");
        for bytes in tlp.payload[..tlp.payload.len().min(SHOWN)].chunks(4) {
            line.push(' ');
            for byte in bytes {
                let _ = write!(line, "{byte:02x}");
            }
        }
        if tlp.payload.len() > SHOWN {
            line.push_str(" ...");
        }
    }
    line
}
