//! What travels between the network front end's blocks, and between it and the switch.

use nitride_abi::card::VIRTQUEUE_BITS;
use nitride_lang::prelude::*;

use crate::bus::LandingWrite;
use crate::profile::DATA_BITS;

/// A virtqueue of the card: `{device (4), queue (3)}`. Device indices are those of `abi::card::device_of`.
pub type QueueIndex = Bits<7>;

/// A switch port: 0 to 15 are the network devices, from 16 on the Ethernet ports.
pub type PortNumber = Bits<5>;

/// A beat of a frame: up to 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct PacketBeat {
    /// The bytes, the first in bits 7:0. Those beyond `bytes` are don't-care.
    pub data: Bits<DATA_BITS>,
    /// How many of them there are: 32 in every beat but the last, where it is 1 to 32.
    pub bytes: Bits<6>,
    /// The frame's last beat.
    pub last: Bit,
    /// The same in every beat of a frame. Into the switch: where it came from; out of it: where it goes.
    pub port: PortNumber,
}

/// What the driver set up of a virtqueue (virtio 1.2 §4.1.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Virtqueue {
    /// The device may use it: enabled, not being reset, DRIVER_OK, no DEVICE_NEEDS_RESET.
    pub enabled: Bit,
    /// Queue Size - 1; the size is a power of 2.
    pub last: Bits<10>,
    /// Address of the Descriptor Area, a multiple of 16.
    pub descriptors: Bits<64>,
    /// Address of the Driver Area, a multiple of 2.
    pub driver: Bits<64>,
    /// Address of the Device Area, a multiple of 4.
    pub device: Bits<64>,
    /// It has an MSI-X vector.
    pub interrupt: Bit,
    /// Which one.
    pub vector: Bits<3>,
}

/// Features that were agreed on, as far as the queues' engines obey them; and what the driver set of the device.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct DeviceSettings {
    /// VIRTIO_F_EVENT_IDX.
    pub event_index: Bit,
    /// VIRTIO_F_INDIRECT_DESC.
    pub indirect: Bit,
    /// VIRTIO_NET_F_MRG_RXBUF.
    pub mergeable: Bit,
    /// VIRTIO_NET_F_CSUM: NEEDS_CSUM is obeyed; else it breaks the ring.
    pub csum: Bit,
    /// VIRTIO_NET_F_GUEST_CSUM: DATA_VALID may be set.
    pub guest_csum: Bit,
    /// Two queue pairs are in use (VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET); else the first alone.
    pub both_pairs: Bit,
    /// Queue 2 is the control queue; else queue 4 is (VIRTIO_NET_F_MQ, virtio 1.2 §5.1.2).
    pub early_control: Bit,
}

/// A virtqueue or its device's settings changed; the engines keep a RAM of both. Sent while nothing of the queue is in flight,
/// except for `enabled` going away: then the queue is drained ([`Segment`]).
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct VirtqueueUpdate {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// Which queue.
    pub index: QueueIndex,
    /// The queue from now on. Becoming enabled starts it afresh: all its indices are 0.
    pub queue: Virtqueue,
    /// Its device's settings.
    pub settings: DeviceSettings,
}

/// A queue that a fetcher is to look at: its driver notified it.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Notification {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// Which queue.
    pub index: QueueIndex,
}

/// A buffer of a descriptor chain (virtio 1.2 §2.7.5). Chains come whole, one after another, a queue's in the order of its available ring.
///
/// A queue that was disabled is drained by a token that follows the last of its segments: each engine passes it on when nothing of the
/// queue is in flight in it any more, and nothing of it will touch the host's memory or interrupt. Segments of a disabled queue
/// are dropped on the way.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Segment {
    /// The queue.
    pub queue: QueueIndex,
    /// The token; only `queue` counts in it.
    pub drain: Bit,
    /// The chain's first descriptor: what the used ring names it by.
    pub head: Bits<16>,
    /// Where the buffer is.
    pub address: Bits<64>,
    /// Bytes, as the driver wrote it: 0 and more than any frame are possible.
    pub length: Bits<32>,
    /// The device writes it; else it reads it.
    pub write: Bit,
    /// The chain's last buffer.
    pub last: Bit,
}

/// A chain that goes back to its driver (virtio 1.2 §2.7.8), or the token of a queue that is drained ([`Segment`]).
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Used {
    /// The queue.
    pub queue: QueueIndex,
    /// The token; only `queue` counts in it.
    pub drain: Bit,
    /// The chain's first descriptor.
    pub head: Bits<16>,
    /// Bytes written to its buffers.
    pub length: Bits<32>,
    /// The frame's last chain: the driver sees all of a frame's chains or none (VIRTIO_NET_F_MRG_RXBUF).
    pub last: Bit,
}

/// A fetcher has taken all that the driver made available.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Idle {
    /// The queue.
    pub queue: QueueIndex,
    /// The index in the available ring from which on it wants to be notified (`avail_event`, virtio 1.2 §2.7.10).
    pub next: Bits<16>,
}

/// Room for segments of a queue that has become free again, of the [`ROOM`] that a queue begins with when it is enabled.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Credit {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// Of which queue.
    pub queue: QueueIndex,
    /// How many more, 1 to 64.
    pub segments: Bits<7>,
}

/// Segments of a queue, but for transmit queues, that are given and whose room was not given back.
pub const ROOM: u64 = 128;

/// Who reads into [`Landing::RINGS`](crate::bus::Landing::RINGS): bits 11:10 of the row. All of them and the chains' descriptors share
/// one DMA client; each begins to count its contexts at its own number.
pub struct RingReader;
impl RingReader {
    /// The fetcher of what drivers send: rings.
    pub const TRANSMIT: u64 = 0;
    /// The fetcher of what drivers receive into: rings.
    pub const RECEIVE: u64 = 1;
    /// The returner: events.
    pub const RETURNER: u64 = 2;
    /// The control queues' engine: commands.
    pub const CONTROL: u64 = 3;
    /// Contexts from which on each of them counts: 96, 96, 32 and 32 of them.
    pub const CONTEXTS: [u64; 4] = [0, 96, 192, 224];
}

/// A landing write of another [`RingReader`] than `reader` without its bytes.
#[hdl_fn]
pub fn of_reader(write: LandingWrite, reader: u64) -> LandingWrite {
    let mine = write.row.get_bits::<2>(10) == reader;
    LandingWrite { enable: if mine { write.enable } else { bits::<8>(0) }, ..write }
}

/// A receive queue: number 0, and 2 unless that is its device's control queue (virtio 1.2 §5.1.2).
#[hdl_fn]
pub fn receives(queue: QueueIndex, early_control: Bit) -> Bit {
    let number = queue.get_bits::<VIRTQUEUE_BITS>(0);
    number == 0 || (number == 2 && !early_control)
}

/// Rows of 32 bytes that a frame of `length` bytes takes.
#[hdl_fn]
pub fn rows_of(length: Bits<14>) -> Bits<9> {
    (length + 31).get_bits::<9>(5)
}

/// A queue of frames that wait to leave: 0 to 31 are the receive queues of network devices, `{device (4), pair (1)}`; from 32 on the
/// Ethernet ports.
pub type EgressQueue = Bits<6>;

/// A beat of a frame on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct EgressBeat {
    /// The bytes, as in a [`PacketBeat`].
    pub data: Bits<DATA_BITS>,
    /// How many of them there are, as in a [`PacketBeat`].
    pub bytes: Bits<6>,
    /// The frame's last beat.
    pub last: Bit,
    /// Where the frame goes; the same in every beat of it.
    pub queue: EgressQueue,
    /// The frame's bytes, 14 to 9,034; the same in every beat of it.
    pub length: Bits<14>,
}

/// May this frame come? One question at a time, each answered by a [`Reply`].
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Offer {
    /// The receive queue, `{device (4), pair (1)}`.
    pub queue: Bits<5>,
    /// The frame's bytes.
    pub length: Bits<14>,
}

/// The answer to an [`Offer`].
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum Reply {
    /// Not yet: ask again after a [`Wake`] of the queue.
    #[default]
    Wait,
    /// Let it come; frames come in the order of these answers.
    Take,
    /// It will never fit, or the queue is disabled: drop it.
    Drop,
}

/// A receive queue has got new segments, or was enabled or disabled.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Wake {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// The receive queue, `{device (4), pair (1)}`.
    pub queue: Bits<5>,
}

/// A network in which the switch forwards.
pub type NetworkNumber = Bits<8>;

/// What a switch port may do. Disabled, nothing comes in from it and nothing leaves by it.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Port {
    /// Frames pass.
    pub enabled: Bit,
    /// The network it belongs to.
    pub network: NetworkNumber,
    /// Frames that come in from it have to have the source address `mac`.
    pub check_mac: Bit,
    /// IPv4 and ARP that come in from it have to have the sender's address `ipv4`.
    pub check_ipv4: Bit,
    /// MAC address, the first byte lowest.
    pub mac: Bits<48>,
    /// IPv4 address, the first byte lowest.
    pub ipv4: Bits<32>,
}

/// A port changed; receivers keep a RAM of ports.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct PortUpdate {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// Which port.
    pub number: PortNumber,
    /// The port from now on.
    pub port: Port,
}

/// The members of a network changed: ports that get its broadcasts, multicasts, and unicasts to unknown addresses.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct GroupUpdate {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// Which network.
    pub network: NetworkNumber,
    /// A bit a port.
    pub members: Bits<32>,
}

/// A change of the forwarding table: where in a network a MAC address is.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct ForwardUpdate {
    /// The entry is to be there; else it is to go.
    pub present: Bit,
    /// The network.
    pub network: NetworkNumber,
    /// The MAC address, the first byte lowest.
    pub mac: Bits<48>,
    /// The port.
    pub port: PortNumber,
}

/// What came of a [`ForwardUpdate`].
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct ForwardAnswer {
    /// It is done; else there was no room for the entry, and nothing changed.
    pub ok: Bit,
}

/// What the switch counts of a frame at a port.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct PortEvent {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// Which port.
    pub port: PortNumber,
    /// What, an `abi::management::PortEvent`.
    pub event: Bits<4>,
    /// The frame's bytes.
    pub bytes: Bits<14>,
}

/// A control command (virtio 1.2 §5.1.6.5), as far as it fits: class, command, and up to 14 bytes of data.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct ControlCommand {
    /// The device.
    pub device: Bits<4>,
    /// Class in bits 7:0, command in 15:8, data after that; 0 beyond `length`.
    pub bytes: Bits<128>,
    /// Device-readable bytes of the chain, class and command included; 65,535 stands for more.
    pub length: Bits<16>,
}

/// What comes of a [`ControlCommand`]: one for each, in order.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct ControlAnswer {
    /// VIRTIO_NET_OK; else VIRTIO_NET_ERR.
    pub ok: Bit,
}

/// What the card's owner gives a network device. A change is told to its driver.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Assignment {
    /// Which device.
    pub device: Bits<4>,
    /// Its MAC address, the first byte lowest; the driver sees it at once, whatever it set itself.
    pub mac: Bits<48>,
    /// MTU in bytes.
    pub mtu: Bits<16>,
    /// VIRTIO_NET_S_LINK_UP.
    pub link_up: Bit,
    /// The driver shall announce itself in its network (VIRTIO_NET_S_ANNOUNCE).
    pub announce: Bit,
}

/// What a device's driver wants to receive changed (virtio 1.2 §5.1.6.5.1, §5.1.6.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct FilterUpdate {
    /// The rest holds something this cycle.
    pub valid: Bit,
    /// Which device.
    pub device: Bits<4>,
    /// Its MAC address, the first byte lowest.
    pub mac: Bits<48>,
    /// Unicast frames for any address.
    pub all_unicast: Bit,
    /// Multicast frames for any group; broadcasts are always wanted.
    pub all_multicast: Bit,
}
