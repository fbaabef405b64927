//! The network device (virtio 1.2 §5.1).

/// Device type (§5.1.1).
pub const DEVICE_TYPE: u16 = 1;

/// Feature bits by number (§5.1.3).
pub mod feature {
    /// VIRTIO_NET_F_CSUM.
    pub const CSUM: u32 = 0;
    /// VIRTIO_NET_F_GUEST_CSUM.
    pub const GUEST_CSUM: u32 = 1;
    /// VIRTIO_NET_F_MTU.
    pub const MTU: u32 = 3;
    /// VIRTIO_NET_F_MAC.
    pub const MAC: u32 = 5;
    /// VIRTIO_NET_F_MRG_RXBUF.
    pub const MRG_RXBUF: u32 = 15;
    /// VIRTIO_NET_F_STATUS.
    pub const STATUS: u32 = 16;
    /// VIRTIO_NET_F_CTRL_VQ.
    pub const CTRL_VQ: u32 = 17;
    /// VIRTIO_NET_F_CTRL_RX.
    pub const CTRL_RX: u32 = 18;
    /// VIRTIO_NET_F_CTRL_VLAN.
    pub const CTRL_VLAN: u32 = 19;
    /// VIRTIO_NET_F_GUEST_ANNOUNCE.
    pub const GUEST_ANNOUNCE: u32 = 21;
    /// VIRTIO_NET_F_MQ.
    pub const MQ: u32 = 22;
    /// VIRTIO_NET_F_CTRL_MAC_ADDR.
    pub const CTRL_MAC_ADDR: u32 = 23;
    /// VIRTIO_NET_F_SPEED_DUPLEX.
    pub const SPEED_DUPLEX: u32 = 63;
}

/// Feature bits that every network function offers; PF1 offers VIRTIO_F_SR_IOV too.
pub const OFFERED: u64 = 1 << feature::CSUM
    | 1 << feature::GUEST_CSUM
    | 1 << feature::MTU
    | 1 << feature::MAC
    | 1 << feature::MRG_RXBUF
    | 1 << feature::STATUS
    | 1 << feature::CTRL_VQ
    | 1 << feature::CTRL_RX
    | 1 << feature::GUEST_ANNOUNCE
    | 1 << feature::MQ
    | 1 << feature::CTRL_MAC_ADDR
    | 1 << feature::SPEED_DUPLEX
    | 1 << super::feature::INDIRECT_DESC
    | 1 << super::feature::EVENT_IDX
    | 1 << super::feature::VERSION_1
    | 1 << super::feature::ACCESS_PLATFORM
    | 1 << super::feature::RING_RESET;

/// Byte offsets in the device configuration (§5.1.4).
pub mod config {
    /// MAC address (6 bytes).
    pub const MAC: u16 = 0;
    /// Status (16 bits).
    pub const STATUS: u16 = 6;
    /// Most queue pairs (16 bits).
    pub const MAX_QUEUE_PAIRS: u16 = 8;
    /// MTU in bytes (16 bits).
    pub const MTU: u16 = 10;
    /// Speed in Mb/s (32 bits).
    pub const SPEED: u16 = 12;
    /// Duplex (8 bits): 1 is full.
    pub const DUPLEX: u16 = 16;
    /// Size of the structure, to a multiple of 8.
    pub const BYTES: u16 = 24;
    /// VIRTIO_NET_S_LINK_UP in the status.
    pub const LINK_UP: u16 = 1;
    /// VIRTIO_NET_S_ANNOUNCE in the status.
    pub const ANNOUNCE: u16 = 2;
}

/// The header in front of each packet (§5.1.6).
pub mod header {
    /// Its size with VIRTIO_F_VERSION_1.
    pub const BYTES: usize = 12;
    /// Flags (8 bits).
    pub const FLAGS: usize = 0;
    /// GSO type (8 bits); 0 is none, the only one that the card takes.
    pub const GSO_TYPE: usize = 1;
    /// Where the checksum begins, from the packet's first byte (16 bits).
    pub const CSUM_START: usize = 6;
    /// Where it is to be stored, from `CSUM_START` (16 bits).
    pub const CSUM_OFFSET: usize = 8;
    /// Buffers that a received packet took (16 bits).
    pub const NUM_BUFFERS: usize = 10;
    /// VIRTIO_NET_HDR_F_NEEDS_CSUM.
    pub const NEEDS_CSUM: u8 = 1;
    /// VIRTIO_NET_HDR_F_DATA_VALID.
    pub const DATA_VALID: u8 = 2;
}

/// The control virtqueue (§5.1.6.5): class, command, data; then a byte of the device's.
pub mod control {
    /// VIRTIO_NET_OK.
    pub const OK: u8 = 0;
    /// VIRTIO_NET_ERR.
    pub const ERR: u8 = 1;
    /// VIRTIO_NET_CTRL_RX: PROMISC, ALLMULTI, ALLUNI, NOMULTI, NOUNI, NOBCAST are commands 0 to 5.
    pub const RX: u8 = 0;
    /// VIRTIO_NET_CTRL_RX_PROMISC.
    pub const RX_PROMISC: u8 = 0;
    /// VIRTIO_NET_CTRL_RX_ALLMULTI.
    pub const RX_ALLMULTI: u8 = 1;
    /// VIRTIO_NET_CTRL_MAC: TABLE_SET is 0, ADDR_SET 1.
    pub const MAC: u8 = 1;
    /// VIRTIO_NET_CTRL_MAC_TABLE_SET.
    pub const MAC_TABLE_SET: u8 = 0;
    /// VIRTIO_NET_CTRL_MAC_ADDR_SET.
    pub const MAC_ADDR_SET: u8 = 1;
    /// VIRTIO_NET_CTRL_VLAN: ADD is 0, DEL 1.
    pub const VLAN: u8 = 2;
    /// VIRTIO_NET_CTRL_ANNOUNCE: ACK is 0.
    pub const ANNOUNCE: u8 = 3;
    /// VIRTIO_NET_CTRL_MQ: VQ_PAIRS_SET is 0.
    pub const MQ: u8 = 4;
    /// VIRTIO_NET_CTRL_ANNOUNCE_ACK.
    pub const ANNOUNCE_ACK: u8 = 0;
    /// VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET.
    pub const MQ_PAIRS_SET: u8 = 0;
}

/// The largest frame, from destination address to payload, without FCS.
pub const FRAME_BYTES: usize = 9018;
