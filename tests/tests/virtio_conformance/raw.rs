//! A virtio device by its registers, and virtqueues by their bytes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nitride_abi::card::{PF_MANAGEMENT, VF_NETWORK_FIRST};
use nitride_abi::pci;
use nitride_abi::virtio::pci::{capability, common};
use nitride_abi::virtio::{feature, net, ring, status};
use nitride_driver::management::{Assignment, Management, Port};
use nitride_driver::virtio_net::{Net, Options as NetOptions};
use nitride_driver::{Dma, DmaSpace, Function};
use nitride_sim::{Card, Options, Simulator};
use rustix::event::EventfdFlags;

/// How long the device may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Entries of a queue.
pub const SIZE: u16 = 16;
/// The control queue of a device with two pairs (§5.1.2).
pub const CONTROL: u16 = 4;
/// What makes a device usable.
pub const BASE: u64 = 1 << feature::VERSION_1 | 1 << feature::ACCESS_PLATFORM;

/// The device under test is the first VF, its peer the second one.
pub const OWN: [u8; 6] = [2, 0x4e, 0x54, 0, 0, 1];
pub const PEER: [u8; 6] = [2, 0x4e, 0x54, 0, 0, 2];

/// A virtio structure's capability (§4.1.4).
#[derive(Debug, Clone, Copy)]
pub struct Capability {
    /// Where it is in configuration space.
    pub at: u16,
    pub bytes: u8,
    pub kind: u8,
    pub bar: u8,
    pub offset: u32,
    pub length: u32,
}

/// A card with two network devices in one network.
pub struct Bed {
    pub simulator: Simulator,
    pub card: Management,
}

impl Bed {
    pub fn new() -> Self {
        let simulator = Simulator::start(Box::new(Card::new()), Options::default()).unwrap();
        let card = Management::open(Arc::new(simulator.endpoint(PF_MANAGEMENT).unwrap())).unwrap();
        for (device, mac) in [(1, OWN), (2, PEER)] {
            let given = Assignment { mac, mtu: 1500, link_up: true, announce: false };
            card.place(device, Port { enabled: true, ..Port::default() }, given).unwrap();
        }
        card.set_members(0, 0b110).unwrap();
        Self { simulator, card }
    }

    /// The device under test, reset.
    pub fn device(&self) -> Device {
        Device::new(Arc::new(self.simulator.endpoint(VF_NETWORK_FIRST).unwrap()))
    }

    /// The other one, driven by our driver.
    pub fn peer(&self) -> Net {
        let function = Arc::new(self.simulator.endpoint(VF_NETWORK_FIRST + 1).unwrap());
        Net::open(function, NetOptions { queue_entries: 32, ..NetOptions::default() }).unwrap()
    }

    /// So many cycles pass, in which the device could do what it must not.
    pub fn pass(&self, cycles: u64) {
        self.simulator.with(move |system| (0..cycles).for_each(|_| system.step())).unwrap();
    }
}

/// What `look` gives, as soon as it does.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "{what} does not come");
        std::thread::yield_now();
    }
}

/// A device by its registers.
pub struct Device {
    pub function: Arc<dyn Function>,
    pub capabilities: Vec<Capability>,
    pub space: DmaSpace,
    /// Event file descriptors of its MSI-X vectors.
    events: Vec<OwnedFd>,
}

impl Device {
    pub fn new(function: Arc<dyn Function>) -> Self {
        let byte = |at: u16| {
            let mut byte = [0];
            function.config_read(at, &mut byte).unwrap();
            byte[0]
        };
        let dword = |at: u16| u32::from_le_bytes([byte(at), byte(at + 1), byte(at + 2), byte(at + 3)]);
        let command = (pci::COMMAND_MEMORY | pci::COMMAND_BUS_MASTER) as u16;
        function.config_write(pci::COMMAND, &command.to_le_bytes()).unwrap();
        let (mut capabilities, mut at) = (vec![], u16::from(byte(pci::CAPABILITIES)));
        while at != 0 {
            if byte(at) == 9 {
                capabilities.push(Capability {
                    at,
                    bytes: byte(at + 2),
                    kind: byte(at + 3),
                    bar: byte(at + 4),
                    offset: dword(at + 8),
                    length: dword(at + 12),
                });
            }
            at = byte(at + 1).into();
        }
        let space = DmaSpace::new(function.clone());
        let device = Self { function, capabilities, space, events: vec![] };
        device.reset();
        device
    }

    pub fn capability(&self, kind: u8) -> Capability {
        *self.capabilities.iter().find(|found| found.kind == kind).expect("the structure's capability")
    }

    /// Reads `N` bytes of a structure, in one access.
    pub fn read<const N: usize>(&self, kind: u8, offset: u16) -> u64 {
        let (place, mut bytes) = (self.capability(kind), [0; 8]);
        let offset = u64::from(place.offset) + u64::from(offset);
        self.function.bar_read(place.bar, offset, &mut bytes[..N]).unwrap();
        u64::from_le_bytes(bytes)
    }

    pub fn write<const N: usize>(&self, kind: u8, offset: u16, value: u64) {
        let place = self.capability(kind);
        let offset = u64::from(place.offset) + u64::from(offset);
        self.function.bar_write(place.bar, offset, &value.to_le_bytes()[..N]).unwrap();
    }

    pub fn status(&self) -> u8 {
        self.read::<1>(capability::COMMON, common::DEVICE_STATUS) as u8
    }

    pub fn set_status(&self, value: u8) {
        self.write::<1>(capability::COMMON, common::DEVICE_STATUS, value.into());
    }

    /// A 16-bit field of the common configuration.
    pub fn word(&self, offset: u16) -> u16 {
        self.read::<2>(capability::COMMON, offset) as u16
    }

    pub fn set_word(&self, offset: u16, value: u16) {
        self.write::<2>(capability::COMMON, offset, value.into());
    }

    pub fn select(&self, queue: u16) {
        self.set_word(common::QUEUE_SELECT, queue);
    }

    pub fn reset(&self) {
        self.set_status(0);
        wait("the end of a reset", || (self.status() == 0).then_some(()));
    }

    pub fn offered(&self) -> u64 {
        (0..2).fold(0, |all, half| {
            self.write::<4>(capability::COMMON, common::DEVICE_FEATURE_SELECT, half);
            all | self.read::<4>(capability::COMMON, common::DEVICE_FEATURE) << (32 * half)
        })
    }

    /// Writes the driver's features and FEATURES_OK; whether the device agrees.
    pub fn agrees(&self, features: u64) -> bool {
        self.set_status(status::ACKNOWLEDGE | status::DRIVER);
        for half in 0..2 {
            self.write::<4>(capability::COMMON, common::DRIVER_FEATURE_SELECT, half);
            self.write::<4>(
                capability::COMMON,
                common::DRIVER_FEATURE,
                features >> (32 * half) & 0xffff_ffff,
            );
        }
        self.set_status(status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK);
        self.status() & status::FEATURES_OK != 0
    }

    pub fn go(&self) {
        self.set_status(status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK | status::DRIVER_OK);
    }

    /// Targets for so many MSI-X vectors.
    pub fn enable_interrupts(&mut self, vectors: usize) {
        self.events = (0..vectors)
            .map(|_| rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap())
            .collect();
        let targets: Vec<Option<BorrowedFd>> = self.events.iter().map(|event| Some(event.as_fd())).collect();
        self.function.set_msix(&targets).unwrap();
    }

    /// Whether the vector's interrupt came since it was asked last.
    pub fn interrupted(&self, vector: usize) -> bool {
        rustix::io::read(&self.events[vector], &mut [0; 8]).is_ok()
    }
}

/// A split virtqueue in memory that the device reaches.
pub struct Ring {
    pub index: u16,
    pub table: Dma,
    pub available: Dma,
    pub used: Dma,
    /// Room for buffers: 4 KiB for each descriptor.
    pub buffers: Dma,
    /// Chains that were offered.
    pub offered: u16,
}

impl Ring {
    /// Enables a queue, with that MSI-X vector.
    pub fn new(device: &Device, index: u16, vector: u16) -> Self {
        let allocate = |bytes| device.space.allocate(bytes).unwrap();
        let size = usize::from(SIZE);
        let this = Self {
            index,
            table: allocate(16 * size),
            available: allocate(6 + 2 * size),
            used: allocate(6 + 8 * size),
            buffers: allocate(4096 * size),
            offered: 0,
        };
        this.enable(device, vector);
        this
    }

    pub fn enable(&self, device: &Device, vector: u16) {
        device.select(self.index);
        device.set_word(common::QUEUE_SIZE, SIZE);
        device.set_word(common::QUEUE_MSIX_VECTOR, vector);
        let areas = [
            (common::QUEUE_DESC, &self.table),
            (common::QUEUE_DRIVER, &self.available),
            (common::QUEUE_DEVICE, &self.used),
        ];
        for (offset, area) in areas {
            device.write::<4>(capability::COMMON, offset, area.iova() & 0xffff_ffff);
            device.write::<4>(capability::COMMON, offset + 4, area.iova() >> 32);
        }
        device.set_word(common::QUEUE_ENABLE, 1);
    }

    /// Where the buffer of a descriptor is.
    pub fn buffer(&self, number: u16) -> u64 {
        self.buffers.iova() + 4096 * u64::from(number)
    }

    pub fn fill(&self, number: u16, bytes: &[u8]) {
        self.buffers.write(4096 * usize::from(number), bytes).unwrap();
    }

    pub fn contents(&self, number: u16, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.buffers.read(4096 * usize::from(number), &mut bytes).unwrap();
        bytes
    }

    pub fn describe(&self, number: u16, address: u64, len: u32, flags: u16, next: u16) {
        self.table.write(16 * usize::from(number), &descriptor(address, len, flags, next)).unwrap();
    }

    /// Offers the chain that begins with descriptor `head`.
    pub fn offer(&mut self, head: u16) {
        let at = ring::AVAIL_RING as usize + 2 * usize::from(self.offered % SIZE);
        self.available.write(at, &head.to_le_bytes()).unwrap();
        self.offered = self.offered.wrapping_add(1);
        self.available.write(ring::AVAIL_INDEX as usize, &self.offered.to_le_bytes()).unwrap();
    }

    pub fn notify(&self, device: &Device) {
        device.select(self.index);
        let place = device.capability(capability::NOTIFY);
        let mut multiplier = [0; 4];
        device.function.config_read(place.at + 16, &mut multiplier).unwrap();
        let offset =
            u64::from(device.word(common::QUEUE_NOTIFY_OFF)) * u64::from(u32::from_le_bytes(multiplier));
        device
            .function
            .bar_write(place.bar, u64::from(place.offset) + offset, &self.index.to_le_bytes())
            .unwrap();
    }

    /// The used ring's index.
    pub fn used(&self) -> u16 {
        let mut index = [0; 2];
        self.used.read(ring::USED_INDEX as usize, &mut index).unwrap();
        u16::from_le_bytes(index)
    }

    /// Waits until so many chains were used in all.
    pub fn wait(&self, count: u16) {
        wait(&format!("used element {count} of queue {}", self.index), || {
            (self.used() == count).then_some(())
        });
    }

    /// An element of the used ring: head of the chain, and bytes written.
    pub fn element(&self, number: u16) -> (u32, u32) {
        let mut bytes = [0; 8];
        self.used.read(ring::USED_RING as usize + 8 * usize::from(number % SIZE), &mut bytes).unwrap();
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        (word(0), word(4))
    }

    pub fn used_flags(&self) -> u16 {
        let mut flags = [0; 2];
        self.used.read(0, &mut flags).unwrap();
        u16::from_le_bytes(flags)
    }

    pub fn set_available_flags(&self, flags: u16) {
        self.available.write(0, &flags.to_le_bytes()).unwrap();
    }

    pub fn set_used_event(&self, event: u16) {
        self.available.write(ring::used_event(SIZE.into()) as usize, &event.to_le_bytes()).unwrap();
    }

    /// Offers descriptor `number` with its whole buffer as one that the device writes.
    pub fn offer_room(&mut self, number: u16) {
        self.describe(number, self.buffer(number), 4096, ring::DESC_WRITE, 0);
        self.offer(number);
    }

    /// Offers descriptor `number` with these bytes as one that the device reads.
    pub fn offer_bytes(&mut self, number: u16, bytes: &[u8]) {
        self.fill(number, bytes);
        self.describe(number, self.buffer(number), bytes.len() as u32, 0, 0);
        self.offer(number);
    }
}

pub fn descriptor(address: u64, len: u32, flags: u16, next: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&address.to_le_bytes());
    bytes[8..12].copy_from_slice(&len.to_le_bytes());
    bytes[12..14].copy_from_slice(&flags.to_le_bytes());
    bytes[14..].copy_from_slice(&next.to_le_bytes());
    bytes
}

/// A frame of so many bytes.
pub fn frame(to: [u8; 6], from: [u8; 6], len: usize) -> Vec<u8> {
    nitride_tests::frame(to, from, len, 0)
}

/// A frame behind an empty header.
pub fn packet(frame: &[u8]) -> Vec<u8> {
    [&[0; net::header::BYTES][..], frame].concat()
}

/// A device that is at work with these features beside the basic ones, and its first pair: queues to receive and to transmit.
pub fn working(bed: &Bed, features: u64) -> (Device, Ring, Ring) {
    let device = bed.device();
    let pair = start(&device, features);
    (device, pair.0, pair.1)
}

/// The same for a device that is there.
pub fn start(device: &Device, features: u64) -> (Ring, Ring) {
    assert!(device.agrees(BASE | features));
    let pair = (Ring::new(device, 0, 1), Ring::new(device, 1, 2));
    device.go();
    pair
}

/// Sends a control command; the device's answer.
pub fn command(device: &Device, control: &mut Ring, class: u8, command: u8, data: &[u8]) -> u8 {
    control.fill(0, &[&[class, command], data].concat());
    control.fill(1, &[0xff]);
    control.describe(0, control.buffer(0), 2 + data.len() as u32, ring::DESC_NEXT, 1);
    control.describe(1, control.buffer(1), 1, ring::DESC_WRITE, 0);
    let next = control.offered.wrapping_add(1);
    control.offer(0);
    control.notify(device);
    control.wait(next);
    control.contents(1, 1)[0]
}
