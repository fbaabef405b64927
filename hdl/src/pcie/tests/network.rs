//! PF1 and its VFs beside PF2 and its, in a card that has them.

use nitride_abi::card::{BAR0_VIRTIO_NOTIFY, PF_NETWORK, VF_NETWORK_FIRST};
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
