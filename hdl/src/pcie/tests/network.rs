//! PF1 and its VFs beside PF2 and its, in a card that has them.

use nitride_abi::card::{BAR0_VIRTIO_NOTIFY, PF_NETWORK, PF_STORAGE, VF_NETWORK_FIRST};
use nitride_abi::pci;
use nitride_abi::tlp::Status;

use super::host::{Host, pattern};
use crate::profile::Profile;

const NETWORK: Profile = Profile { network: true, ..Profile::LAB };
const BAR: u64 = 0x30_0000_0000;
const VF_BAR: u64 = 0x31_0000_0000;

/// PF1 with three VFs, beside what [`Host::boot`] sets up.
fn boot() -> (Host, [u64; 3]) {
    let mut host = Host::with(&NETWORK);
    let bars = host.boot();
    host.config_write(PF_NETWORK, pci::BAR0, BAR as u32);
    host.config_write(PF_NETWORK, pci::BAR0 + 4, (BAR >> 32) as u32);
    host.config_write_16(PF_NETWORK, pci::COMMAND, 6);
    host.config_write_16(PF_NETWORK, pci::SRIOV_NUM_VFS, 3);
    host.config_write(PF_NETWORK, pci::SRIOV_BAR0, VF_BAR as u32);
    host.config_write(PF_NETWORK, pci::SRIOV_BAR0 + 4, (VF_BAR >> 32) as u32);
    host.config_write_16(PF_NETWORK, pci::SRIOV_CONTROL, 0x19);
    (host, bars)
}

#[test]
fn ari_leads_through_all_three_pfs() {
    let mut host = Host::with(&NETWORK);
    let mut found = vec![];
    let mut function = 0;
    loop {
        found.push((function, host.config_read(function, pci::ID), host.config_read(function, pci::CLASS)));
        function = (host.config_read(function, pci::ARI + 4) >> 8) as u8;
        if function == 0 {
            break;
        }
    }
    assert_eq!(
        found,
        [(0, 0x0001_4e54, 0x0880_0001), (1, 0x1041_1af4, 0x0200_0001), (2, 0x0003_4e54, 0x0108_0201)]
    );
    for absent in [3, 7, 8, 15, 16] {
        assert_eq!(host.try_config_read(absent, 0).status, Status::UnsupportedRequest, "{absent}");
    }
}

#[test]
fn each_pf_has_vfs_of_its_own() {
    let (mut host, bars) = boot();
    assert_eq!(host.config_read(PF_NETWORK, pci::SRIOV_OFFSET), 0x0001_0007);
    assert_eq!(host.config_read(PF_NETWORK, pci::SRIOV_NUM_VFS), 0x0001_0003);
    for vf in VF_NETWORK_FIRST..VF_NETWORK_FIRST + 3 {
        assert_eq!(host.config_read(vf, pci::CLASS) >> 8, 0x02_0000);
        let at = VF_BAR + 0x4000 * u64::from(vf - VF_NETWORK_FIRST);
        assert_eq!(host.read(at + 0x208, 8), !pattern(vf.into(), 0x208));
        host.write(at + BAR0_VIRTIO_NOTIFY + 4, 1, 2);
    }
    host.settle();
    let rung: Vec<u64> = host.network_writes.iter().map(|write| write.function.to_u64()).collect();
    assert_eq!(rung, [8, 9, 10]);
    assert!(host.nvme_writes.is_empty());
    assert_eq!(host.try_config_read(11, 0).status, Status::UnsupportedRequest);
    assert_eq!(host.try_read(VF_BAR + 0xc000, 4).status, Status::UnsupportedRequest);
    assert_eq!(host.read(BAR, 8), !pattern(1, 0));
    assert_eq!(host.read(bars[1], 8), pattern(2, 0), "PF2 is where it was");
    assert_eq!(host.read(bars[2] + 7 * 0x4000, 8), pattern(23, 0), "all 8 of its VFs are");
}

#[test]
fn a_reset_of_pf1_takes_its_vfs_and_no_others() {
    let (mut host, bars) = boot();
    host.config_write_16(9, pci::COMMAND, 4);
    host.config_write_16(17, pci::COMMAND, 4);
    assert!(host.states[9].bus_master && host.states[17].bus_master);
    host.config_write_16(9, pci::DEVICE_CONTROL, 1 << 15);
    host.settle();
    assert_eq!(host.resetting, [9]);
    assert_eq!(host.try_config_read(9, 0).status, Status::Retry);
    host.finish_resets();
    assert_eq!(host.config_read(9, pci::COMMAND), 0x0010_0000);
    host.config_write_16(PF_NETWORK, pci::DEVICE_CONTROL, 1 << 15);
    host.settle();
    assert_eq!(host.resetting, [8, 9, 10, 1]);
    host.finish_resets();
    assert_eq!(host.config_read(PF_NETWORK, pci::SRIOV_NUM_VFS) as u16, 0);
    assert!(host.states[17].bus_master, "PF2's VFs go on");
    assert_eq!(host.read(bars[2], 8), pattern(16, 0));
}

#[test]
fn errors_of_no_function_are_told_by_each_pf() {
    let (mut host, _) = boot();
    for function in 0..3 {
        host.config_write_16(function, pci::DEVICE_CONTROL, 0xf);
        host.config_write_16(function, pci::COMMAND, 0x106);
    }
    host.messages();
    assert_eq!(host.try_read(0xdead_0000_0000, 4).status, Status::UnsupportedRequest);
    host.settle();
    for function in 0..3 {
        let detected = host.config_read(function, pci::DEVICE_CONTROL) >> 16;
        assert_eq!(detected & 0xf, 0b1001, "function {function}");
    }
}

/// `pci_cfg_data` of the capability.
const DATA: u16 = pci::VIRTIO_WINDOW + 16;

/// What the next access to `pci_cfg_data` is to (virtio 1.2 §4.1.4.9).
fn aim(host: &mut Host, function: u8, bar: u8, offset: u32, length: u32) {
    host.config_write(function, pci::VIRTIO_WINDOW + 4, bar.into());
    host.config_write(function, pci::VIRTIO_WINDOW + 8, offset);
    host.config_write(function, pci::VIRTIO_WINDOW + 12, length);
}

/// PF1 with three VFs and no memory space: nothing of their BARs can be reached by memory requests.
fn without_memory() -> Host {
    let mut host = Host::with(&NETWORK);
    host.config_write_16(PF_NETWORK, pci::SRIOV_NUM_VFS, 3);
    host.config_write_16(PF_NETWORK, pci::SRIOV_CONTROL, 0x11);
    host
}

#[test]
fn registers_are_read_through_configuration_space() {
    let mut host = without_memory();
    for function in [PF_NETWORK, 8, 10] {
        for (length, offsets) in
            [(1, &[0x14, 0x100, 0x203][..]), (2, &[0x12, 0x206, 0x1ffe]), (4, &[0, 0x24, 0x1ffc])]
        {
            for offset in offsets {
                aim(&mut host, function, 0, *offset, length);
                let word = !pattern(function.into(), u64::from(offset & !7)) >> (8 * (offset & 7));
                let mask = if length == 4 { u32::MAX } else { (1 << (8 * length)) - 1 };
                assert_eq!(host.config_read(function, DATA) & mask, word as u32 & mask, "{offset:#x}");
                assert_eq!(host.config_read(function, pci::VIRTIO_WINDOW + 8), *offset);
            }
        }
    }
    assert!(host.network_writes.is_empty() && host.nvme_writes.is_empty());
}

#[test]
fn registers_are_written_through_configuration_space() {
    let mut host = without_memory();
    // Offset, length, bytes that the host writes; the bytes that are accessed of the word.
    for (offset, length, written, enable) in [
        (0x14, 1, 0b0001, 0b1_0000),
        (0x17, 1, 0b1111, 0b1000_0000),
        (0x16, 2, 0b0011, 0b1100_0000),
        (0x20, 4, 0b1111, 0b1111),
        (0x24, 4, 0b1111, 0b1111_0000),
        (0x1008, 2, 0b1111, 0b11),
        (0x24, 4, 0b0110, 0b0110_0000),
    ] {
        aim(&mut host, 9, 0, offset, length);
        host.network_writes.clear();
        assert_eq!(host.try_config_write(9, DATA, 0x8765_4321, written).status, Status::Success);
        let write = host.network_writes.pop().expect("a write");
        assert!(host.network_writes.is_empty() && write.write && write.function.to_u64() == 9);
        assert_eq!(write.offset.to_u64(), u64::from(offset & !7));
        assert_eq!(write.enable.to_u64(), enable);
        assert_eq!(write.data.to_u64(), 0x8765_4321 << (8 * (offset & 7)));
    }
}

/// What the driver must not ask for does nothing (virtio 1.2 §4.1.4.9.2), and the function goes on.
#[test]
fn windows_beside_the_structures_do_nothing() {
    let mut host = without_memory();
    let wrong = [
        (0, 0x14, 0),
        (0, 0x14, 3),
        (0, 0x14, 8),
        (0, 0x14, 0x8000_0001),
        (0, 0x15, 2),
        (0, 0x16, 4),
        (0, 0x2000, 4),
        (0, 0x4000, 4),
        (0, 0x8000_0014, 4),
        (0, 0xffff_fffc, 4),
        (1, 0x14, 4),
        (0x80, 0x14, 4),
    ];
    for (bar, offset, length) in wrong {
        aim(&mut host, 8, bar, offset, length);
        host.config_read(8, DATA);
        host.config_write(8, DATA, 0xffff_ffff);
        assert!(host.network_writes.is_empty(), "{bar} {offset:#x} {length:#x}");
        assert_eq!(host.config_read(8, pci::CLASS) >> 8, 0x02_0000);
    }
    aim(&mut host, 8, 0, 0x16, 2);
    assert_eq!(host.try_config_write(8, DATA, 0xffff_ffff, 0b1100).status, Status::Success);
    assert!(host.network_writes.is_empty(), "none of its bytes were written");
}

#[test]
fn each_function_has_a_window_of_its_own() {
    let mut host = without_memory();
    for function in [PF_NETWORK, 8, 9] {
        aim(&mut host, function, 0, 0x100 * u32::from(function), 4);
    }
    for function in [PF_NETWORK, 8, 9] {
        let offset = 0x100 * u64::from(function);
        assert_eq!(host.config_read(function, DATA), !pattern(function.into(), offset) as u32);
    }
    // A reset closes it.
    host.config_write_16(8, pci::DEVICE_CONTROL, 1 << 15);
    host.settle();
    assert_eq!(host.try_config_read(8, DATA).status, Status::Retry);
    host.finish_resets();
    assert_eq!(host.config_read(8, DATA), 0);
    assert_eq!(host.config_read(8, pci::VIRTIO_WINDOW + 8), 0);
}

#[test]
fn other_functions_have_no_window() {
    let mut host = without_memory();
    for function in [0, PF_STORAGE] {
        aim(&mut host, function, 0, 0x14, 4);
        host.config_write(function, DATA, 1);
        assert_eq!(host.config_read(function, DATA), 0);
    }
    let absent = host.try_config_read(11, DATA);
    assert_eq!(absent.status, Status::UnsupportedRequest);
    assert!(host.network_writes.is_empty() && host.nvme_writes.is_empty());
}
