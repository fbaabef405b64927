//! Identify data, taken apart (NVMe 1.4 §5.15.2).

use nitride_abi::nvme::identify::{controller as c, namespace as n};

/// What a controller says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerInfo {
    /// PCI vendor ID.
    pub vendor: u16,
    /// Serial number, without its padding.
    pub serial: String,
    /// Model number, without its padding.
    pub model: String,
    /// Firmware revision, without its padding.
    pub firmware: String,
    /// NVM Subsystem NVMe Qualified Name.
    pub subnqn: String,
    /// VS: major in bits 31:16, minor in 15:8, tertiary in 7:0.
    pub version: u32,
    /// Most bytes of a Read or Write.
    pub max_transfer: usize,
    /// Most entries of an I/O queue.
    pub queue_entries: u32,
    /// NSIDs go up to this.
    pub namespaces: u32,
    /// It has a volatile write cache.
    pub write_cache: bool,
    /// It knows Dataset Management.
    pub deallocate: bool,
    /// It knows Write Zeroes.
    pub write_zeroes: bool,
}

impl ControllerInfo {
    pub(super) fn parse(data: &[u8; 4096], version: u32, queue_entries: u32) -> Self {
        let byte = |at: usize| data[at];
        let word = |at: usize| u16::from_le_bytes([data[at], data[at + 1]]);
        // MDTS 0 is no limit; a slot's PRP list holds 1 MiB, however the data is aligned.
        let limit = 1 << 20;
        let mdts = byte(c::MDTS);
        let max_transfer = if mdts == 0 || mdts > 8 { limit } else { 4096 << mdts };
        let oncs = word(c::ONCS);
        Self {
            vendor: word(c::VID),
            serial: text(&data[c::SN..c::SN + 20]),
            model: text(&data[c::MN..c::MN + 40]),
            firmware: text(&data[c::FR..c::FR + 8]),
            subnqn: text(&data[c::SUBNQN..c::SUBNQN + 256]),
            version,
            max_transfer,
            queue_entries,
            namespaces: u32::from_le_bytes([byte(c::NN), byte(c::NN + 1), byte(c::NN + 2), byte(c::NN + 3)]),
            write_cache: byte(c::VWC) & 1 != 0,
            deallocate: oncs & 1 << 2 != 0,
            write_zeroes: oncs & 1 << 3 != 0,
        }
    }
}

/// Printable ASCII up to the padding: it goes to terminals, and comes from the card.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let printable =
        bytes[..end].iter().map(|byte| if (b' '..=b'~').contains(byte) { *byte as char } else { '?' });
    printable.collect::<String>().trim().to_owned()
}

/// An active namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamespaceInfo {
    /// Its NSID.
    pub id: u32,
    /// Its size in blocks.
    pub blocks: u64,
    /// log2 of its block size in bytes.
    pub block_shift: u8,
    /// It is write protected.
    pub read_only: bool,
    /// Its NGUID, 0 where it has none.
    pub nguid: [u8; 16],
}

impl NamespaceInfo {
    /// `None` if the namespace has no size, or a format that is not plain blocks of 512 bytes to 1 MiB.
    pub(super) fn parse(id: u32, data: &[u8; 4096]) -> Option<Self> {
        let mut blocks = [0; 8];
        blocks.copy_from_slice(&data[n::NSZE..n::NSZE + 8]);
        let mut nguid = [0; 16];
        nguid.copy_from_slice(&data[n::NGUID..n::NGUID + 16]);
        let format = n::LBAF0 + 4 * (data[n::FLBAS] & 0xf) as usize;
        let metadata = u16::from_le_bytes([data[format], data[format + 1]]);
        let info = Self {
            id,
            blocks: u64::from_le_bytes(blocks),
            block_shift: data[format + n::LBAF_LBADS],
            read_only: data[n::NSATTR] & 1 != 0,
            nguid,
        };
        let plain = metadata == 0 && (9..=20).contains(&info.block_shift);
        (info.blocks > 0 && plain && info.blocks.leading_zeros() >= info.block_shift as u32).then_some(info)
    }

    /// Its block size in bytes.
    pub fn block_size(&self) -> usize {
        1 << self.block_shift
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.blocks << self.block_shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_the_card_cannot_steer_a_terminal() {
        assert_eq!(text(b"ab\x1b[31m  \0x"), "ab?[31m");
    }

    #[test]
    fn hostile_namespace_data_is_refused() {
        let good = nitride_abi::nvme::identify_namespace(2, 1, 100, 1, false);
        assert_eq!(NamespaceInfo::parse(1, &good).map(|n| (n.blocks, n.block_shift)), Some((100, 12)));
        let mut bad = good;
        bad[n::LBAF0 + 4 + n::LBAF_LBADS] = 64;
        assert_eq!(NamespaceInfo::parse(1, &bad), None);
        let mut bad = good;
        bad[n::NSZE..n::NSZE + 8].fill(0xff);
        assert_eq!(NamespaceInfo::parse(1, &bad), None);
    }
}
