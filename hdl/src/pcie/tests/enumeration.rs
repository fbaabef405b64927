//! Software finds and configures the functions in the way Linux does (drivers/pci/probe.c, iov.c).

use nitride_abi::tlp::Status;
use nitride_abi::{card, pci};

use super::host::{BUS, Host, pattern};

/// Sizes the 64-bit BAR at `offset`: its size, and its flags.
fn size_bar(host: &mut Host, function: u8, offset: u16) -> (u64, u32) {
    let flags = host.config_read(function, offset) & 0xf;
    host.config_write(function, offset, !0);
    host.config_write(function, offset + 4, !0);
    let low = host.config_read(function, offset);
    let high = host.config_read(function, offset + 4);
    let mask = u64::from(high) << 32 | u64::from(low & !0xf);
    (mask.wrapping_neg(), flags)
}

/// The capability list's (ID, offset) pairs.
fn capabilities(host: &mut Host, function: u8) -> Vec<(u8, u16)> {
    let mut found = vec![];
    let mut at = host.config_read(function, pci::CAPABILITIES) as u16 & 0xfc;
    while at != 0 {
        assert!(found.len() < 48, "the list of capabilities has a loop");
        let dw = host.config_read(function, at);
        found.push((dw as u8, at));
        at = (dw >> 8) as u16 & 0xfc;
    }
    found
}

/// The extended capability list's (ID, offset) pairs.
fn extended(host: &mut Host, function: u8) -> Vec<(u16, u16)> {
    let mut found = vec![];
    let mut at = 0x100;
    while at != 0 {
        assert!(found.len() < 48, "the list of extended capabilities has a loop");
        let dw = host.config_read(function, at);
        found.push((dw as u16, at));
        at = (dw >> 20) as u16 & 0xffc;
    }
    found
}

#[test]
fn pfs_are_found_by_ari_and_nothing_else_answers() {
    let mut host = Host::new();
    assert_eq!(host.config_read(0, 0), 0x0001_4e54);
    assert_eq!(host.config_read(0, 8), 0x0880_0001);
    assert_eq!(host.config_read(0, 0xc) >> 16 & 0xff, 0x80);
    let ari = extended(&mut host, 0).into_iter().find(|(id, _)| *id == 0x0e).expect("ARI").1;
    let next = (host.config_read(0, ari + 4) >> 8) as u8;
    assert_eq!(next, 1);
    assert_eq!(host.config_read(next, 0), 0x1041_1af4);
    let ari = extended(&mut host, next).into_iter().find(|(id, _)| *id == 0x0e).expect("ARI").1;
    let next = (host.config_read(next, ari + 4) >> 8) as u8;
    assert_eq!(next, 2);
    assert_eq!(host.config_read(next, 0), 0x0003_4e54);
    assert_eq!(host.config_read(next, 8) >> 8, 0x01_0802);
    let ari = extended(&mut host, next).into_iter().find(|(id, _)| *id == 0x0e).expect("ARI").1;
    assert_eq!(host.config_read(next, ari + 4) >> 8 & 0xff, 0);
    for absent in [3, 7, 8, 15, 16, 23, 24, 31, 32, 34, 255] {
        assert_eq!(host.try_config_read(absent, 0).status, Status::UnsupportedRequest, "{absent}");
    }
    // The search left no error behind in the PFs.
    assert_eq!(host.config_read(0, pci::DEVICE_CONTROL) >> 16, 0);
    assert_eq!(host.config_read(2, pci::DEVICE_CONTROL) >> 16, 0);
}

#[test]
fn capabilities_are_listed_and_consistent() {
    let mut host = Host::new();
    assert_eq!(capabilities(&mut host, 0), [(0x01, 0x40), (0x10, 0x50)]);
    assert_eq!(capabilities(&mut host, 2), [(0x01, 0x40), (0x10, 0x50), (0x11, 0x90)]);
    assert_eq!(extended(&mut host, 0).iter().map(|c| c.0).collect::<Vec<_>>(), [1, 3, 0xe]);
    assert_eq!(extended(&mut host, 2).iter().map(|c| c.0).collect::<Vec<_>>(), [1, 3, 0xe, 0x10]);
    for function in [0, 2] {
        // An endpoint with FLR; the link status is the link capability's speed and width; the serial number is shared.
        assert_eq!(host.config_read(function, 0x50) >> 16, 0x0002);
        assert_eq!(host.config_read(function, 0x54) >> 28 & 1, 1);
        assert_eq!(host.config_read(function, 0x5c) & 0x3ff, 0x104);
        assert_eq!(host.config_read(function, 0x60) >> 16 & 0x3ff, 0x104);
        assert_eq!(host.config_read(function, 0x144), 0xfe00_0001);
        // Beyond what is stored everything is zero.
        assert_eq!(host.config_read(function, 0xffc), 0);
        assert_eq!(host.config_read(function, 0x200), 0);
    }
    assert_eq!(host.config_read(2, 0x90) >> 16, 7);
    assert_eq!((host.config_read(2, 0x94), host.config_read(2, 0x98)), (0x2000, 0x3000));
}

#[test]
fn bars_tell_their_size_and_take_an_address() {
    let mut host = Host::new();
    for function in [0, 2] {
        assert_eq!(size_bar(&mut host, function, 0x10), (0x4000, 0b1100));
        host.config_write(function, 0x10, 0x1234_5678);
        assert_eq!(host.config_read(function, 0x10), 0x1234_400c);
        for offset in [0x18, 0x1c, 0x20, 0x24, 0x30] {
            host.config_write(function, offset, !0);
            assert_eq!(host.config_read(function, offset), 0, "{offset:#x}");
        }
    }
}

#[test]
fn vfs_come_and_go_with_vf_enable() {
    let mut host = Host::new();
    let iov = extended(&mut host, 2).into_iter().find(|(id, _)| *id == 0x10).expect("SR-IOV").1;
    assert_eq!(host.config_read(2, iov + 0x0c), 0x0008_0008);
    assert_eq!(host.config_read(2, iov + 0x10) >> 16, 2, "it depends on itself");
    let (offset, stride) = (host.config_read(2, iov + 0x14) as u16, host.config_read(2, iov + 0x14) >> 16);
    assert_eq!((offset, stride), (14, 1));
    assert_eq!(host.config_read(2, iov + 0x18) >> 16, 0x0004);

    // Each system page size: the VF BAR is at least as large.
    assert_eq!(host.config_read(2, iov + 0x1c), 0x553);
    for (page, size) in [
        (1u32, 0x4000),
        (2, 0x4000),
        (0x10, 0x1_0000),
        (0x40, 0x4_0000),
        (0x100, 0x10_0000),
        (0x400, 0x40_0000),
    ] {
        host.config_write(2, iov + 0x20, page);
        assert_eq!(host.config_read(2, iov + 0x20), page);
        assert_eq!(size_bar(&mut host, 2, iov + 0x24), (size, 0b1100));
    }

    host.config_write(2, iov + 0x20, 1);
    host.config_write_16(2, iov + 0x10, 3);
    host.config_write(2, iov + 0x24, 0x8000_0000);
    host.config_write(2, iov + 0x28, 0x40);
    host.config_write_16(2, iov + 0x08, 0x19);
    for vf in 16..19 {
        assert_eq!(host.config_read(vf, 0), 0xffff_ffff);
        assert_eq!(host.config_read(vf, 8) >> 8, 0x01_0802);
        assert_eq!(host.config_read(vf, 0xc), 0);
        assert_eq!(capabilities(&mut host, vf), [(0x10, 0x50), (0x11, 0x90)]);
        assert_eq!(extended(&mut host, vf), [(0x0e, 0x100)]);
        assert_eq!(host.read(0x40_8000_0000 + 0x4000 * u64::from(vf - 16) + 8, 8), pattern(vf.into(), 8));
    }
    assert_eq!(host.try_config_read(19, 0).status, Status::UnsupportedRequest);
    assert_eq!(host.try_read(0x40_8000_c000, 4).status, Status::UnsupportedRequest);
    // NumVFs is fixed while VFs are enabled.
    host.config_write_16(2, iov + 0x10, 8);
    assert_eq!(host.config_read(2, iov + 0x10) as u16, 3);

    // Disabling them resets each, and they are gone.
    host.config_write_16(16, pci::COMMAND, 4);
    assert!(host.states[16].bus_master && host.states[16].memory);
    host.config_write_16(2, iov + 0x08, 0);
    host.settle();
    assert_eq!(host.resetting, [16, 17, 18]);
    assert!(!host.states[16].bus_master && !host.states[16].memory);
    assert_eq!(host.try_config_read(16, 0).status, Status::UnsupportedRequest);
    assert_eq!(host.try_read(0x40_8000_0000, 4).status, Status::UnsupportedRequest);

    // Enabled again, they retry until their reset is complete, and have forgotten what they were told.
    host.config_write_16(2, iov + 0x08, 0x19);
    assert_eq!(host.try_config_read(16, 4).status, Status::Retry);
    host.finish_resets();
    assert_eq!(host.config_read(16, 4), 0x0010_0000);
    assert!(!host.states[16].bus_master && host.states[16].memory);
}

#[test]
fn larger_pages_move_vfs_apart() {
    let mut host = Host::new();
    host.boot();
    host.config_write_16(2, pci::SRIOV_CONTROL, 0);
    host.settle();
    host.finish_resets();
    host.config_write(2, pci::SRIOV_PAGE_SIZE, 0x10);
    host.config_write(2, pci::SRIOV_BAR0, 0x8003_0000);
    host.config_write(2, pci::SRIOV_BAR0 + 4, 1);
    host.config_write_16(2, pci::SRIOV_CONTROL, 0x19);
    assert_eq!(host.read(0x1_8003_0000, 8), pattern(16, 0));
    assert_eq!(host.read(0x1_800a_0010, 8), pattern(23, 0x10));
    assert_eq!(host.try_read(0x1_8003_4000, 4).status, Status::UnsupportedRequest);
    assert_eq!(host.try_read(0x1_800b_0000, 4).status, Status::UnsupportedRequest);
}

#[test]
fn settings_reach_the_other_blocks() {
    let mut host = Host::new();
    host.step();
    assert_eq!((host.link().mps.to_u64(), host.link().mrrs.to_u64()), (0, 2));
    host.config_write_16(0, pci::DEVICE_CONTROL, 1 << 5 | 1 << 8);
    host.config_write_16(2, pci::DEVICE_CONTROL, 2 << 5 | 1 << 8 | 3 << 12);
    let link = host.link();
    assert_eq!((link.bus.to_u64(), link.mps.to_u64(), link.mrrs.to_u64()), (u64::from(BUS), 1, 3));
    // Bus mastering and MSI-X, per function.
    host.config_write_16(2, pci::COMMAND, 6);
    host.config_write_16(2, pci::MSIX + 2, 0xc000);
    let state = host.states[2];
    assert!(state.bus_master && state.memory && state.msix_enable && state.msix_mask);
    // In D3hot a function neither masters the bus nor takes memory requests. D1 is not supported and ignored.
    let bars = host.boot();
    host.config_write_16(2, pci::PM_CONTROL, 1);
    assert_eq!(host.config_read(2, pci::PM_CONTROL) & 3, 0);
    host.config_write_16(2, pci::PM_CONTROL, 3);
    assert_eq!(host.config_read(2, pci::PM_CONTROL) & 3, 3);
    assert!(!host.states[2].bus_master);
    assert_eq!(host.try_read(bars[1], 8).status, Status::UnsupportedRequest);
    host.config_write_16(2, pci::PM_CONTROL, 0);
    assert!(host.states[2].bus_master);
    assert_eq!(host.read(bars[1], 8), pattern(2, 0));
}

#[test]
fn a_function_level_reset_forgets_and_retries() {
    let mut host = Host::new();
    let bars = host.boot();
    host.config_write_16(17, pci::COMMAND, 4);
    host.config_write_16(17, pci::MSIX + 2, 0x8000);
    host.config_write_16(17, pci::DEVICE_CONTROL, 1 << 15);
    host.settle();
    assert_eq!(host.resetting, [17]);
    assert!(!host.states[17].bus_master && !host.states[17].msix_enable);
    assert_eq!(host.try_config_read(17, 0).status, Status::Retry);
    assert_eq!(host.try_config_write(17, 4, 4, 0xf).status, Status::Retry);
    assert_eq!(host.config_read(18, 4) & 4, 0, "its neighbours answer");
    host.finish_resets();
    assert_eq!(host.config_read(17, pci::COMMAND), 0x0010_0000);
    assert_eq!(host.config_read(17, pci::MSIX) >> 16, 7);

    // Of a PF: its VFs go first. What is of the link stays.
    host.config_write(2, pci::DEVICE_CONTROL, 2 << 5 | 1 << 8);
    host.config_write_16(2, pci::LINK_CONTROL, 0x40);
    host.config_write_16(2, pci::DEVICE_CONTROL, 1 << 15 | 2 << 5);
    host.settle();
    assert_eq!(host.resetting, [16, 17, 18, 19, 20, 21, 22, 23, u64::from(card::PF_STORAGE)]);
    assert_eq!(host.try_config_read(2, 0).status, Status::Retry);
    assert_eq!(host.try_config_read(16, 0).status, Status::UnsupportedRequest);
    assert_eq!(host.try_read(bars[1], 8).status, Status::UnsupportedRequest);
    host.finish_resets();
    assert_eq!(host.config_read(2, pci::SRIOV_CONTROL), 0x10, "ARI Capable Hierarchy is preserved");
    assert_eq!(host.config_read(2, pci::SRIOV_NUM_VFS) as u16, 0);
    assert_eq!(host.config_read(2, pci::BAR0), 0xc);
    assert_eq!(host.config_read(2, pci::LINK_CONTROL) & 0xffff, 0x40);
    assert_eq!(host.config_read(2, pci::DEVICE_CONTROL) & 0xffff, 2 << 5 | 1 << 8 | 2 << 12);

    // PF0 has nothing to wait for.
    host.config_write_16(0, pci::DEVICE_CONTROL, 1 << 15);
    host.settle();
    assert_eq!(host.resetting, [0; 0]);
    assert_eq!(host.config_read(0, pci::COMMAND), 0x0010_0000);
    assert_eq!(host.events[nitride_abi::management::Counter::Resets.bit()], 11);
}
