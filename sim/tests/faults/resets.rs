//! Resets while commands are in flight.

use nitride_abi::card::{PF_STORAGE, VF_STORAGE_FIRST};
use nitride_abi::nvme::register::{cc, csts};
use nitride_abi::pci;
use nitride_sim::Options;
use rand::Rng;

use crate::disk::Disk;
use crate::host::{BLOCKS, Host};

const RESETS: u64 = 240;
/// The functions, and which driver is whose.
const FUNCTIONS: [u8; 3] = [PF_STORAGE, VF_STORAGE_FIRST, VF_STORAGE_FIRST + 1];
/// SR-IOV Control with VFs, and without.
const WITH_VFS: u32 = 1 << pci::SRIOV_ENABLE | 1 << pci::SRIOV_MEMORY | pci::SRIOV_ARI;
const WITHOUT_VFS: u32 = pci::SRIOV_ARI;
/// Cycles that a host gives VFs to come to rest once they are disabled: 80 µs of the second that it must (PCIe 4.0 §9.3.3.3.1).
const DISABLED: u64 = 20_000;
/// Cycles for which a function that was reset is watched.
const WATCH: u64 = 1500;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Reset {
    /// CC.EN from 1 to 0.
    Controller,
    /// CC.SHN, 1 normal or 2 abrupt.
    Shutdown(u64),
    /// Of a VF.
    FunctionLevel,
    /// Of PF2, with its VFs.
    Physical,
    /// VF Enable from 1 to 0.
    VfDisable,
}

/// Resets, and waits until the host may take it for complete.
fn reset(host: &mut Host, kind: Reset, index: usize) {
    match kind {
        Reset::Controller => {
            host.configure(index, 0);
            host.wait_status(index, csts::RDY.mask(), 0);
        }
        Reset::Shutdown(how) => {
            host.configure(index, cc::SHN.set(0x0046_0001, how) as u32);
            host.wait_status(index, csts::SHST.mask(), csts::SHST.set(0, csts::SHST_COMPLETE));
        }
        Reset::FunctionLevel | Reset::Physical => {
            let function = FUNCTIONS[index];
            host.config_write(function, pci::DEVICE_CONTROL, 2, 1 << pci::CONTROL_FLR);
            // Answered when the function is out of reset.
            host.config_read(function, pci::COMMAND, 2);
        }
        Reset::VfDisable => {
            host.config_write(PF_STORAGE, pci::SRIOV_CONTROL, 2, WITHOUT_VFS);
            host.run(DISABLED);
        }
    }
}

/// Brings the function back to where its controller can be enabled.
fn restore(host: &mut Host, kind: Reset, index: usize) {
    match kind {
        Reset::Controller | Reset::FunctionLevel => {}
        Reset::Shutdown(_) => {
            host.configure(index, 0);
            host.wait_status(index, csts::RDY.mask(), 0);
        }
        Reset::Physical => host.system.reset(PF_STORAGE).unwrap(),
        Reset::VfDisable => host.config_write(PF_STORAGE, pci::SRIOV_CONTROL, 2, WITH_VFS),
    }
}

#[test]
fn a_reset_at_any_moment_ends_all_dma_and_leaves_a_controller_that_starts_and_other_functions_alone() {
    let image = tempfile::NamedTempFile::new().unwrap();
    let seed = 3;
    println!("seed {seed}");
    let disks = vec![Disk::new(BLOCKS, false); FUNCTIONS.len()];
    let mut host = Host::boot(image.path(), Options { seed, ..Options::default() }, &FUNCTIONS, disks);
    for round in 0..RESETS {
        let cycles = host.moment(3000);
        host.run(cycles);
        let index = host.rng.random_range(0..FUNCTIONS.len());
        let (kind, victims) = match host.rng.random_range(0..8) {
            0 | 1 => (Reset::Controller, vec![index]),
            2 => (Reset::Shutdown(1), vec![index]),
            3 => (Reset::Shutdown(2), vec![index]),
            4 => (Reset::Physical, vec![0, 1, 2]),
            5 => (Reset::VfDisable, vec![1, 2]),
            _ => (Reset::FunctionLevel, vec![1 + index % 2]),
        };
        println!("reset {round}: {kind:?} of {victims:?} in cycle {}", host.system.cycle());
        for victim in &victims {
            host.stop(*victim);
        }
        reset(&mut host, kind, victims[0]);

        let before: Vec<_> = victims.iter().map(|victim| host.faults(*victim)).collect();
        for victim in &victims {
            host.forget(*victim);
            host.drivers[*victim].controller.unmap(&mut host.system);
        }
        let interrupts = host.interrupts.clone();
        host.run(WATCH);
        for (victim, before) in victims.iter().zip(before) {
            let function = usize::from(FUNCTIONS[*victim]);
            assert_eq!(host.faults(*victim), before, "DMA of function {function} after its reset");
            assert_eq!(host.interrupts[function], interrupts[function], "interrupts of function {function}");
            host.drivers[*victim].controller.map(&mut host.system);
        }
        restore(&mut host, kind, victims[0]);
        for victim in victims {
            host.start(victim);
        }
    }
    host.run(20_000);
    host.verify();
    for driver in &host.drivers {
        assert!(driver.ended[0] > 1000, "{} commands ended", driver.ended[0]);
    }
}
