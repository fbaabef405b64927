//! §2.1 to §2.6 and §4.1.4.3: status, features, configuration, resets.

use nitride_abi::virtio::net::{config, feature as net_feature};
use nitride_abi::virtio::pci::{capability, common, isr};
use nitride_abi::virtio::{feature, status};
use nitride_driver::management::Assignment;

use super::raw::{BASE, Bed, OWN, PEER, Ring, frame, packet, start, wait, working};

/// §4.1.4.3.1: the features from bit 32 × device_feature_select on, "for any device_feature_select written by the driver".
#[test]
fn features_are_shown_for_any_select() {
    let device = Bed::new().device();
    for select in [2, 3, 0x100, 0x8000_0000, 0xffff_ffff] {
        device.write::<4>(capability::COMMON, common::DEVICE_FEATURE_SELECT, select);
        assert_eq!(device.read::<4>(capability::COMMON, common::DEVICE_FEATURE), 0, "{select:#x}");
    }
}

/// §4.1.4.3.1: the device MUST present the valid feature bits that the driver wrote, for any driver_feature_select.
#[test]
fn the_drivers_features_are_read_back() {
    let device = Bed::new().device();
    let wanted = BASE | 1 << net_feature::MAC | 1 << net_feature::MRG_RXBUF;
    assert!(device.agrees(wanted));
    let half = |select| {
        device.write::<4>(capability::COMMON, common::DRIVER_FEATURE_SELECT, select);
        device.read::<4>(capability::COMMON, common::DRIVER_FEATURE)
    };
    assert_eq!((half(0), half(1), half(2)), (wanted & 0xffff_ffff, wanted >> 32, 0));
}

/// §2.2.2: the device MUST NOT offer a feature that requires another one which it does not offer (§5.1.3.1).
#[test]
fn features_that_need_others_come_with_them() {
    let offered = Bed::new().device().offered();
    let has = |number: u32| offered >> number & 1 == 1;
    for (number, needs) in [
        (net_feature::CTRL_RX, net_feature::CTRL_VQ),
        (net_feature::CTRL_VLAN, net_feature::CTRL_VQ),
        (net_feature::GUEST_ANNOUNCE, net_feature::CTRL_VQ),
        (net_feature::MQ, net_feature::CTRL_VQ),
        (net_feature::CTRL_MAC_ADDR, net_feature::CTRL_VQ),
    ] {
        assert!(!has(number) || has(needs), "{number} without {needs}");
    }
}

/// §2.2.2: a set of features that the device does not take MUST fail to set FEATURES_OK; any valid subset SHOULD be accepted, and again
/// after a reset.
#[test]
fn what_is_not_offered_is_not_agreed_on() {
    let device = Bed::new().device();
    let offered = device.offered();
    for number in (0..64).filter(|number| offered >> number & 1 == 0) {
        device.reset();
        assert!(!device.agrees(BASE | 1 << number), "{number}");
    }
    for features in [offered, BASE, offered, BASE | 1 << net_feature::MAC] {
        device.reset();
        assert!(device.agrees(features), "{features:#x}");
    }
}

/// §2.5.2: the device MUST allow reading of any field before FEATURES_OK, those of offered features included.
#[test]
fn the_configuration_is_read_before_features_are_agreed_on() {
    let device = Bed::new().device();
    let byte = |at: u16| device.read::<1>(capability::DEVICE, at) as u8;
    assert_eq!([0, 1, 2, 3, 4, 5].map(byte), OWN);
    assert_eq!(device.read::<2>(capability::DEVICE, config::MTU), 1500);
    assert_eq!(device.read::<2>(capability::DEVICE, config::STATUS) & 1, 1);
}

/// §5.1.4.1: max_virtqueue_pairs MUST be 1 to 0x8000 and mtu 68 to 65,535 where they are offered; duplex and speed as §5.1.4 has them.
#[test]
fn the_configuration_is_within_its_limits() {
    let device = Bed::new().device();
    let pairs = device.read::<2>(capability::DEVICE, config::MAX_QUEUE_PAIRS);
    assert!((1..=0x8000).contains(&pairs));
    assert!(device.read::<2>(capability::DEVICE, config::MTU) >= 68);
    let speed = device.read::<4>(capability::DEVICE, config::SPEED);
    assert!(speed <= 0x7fff_ffff || speed == 0xffff_ffff);
    assert!([0, 1, 0xff].contains(&device.read::<1>(capability::DEVICE, config::DUPLEX)));
    assert!(
        u64::from(device.word(common::NUM_QUEUES)) > 2 * pairs,
        "a control queue after the pairs (§5.1.2)"
    );
}

/// §4.1.4.3.1: the device MUST present a changed config_generation when a field has changed since it was read.
#[test]
fn the_generation_changes_with_the_configuration() {
    let bed = Bed::new();
    let device = bed.device();
    let generation = || device.read::<1>(capability::COMMON, common::CONFIG_GENERATION);
    device.read::<2>(capability::DEVICE, config::MTU);
    let before = generation();
    assert_eq!(generation(), before, "nothing has changed");
    bed.card.assign(1, Assignment { mac: OWN, mtu: 1500, link_up: false, announce: false }).unwrap();
    wait("another generation", || (generation() != before).then_some(()));
    assert_eq!(device.read::<2>(capability::DEVICE, config::STATUS) & 1, 0);
}

/// §4.1.4.5.1: the Device Configuration Interrupt bit MUST be set before the notification of a change; ISR status MUST be 0 after it was read.
#[test]
fn a_changed_configuration_interrupts() {
    let bed = Bed::new();
    let mut device = bed.device();
    device.enable_interrupts(2);
    device.set_word(common::CONFIG_MSIX_VECTOR, 1);
    assert!(device.agrees(BASE | 1 << net_feature::STATUS));
    device.go();
    bed.card.assign(1, Assignment { mac: OWN, mtu: 1500, link_up: false, announce: false }).unwrap();
    wait("an interrupt", || device.interrupted(1).then_some(()));
    assert_eq!(device.read::<1>(capability::ISR, 0), u64::from(isr::CONFIGURATION));
    assert_eq!(device.read::<1>(capability::ISR, 0), 0);
    assert!(!device.interrupted(0));
}

/// §2.1.2: the device MUST NOT consume buffers or notify before DRIVER_OK.
#[test]
fn nothing_is_consumed_before_driver_ok() {
    let bed = Bed::new();
    let device = bed.device();
    assert!(device.agrees(BASE));
    let mut transmit = Ring::new(&device, 1, 0);
    transmit.offer_bytes(0, &packet(&frame(PEER, OWN, 60)));
    transmit.notify(&device);
    bed.pass(5000);
    assert_eq!(transmit.used(), 0);
    device.go();
    transmit.notify(&device);
    transmit.wait(1);
}

/// §2.4.1: status MUST be 0 after a reset, and until the driver starts again the device MUST NOT notify or touch a queue; §4.1.4.3.1:
/// queue_enable MUST be 0 on reset.
#[test]
fn a_reset_device_leaves_its_queues_alone() {
    let bed = Bed::new();
    let (device, _receive, mut transmit) = working(&bed, 0);
    transmit.offer_bytes(0, &packet(&frame(PEER, OWN, 60)));
    transmit.notify(&device);
    transmit.wait(1);
    device.reset();
    for queue in 0..device.word(common::NUM_QUEUES) {
        device.select(queue);
        assert_eq!(device.word(common::QUEUE_ENABLE), 0);
    }
    transmit.offer_bytes(1, &packet(&frame(PEER, OWN, 60)));
    transmit.notify(&device);
    bed.pass(5000);
    assert_eq!(transmit.used(), 1);
}

/// §4.1.4.3.1: queue_size MUST be 0 for a queue that there is not.
#[test]
fn queues_that_are_not_there_have_no_size() {
    let device = Bed::new().device();
    let queues = device.word(common::NUM_QUEUES);
    for queue in 0..queues {
        device.select(queue);
        assert!(device.word(common::QUEUE_SIZE).is_power_of_two(), "queue {queue}");
    }
    for queue in [queues, 7, 8, 0x100, 0xffff] {
        device.select(queue);
        assert_eq!(device.word(common::QUEUE_SIZE), 0, "queue {queue}");
    }
}

/// §2.6.1.1.1, §4.1.4.3.1: writing 1 to queue_reset MUST reset the queue; queue_reset and queue_enable MUST be 0 when that is over. Until it is enabled
/// again the device MUST NOT execute its requests; then it begins afresh.
#[test]
fn a_queue_is_reset_and_enabled_again() {
    let bed = Bed::new();
    let (device, _receive, mut transmit) = working(&bed, 1 << feature::RING_RESET);
    transmit.offer_bytes(0, &packet(&frame(PEER, OWN, 60)));
    transmit.notify(&device);
    transmit.wait(1);
    device.select(1);
    assert_eq!(device.word(common::QUEUE_RESET), 0);
    device.set_word(common::QUEUE_RESET, 1);
    wait("the end of a queue's reset", || (device.word(common::QUEUE_RESET) == 0).then_some(()));
    assert_eq!(device.word(common::QUEUE_ENABLE), 0);
    transmit.offer_bytes(1, &packet(&frame(PEER, OWN, 60)));
    transmit.notify(&device);
    bed.pass(5000);
    assert_eq!(transmit.used(), 1);
    let mut fresh = Ring::new(&device, 1, 0);
    assert_eq!((device.word(common::QUEUE_ENABLE), device.word(common::QUEUE_RESET)), (1, 0));
    fresh.offer_bytes(3, &packet(&frame(PEER, OWN, 60)));
    fresh.notify(&device);
    fresh.wait(1);
    assert_eq!(fresh.element(0), (3, 0));
}

/// §2.1.2: a device in an error state SHOULD set DEVICE_NEEDS_RESET, and MUST then notify of a configuration change.
#[test]
fn a_broken_ring_asks_for_a_reset() {
    let bed = Bed::new();
    let mut device = bed.device();
    device.enable_interrupts(1);
    device.set_word(common::CONFIG_MSIX_VECTOR, 0);
    let (_receive, mut transmit) = start(&device, 0);
    // The head is beyond the queue.
    transmit.offer(0x4000);
    transmit.notify(&device);
    wait("an interrupt", || device.interrupted(0).then_some(()));
    assert_ne!(device.status() & status::NEEDS_RESET, 0);
    device.reset();
    let (_receive, mut transmit) = start(&device, 0);
    transmit.offer_bytes(0, &packet(&frame(PEER, OWN, 60)));
    transmit.notify(&device);
    transmit.wait(1);
}
