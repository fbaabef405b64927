//! A log of every TLP that crosses the card's edge, as text or as pcapng.
//!
//! Text has one line a TLP: cycle, `>` to the card or `<` from it, what it is, and its payload.
//!
//! pcapng has link type 147 (`DLT_USER0`); a packet is the header's DWs in the byte order of the link (12 or
//! 16 bytes, by bit 5 of byte 0), then the payload. The packet's flags say inbound (to the card) or outbound;
//! its time is the cycle at 250 MHz, 4 ns a cycle.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use nitride_abi::tlp::{Header, Kind};
use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};

use crate::tlp::Tlp;

/// Bytes of payload that a line of text shows.
const SHOWN: usize = 64;
const NANOSECONDS_PER_CYCLE: u64 = 4;

pub(crate) enum TlpLog {
    Text(BufWriter<File>),
    Pcapng(Box<PcapNgWriter<BufWriter<File>>>),
}

impl TlpLog {
    pub(crate) fn create(path: &Path) -> std::io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        if path.extension().is_none_or(|extension| extension != "pcapng") {
            return Ok(Self::Text(file));
        }
        let mut writer = PcapNgWriter::new(file).map_err(std::io::Error::other)?;
        let options = vec![
            InterfaceDescriptionOption::IfName(Cow::Borrowed("card")),
            InterfaceDescriptionOption::IfTsResol(9),
        ];
        let interface = InterfaceDescriptionBlock { linktype: DataLink::USER0, snaplen: 0, options };
        writer.write_pcapng_block(interface).map_err(std::io::Error::other)?;
        Ok(Self::Pcapng(Box::new(writer)))
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
                let block = EnhancedPacketBlock {
                    interface_id: 0,
                    timestamp: Duration::from_nanos(cycle * NANOSECONDS_PER_CYCLE),
                    original_len: data.len() as u32,
                    data: Cow::Owned(data),
                    options: vec![EnhancedPacketOption::Flags(if to_card { 1 } else { 2 })],
                };
                writer.write_pcapng_block(block).map(drop).map_err(std::io::Error::other)
            }
        }
    }

    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Text(file) => file.flush(),
            Self::Pcapng(writer) => writer.get_mut().flush(),
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
            Kind::Message { requester, code, .. } => format!("Msg code={code:02x} from={}", id(requester)),
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
