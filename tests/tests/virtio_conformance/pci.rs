//! §4.1: virtio over PCI.

use std::sync::Arc;

use nitride_abi::card::{PF_NETWORK, VF_NETWORK_FIRST};
use nitride_abi::virtio::feature;
use nitride_abi::virtio::pci::{NO_VECTOR, capability, common};

use super::raw::{BASE, Bed, Device};

/// §4.1.2.1: "Devices MUST have the PCI Vendor ID 0x1AF4", and 0x1040 plus the device type as Device ID. A VF's own IDs read as
/// all ones (PCIe 4.0 §9.3.4.1.1); its PF has them.
#[test]
fn vendor_and_device_ids_are_those_of_a_modern_network_device() {
    let bed = Bed::new();
    let mut ids = [0; 4];
    let pf = bed.simulator.endpoint(PF_NETWORK).unwrap();
    nitride_driver::Function::config_read(&pf, 0, &mut ids).unwrap();
    assert_eq!(ids, [0xf4, 0x1a, 0x41, 0x10]);
}

/// §4.1.4.3.1, §4.1.4.4.1, §4.1.4.5.1, §4.1.4.6.1, §4.1.4.9.1: "The device MUST present at least one … capability" of each type; §4.1.4.2: cap_len
/// MUST include extra data.
#[test]
fn each_structure_has_its_capability() {
    let bed = Bed::new();
    for function in [PF_NETWORK, VF_NETWORK_FIRST] {
        let device = Device::new(Arc::new(bed.simulator.endpoint(function).unwrap()));
        for (kind, bytes) in [
            (capability::COMMON, 16),
            (capability::NOTIFY, 20),
            (capability::ISR, 16),
            (capability::DEVICE, 16),
            (capability::PCI, 20),
        ] {
            assert_eq!(device.capability(kind).bytes, bytes, "type {kind}");
        }
    }
}

/// §4.1.4.3.1, §4.1.4.6.1: offset MUST be 4-byte aligned; §4.1.4.4.1: that of notifications 2-byte aligned.
#[test]
fn structures_are_aligned_and_in_their_bars() {
    let device = Bed::new().device();
    for (kind, alignment) in
        [(capability::COMMON, 4), (capability::NOTIFY, 2), (capability::ISR, 1), (capability::DEVICE, 4)]
    {
        let place = device.capability(kind);
        let bar = device.function.info().bars[usize::from(place.bar)].expect("the structure's BAR");
        assert!(place.offset.is_multiple_of(alignment));
        assert!(u64::from(place.offset) + u64::from(place.length) <= bar.size, "type {kind}");
    }
    assert!(device.capability(capability::COMMON).length >= u32::from(common::BYTES) - 4);
}

/// §4.1.4.4.1: notify_off_multiplier MUST be an even power of 2 or 0, and cap.length MUST reach all queues' notifications.
#[test]
fn notifications_of_all_queues_are_in_their_structure() {
    let device = Bed::new().device();
    let place = device.capability(capability::NOTIFY);
    let mut multiplier = [0; 4];
    device.function.config_read(place.at + 16, &mut multiplier).unwrap();
    let multiplier = u32::from_le_bytes(multiplier);
    assert!(multiplier == 0 || multiplier.is_power_of_two() && multiplier > 1, "{multiplier}");
    for queue in 0..device.word(common::NUM_QUEUES) {
        device.select(queue);
        let offset = u32::from(device.word(common::QUEUE_NOTIFY_OFF));
        assert!(place.length >= offset * multiplier + 2, "queue {queue}");
    }
}

/// §4.1.4.9.1: a read or write of pci_cfg_data MUST be one of the BAR's bytes that cap.bar, cap.offset and cap.length name.
#[test]
fn structures_are_reached_through_configuration_space() {
    let device = Bed::new().device();
    let (window, place) = (device.capability(capability::PCI).at, device.capability(capability::COMMON));
    let access = |offset: u32, length: u32| {
        device.function.config_write(window + 4, &[place.bar]).unwrap();
        device.function.config_write(window + 8, &offset.to_le_bytes()).unwrap();
        device.function.config_write(window + 12, &length.to_le_bytes()).unwrap();
    };
    access(place.offset + u32::from(common::DEVICE_STATUS), 1);
    device.function.config_write(window + 16, &[3]).unwrap();
    assert_eq!(device.status(), 3);
    access(place.offset + u32::from(common::NUM_QUEUES), 2);
    let mut queues = [0; 2];
    device.function.config_read(window + 16, &mut queues).unwrap();
    assert_eq!(u16::from_le_bytes(queues), device.word(common::NUM_QUEUES));
}

/// §4.1.5.1.2.1: the device MUST support mapping any event to any vector and unmapping it, return it on read, report failures as
/// NO_VECTOR, and have all unmapped upon reset.
#[test]
fn events_are_mapped_to_any_vector_there_is() {
    let device = Bed::new().device();
    let vectors = device.function.info().msix_vectors;
    assert!(vectors >= 2);
    device.select(1);
    for field in [common::CONFIG_MSIX_VECTOR, common::QUEUE_MSIX_VECTOR] {
        assert_eq!(device.word(field), NO_VECTOR, "at first");
        for vector in 0..vectors {
            device.set_word(field, vector);
            assert_eq!(device.word(field), vector);
        }
        for missing in [vectors, 0x7ff, 0xfffe] {
            device.set_word(field, missing);
            assert_eq!(device.word(field), NO_VECTOR, "{missing}");
        }
        device.set_word(field, 0);
        device.set_word(field, NO_VECTOR);
        assert_eq!(device.word(field), NO_VECTOR);
        device.set_word(field, 1);
    }
    device.reset();
    device.select(1);
    assert_eq!(
        (device.word(common::CONFIG_MSIX_VECTOR), device.word(common::QUEUE_MSIX_VECTOR)),
        (NO_VECTOR, NO_VECTOR)
    );
}

/// §6.2: a device that presents no SR-IOV capability MUST NOT offer VIRTIO_F_SR_IOV; one that does SHOULD.
#[test]
fn sr_iov_is_offered_by_the_pf_alone() {
    let bed = Bed::new();
    let pf = Device::new(Arc::new(bed.simulator.endpoint(PF_NETWORK).unwrap()));
    assert_ne!(pf.offered() & 1 << feature::SR_IOV, 0);
    assert_eq!(bed.device().offered() & 1 << feature::SR_IOV, 0);
    assert_eq!(bed.device().offered() & BASE, BASE, "§6.2: a device MUST offer VIRTIO_F_VERSION_1");
}
