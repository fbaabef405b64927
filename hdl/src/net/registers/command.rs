//! What a control command changes of a device (virtio 1.2 §5.1.6.5).

use nitride_abi::card::QUEUE_PAIRS;
use nitride_abi::virtio::net::{control, feature};
use nitride_lang::prelude::*;

use super::device::{Device, agreed};
use crate::net::records::ControlCommand;

/// Bytes of class and command.
const HEAD: u64 = 2;
/// Bytes of the two counts in an address table.
const TABLE_COUNTS: u64 = 8;

/// A command's effect.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Effect {
    /// The device from now on.
    pub device: Device,
    /// VIRTIO_NET_OK.
    pub ok: Bit,
}

/// Sets a mode of the receive filter (§5.1.6.5.1).
#[hdl_fn]
fn set_mode(device: Device, command: Bits<8>, on: Bit) -> Effect {
    let unicast = command == control::RX_PROMISC as u64;
    let multicast = command == control::RX_ALLMULTI as u64;
    Effect {
        device: Device {
            promiscuous: if unicast { on } else { device.promiscuous },
            all_multicast: if multicast { on } else { device.all_multicast },
            ..device
        },
        ok: unicast || multicast,
    }
}

/// Sets the address table (§5.1.6.5.2), `length` bytes with `entries` unicast addresses. The filter is imperfect, as the clause allows:
/// any address of a kind in the table lets all of its kind in.
#[hdl_fn]
fn set_table(device: Device, entries: Bits<32>, length: Bits<16>) -> Effect {
    let unicast_bytes = (bit_cast::<19, 16>(entries.get_bits::<16>(0)) << 2)
        + (bit_cast::<19, 16>(entries.get_bits::<16>(0)) << 1);
    let without_multicast =
        !entries.get_bits::<16>(16).any() && bit_cast::<19, 16>(length) == unicast_bytes + TABLE_COUNTS;
    Effect {
        device: Device { table_unicast: entries.any(), table_multicast: !without_multicast, ..device },
        ok: length >= TABLE_COUNTS,
    }
}

/// What comes of a command. One that was not negotiated, is too short or unknown changes nothing and ends in VIRTIO_NET_ERR.
#[hdl_fn]
pub fn execute(device: Device, command: ControlCommand) -> Effect {
    let class = command.bytes.get_bits::<8>(0);
    let which = command.bytes.get_bits::<8>(8);
    let data = command.bytes.get_bits::<48>(16);
    let length = command.length - HEAD;
    let refused = Effect { device: device, ok: false };
    if command.length < HEAD {
        refused
    } else if class == control::RX as u64 {
        let on = data.get_bits::<8>(0).any();
        if agreed(device, feature::CTRL_RX) && length == 1 { set_mode(device, which, on) } else { refused }
    } else if class == control::MAC as u64 && which == control::MAC_TABLE_SET as u64 {
        let set = set_table(device, data.get_bits::<32>(0), length);
        if agreed(device, feature::CTRL_RX) && set.ok { set } else { refused }
    } else if class == control::MAC as u64 && which == control::MAC_ADDR_SET as u64 {
        if agreed(device, feature::CTRL_MAC_ADDR) && length == 6 {
            Effect { device: Device { mac: data, ..device }, ok: true }
        } else {
            refused
        }
    } else if class == control::ANNOUNCE as u64 && which == control::ANNOUNCE_ACK as u64 {
        if agreed(device, feature::GUEST_ANNOUNCE) && length == 0 {
            Effect { device: Device { announce: false, ..device }, ok: true }
        } else {
            refused
        }
    } else if class == control::MQ as u64 && which == control::MQ_PAIRS_SET as u64 {
        let pairs = data.get_bits::<16>(0);
        if agreed(device, feature::MQ) && length == 2 && pairs != 0 && pairs <= QUEUE_PAIRS as u64 {
            Effect { device: Device { both_pairs: pairs == QUEUE_PAIRS as u64, ..device }, ok: true }
        } else {
            refused
        }
    } else {
        refused
    }
}
