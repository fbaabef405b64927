//! The frames of a pcapng file.

use std::fs::File;
use std::io;
use std::path::Path;

use pcap_file::DataLink;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};

use crate::pcapng::NANOSECONDS_PER_CYCLE;

/// A frame, and the cycle after the replay's start in which it arrives.
pub(crate) struct Frame {
    pub(crate) cycle: u64,
    pub(crate) data: Vec<u8>,
}

/// All frames of a file, in order; the first arrives in cycle 0.
pub(super) fn read(path: &Path) -> io::Result<Vec<Frame>> {
    let wrong = |error: pcap_file::PcapError| match error {
        pcap_file::PcapError::IoError(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, format!("not a pcapng file ({other})")),
    };
    let mut reader = PcapNgReader::new(File::open(path)?).map_err(wrong)?;
    let mut units = Vec::new();
    let mut frames: Vec<(u128, Vec<u8>)> = Vec::new();
    while let Some(block) = reader.next_block() {
        match block.map_err(wrong)? {
            Block::InterfaceDescription(interface) => {
                if interface.linktype != DataLink::ETHERNET {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("its link type is {:?}, not Ethernet", interface.linktype),
                    ));
                }
                units.push(nanoseconds(&interface.options));
            }
            Block::EnhancedPacket(packet) => {
                let unit = units.get(packet.interface_id as usize).copied().unwrap_or((1000, 1));
                // The library gives the file's units as nanoseconds.
                let time = packet.timestamp.as_nanos() * unit.0 / unit.1;
                frames.push((time, packet.data.into_owned()));
            }
            _ => {}
        }
    }
    let first = frames.first().map_or(0, |(time, _)| *time);
    let cycle = |time: u128| (time.saturating_sub(first) / u128::from(NANOSECONDS_PER_CYCLE)) as u64;
    Ok(frames.into_iter().map(|(time, data)| Frame { cycle: cycle(time), data }).collect())
}

/// The unit of an interface's times in nanoseconds, as a fraction (if_tsresol: a power of 10, or of 2 if bit 7 is set).
fn nanoseconds(options: &[InterfaceDescriptionOption<'_>]) -> (u128, u128) {
    let resolution = options.iter().find_map(|option| match option {
        InterfaceDescriptionOption::IfTsResol(resolution) => Some(*resolution),
        _ => None,
    });
    let resolution = resolution.unwrap_or(6);
    let exponent = u32::from(resolution & 0x7f).min(36);
    let base: u128 = if resolution & 0x80 == 0 { 10 } else { 2 };
    (1_000_000_000, base.pow(exponent))
}
