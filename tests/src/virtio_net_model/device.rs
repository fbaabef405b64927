//! The device: registers and queues (virtio 1.2 §4.1.4, §5.1).

use std::collections::VecDeque;

use nitride_abi::card::{MSIX_VECTORS, QUEUE_PAIRS, VIRTQUEUE_ENTRIES, VIRTQUEUES};
use nitride_abi::virtio::net::{FRAME_BYTES, config, control, feature, header};
use nitride_abi::virtio::pci::{NO_VECTOR, common, isr};
use nitride_abi::virtio::{self, status};

use super::queue::{Broken, Queue};
use crate::nvme_model::HostMemory;

const fn bit(number: u32) -> u64 {
    1 << number
}

/// What the device offers: the card's list.
const FEATURES: u64 = bit(virtio::feature::VERSION_1)
    | bit(virtio::feature::ACCESS_PLATFORM)
    | bit(virtio::feature::EVENT_IDX)
    | bit(virtio::feature::INDIRECT_DESC)
    | bit(virtio::feature::RING_RESET)
    | bit(feature::MAC)
    | bit(feature::STATUS)
    | bit(feature::MTU)
    | bit(feature::CSUM)
    | bit(feature::GUEST_CSUM)
    | bit(feature::MRG_RXBUF)
    | bit(feature::CTRL_VQ)
    | bit(feature::CTRL_RX)
    | bit(feature::CTRL_VLAN)
    | bit(feature::CTRL_MAC_ADDR)
    | bit(feature::MQ)
    | bit(feature::SPEED_DUPLEX);

/// Takes what a driver wrote and how much room it left behind it; gives what is to be written there.
type Serve = fn(&mut Device, &[u8], usize) -> Result<Vec<u8>, Broken>;

/// One network device of the model.
#[derive(Debug)]
pub(super) struct Device {
    mac: [u8; 6],
    status: u8,
    isr: u8,
    offered_half: u32,
    accepted_half: u32,
    driver_features: u64,
    config_vector: u16,
    queue_select: u16,
    queues: [Queue; VIRTQUEUES],
    /// Frames that were sent.
    pub sent: VecDeque<Vec<u8>>,
    /// Frames that wait for a buffer.
    pending: VecDeque<Vec<u8>>,
    /// Vectors that were raised, a bit each.
    raised: u64,
}

impl Device {
    pub fn new(mac: [u8; 6]) -> Self {
        Self {
            mac,
            status: 0,
            isr: 0,
            offered_half: 0,
            accepted_half: 0,
            driver_features: 0,
            config_vector: NO_VECTOR,
            queue_select: 0,
            queues: std::array::from_fn(|_| Queue::new()),
            sent: VecDeque::new(),
            pending: VecDeque::new(),
            raised: 0,
        }
    }

    /// Device reset (§2.4), and function level reset.
    pub fn reset(&mut self) {
        let sent = std::mem::take(&mut self.sent);
        *self = Self { sent, ..Self::new(self.mac) };
    }

    fn has(&self, number: u32) -> bool {
        self.driver_features & bit(number) != 0
    }

    fn running(&self) -> bool {
        self.status & (status::DRIVER_OK | status::NEEDS_RESET) == status::DRIVER_OK
    }

    /// The number of the control queue (§5.1.2).
    fn control_queue(&self) -> usize {
        if self.has(feature::MQ) { 2 * QUEUE_PAIRS } else { 2 }
    }

    pub fn take_interrupts(&mut self) -> u64 {
        std::mem::take(&mut self.raised)
    }

    /// Reads a byte of the common configuration.
    pub fn common_read(&self, offset: u16) -> u8 {
        let queue = self.queues.get(usize::from(self.queue_select));
        let of = |field: fn(&Queue) -> u64| queue.map_or(0, field);
        let half =
            |features: u64, select: u32| if select < 2 { features >> (32 * select) & 0xffff_ffff } else { 0 };
        let (start, value) = match offset {
            0x00..=0x03 => (common::DEVICE_FEATURE_SELECT, self.offered_half.into()),
            0x04..=0x07 => (common::DEVICE_FEATURE, half(FEATURES, self.offered_half)),
            0x08..=0x0b => (common::DRIVER_FEATURE_SELECT, self.accepted_half.into()),
            0x0c..=0x0f => (common::DRIVER_FEATURE, half(self.driver_features, self.accepted_half)),
            0x10..=0x11 => (common::CONFIG_MSIX_VECTOR, self.config_vector.into()),
            0x12..=0x13 => (common::NUM_QUEUES, VIRTQUEUES as u64),
            0x14 => (common::DEVICE_STATUS, self.status.into()),
            0x16..=0x17 => (common::QUEUE_SELECT, self.queue_select.into()),
            0x18..=0x19 => (common::QUEUE_SIZE, of(|queue| queue.size.into())),
            0x1a..=0x1b => (common::QUEUE_MSIX_VECTOR, of(|queue| queue.vector.into())),
            0x1c..=0x1d => (common::QUEUE_ENABLE, of(|queue| queue.enabled.into())),
            0x1e..=0x1f => (common::QUEUE_NOTIFY_OFF, self.queue_select.into()),
            0x20..=0x27 => (common::QUEUE_DESC, of(|queue| queue.descriptors)),
            0x28..=0x2f => (common::QUEUE_DRIVER, of(|queue| queue.driver)),
            0x30..=0x37 => (common::QUEUE_DEVICE, of(|queue| queue.device)),
            _ => (offset, 0),
        };
        (value >> (8 * (offset - start))) as u8
    }

    /// Writes a field of the common configuration.
    pub fn common_write(&mut self, offset: u16, value: u64, memory: &mut dyn HostMemory) {
        let vector = |value: u64| if value < MSIX_VECTORS as u64 { value as u16 } else { NO_VECTOR };
        match offset {
            common::DEVICE_FEATURE_SELECT => self.offered_half = value as u32,
            common::DRIVER_FEATURE_SELECT => self.accepted_half = value as u32,
            common::DRIVER_FEATURE if self.accepted_half < 2 && self.status & status::FEATURES_OK == 0 => {
                let shift = 32 * self.accepted_half;
                self.driver_features = self.driver_features & !(0xffff_ffff << shift) | value << shift;
            }
            common::CONFIG_MSIX_VECTOR => self.config_vector = vector(value),
            common::DEVICE_STATUS => self.set_status(value as u8, memory),
            common::QUEUE_SELECT => self.queue_select = value as u16,
            _ => {
                let Some(queue) = self.queues.get_mut(usize::from(self.queue_select)) else { return };
                let lower = |old: u64| old & !0xffff_ffff | value;
                let upper = |old: u64| old & 0xffff_ffff | value << 32;
                match offset {
                    common::QUEUE_SIZE if value.is_power_of_two() && value <= VIRTQUEUE_ENTRIES as u64 => {
                        queue.size = value as u16;
                    }
                    common::QUEUE_MSIX_VECTOR => queue.vector = vector(value),
                    common::QUEUE_ENABLE if value == 1 => queue.enabled = true,
                    common::QUEUE_DESC => queue.descriptors = lower(queue.descriptors),
                    0x24 => queue.descriptors = upper(queue.descriptors),
                    common::QUEUE_DRIVER => queue.driver = lower(queue.driver),
                    0x2c => queue.driver = upper(queue.driver),
                    common::QUEUE_DEVICE => queue.device = lower(queue.device),
                    0x34 => queue.device = upper(queue.device),
                    common::QUEUE_RESET if value == 1 => {
                        *queue = Queue::new();
                    }
                    _ => {}
                }
            }
        }
    }

    fn set_status(&mut self, value: u8, memory: &mut dyn HostMemory) {
        if value == 0 {
            return self.reset();
        }
        let mut value = value | self.status & status::NEEDS_RESET;
        let missing = |needs: u32, on: u32| self.has(needs) && !self.has(on);
        let refused = self.driver_features & !FEATURES != 0
            || !self.has(virtio::feature::VERSION_1)
            // §5.1.3.1
            || missing(feature::CTRL_RX, feature::CTRL_VQ)
            || missing(feature::CTRL_VLAN, feature::CTRL_VQ)
            || missing(feature::CTRL_MAC_ADDR, feature::CTRL_VQ)
            || missing(feature::MQ, feature::CTRL_VQ);
        if refused {
            value &= !status::FEATURES_OK;
        }
        self.status = value;
        // Buffers may have been made available before DRIVER_OK (§3.1.1).
        for queue in 0..VIRTQUEUES {
            self.notify(queue, memory);
        }
    }

    pub fn isr_read(&mut self) -> u8 {
        std::mem::take(&mut self.isr)
    }

    /// Reads a byte of the device configuration.
    pub fn config_read(&self, offset: u16) -> u8 {
        let mut bytes = [0; 24];
        bytes[..6].copy_from_slice(&self.mac);
        let mut put = |at: u16, value: &[u8]| bytes[usize::from(at)..][..value.len()].copy_from_slice(value);
        put(config::STATUS, &config::LINK_UP.to_le_bytes());
        put(config::MAX_QUEUE_PAIRS, &(QUEUE_PAIRS as u16).to_le_bytes());
        put(config::MTU, &1500u16.to_le_bytes());
        put(config::SPEED, &100_000u32.to_le_bytes());
        put(config::DUPLEX, &[1]);
        bytes.get(usize::from(offset)).copied().unwrap_or(0)
    }

    /// A queue was notified.
    pub fn notify(&mut self, queue: usize, memory: &mut dyn HostMemory) {
        if !self.running() || self.queues.get(queue).is_none_or(|queue| !queue.enabled) {
            return;
        }
        let outcome = if queue == self.control_queue() {
            self.serve(queue, memory, Self::control)
        } else if queue < self.control_queue() && queue % 2 == 1 {
            self.serve(queue, memory, Self::transmit)
        } else {
            Ok(())
        };
        if outcome.and_then(|()| self.flush(memory)).is_err() {
            self.broken();
        }
    }

    /// A frame comes in.
    pub fn deliver(&mut self, frame: Vec<u8>, memory: &mut dyn HostMemory) {
        if !self.running() {
            return;
        }
        self.pending.push_back(frame);
        if self.flush(memory).is_err() {
            self.broken();
        }
    }

    fn broken(&mut self) {
        self.status |= status::NEEDS_RESET;
        self.isr |= isr::CONFIGURATION;
        self.raise(self.config_vector);
    }

    fn raise(&mut self, vector: u16) {
        if vector != NO_VECTOR {
            self.raised |= 1 << vector;
        }
    }

    /// Serves all buffers of a queue by `serve`, which gives what is to be written to each.
    fn serve(&mut self, index: usize, memory: &mut dyn HostMemory, serve: Serve) -> Result<(), Broken> {
        let event_index = self.has(virtio::feature::EVENT_IDX);
        let before = self.queues[index].used();
        let indirect = self.has(virtio::feature::INDIRECT_DESC);
        while let Some(chain) = self.queues[index].take(memory, indirect)? {
            let data = chain.read(memory)?;
            let answer = serve(self, &data, chain.room())?;
            chain.write(memory, &answer)?;
            self.queues[index].give(memory, &chain, answer.len() as u32)?;
        }
        self.queues[index].ask(memory, event_index)?;
        if self.queues[index].wants_interrupt(memory, before, event_index)? {
            self.raise(self.queues[index].vector);
        }
        Ok(())
    }

    fn transmit(&mut self, data: &[u8], room: usize) -> Result<Vec<u8>, Broken> {
        if room != 0 || data.len() < header::BYTES {
            return Err(Broken);
        }
        let (head, frame) = data.split_at(header::BYTES);
        let mut frame = frame.to_vec();
        let word = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
        if head[header::FLAGS] & header::NEEDS_CSUM != 0 {
            let start = word(header::CSUM_START);
            let at = start + word(header::CSUM_OFFSET);
            if !self.has(feature::CSUM) || at + 2 > frame.len() || start > frame.len() {
                return Err(Broken);
            }
            let sum = !ones_complement(&frame[start..]);
            frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        if (14..=FRAME_BYTES).contains(&frame.len()) {
            self.sent.push_back(frame);
        }
        Ok(Vec::new())
    }

    fn control(&mut self, data: &[u8], room: usize) -> Result<Vec<u8>, Broken> {
        if room == 0 || data.len() < 2 {
            return Err(Broken);
        }
        let (class, command, data) = (data[0], data[1], &data[2..]);
        let ok = match (class, command) {
            (control::RX, 0..=5) => data.len() == 1,
            (control::MAC, 0) => true,
            (control::MAC, 1) if data.len() == 6 => {
                self.mac.copy_from_slice(data);
                true
            }
            (control::VLAN, 0 | 1) => data.len() == 2,
            (control::MQ, 0) if data.len() == 2 => {
                let pairs = u16::from_le_bytes([data[0], data[1]]);
                (1..=QUEUE_PAIRS as u16).contains(&pairs) && self.has(feature::MQ)
            }
            _ => false,
        };
        Ok(vec![if ok { control::OK } else { control::ERR }])
    }

    /// Puts frames that wait into receive buffers, as long as there are enough.
    fn flush(&mut self, memory: &mut dyn HostMemory) -> Result<(), Broken> {
        let event_index = self.has(virtio::feature::EVENT_IDX);
        let indirect = self.has(virtio::feature::INDIRECT_DESC);
        let mergeable = self.has(feature::MRG_RXBUF);
        let queue = &mut self.queues[0];
        if !queue.enabled {
            self.pending.clear();
            return Ok(());
        }
        let before = queue.used();
        while let Some(frame) = self.pending.front() {
            let mut data = vec![0; header::BYTES];
            data.extend(frame);
            let mut chains = Vec::new();
            let mut room = 0;
            while room < data.len() && (mergeable || chains.is_empty()) {
                let Some(chain) = queue.take(memory, indirect)? else { break };
                if chain.is_readable() || chain.room() < header::BYTES {
                    return Err(Broken);
                }
                room += chain.room();
                chains.push(chain);
            }
            if room < data.len() {
                for _ in &chains {
                    queue.untake();
                }
                break;
            }
            data[header::NUM_BUFFERS..][..2].copy_from_slice(&(chains.len() as u16).to_le_bytes());
            let mut rest = &data[..];
            for chain in &chains {
                let (part, behind) = rest.split_at(rest.len().min(chain.room()));
                chain.write(memory, part)?;
                queue.give(memory, chain, part.len() as u32)?;
                rest = behind;
            }
            self.pending.pop_front();
        }
        queue.ask(memory, event_index)?;
        if queue.wants_interrupt(memory, before, event_index)? {
            let vector = queue.vector;
            self.raise(vector);
        }
        Ok(())
    }
}

/// The ones' complement sum of big-endian 16-bit words (RFC 1071).
fn ones_complement(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
