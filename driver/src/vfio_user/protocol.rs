//! The messages of the vfio-user protocol that a client sends and gets (vfio-user 0.9.1).
//!
//! All integers are little-endian. A message is a [`Header`] and what its command defines.

/// Bytes of a message's header.
pub(super) const HEADER: usize = 16;
/// Longest data of one region access.
pub(super) const MAX_ACCESS: usize = 256;
/// Longest message that a client sends: a region access.
pub(super) const MAX_MESSAGE: usize = HEADER + 16 + MAX_ACCESS;

/// A command number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Command {
    Version = 1,
    DmaMap = 2,
    DmaUnmap = 3,
    DeviceGetInfo = 4,
    DeviceGetRegionInfo = 5,
    DeviceGetIrqInfo = 7,
    DeviceSetIrqs = 8,
    RegionRead = 9,
    RegionWrite = 10,
    DeviceReset = 13,
}

/// Header flags: the type in bits 3:0.
pub(super) mod flags {
    pub const TYPE: u32 = 0xf;
    pub const REPLY: u32 = 1;
    pub const NO_REPLY: u32 = 1 << 4;
    pub const ERROR: u32 = 1 << 5;
}

/// Flags of `VFIO_USER_DEVICE_GET_INFO`.
pub(super) const DEVICE_PCI: u32 = 1 << 1;

/// Flags of `VFIO_USER_DMA_MAP`.
pub(super) const DMA_READ: u32 = 1 << 0;
pub(super) const DMA_WRITE: u32 = 1 << 1;

/// The region with configuration space; regions 0 to 5 are the BARs.
pub(super) const REGION_CONFIG: u32 = 7;
/// The interrupt index of MSI-X.
pub(super) const IRQ_MSIX: u32 = 2;

/// Flags of `VFIO_USER_DEVICE_SET_IRQS`.
pub(super) const IRQ_DATA_NONE: u32 = 1 << 0;
pub(super) const IRQ_DATA_EVENTFD: u32 = 1 << 2;
pub(super) const IRQ_ACTION_TRIGGER: u32 = 1 << 5;

/// The header of every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub id: u16,
    pub command: u16,
    /// Bytes of the message, the header's included.
    pub size: u32,
    pub flags: u32,
    pub error: u32,
}

impl Header {
    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut writer = Writer::<HEADER>::default();
        writer.u16(self.id).u16(self.command).u32(self.size).u32(self.flags).u32(self.error);
        writer.bytes
    }

    pub fn from_bytes(bytes: &[u8; HEADER]) -> Self {
        let [a, b, c, d] = [0, 4, 8, 12].map(|at| u32_at(bytes, at));
        Self { id: a as u16, command: (a >> 16) as u16, size: b, flags: c, error: d }
    }
}

/// A message's fields, one after the other.
pub(super) struct Writer<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Default for Writer<N> {
    fn default() -> Self {
        Self { bytes: [0; N], len: 0 }
    }
}

impl<const N: usize> Writer<N> {
    /// Appends bytes. The caller's message fits into `N` by its definition.
    pub fn put(&mut self, data: &[u8]) -> &mut Self {
        self.bytes[self.len..self.len + data.len()].copy_from_slice(data);
        self.len += data.len();
        self
    }

    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    pub fn written(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The 32-bit field at `at`, 0 where the message ends before it.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    if let Some(from) = bytes.get(at..at + 4) {
        field.copy_from_slice(from);
    }
    u32::from_le_bytes(field)
}

/// The 64-bit field at `at`, 0 where the message ends before it.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u32_at(bytes, at) as u64 | (u32_at(bytes, at + 4) as u64) << 32
}

/// `max_msg_fds` of a server's version data (JSON): the file descriptors it takes in one message.
pub(super) fn max_msg_fds(version_data: &[u8]) -> usize {
    const KEY: &str = "\"max_msg_fds\"";
    let text = String::from_utf8_lossy(version_data);
    let value = text.split_once(KEY).and_then(|(_, rest)| rest.trim_start().strip_prefix(':'));
    let digits =
        value.map(|rest| rest.trim_start().chars().take_while(char::is_ascii_digit).collect::<String>());
    // 1 is the protocol's default; 16 is as many as servers in use take.
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(1).clamp(1, 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_four_little_endian_dwords() {
        let header = Header { id: 0x0102, command: 9, size: 32, flags: flags::NO_REPLY, error: 22 };
        let bytes = header.to_bytes();
        assert_eq!(bytes, [2, 1, 9, 0, 32, 0, 0, 0, 16, 0, 0, 0, 22, 0, 0, 0]);
        assert_eq!(Header::from_bytes(&bytes), header);
    }

    #[test]
    fn max_msg_fds_is_found_whatever_surrounds_it() {
        assert_eq!(max_msg_fds(br#"{"capabilities":{"max_msg_fds": 8,"x":1}}"#), 8);
        assert_eq!(max_msg_fds(br#"{"capabilities":{}}"#), 1);
        assert_eq!(max_msg_fds(br#"{"max_msg_fds":4096}"#), 16);
        assert_eq!(max_msg_fds(br#"{"max_msg_fds":"#), 1);
    }
}
