//! Writing pcapng: packets with a direction, and the time in cycles.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};

/// The clock's period at 250 MHz.
pub(crate) const NANOSECONDS_PER_CYCLE: u64 = 4;

/// Which way a packet went, as epb_flags has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the card.
    Inbound = 1,
    /// From the card.
    Outbound = 2,
}

/// A file of one interface. A packet's time is its cycle at 250 MHz, 4 ns a cycle.
pub(crate) struct Writer(Box<PcapNgWriter<BufWriter<File>>>);

impl Writer {
    pub(crate) fn create(path: &Path, linktype: DataLink, name: &str) -> io::Result<Self> {
        let mut writer = PcapNgWriter::new(BufWriter::new(File::create(path)?)).map_err(io::Error::other)?;
        let options = vec![
            InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
            InterfaceDescriptionOption::IfTsResol(9),
        ];
        let interface = InterfaceDescriptionBlock { linktype, snaplen: 0, options };
        writer.write_pcapng_block(interface).map_err(io::Error::other)?;
        Ok(Self(Box::new(writer)))
    }

    pub(crate) fn packet(&mut self, cycle: u64, direction: Direction, data: &[u8]) -> io::Result<()> {
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: Duration::from_nanos(cycle * NANOSECONDS_PER_CYCLE),
            original_len: data.len() as u32,
            data: Cow::Borrowed(data),
            options: vec![EnhancedPacketOption::Flags(direction as u32)],
        };
        self.0.write_pcapng_block(block).map(drop).map_err(io::Error::other)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}
