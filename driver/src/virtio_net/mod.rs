//! A user-space virtio-net driver on the [`Function`] seam.
//!
//! ```no_run
//! use std::sync::Arc;
//! use nitride_driver::VfioUser;
//! use nitride_driver::virtio_net::{Net, Options};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let function = Arc::new(VfioUser::open("/run/nitride/net0.sock".as_ref())?);
//! let mut net = Net::open(function, Options::default())?;
//! net.send(0, b"\xff\xff\xff\xff\xff\xff\x02\x4e\x54\0\0\x02\x88\xb5 an Ethernet frame", None)?;
//! net.kick()?;
//! let mut frame = Vec::new();
//! while net.receive(0, &mut frame)?.is_none() {}
//! # Ok(())
//! # }
//! ```
//!
//! It polls: nothing of it reads a register of the device on the data path, and the device is told of new buffers only when it
//! asks to be (virtio 1.2 §2.7.10).

mod error;
#[cfg(feature = "smoltcp")]
mod stack;
mod station;
mod transport;
mod virtqueue;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nitride_abi::virtio::net::{FRAME_BYTES, config, control, feature, header};
use nitride_abi::virtio::{self, status};

use crate::dma::{Dma, DmaSpace};
use crate::function::Function;
use transport::Transport;
use virtqueue::{Segment, Virtqueue};

pub use error::{Error, Result};
#[cfg(feature = "smoltcp")]
pub use stack::Interface;
pub use station::Station;

/// Bytes of a receive buffer; a frame takes as many as it needs.
const RECEIVE_BYTES: usize = 2048;
/// Bytes of a transmit buffer: header and the largest frame, at a cache line's distance.
const TRANSMIT_BYTES: usize = (header::BYTES + FRAME_BYTES).next_multiple_of(64);
/// Bytes for a control command's header and data, and where the device's answer is behind them.
const CONTROL_BYTES: usize = 256;
/// How long the device may take for a control command.
const PATIENCE: Duration = Duration::from_secs(10);

/// How to open a network device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Queue pairs to use, if the device has as many.
    pub queue_pairs: usize,
    /// Entries of each queue: a power of 2, at most what the device has.
    pub queue_entries: u16,
    /// Feature bits that are not to be agreed on, although the driver knows them.
    pub without: u64,
}

impl Default for Options {
    /// One queue pair of 256 entries, all features.
    fn default() -> Self {
        Self { queue_pairs: 1, queue_entries: 256, without: 0 }
    }
}

/// A checksum that the device is to fill in (virtio 1.2 §5.1.6.2): the sum over all bytes from `start` on goes to
/// `start + offset`, which holds the pseudo header's sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    /// First byte of the frame that is summed up.
    pub start: u16,
    /// Where the sum goes, from `start` on.
    pub offset: u16,
}

/// A frame that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The device has verified the frame's checksums (VIRTIO_NET_HDR_F_DATA_VALID).
    pub verified: bool,
}

/// A network device in use by this process. It is reset when it is dropped.
pub struct Net {
    transport: Transport,
    features: u64,
    mac: [u8; 6],
    pairs: Vec<Pair>,
    control: Option<Control>,
}

/// Two queues and their buffers: each chain is one descriptor, which has the buffer of its number.
struct Pair {
    receive: Virtqueue,
    receive_buffers: Dma,
    transmit: Virtqueue,
    transmit_buffers: Dma,
}

struct Control {
    queue: Virtqueue,
    buffer: Dma,
}

/// The bit of a feature number.
const fn bit(number: u32) -> u64 {
    1 << number
}

/// What the driver knows.
const FEATURES: u64 = bit(virtio::feature::VERSION_1)
    | bit(virtio::feature::ACCESS_PLATFORM)
    | bit(virtio::feature::EVENT_IDX)
    | bit(feature::CSUM)
    | bit(feature::GUEST_CSUM)
    | bit(feature::MAC)
    | bit(feature::MTU)
    | bit(feature::STATUS)
    | bit(feature::MRG_RXBUF)
    | bit(feature::CTRL_VQ)
    | bit(feature::CTRL_RX)
    | bit(feature::CTRL_VLAN)
    | bit(feature::CTRL_MAC_ADDR)
    | bit(feature::MQ);

impl Net {
    /// Resets the device, agrees on features, sets its queues up and fills the receive queues.
    pub fn open(function: Arc<dyn Function>, options: Options) -> Result<Self> {
        Self::start(Transport::find(function)?, options)
    }

    /// The same for the exception path of a card, whose PF0 is `function`.
    pub fn open_exception(function: Arc<dyn Function>, options: Options) -> Result<Self> {
        Self::start(Transport::exception(function)?, options)
    }

    fn start(transport: Transport, options: Options) -> Result<Self> {
        let entries = options.queue_entries;
        if !entries.is_power_of_two() || options.queue_pairs == 0 {
            let detail = format!("{} queue pairs of {entries} entries", options.queue_pairs);
            return Err(Error::Invalid { what: "opening a network device", detail });
        }
        transport.reset()?;
        transport.add_status(status::ACKNOWLEDGE)?;
        transport.add_status(status::DRIVER)?;
        let features = transport.negotiate(FEATURES & !options.without)?;
        if features & bit(virtio::feature::VERSION_1) == 0 {
            return Err(transport.unusable("it does not offer VIRTIO_F_VERSION_1".into()));
        }
        let has = |number| features & bit(number) != 0;
        let most = if has(feature::MQ) {
            usize::from(u16::from_le_bytes(transport.device_config(config::MAX_QUEUE_PAIRS)?)).max(1)
        } else {
            1
        };
        let mac = if has(feature::MAC) { transport.device_config(config::MAC)? } else { [2, 0, 0, 0, 0, 1] };
        let space = DmaSpace::new(transport.function().clone());
        let event_index = has(virtio::feature::EVENT_IDX);
        let queue = |index: u16, entries: u16| -> Result<Virtqueue> {
            let size = transport.queue_size(index)?.min(entries);
            if size == 0 || !size.is_power_of_two() {
                return Err(transport.unusable(format!("queue {index} has {size} entries")));
            }
            let mut queue = Virtqueue::new(&space, size, event_index, false)?;
            queue.enable(&transport, index, None)?;
            Ok(queue)
        };
        let mut pairs = Vec::new();
        for pair in 0..options.queue_pairs.min(most) as u16 {
            let (receive, transmit) = (queue(2 * pair, entries)?, queue(2 * pair + 1, entries)?);
            pairs.push(Pair::new(&space, receive, transmit)?);
        }
        let control = if has(feature::CTRL_VQ) {
            let queue = queue(2 * most as u16, 64)?;
            Some(Control { queue, buffer: space.allocate(CONTROL_BYTES + 1)? })
        } else {
            None
        };
        transport.add_status(status::DRIVER_OK)?;
        let mut net = Self { transport, features, mac, pairs, control };
        for pair in &mut net.pairs {
            while pair.offer() {}
            pair.receive.notify(&**net.transport.function())?;
        }
        if net.pairs.len() > 1 {
            let pairs = (net.pairs.len() as u16).to_le_bytes();
            net.command("VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET", control::MQ, 0, &pairs)?;
        }
        Ok(net)
    }

    /// The features that were agreed on.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// The device's MAC address, as it was when it was opened.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The number of queue pairs in use.
    pub fn queue_pairs(&self) -> usize {
        self.pairs.len()
    }

    /// The function that the device is.
    pub fn function(&self) -> &Arc<dyn Function> {
        self.transport.function()
    }

    /// The device's MTU, if it has one.
    pub fn mtu(&self) -> Result<Option<u16>> {
        if self.features & bit(feature::MTU) == 0 {
            return Ok(None);
        }
        Ok(Some(u16::from_le_bytes(self.transport.device_config(config::MTU)?)))
    }

    /// Whether the link is up. A device that does not tell has one that is.
    pub fn link_up(&self) -> Result<bool> {
        if self.features & bit(feature::STATUS) == 0 {
            return Ok(true);
        }
        let status = u16::from_le_bytes(self.transport.device_config(config::STATUS)?);
        Ok(status & config::LINK_UP != 0)
    }

    /// Whether the device has given up (DEVICE_NEEDS_RESET).
    pub fn needs_reset(&self) -> Result<bool> {
        Ok(self.transport.status()? & status::NEEDS_RESET != 0)
    }

    /// Puts a frame (without FCS) into the transmit queue of a pair; `false` if it is full. The device is told by [`Net::kick`].
    pub fn send(&mut self, pair: usize, frame: &[u8], checksum: Option<Checksum>) -> Result<bool> {
        let what = "sending a frame";
        if frame.len() > FRAME_BYTES || frame.is_empty() {
            let detail = format!("it has {} bytes; a frame has 1 to {FRAME_BYTES}", frame.len());
            return Err(Error::Invalid { what, detail });
        }
        if checksum.is_some() && self.features & bit(feature::CSUM) == 0 {
            return Err(Error::Invalid { what, detail: "the device fills in no checksums".into() });
        }
        self.pair(pair)?.send(frame, checksum)
    }

    /// Tells the device of all that was put into its transmit queues.
    pub fn kick(&mut self) -> Result<()> {
        let function = self.transport.function();
        self.pairs.iter_mut().try_for_each(|pair| pair.transmit.notify(&**function))
    }

    /// Whether a pair's transmit queue has room for a frame.
    pub fn has_room(&mut self, pair: usize) -> Result<bool> {
        self.pair(pair)?.has_room()
    }

    /// Frames that the device has not taken yet.
    pub fn unsent(&mut self, pair: usize) -> Result<usize> {
        let pair = self.pair(pair)?;
        pair.reap()?;
        Ok(pair.transmit.size() - pair.transmit.free())
    }

    /// Takes the next frame of a pair's receive queue, if there is one, and gives its buffers back.
    pub fn receive(&mut self, pair: usize, frame: &mut Vec<u8>) -> Result<Option<Received>> {
        let mergeable = self.features & bit(feature::MRG_RXBUF) != 0;
        let function = self.transport.function().clone();
        let pair = self.pair(pair)?;
        let received = pair.receive(frame, mergeable)?;
        if received.is_some() {
            while pair.offer() {}
            pair.receive.notify(&*function)?;
        }
        Ok(received)
    }

    fn pair(&mut self, index: usize) -> Result<&mut Pair> {
        let pairs = self.pairs.len();
        self.pairs.get_mut(index).ok_or_else(|| {
            let detail = format!("the device has {pairs}");
            Error::Invalid { what: "using a queue pair", detail }
        })
    }

    /// Sends a control command (virtio 1.2 §5.1.6.5) and waits for its end; `name` is what messages call it.
    pub fn command(&mut self, name: &'static str, class: u8, command: u8, data: &[u8]) -> Result<()> {
        let function = self.transport.function().clone();
        let invalid = |detail: &str| Err(Error::Invalid { what: name, detail: detail.into() });
        let Some(Control { queue, buffer }) = &mut self.control else {
            return invalid("the device has no control queue");
        };
        if data.len() > CONTROL_BYTES - 2 {
            return invalid("it has too much data");
        }
        buffer.write(0, &[class, command])?;
        buffer.write(2, data)?;
        buffer.write(CONTROL_BYTES, &[0xff])?;
        let segment = |offset: usize, len: usize, writable| Segment {
            address: buffer.iova() + offset as u64,
            len: len as u32,
            writable,
        };
        queue.put(&[segment(0, 2 + data.len(), false), segment(CONTROL_BYTES, 1, true)]);
        queue.notify(&*function)?;
        let deadline = Instant::now() + PATIENCE;
        while queue.take()?.is_none() {
            if Instant::now() > deadline {
                let detail = format!("no answer after {} s", PATIENCE.as_secs());
                return Err(Error::Device { what: name, detail });
            }
            thread::yield_now();
        }
        let mut answer = [0];
        buffer.read(CONTROL_BYTES, &mut answer)?;
        if answer[0] == control::OK { Ok(()) } else { Err(Error::Refused { command: name }) }
    }

    /// Changes the device's MAC address.
    pub fn set_mac(&mut self, mac: [u8; 6]) -> Result<()> {
        self.command("VIRTIO_NET_CTRL_MAC_ADDR_SET", control::MAC, 1, &mac)?;
        self.mac = mac;
        Ok(())
    }

    /// Receives all frames, whatever their destination.
    pub fn set_promiscuous(&mut self, on: bool) -> Result<()> {
        self.command("VIRTIO_NET_CTRL_RX_PROMISC", control::RX, 0, &[on.into()])
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // Fails only when the device is gone, and then it does not reach the queues' memory either.
        let _ = self.transport.reset();
    }
}

impl Pair {
    fn new(space: &DmaSpace, receive: Virtqueue, transmit: Virtqueue) -> Result<Self> {
        Ok(Self {
            receive_buffers: space.allocate(receive.size() * RECEIVE_BYTES)?,
            receive,
            transmit_buffers: space.allocate(transmit.size() * TRANSMIT_BYTES)?,
            transmit,
        })
    }

    /// Gives the device one more receive buffer; `false` if it has them all.
    fn offer(&mut self) -> bool {
        let Some(next) = self.receive.next_free() else { return false };
        let address = self.receive_buffers.iova() + u64::from(next) * RECEIVE_BYTES as u64;
        self.receive.put(&[Segment { address, len: RECEIVE_BYTES as u32, writable: true }]).is_some()
    }

    fn has_room(&mut self) -> Result<bool> {
        if self.transmit.next_free().is_none() {
            self.reap()?;
        }
        Ok(self.transmit.next_free().is_some())
    }

    /// Takes back what the device has sent.
    fn reap(&mut self) -> Result<()> {
        while self.transmit.take()?.is_some() {}
        Ok(())
    }

    fn send(&mut self, frame: &[u8], checksum: Option<Checksum>) -> Result<bool> {
        if !self.has_room()? {
            return Ok(false);
        }
        let Some(next) = self.transmit.next_free() else { return Ok(false) };
        let mut head = [0; header::BYTES];
        if let Some(Checksum { start, offset }) = checksum {
            head[header::FLAGS] = header::NEEDS_CSUM;
            head[header::CSUM_START..][..2].copy_from_slice(&start.to_le_bytes());
            head[header::CSUM_OFFSET..][..2].copy_from_slice(&offset.to_le_bytes());
        }
        let at = usize::from(next) * TRANSMIT_BYTES;
        self.transmit_buffers.write(at, &head)?;
        self.transmit_buffers.write(at + header::BYTES, frame)?;
        let address = self.transmit_buffers.iova() + at as u64;
        let len = (header::BYTES + frame.len()) as u32;
        Ok(self.transmit.put(&[Segment { address, len, writable: false }]).is_some())
    }

    fn receive(&mut self, frame: &mut Vec<u8>, mergeable: bool) -> Result<Option<Received>> {
        frame.clear();
        let Some(used) = self.receive.take()? else { return Ok(None) };
        let wrong = |detail| Err(Error::Device { what: "receiving a frame", detail });
        let mut head = [0; header::BYTES];
        self.receive_buffers.read(usize::from(used.head) * RECEIVE_BYTES, &mut head)?;
        let buffers = u16::from_le_bytes([head[header::NUM_BUFFERS], head[header::NUM_BUFFERS + 1]]);
        let buffers = if mergeable { buffers } else { 1 };
        let (mut used, mut skip) = (used, header::BYTES);
        for rest in (0..buffers).rev() {
            let len = used.len as usize;
            if len <= skip || len > RECEIVE_BYTES {
                return wrong(format!(
                    "the device says that it wrote {len} bytes to a buffer of {RECEIVE_BYTES}"
                ));
            }
            let from = frame.len();
            frame.resize(from + len - skip, 0);
            self.receive_buffers.read(usize::from(used.head) * RECEIVE_BYTES + skip, &mut frame[from..])?;
            skip = 0;
            if rest > 0 {
                let Some(next) = self.receive.take()? else {
                    return wrong(format!("a frame of {buffers} buffers lacks {rest}"));
                };
                used = next;
            }
        }
        if frame.is_empty() {
            return wrong("a frame of no buffers".into());
        }
        Ok(Some(Received { verified: head[header::FLAGS] & header::DATA_VALID != 0 }))
    }
}
