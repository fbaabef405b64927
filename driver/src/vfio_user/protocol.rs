//! The messages of the vfio-user protocol (vfio-user 0.9.1), for its client here and for a server.
//!
//! All integers are little-endian. A message is a [`Header`] and what its command defines.

/// Bytes of a message's header.
pub const HEADER: usize = 16;
/// File descriptors in one message, at most.
pub const MAX_FDS: usize = 16;
/// Longest data of one region access.
pub const MAX_ACCESS: usize = 256;
/// Longest message that a client sends: a region access.
pub const MAX_MESSAGE: usize = HEADER + 16 + MAX_ACCESS;

/// A command number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Command {
    /// Agree on the protocol.
    Version = 1,
    /// Open memory to the device.
    DmaMap = 2,
    /// Close it.
    DmaUnmap = 3,
    /// What the device is.
    DeviceGetInfo = 4,
    /// What a region is.
    DeviceGetRegionInfo = 5,
    /// What interrupts there are.
    DeviceGetIrqInfo = 7,
    /// Where interrupts go.
    DeviceSetIrqs = 8,
    /// Read of a region.
    RegionRead = 9,
    /// Write of a region.
    RegionWrite = 10,
    /// Reset of the device.
    DeviceReset = 13,
}

impl Command {
    /// The command of a number that came over a socket.
    pub fn from_number(number: u16) -> Option<Self> {
        use Command::{
            DeviceGetInfo, DeviceGetIrqInfo, DeviceGetRegionInfo, DeviceReset, DeviceSetIrqs, DmaMap,
            DmaUnmap, RegionRead, RegionWrite, Version,
        };
        [
            Version,
            DmaMap,
            DmaUnmap,
            DeviceGetInfo,
            DeviceGetRegionInfo,
            DeviceGetIrqInfo,
            DeviceSetIrqs,
            RegionRead,
            RegionWrite,
            DeviceReset,
        ]
        .into_iter()
        .find(|command| *command as u16 == number)
    }
}

/// Header flags: the type in bits 3:0.
pub mod flags {
    /// Command (0) or reply.
    pub const TYPE: u32 = 0xf;
    /// A reply.
    pub const REPLY: u32 = 1;
    /// The sender wants no reply.
    pub const NO_REPLY: u32 = 1 << 4;
    /// The request failed: the header has its errno.
    pub const ERROR: u32 = 1 << 5;
}

/// Flags of `VFIO_USER_DEVICE_GET_INFO`.
pub const DEVICE_PCI: u32 = 1 << 1;
/// The device has a reset of its own.
pub const DEVICE_RESET: u32 = 1 << 0;

/// Flags of `VFIO_USER_DEVICE_GET_REGION_INFO`.
pub const REGION_READ: u32 = 1 << 0;
/// The region can be written.
pub const REGION_WRITE: u32 = 1 << 1;
/// Flag of `VFIO_USER_DEVICE_GET_IRQ_INFO`: vectors are signalled by event file descriptors.
pub const IRQ_EVENTFD: u32 = 1 << 0;

/// Flags of `VFIO_USER_DMA_MAP`.
pub const DMA_READ: u32 = 1 << 0;
/// The device may write.
pub const DMA_WRITE: u32 = 1 << 1;
/// Flag of `VFIO_USER_DMA_UNMAP`: all mappings, whatever the range.
pub const UNMAP_ALL: u32 = 1 << 2;

/// The region with configuration space; regions 0 to 5 are the BARs.
pub const REGION_CONFIG: u32 = 7;
/// The interrupt index of MSI-X.
pub const IRQ_MSIX: u32 = 2;

/// Flags of `VFIO_USER_DEVICE_SET_IRQS`.
pub const IRQ_DATA_NONE: u32 = 1 << 0;
/// Targets are event file descriptors.
pub const IRQ_DATA_EVENTFD: u32 = 1 << 2;
/// The targets of interrupts are set.
pub const IRQ_ACTION_TRIGGER: u32 = 1 << 5;

/// The header of every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Chosen by who asks, repeated in the reply.
    pub id: u16,
    /// A [`Command`]'s number.
    pub command: u16,
    /// Bytes of the message, the header's included.
    pub size: u32,
    /// See [`flags`].
    pub flags: u32,
    /// The errno of a failed request.
    pub error: u32,
}

impl Header {
    /// As it is sent.
    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut writer = Writer::<HEADER>::default();
        writer.u16(self.id).u16(self.command).u32(self.size).u32(self.flags).u32(self.error);
        writer.bytes
    }

    /// As it was received.
    pub fn from_bytes(bytes: &[u8; HEADER]) -> Self {
        let [a, b, c, d] = [0, 4, 8, 12].map(|at| u32_at(bytes, at));
        Self { id: a as u16, command: (a >> 16) as u16, size: b, flags: c, error: d }
    }
}

/// A message's fields, one after the other.
pub struct Writer<const N: usize> {
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

    /// Appends a 16-bit field.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    /// Appends a 32-bit field.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    /// Appends a 64-bit field.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    /// What was appended.
    pub fn written(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A request's fields, one after the other, as an untrusted client sent them.
#[derive(Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The fields of `payload`.
    pub fn new(payload: &'a [u8]) -> Self {
        Self { left: payload }
    }

    /// The next `count` bytes; EINVAL where the message ends before.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], i32> {
        let (bytes, left) =
            self.left.split_at_checked(count).ok_or(rustix::io::Errno::INVAL.raw_os_error())?;
        self.left = left;
        Ok(bytes)
    }

    /// The next 32-bit field.
    pub fn u32(&mut self) -> Result<u32, i32> {
        Ok(u32_at(self.bytes(4)?, 0))
    }

    /// The next 64-bit field.
    pub fn u64(&mut self) -> Result<u64, i32> {
        Ok(u64_at(self.bytes(8)?, 0))
    }
}

/// The 32-bit field at `at`, 0 where the message ends before it.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    if let Some(from) = bytes.get(at..at + 4) {
        field.copy_from_slice(from);
    }
    u32::from_le_bytes(field)
}

/// The 64-bit field at `at`, 0 where the message ends before it.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u32_at(bytes, at) as u64 | (u32_at(bytes, at + 4) as u64) << 32
}

/// `max_msg_fds` of a server's version data (JSON): the file descriptors it takes in one message.
pub fn max_msg_fds(version_data: &[u8]) -> usize {
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
