//! What a driver set up of a virtqueue, and its part of the common configuration (virtio 1.2 §4.1.4.3).

use nitride_abi::card::VIRTQUEUE_ENTRIES;
use nitride_abi::virtio::pci::common;
use nitride_lang::prelude::*;

use super::covers;
use super::device::{NO_VECTOR_HERE, Vector, vector_in, vector_out};
use crate::net::records::Virtqueue;

/// A virtqueue's registers.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Queue {
    /// Queue Size - 1.
    pub last: Bits<10>,
    /// Its vector.
    pub vector: Vector,
    /// `queue_enable`.
    pub enable: Bit,
    /// `queue_reset`: a reset is asked for, and not done.
    pub resetting: Bit,
    /// The engines use it.
    pub live: Bit,
    /// Descriptor Area.
    pub descriptors: Bits<64>,
    /// Driver Area.
    pub driver: Bits<64>,
    /// Device Area.
    pub device: Bits<64>,
}

/// A queue that nobody has set up.
#[hdl_fn]
pub fn unused() -> Queue {
    Queue {
        last: bits::<10>(VIRTQUEUE_ENTRIES as u64 - 1),
        vector: bits::<4>(NO_VECTOR_HERE),
        ..Queue::default()
    }
}

/// What the engines are told of it; they may use it if `enabled`.
#[hdl_fn]
pub fn told(queue: Queue, enabled: Bit) -> Virtqueue {
    Virtqueue {
        enabled: enabled,
        last: queue.last,
        descriptors: queue.descriptors,
        driver: queue.driver,
        device: queue.device,
        interrupt: queue.vector != NO_VECTOR_HERE,
        vector: queue.vector.get_bits::<3>(0),
    }
}

/// The words 3 to 7 of the common configuration, of queue `number`.
#[hdl_fn]
pub fn read(queue: Queue, number: Bits<3>, word: Bits<3>) -> Bits<64> {
    if word == 3 {
        let enable = bit_cast::<16, 1>(queue.enable.into());
        let notify = cat2::<16, 16, 32>(bit_cast::<16, 3>(number), enable);
        let size = bit_cast::<16, 10>(queue.last) + 1;
        cat2::<32, 32, 64>(notify, cat2::<16, 16, 32>(vector_out(queue.vector), size))
    } else if word == 4 {
        queue.descriptors
    } else if word == 5 {
        queue.driver
    } else if word == 6 {
        queue.device
    } else {
        let reset = bit_cast::<64, 1>(queue.resetting.into());
        reset << 16
    }
}

/// An address after a write of the enabled halves of its field; its low bits that have to be 0 are.
#[hdl_fn]
fn written_address(address: Bits<64>, data: Bits<64>, enable: Bits<8>, aligned: Bits<4>) -> Bits<64> {
    let low = if covers::<4>(enable, 0) { data.get_bits::<32>(0) } else { address.get_bits::<32>(0) };
    let high = if covers::<4>(enable, 4) { data.get_bits::<32>(32) } else { address.get_bits::<32>(32) };
    cat2::<32, 32, 64>(high, low & !bit_cast::<32, 4>(aligned))
}

/// The queue after a write to the words 3 to 7. What is enabled keeps its place until it is reset (§4.1.4.3.2).
#[hdl_fn]
pub fn write(queue: Queue, word: Bits<3>, data: Bits<64>, enable: Bits<8>, may_reset: Bit) -> Queue {
    let open = !queue.enable;
    if word == 3 {
        let size = data.get_bits::<16>(0);
        let last = (size - 1).get_bits::<10>(0);
        let power = size != 0 && size <= VIRTQUEUE_ENTRIES as u64 && !(size & (size - 1)).any();
        let resizes = covers::<2>(enable, common::QUEUE_SIZE) && power && open;
        let maps = covers::<2>(enable, common::QUEUE_MSIX_VECTOR);
        let enables = covers::<2>(enable, common::QUEUE_ENABLE) && data.get_bits::<16>(32) == 1;
        Queue {
            last: if resizes { last } else { queue.last },
            vector: if maps { vector_in(data.get_bits::<16>(16)) } else { queue.vector },
            enable: queue.enable || enables,
            ..queue
        }
    } else if word == 7 {
        let resets = covers::<2>(enable, common::QUEUE_RESET) && data.get_bits::<16>(16) == 1;
        Queue { resetting: queue.resetting || (resets && may_reset && queue.enable), ..queue }
    } else if !open {
        queue
    } else if word == 4 {
        Queue { descriptors: written_address(queue.descriptors, data, enable, bits::<4>(15)), ..queue }
    } else if word == 5 {
        Queue { driver: written_address(queue.driver, data, enable, bits::<4>(1)), ..queue }
    } else {
        Queue { device: written_address(queue.device, data, enable, bits::<4>(3)), ..queue }
    }
}
