//! The registers as a driver sees them, clause by clause (virtio 1.2), and what follows for the engines.

use std::collections::VecDeque;

use nitride_abi::card::{
    BAR0_EXCEPTION, BAR0_VIRTIO_DEVICE, BAR0_VIRTIO_ISR, BAR0_VIRTIO_NOTIFY, VIRTIO_NOTIFY_MULTIPLIER,
    VIRTQUEUES, device_of, function_of_device,
};
use nitride_abi::virtio::net::{OFFERED, control};
use nitride_abi::virtio::pci::{NO_VECTOR, common, isr};
use nitride_abi::virtio::{self, net, status};
use nitride_lang::prelude::*;
use nitride_lang::testing::{differential, low, step};

use crate::bus::RegisterRequest;
use crate::net::records::{Assignment, ControlCommand, VirtqueueUpdate};
use crate::net::registers::Registers;

const MAC: [u8; 6] = [0x02, 1, 2, 3, 4, 5];

/// A driver of every device, the engines, and the card's owner.
struct Bench {
    uut: Registers,
    updates: Vec<VirtqueueUpdate>,
    notifications: Vec<u64>,
    interrupts: Vec<(u64, u64)>,
    resets: Vec<u64>,
    /// Queues that are being drained.
    draining: VecDeque<u64>,
    /// The engines drain.
    drains: bool,
    filters: Vec<(u64, u64, bool, bool)>,
}

impl Bench {
    fn new() -> Self {
        let mut uut = Registers::default();
        uut.connect_all();
        uut.interrupt.ready.next = true;
        uut.flr_done.ready.next = true;
        uut.drain.ready.next = true;
        uut.response.ready.next = true;
        uut.answer.ready.next = true;
        Self {
            uut,
            updates: vec![],
            notifications: vec![],
            interrupts: vec![],
            resets: vec![],
            draining: VecDeque::new(),
            drains: true,
            filters: vec![],
        }
    }

    fn cycle(&mut self) {
        let uut = &mut self.uut;
        let drained = self.draining.front().copied().filter(|_| self.drains);
        uut.drained.valid.next = drained.is_some();
        uut.drained.data.next = drained.unwrap_or_default().into();
        low(uut);
        if drained.is_some() && uut.drained.ready.val() {
            self.draining.pop_front();
        }
        if uut.update.val().valid {
            self.updates.push(uut.update.val());
        }
        if uut.notify.val().valid {
            self.notifications.push(uut.notify.val().index.to_u64());
        }
        if uut.interrupt.valid.val() {
            let data = uut.interrupt.data.val();
            self.interrupts.push((data.function.to_u64(), data.vector.to_u64()));
        }
        if uut.flr_done.valid.val() {
            self.resets.push(uut.flr_done.data.val().to_u64());
        }
        if uut.drain.valid.val() {
            self.draining.push_back(uut.drain.data.val().to_u64());
        }
        if uut.filter.val().valid {
            let filter = uut.filter.val();
            self.filters.push((
                filter.device.to_u64(),
                filter.mac.to_u64(),
                filter.all_unicast,
                filter.all_multicast,
            ));
        }
        step(uut);
    }

    /// Cycles until nothing is to be done; waiting for engines counts as nothing.
    fn settle(&mut self) {
        for _ in 0..2000 {
            self.cycle();
            low(&mut self.uut);
            if !self.uut.busy.val() && (self.draining.is_empty() || !self.drains) {
                return;
            }
        }
        panic!("never quiet");
    }

    fn access(&mut self, device: u8, offset: u64, bytes: usize, write: Option<u64>) -> Option<u64> {
        let function = function_of_device(device);
        assert_eq!(device_of(function, 8), Some(device));
        let base = if function == 0 && offset < BAR0_VIRTIO_NOTIFY { BAR0_EXCEPTION } else { 0 };
        let shift = 8 * (offset % 8);
        self.uut.register.valid.next = true;
        self.uut.register.data.next = RegisterRequest {
            write: write.is_some(),
            function: u64::from(function).into(),
            offset: ((base + offset) & !7).into(),
            data: (write.unwrap_or_default() << shift).into(),
            enable: (((1u64 << bytes) - 1) << (offset % 8)).into(),
        };
        loop {
            low(&mut self.uut);
            let taken = self.uut.register.ready.val();
            self.cycle();
            if taken {
                break;
            }
        }
        self.uut.register.valid.next = false;
        if write.is_some() {
            return None;
        }
        for _ in 0..100 {
            low(&mut self.uut);
            let answered = self.uut.response.valid.val();
            let data = self.uut.response.data.val().data.to_u64();
            self.cycle();
            if answered {
                let mask = if bytes == 8 { !0 } else { (1 << (8 * bytes)) - 1 };
                return Some(data >> shift & mask);
            }
        }
        panic!("no answer");
    }

    fn read(&mut self, device: u8, field: u16, bytes: usize) -> u64 {
        self.access(device, field.into(), bytes, None).expect("a read is answered")
    }

    fn write(&mut self, device: u8, field: u16, bytes: usize, value: u64) {
        self.access(device, field.into(), bytes, Some(value));
    }

    fn status(&mut self, device: u8) -> u64 {
        self.read(device, common::DEVICE_STATUS, 1)
    }

    fn set_status(&mut self, device: u8, bits: u8) {
        let status = self.status(device);
        self.write(device, common::DEVICE_STATUS, 1, status | u64::from(bits));
    }

    fn features(&mut self, device: u8, features: u64) {
        for (select, half) in [(0, features & 0xffff_ffff), (1, features >> 32)] {
            self.write(device, common::DRIVER_FEATURE_SELECT, 4, select);
            self.write(device, common::DRIVER_FEATURE, 4, half);
        }
    }

    fn set_up_queue(&mut self, device: u8, number: u64, size: u64) {
        self.write(device, common::QUEUE_SELECT, 2, number);
        self.write(device, common::QUEUE_SIZE, 2, size);
        self.write(device, common::QUEUE_MSIX_VECTOR, 2, 1 + number);
        let area = 0x10_0000 * (1 + number);
        self.write(device, common::QUEUE_DESC, 4, area);
        self.write(device, common::QUEUE_DESC + 4, 4, 7);
        self.write(device, common::QUEUE_DRIVER, 8, area + 0x1_0002);
        self.write(device, common::QUEUE_DEVICE, 8, area + 0x2_0004);
        self.write(device, common::QUEUE_ENABLE, 2, 1);
    }

    /// A driver sets up a device and its first `queues` queues (§3.1.1).
    fn set_up(&mut self, device: u8, features: u64, queues: u64) {
        self.write(device, common::DEVICE_STATUS, 1, 0);
        self.settle();
        assert_eq!(self.status(device), 0);
        self.set_status(device, status::ACKNOWLEDGE);
        self.set_status(device, status::DRIVER);
        self.features(device, features);
        self.set_status(device, status::FEATURES_OK);
        assert_ne!(self.status(device) & u64::from(status::FEATURES_OK), 0, "{features:x}");
        self.write(device, common::CONFIG_MSIX_VECTOR, 2, 0);
        for number in 0..queues {
            self.set_up_queue(device, number, 256);
        }
        self.settle();
        self.updates.clear();
        self.set_status(device, status::DRIVER_OK);
        self.settle();
    }

    fn command(&mut self, device: u8, bytes: &[u8], length: u64) -> bool {
        let value = bytes.iter().rev().fold(0u128, |value, byte| value << 8 | u128::from(*byte));
        self.uut.command.valid.next = true;
        self.uut.command.data.next = ControlCommand {
            device: u64::from(device).into(),
            bytes: cat2::<64, 64, 128>(((value >> 64) as u64).into(), (value as u64).into()),
            length: length.into(),
        };
        let mut answer = None;
        for _ in 0..100 {
            low(&mut self.uut);
            let taken = self.uut.command.ready.val();
            if self.uut.answer.valid.val() {
                answer = Some(self.uut.answer.data.val().ok);
            }
            self.cycle();
            if taken {
                self.uut.command.valid.next = false;
            }
            if let Some(ok) = answer {
                return ok;
            }
        }
        panic!("no answer");
    }

    fn assign(&mut self, device: u8, mtu: u64, link_up: bool, announce: bool) {
        let mac = MAC.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        self.uut.assignment.valid.next = true;
        self.uut.assignment.data.next = Assignment {
            device: u64::from(device).into(),
            mac: mac.into(),
            mtu: mtu.into(),
            link_up,
            announce,
        };
        loop {
            low(&mut self.uut);
            let taken = self.uut.assignment.ready.val();
            self.cycle();
            if taken {
                break;
            }
        }
        self.uut.assignment.valid.next = false;
        self.settle();
    }

    /// What the engines were told last of each queue of a device that they were told of.
    fn enabled(&self, device: u8) -> Vec<bool> {
        let of = |number: usize| {
            let index = u64::from(device) << 3 | number as u64;
            self.updates.iter().rev().find(|update| update.index.to_u64() == index)
        };
        (0..VIRTQUEUES).map(|number| of(number).is_some_and(|update| update.queue.enabled)).collect()
    }
}

#[test]
fn registers_of_a_new_device_read_as_the_specification_has_them() {
    let mut bench = Bench::new();
    for device in [0, 3, 15] {
        bench.write(device, common::DEVICE_FEATURE_SELECT, 4, 0);
        let low = bench.read(device, common::DEVICE_FEATURE, 4);
        bench.write(device, common::DEVICE_FEATURE_SELECT, 4, 1);
        let high = bench.read(device, common::DEVICE_FEATURE, 4);
        let sr_iov = if device == 0 { 1 << virtio::feature::SR_IOV } else { 0 };
        assert_eq!(high << 32 | low, OFFERED | sr_iov, "device {device}");
        bench.write(device, common::DEVICE_FEATURE_SELECT, 4, 2);
        assert_eq!(bench.read(device, common::DEVICE_FEATURE, 4), 0, "§4.1.4.3.1: no bits beyond 63");
        assert_eq!(bench.read(device, common::NUM_QUEUES, 2), VIRTQUEUES as u64);
        assert_eq!(bench.status(device), 0);
        assert_eq!(bench.read(device, common::CONFIG_MSIX_VECTOR, 2), u64::from(NO_VECTOR));
        for queue in 0..VIRTQUEUES as u64 {
            bench.write(device, common::QUEUE_SELECT, 2, queue);
            assert_eq!(bench.read(device, common::QUEUE_SIZE, 2), 1024);
            assert_eq!(bench.read(device, common::QUEUE_NOTIFY_OFF, 2), queue);
            assert_eq!(bench.read(device, common::QUEUE_ENABLE, 2), 0);
            assert_eq!(bench.read(device, common::QUEUE_RESET, 2), 0);
        }
        for queue in [5, 8, 0x105, 0xffff] {
            bench.write(device, common::QUEUE_SELECT, 2, queue);
            assert_eq!(
                bench.read(device, common::QUEUE_SIZE, 2),
                0,
                "§4.1.4.3.1: queue {queue} does not exist"
            );
        }
    }
}

#[test]
fn each_device_and_queue_has_registers_of_its_own() {
    let mut bench = Bench::new();
    bench.write(1, common::QUEUE_SELECT, 2, 2);
    bench.write(1, common::QUEUE_DESC, 8, 0x1234_5678_9abc_def0);
    bench.write(1, common::QUEUE_SIZE, 2, 64);
    bench.write(2, common::QUEUE_SELECT, 2, 2);
    assert_eq!(bench.read(2, common::QUEUE_DESC, 8), 0);
    assert_eq!(bench.read(2, common::QUEUE_SIZE, 2), 1024);
    bench.write(1, common::QUEUE_SELECT, 2, 3);
    assert_eq!(bench.read(1, common::QUEUE_DESC, 8), 0);
    bench.write(1, common::QUEUE_SELECT, 2, 2);
    assert_eq!(bench.read(1, common::QUEUE_DESC, 8), 0x1234_5678_9abc_def0);
    assert_eq!(bench.read(1, common::QUEUE_SIZE, 2), 64);
}

#[test]
fn sizes_vectors_and_addresses_that_cannot_be_are_refused() {
    let mut bench = Bench::new();
    for size in [0, 3, 100, 2048, 0xffff] {
        bench.write(4, common::QUEUE_SIZE, 2, size);
        assert_eq!(bench.read(4, common::QUEUE_SIZE, 2), 1024, "{size}");
    }
    for (vector, reads) in [(7, 7), (8, 0xffff), (0xfffe, 0xffff), (3, 3), (0xffff, 0xffff)] {
        bench.write(4, common::QUEUE_MSIX_VECTOR, 2, vector);
        assert_eq!(bench.read(4, common::QUEUE_MSIX_VECTOR, 2), reads, "§4.1.5.1.2.1");
        bench.write(4, common::CONFIG_MSIX_VECTOR, 2, vector);
        assert_eq!(bench.read(4, common::CONFIG_MSIX_VECTOR, 2), reads, "§4.1.5.1.2.1");
    }
    bench.write(4, common::QUEUE_DESC, 8, !0);
    bench.write(4, common::QUEUE_DRIVER, 8, !0);
    bench.write(4, common::QUEUE_DEVICE, 8, !0);
    assert_eq!(bench.read(4, common::QUEUE_DESC, 8), !15);
    assert_eq!(bench.read(4, common::QUEUE_DRIVER, 8), !1);
    assert_eq!(bench.read(4, common::QUEUE_DEVICE, 8), !3);
    bench.write(4, common::QUEUE_DESC + 1, 2, 0);
    assert_eq!(bench.read(4, common::QUEUE_DESC, 8), !15, "half a field is no access (§4.1.3.1)");
}

#[test]
fn features_that_are_not_offered_or_lack_what_they_need_end_the_negotiation() {
    let mut bench = Bench::new();
    let version = 1 << virtio::feature::VERSION_1;
    let mq = 1 << net::feature::MQ;
    let control = 1 << net::feature::CTRL_VQ;
    for (device, features, fine) in [
        (1, version, true),
        (1, 0, false),
        (1, version | 1 << 60, false),
        (1, version | 1 << virtio::feature::SR_IOV, false),
        (0, version | 1 << virtio::feature::SR_IOV, true),
        (1, version | mq, false),
        (1, version | mq | control, true),
        (1, OFFERED, true),
    ] {
        bench.write(device, common::DEVICE_STATUS, 1, 0);
        bench.settle();
        bench.set_status(device, status::ACKNOWLEDGE | status::DRIVER);
        bench.features(device, features);
        bench.set_status(device, status::FEATURES_OK | status::DRIVER_OK);
        let ok = bench.status(device) & u64::from(status::FEATURES_OK | status::DRIVER_OK);
        assert_eq!(ok, if fine { 12 } else { 0 }, "device {device}, features {features:x}");
        if fine {
            bench.features(device, 0);
            bench.write(device, common::DRIVER_FEATURE_SELECT, 4, 1);
            let high = bench.read(device, common::DRIVER_FEATURE, 4);
            assert_eq!(high, features >> 32, "features change after FEATURES_OK");
        }
    }
}

#[test]
fn the_engines_hear_of_the_queues_when_the_driver_is_ready_and_not_before() {
    let mut bench = Bench::new();
    bench.set_up(2, OFFERED, 3);
    assert_eq!(bench.enabled(2), [true, true, true, false, false]);
    let update = bench.updates.iter().find(|update| update.index.to_u64() == 2 << 3 | 1).unwrap();
    let (queue, settings) = (update.queue, update.settings);
    assert_eq!(queue.last.to_u64(), 255);
    assert_eq!(queue.descriptors.to_u64(), 0x7_0020_0000);
    assert_eq!(queue.driver.to_u64(), 0x21_0002);
    assert_eq!(queue.device.to_u64(), 0x22_0004);
    assert_eq!((queue.interrupt, queue.vector.to_u64()), (true, 2));
    assert!(settings.event_index && settings.indirect && settings.mergeable && settings.csum);
    assert!(settings.guest_csum && !settings.both_pairs && !settings.early_control);
    assert!(bench.updates.iter().all(|update| update.index.to_u64() >> 3 == 2));
}

#[test]
fn status_bits_stay_and_what_is_enabled_keeps_its_place() {
    let mut bench = Bench::new();
    bench.set_up(2, OFFERED, 2);
    bench.write(2, common::DEVICE_STATUS, 1, u64::from(status::DRIVER));
    assert_eq!(bench.status(2), 15, "a driver clears no bit (§2.1.1)");
    bench.write(2, common::DEVICE_STATUS, 1, u64::from(status::NEEDS_RESET));
    assert_eq!(bench.status(2), 15, "DEVICE_NEEDS_RESET is the device's");
    bench.write(2, common::QUEUE_SELECT, 2, 0);
    bench.write(2, common::QUEUE_DESC, 8, 0);
    bench.write(2, common::QUEUE_SIZE, 2, 2);
    bench.write(2, common::QUEUE_ENABLE, 2, 0);
    assert_eq!(bench.read(2, common::QUEUE_DESC, 8), 0x7_0010_0000);
    assert_eq!(bench.read(2, common::QUEUE_SIZE, 2), 256);
    assert_eq!(bench.read(2, common::QUEUE_ENABLE, 2), 1);
}

#[test]
fn a_reset_drains_every_queue_before_the_status_reads_0() {
    let mut bench = Bench::new();
    bench.set_up(3, OFFERED, 5);
    bench.set_up(4, OFFERED, 1);
    bench.updates.clear();
    bench.drains = false;
    bench.write(3, common::DEVICE_STATUS, 1, 0);
    bench.settle();
    assert_ne!(bench.status(3), 0, "§4.1.4.3.1: reads 0 once the reset is done");
    assert_eq!(bench.draining, [3 << 3]);
    bench.write(3, common::QUEUE_ENABLE, 2, 1);
    assert_eq!(bench.status(4), 15, "another device is served meanwhile");
    bench.drains = true;
    bench.settle();
    assert_eq!(bench.status(3), 0);
    let disabled: Vec<u64> =
        bench.updates.iter().filter(|update| !update.queue.enabled).map(|u| u.index.to_u64()).collect();
    assert_eq!(disabled, (0..5).map(|number| 3 << 3 | number).collect::<Vec<_>>());
    for number in 0..5 {
        bench.write(3, common::QUEUE_SELECT, 2, number);
        assert_eq!(bench.read(3, common::QUEUE_SIZE, 2), 1024);
        assert_eq!(bench.read(3, common::QUEUE_ENABLE, 2), 0);
        assert_eq!(bench.read(3, common::QUEUE_DESC, 8), 0);
    }
    assert_eq!(bench.read(3, common::CONFIG_MSIX_VECTOR, 2), u64::from(NO_VECTOR));
    bench.set_up(3, OFFERED, 5);
    assert_eq!(bench.enabled(3), [true; 5]);
}

#[test]
fn a_queue_is_reset_alone_and_can_be_used_again() {
    let mut bench = Bench::new();
    bench.set_up(5, OFFERED, 4);
    bench.updates.clear();
    bench.drains = false;
    bench.write(5, common::QUEUE_SELECT, 2, 2);
    bench.write(5, common::QUEUE_RESET, 2, 1);
    bench.settle();
    assert_eq!(bench.read(5, common::QUEUE_RESET, 2), 1, "§4.1.4.3.1: 1 until it is done");
    bench.drains = true;
    bench.settle();
    assert_eq!(bench.read(5, common::QUEUE_RESET, 2), 0);
    assert_eq!(bench.read(5, common::QUEUE_ENABLE, 2), 0);
    assert_eq!(bench.enabled(5), [true, true, false, true, false]);
    bench.set_up_queue(5, 2, 16);
    bench.settle();
    assert_eq!(bench.enabled(5), [true, true, true, true, false]);
    let last = bench.updates.iter().rev().find(|update| update.index.to_u64() == 5 << 3 | 2).unwrap();
    assert_eq!(last.queue.last.to_u64(), 15);
}

#[test]
fn a_function_level_reset_ends_after_the_drain_and_forgets_everything() {
    let mut bench = Bench::new();
    bench.set_up(1, OFFERED, 2);
    bench.uut.flr.valid.next = true;
    bench.uut.flr.data.next = u64::from(function_of_device(1)).into();
    bench.drains = false;
    loop {
        low(&mut bench.uut);
        let taken = bench.uut.flr.ready.val();
        bench.cycle();
        if taken {
            break;
        }
    }
    bench.uut.flr.valid.next = false;
    bench.settle();
    assert_eq!(bench.resets, [0u64; 0]);
    bench.drains = true;
    bench.settle();
    assert_eq!(bench.resets, [u64::from(function_of_device(1))]);
    assert_eq!(bench.status(1), 0);
}

#[test]
fn a_broken_ring_needs_a_reset_of_its_device_alone() {
    let mut bench = Bench::new();
    bench.set_up(6, OFFERED, 2);
    bench.set_up(7, OFFERED, 2);
    bench.interrupts.clear();
    bench.uut.broken.valid.next = true;
    bench.uut.broken.data.next = (6u64 << 3 | 1).into();
    loop {
        low(&mut bench.uut);
        let taken = bench.uut.broken.ready.val();
        bench.cycle();
        if taken {
            break;
        }
    }
    bench.uut.broken.valid.next = false;
    bench.settle();
    assert_eq!(bench.status(6), u64::from(15 | status::NEEDS_RESET));
    assert_eq!(bench.status(7), 15);
    assert_eq!(bench.enabled(6), [false; 5], "§2.1.2: it does nothing more");
    assert_eq!(bench.enabled(7)[..2], [true, true]);
    assert_eq!(bench.interrupts, [(u64::from(function_of_device(6)), 0)], "§2.1.2: a configuration change");
    assert_eq!(bench.access(6, BAR0_VIRTIO_ISR, 1, None), Some(u64::from(isr::CONFIGURATION)));
    assert_eq!(bench.access(6, BAR0_VIRTIO_ISR, 1, None), Some(0), "§4.1.4.5: reading clears it");
    bench.set_up(6, OFFERED, 2);
    assert_eq!(bench.enabled(6)[..2], [true, true]);
}

#[test]
fn changes_by_the_owner_reach_the_driver_by_interrupt_and_generation() {
    let mut bench = Bench::new();
    bench.set_up(2, OFFERED, 1);
    bench.interrupts.clear();
    let generation = bench.read(2, common::CONFIG_GENERATION, 1);
    let field = |bench: &mut Bench, offset: u16, bytes: usize| {
        bench.access(2, BAR0_VIRTIO_DEVICE + u64::from(offset), bytes, None).unwrap()
    };
    assert_eq!(field(&mut bench, net::config::STATUS, 2), 0);
    bench.assign(2, 9000, true, false);
    assert_eq!(bench.interrupts, [(u64::from(function_of_device(2)), 0)]);
    assert_ne!(bench.read(2, common::CONFIG_GENERATION, 1), generation);
    assert_eq!(field(&mut bench, net::config::STATUS, 2), u64::from(net::config::LINK_UP));
    assert_eq!(field(&mut bench, net::config::MTU, 2), 9000);
    assert_eq!(field(&mut bench, net::config::MAX_QUEUE_PAIRS, 2), 2);
    assert_eq!(field(&mut bench, net::config::SPEED, 4), 0xffff_ffff);
    assert_eq!(field(&mut bench, net::config::DUPLEX, 1), 0xff);
    let mac: Vec<u64> = (0..6).map(|byte| field(&mut bench, net::config::MAC + byte, 1)).collect();
    assert_eq!(mac, MAC.map(u64::from));
    bench.interrupts.clear();
    bench.assign(2, 9000, true, false);
    assert_eq!(bench.interrupts, [], "nothing changed");
    bench.assign(2, 9000, true, true);
    assert_eq!(bench.interrupts.len(), 1);
    assert_eq!(field(&mut bench, net::config::STATUS, 2), 3);
    assert!(bench.command(2, &[control::ANNOUNCE, control::ANNOUNCE_ACK], 2));
    assert_eq!(field(&mut bench, net::config::STATUS, 2), 1);
}

#[test]
fn control_commands_change_what_they_are_for_and_nothing_else() {
    let mut bench = Bench::new();
    bench.set_up(2, OFFERED, 5);
    bench.updates.clear();
    assert!(bench.command(2, &[control::MQ, control::MQ_PAIRS_SET, 2, 0], 4));
    bench.settle();
    assert!(bench.updates.iter().all(|update| update.settings.both_pairs));
    assert_eq!(bench.enabled(2), [true; 5], "a new setting disables nothing");
    for pairs in [0, 3] {
        assert!(!bench.command(2, &[control::MQ, control::MQ_PAIRS_SET, pairs, 0], 4));
    }
    bench.filters.clear();
    assert!(bench.command(2, &[control::MAC, control::MAC_ADDR_SET, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf], 8));
    assert!(bench.command(2, &[control::RX, control::RX_ALLMULTI, 1], 3));
    assert!(bench.command(2, &[control::RX, control::RX_PROMISC, 1], 3));
    assert!(bench.command(2, &[control::RX, control::RX_PROMISC, 0], 3));
    assert!(bench.command(2, &[control::RX, control::RX_ALLMULTI, 0], 3));
    let two_groups = [&[control::MAC, control::MAC_TABLE_SET, 0, 0, 0, 0, 2, 0, 0, 0][..], &[0; 6]].concat();
    assert!(bench.command(2, &two_groups, 2 + 8 + 12));
    let one_address = [control::MAC, control::MAC_TABLE_SET, 1, 0, 0, 0, 9, 9, 9, 9, 9, 9, 0, 0, 0, 0];
    assert!(bench.command(2, &one_address, 2 + 8 + 6));
    assert!(bench.command(2, &[control::MAC, control::MAC_TABLE_SET], 2 + 8));
    let mac = 0x0f0e_0d0c_0b0a;
    assert_eq!(
        bench.filters,
        [
            (2, mac, false, false),
            (2, mac, false, true),
            (2, mac, true, true),
            (2, mac, false, true),
            (2, mac, false, false),
            (2, mac, false, true),
            (2, mac, true, false),
            (2, mac, false, false),
        ]
    );
    for (bytes, length) in [
        (vec![control::RX, 2, 1], 3),
        (vec![control::RX, control::RX_PROMISC], 2),
        (vec![control::MAC, control::MAC_ADDR_SET, 1, 2, 3, 4, 5], 7),
        (vec![control::MAC, control::MAC_TABLE_SET, 0, 0], 4),
        (vec![control::VLAN, 0, 1, 0], 4),
        (vec![0x77, 0], 2),
        (vec![control::RX], 1),
        (vec![], 0),
    ] {
        assert!(!bench.command(2, &bytes, length), "{bytes:?}");
    }
    bench.set_up(3, 1 << virtio::feature::VERSION_1, 3);
    let set = [control::MAC, control::MAC_ADDR_SET, 1, 1, 1, 1, 1, 1];
    assert!(!bench.command(3, &set, 8), "it was not negotiated");
}

#[test]
fn notifications_name_the_queue_and_strays_nothing() {
    let mut bench = Bench::new();
    for number in 0..5 {
        bench.access(8, BAR0_VIRTIO_NOTIFY + VIRTIO_NOTIFY_MULTIPLIER * number, 2, Some(number));
    }
    bench.access(15, BAR0_VIRTIO_NOTIFY + VIRTIO_NOTIFY_MULTIPLIER, 4, Some(1));
    bench.access(1, BAR0_VIRTIO_NOTIFY + 5 * VIRTIO_NOTIFY_MULTIPLIER, 2, Some(5));
    bench.access(1, BAR0_VIRTIO_NOTIFY + 0x800, 2, Some(0));
    assert_eq!(bench.access(1, BAR0_VIRTIO_NOTIFY, 2, None), Some(0));
    assert_eq!(bench.access(1, 0x700, 4, None), Some(0));
    bench.access(1, 0x700, 4, Some(!0));
    assert_eq!(bench.notifications, [64, 65, 66, 67, 68, 15 << 3 | 1]);
}

#[test]
fn registers_verilog_equals_simulation() {
    differential(
        "net_registers",
        Registers::default,
        |uut, rng| {
            let device = rng.pick(&[0, 1, 2, 15]);
            let function = u64::from(function_of_device(device));
            let word = rng
                .pick(&[0, 8, 0x10, 0x10, 0x18, 0x18, 0x20, 0x28, 0x30, 0x38, 0x100, 0x200, 0x208, 0x1000]);
            let mut request: RegisterRequest = rng.value();
            request.function = function.into();
            request.offset = (word + if function == 0 && word < 0x1000 { BAR0_EXCEPTION } else { 0 }).into();
            // Small values mean something in most fields.
            if rng.bit() {
                let quarter =
                    |rng: &mut nitride_lang::testing::Rng| rng.pick(&[0, 1, 2, 3, 15, 0x100, 0xffff]);
                let parts: Vec<u64> = (0..4).map(|_| quarter(rng)).collect();
                request.data = parts.iter().rev().fold(0, |value, part| value << 16 | part).into();
                request.enable = 0xffu64.into();
            }
            uut.register.data.next = request;
            uut.register.valid.next = rng.bit();
            uut.response.ready.next = rng.bit();
            uut.flr.data.next = function.into();
            uut.flr.valid.next = rng.chance(1, 64);
            uut.flr_done.ready.next = rng.bit();
            uut.broken.data.next = rng.bits();
            uut.broken.valid.next = rng.chance(1, 32);
            uut.drain.ready.next = rng.bit();
            uut.drained.data.next = rng.bits();
            uut.drained.valid.next = rng.bit();
            let mut command: ControlCommand = rng.value();
            command.length = rng.below(12).into();
            let (class, which) = (rng.below(5), rng.below(2));
            command.bytes = command.bytes >> 16 << 16 | (which << 8 | class);
            uut.command.data.next = command;
            uut.command.valid.next = rng.chance(1, 16);
            uut.answer.ready.next = rng.bit();
            uut.assignment.data.next = rng.value();
            uut.assignment.valid.next = rng.chance(1, 16);
            uut.interrupt.ready.next = rng.bit();
        },
        10_000,
    );
}
