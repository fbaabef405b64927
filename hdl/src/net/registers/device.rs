//! What the card knows of a network device, and its common and device configuration (virtio 1.2 §4.1.4.3, §5.1.4).

use nitride_abi::card::{QUEUE_PAIRS, VIRTQUEUES};
use nitride_abi::virtio::net::{OFFERED, config, feature};
use nitride_abi::virtio::pci::{NO_VECTOR, common};
use nitride_abi::virtio::{self, status};
use nitride_lang::prelude::*;

use super::covers;
use crate::net::records::DeviceSettings;

/// A MSI-X vector that a driver set: 0 to 7, or none.
pub type Vector = Bits<4>;
/// No vector.
pub const NO_VECTOR_HERE: u64 = 8;

/// The state of a network device.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Device {
    /// The device status.
    pub status: Bits<8>,
    /// A reset is asked for, and not done: the status does not read 0 before.
    pub resetting: Bit,
    /// A function level reset is, too.
    pub function_reset: Bit,
    /// It is on the list of work.
    pub queued: Bit,
    /// `device_feature_select`.
    pub device_select: Bits<32>,
    /// `driver_feature_select`.
    pub driver_select: Bits<32>,
    /// What the driver accepted.
    pub features: Bits<64>,
    /// The vector of configuration changes.
    pub vector: Vector,
    /// `queue_select`.
    pub queue_select: Bits<16>,
    /// `config_generation`.
    pub generation: Bits<8>,
    /// The device configuration changed, and ISR status was not read since.
    pub isr: Bit,
    /// The driver's MAC address, the first byte lowest.
    pub mac: Bits<48>,
    /// The driver is asked to announce itself (VIRTIO_NET_S_ANNOUNCE).
    pub announce: Bit,
    /// Two queue pairs are in use.
    pub both_pairs: Bit,
    /// VIRTIO_NET_CTRL_RX_PROMISC.
    pub promiscuous: Bit,
    /// VIRTIO_NET_CTRL_RX_ALLMULTI.
    pub all_multicast: Bit,
    /// Unicast addresses are in the table of VIRTIO_NET_CTRL_MAC_TABLE_SET.
    pub table_unicast: Bit,
    /// Multicast addresses are.
    pub table_multicast: Bit,
    /// The MAC address that it has after a reset.
    pub permanent: Bits<48>,
    /// MTU in bytes.
    pub mtu: Bits<16>,
    /// VIRTIO_NET_S_LINK_UP.
    pub link_up: Bit,
}

/// A device that nobody has used: it has a locally administered MAC address, and no link.
#[must_use]
pub fn initial(device: u8) -> Device {
    let mac = u64::from_le_bytes([0x02, b'N', b'i', 0, 0, device, 0, 0]);
    Device {
        vector: NO_VECTOR_HERE.into(),
        mac: mac.into(),
        permanent: mac.into(),
        mtu: 1500u64.into(),
        ..Device::default()
    }
}

/// The state after a reset (virtio 1.2 §2.4).
#[hdl_fn]
pub fn after_reset(device: Device) -> Device {
    Device {
        vector: bits::<4>(NO_VECTOR_HERE),
        mac: device.permanent,
        permanent: device.permanent,
        mtu: device.mtu,
        link_up: device.link_up,
        generation: device.generation,
        queued: device.queued,
        ..Device::default()
    }
}

/// The driver accepted this feature.
#[hdl_fn]
pub fn agreed(device: Device, feature: u32) -> Bit {
    device.features.get_bit(feature as usize)
}

/// Drivers may use its queues: DRIVER_OK, and neither broken nor being reset.
#[hdl_fn]
pub fn runs(device: Device) -> Bit {
    (device.status & (status::DRIVER_OK as u64)).any()
        && !(device.status & (status::NEEDS_RESET as u64)).any()
        && !device.resetting
}

/// What its queues' engines obey.
#[hdl_fn]
pub fn settings(device: Device) -> DeviceSettings {
    DeviceSettings {
        event_index: agreed(device, virtio::feature::EVENT_IDX),
        indirect: agreed(device, virtio::feature::INDIRECT_DESC),
        mergeable: agreed(device, feature::MRG_RXBUF),
        csum: agreed(device, feature::CSUM),
        guest_csum: agreed(device, feature::GUEST_CSUM),
        both_pairs: device.both_pairs,
        early_control: !agreed(device, feature::MQ),
    }
}

/// What it offers. A virtual function has no virtual functions; the exception path neither.
#[hdl_fn]
fn offered(index: Bits<4>) -> Bits<64> {
    if index == 0 { bits::<64>(OFFERED | 1 << virtio::feature::SR_IOV) } else { bits::<64>(OFFERED) }
}

/// 32 of 64 feature bits; words beyond them are 0.
#[hdl_fn]
fn feature_word(features: Bits<64>, select: Bits<32>) -> Bits<32> {
    if select == 0 {
        features.get_bits::<32>(0)
    } else if select == 1 {
        features.get_bits::<32>(32)
    } else {
        bits::<32>(0)
    }
}

/// A vector as the driver sees it.
#[hdl_fn]
pub fn vector_out(vector: Vector) -> Bits<16> {
    if vector == NO_VECTOR_HERE { bits::<16>(NO_VECTOR as u64) } else { bit_cast::<16, 4>(vector) }
}

/// A vector that the driver writes: one that does not exist is refused by reading back as none (§4.1.5.1.2.1).
#[hdl_fn]
pub fn vector_in(value: Bits<16>) -> Vector {
    if value < NO_VECTOR_HERE { value.get_bits::<4>(0) } else { bits::<4>(NO_VECTOR_HERE) }
}

/// The words 0 to 2 of the common configuration: what is not of a queue.
#[hdl_fn]
pub fn read_common(device: Device, index: Bits<4>, word: Bits<3>) -> Bits<64> {
    if word == 0 {
        cat2::<32, 32, 64>(feature_word(offered(index), device.device_select), device.device_select)
    } else if word == 1 {
        cat2::<32, 32, 64>(feature_word(device.features, device.driver_select), device.driver_select)
    } else {
        let counts = cat2::<16, 16, 32>(bits::<16>(VIRTQUEUES as u64), vector_out(device.vector));
        let state = cat2::<8, 8, 16>(device.generation, device.status);
        cat2::<32, 32, 64>(cat2::<16, 16, 32>(device.queue_select, state), counts)
    }
}

/// A word of the device configuration. The speed is not known.
#[hdl_fn]
pub fn read_configuration(device: Device, word: Bits<3>) -> Bits<64> {
    let link = if device.link_up { bits::<16>(config::LINK_UP as u64) } else { bits::<16>(0) };
    let announce = if device.announce { bits::<16>(config::ANNOUNCE as u64) } else { bits::<16>(0) };
    if word == 0 {
        cat2::<16, 48, 64>(link | announce, device.mac)
    } else if word == 1 {
        let counts = cat2::<16, 16, 32>(device.mtu, bits::<16>(QUEUE_PAIRS as u64));
        cat2::<32, 32, 64>(bits::<32>(0xffff_ffff), counts)
    } else if word == 2 {
        bits::<64>(0xff)
    } else {
        bits::<64>(0)
    }
}

/// The driver may set FEATURES_OK: it accepts what is offered, and with it what that needs (§2.2.1, §5.1.3.1, §6.1).
#[hdl_fn]
fn acceptable(features: Bits<64>, index: Bits<4>) -> Bit {
    let control = features.get_bit(feature::CTRL_VQ as usize);
    let needs = features.get_bit(feature::CTRL_RX as usize)
        || features.get_bit(feature::GUEST_ANNOUNCE as usize)
        || features.get_bit(feature::MQ as usize)
        || features.get_bit(feature::CTRL_MAC_ADDR as usize);
    !(features & !offered(index)).any()
        && features.get_bit(virtio::feature::VERSION_1 as usize)
        && (control || !needs)
}

/// The status after the driver wrote `value`, which is not 0: bits are only ever set, FEATURES_OK only where the features will do (§3.1.1),
/// DRIVER_OK only after it, DEVICE_NEEDS_RESET never.
#[hdl_fn]
fn written_status(device: Device, index: Bits<4>, value: Bits<8>) -> Bits<8> {
    let fine = (device.status & (status::FEATURES_OK as u64)).any() || acceptable(device.features, index);
    let refused = if fine {
        bits::<8>(status::NEEDS_RESET as u64)
    } else {
        bits::<8>((status::NEEDS_RESET | status::FEATURES_OK | status::DRIVER_OK) as u64)
    };
    device.status | (value & !refused)
}

/// The features after a write of the word that `select` names.
#[hdl_fn]
fn written_features(features: Bits<64>, select: Bits<32>, value: Bits<32>) -> Bits<64> {
    if select == 0 {
        cat2::<32, 32, 64>(features.get_bits::<32>(32), value)
    } else if select == 1 {
        cat2::<32, 32, 64>(value, features.get_bits::<32>(0))
    } else {
        features
    }
}

/// The device after a write to the words 0 to 2 of the common configuration.
#[hdl_fn]
pub fn write_common(
    device: Device,
    index: Bits<4>,
    word: Bits<3>,
    data: Bits<64>,
    enable: Bits<8>,
) -> Device {
    if word == 0 {
        let selects = covers::<4>(enable, common::DEVICE_FEATURE_SELECT);
        Device {
            device_select: if selects { data.get_bits::<32>(0) } else { device.device_select },
            ..device
        }
    } else if word == 1 {
        let open = !(device.status & (status::FEATURES_OK as u64)).any();
        let selects = covers::<4>(enable, common::DRIVER_FEATURE_SELECT);
        let accepts = covers::<4>(enable, common::DRIVER_FEATURE) && open;
        let select = if selects { data.get_bits::<32>(0) } else { device.driver_select };
        let features = written_features(device.features, select, data.get_bits::<32>(32));
        Device { driver_select: select, features: if accepts { features } else { device.features }, ..device }
    } else {
        let maps = covers::<2>(enable, common::CONFIG_MSIX_VECTOR);
        let selects = covers::<2>(enable, common::QUEUE_SELECT);
        let changes = covers::<1>(enable, common::DEVICE_STATUS);
        let value = data.get_bits::<8>(32);
        let resets = changes && value == 0;
        let status = if changes && !resets { written_status(device, index, value) } else { device.status };
        Device {
            vector: if maps { vector_in(data.get_bits::<16>(0)) } else { device.vector },
            queue_select: if selects { data.get_bits::<16>(48) } else { device.queue_select },
            status: status,
            resetting: device.resetting || resets,
            ..device
        }
    }
}
