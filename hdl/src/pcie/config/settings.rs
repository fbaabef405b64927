//! The settings of the PFs that the card obeys at once, kept beside the configuration space.

use nitride_abi::pci::space::{self, Kind};
use nitride_abi::{card, pci};
use nitride_lang::prelude::*;

use super::store::Place;
use crate::bus::LinkConfig;
use crate::pcie::request::{Aperture, Apertures};

const MANAGEMENT: u64 = Kind::Management as u64;
const STORAGE: u64 = Kind::Storage as u64;
const COMMAND: u64 = pci::COMMAND as u64 / 4;
const MEMORY: usize = pci::COMMAND_MEMORY.ilog2() as usize;
const BAR_LOW: u64 = pci::BAR0 as u64 / 4;
const BAR_HIGH: u64 = BAR_LOW + 1;
const POWER: u64 = pci::PM_CONTROL as u64 / 4;
const DEVICE: u64 = pci::DEVICE_CONTROL as u64 / 4;
const DEVICE_2: u64 = pci::DEVICE_CONTROL_2 as u64 / 4;
const EXTENDED_TAG: usize = pci::CONTROL_EXTENDED_TAG.ilog2() as usize;
const TIMEOUT_DISABLE: usize = pci::CONTROL_2_TIMEOUT_DISABLE.ilog2() as usize;
const VF_CONTROL: u64 = pci::SRIOV_CONTROL as u64 / 4;
const NUM_VFS: u64 = pci::SRIOV_NUM_VFS as u64 / 4;
const PAGE_SIZE: u64 = pci::SRIOV_PAGE_SIZE as u64 / 4;
const VF_BAR_LOW: u64 = pci::SRIOV_BAR0 as u64 / 4;
const VF_BAR_HIGH: u64 = VF_BAR_LOW + 1;
/// Address bits inside of a BAR, and those above in a BAR's lower DW.
const OFFSET: usize = card::BAR0_SIZE.ilog2() as usize;
const LOW: usize = 32 - OFFSET;
const LOW_MASK: u64 = (1 << LOW) - 1;
const HIGH_MASK: u64 = 0xffff_ffff << LOW;
const MPS: usize = pci::CONTROL_MPS;
const MRRS: usize = pci::CONTROL_MRRS;
/// Device Control after reset.
const DEVICE_RESET: u32 = space::register(Kind::Storage, 0, pci::DEVICE_CONTROL).reset;

/// SR-IOV as PF2 has it.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Vfs {
    /// VF Enable.
    pub enable: Bit,
    /// VF Memory Space Enable.
    pub memory: Bit,
    /// NumVFs, at most TotalVFs.
    pub count: Bits<4>,
    /// The VF BARs' distance: see [`Apertures::stride`].
    pub stride: Bits<3>,
}

/// Keeps what the host wrote to the PFs' BARs, Memory Space Enables, power states, SR-IOV structure, and the sizes it allows.
///
/// Takes each new value of a PF's DW in the cycle in which it is stored; the outputs follow one cycle later.
#[derive(LogicBlock)]
pub struct Settings {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// A DW changes to `value`.
    pub write: Signal<In, Bit>,
    /// Which one.
    pub place: Signal<In, Place>,
    /// Its new value.
    pub value: Signal<In, Bits<32>>,
    /// TotalVFs.
    pub total_vfs: Signal<In, Bits<4>>,
    /// A type 0 configuration write was served that named this bus.
    pub bus: Signal<In, Bits<8>>,
    /// `bus` is valid.
    pub capture: Signal<In, Bit>,
    /// For the decoder.
    pub apertures: Signal<Out, Apertures>,
    /// For the DMA engines.
    pub link: Signal<Out, LinkConfig>,
    /// For the configuration space's control.
    pub vfs: Signal<Out, Vfs>,
    management: Reg<Bits<50>>,
    storage: Reg<Bits<50>>,
    vf: Reg<Bits<50>>,
    // Memory Space Enable, and "not in D0": one bit a PF.
    management_memory: Reg<Bit>,
    management_asleep: Reg<Bit>,
    storage_memory: Reg<Bit>,
    storage_asleep: Reg<Bit>,
    sriov: Reg<Vfs>,
    current: Reg<LinkConfig>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clock: Signal::default(),
            write: Signal::default(),
            place: Signal::default(),
            value: Signal::default(),
            total_vfs: Signal::default(),
            bus: Signal::default(),
            capture: Signal::default(),
            apertures: Signal::default(),
            link: Signal::default(),
            vfs: Signal::default(),
            management: Reg::default(),
            storage: Reg::default(),
            vf: Reg::default(),
            management_memory: Reg::default(),
            management_asleep: Reg::default(),
            storage_memory: Reg::default(),
            storage_asleep: Reg::default(),
            sriov: Reg::default(),
            current: Reg::new(LinkConfig {
                mrrs: u64::from(DEVICE_RESET >> MRRS & 0b111).into(),
                extended_tags: DEVICE_RESET & pci::CONTROL_EXTENDED_TAG != 0,
                ..LinkConfig::default()
            }),
        }
    }
}

/// The distance of VFs' BARs for a System Page Size (PCIe 4.0 §9.3.3.13). Of several bits, the largest size counts.
#[hdl_fn]
fn stride_of(pages: Bits<32>) -> Bits<3> {
    let mut stride = bits::<3>(0);
    for i in 1..5 {
        if pages.get_bit(2 * i + 2) {
            stride = bits::<3>(i as u64);
        }
    }
    stride
}

impl Logic for Settings {
    #[hdl]
    fn update(&mut self) {
        let value = self.value.val();
        let low = cat2::<32, LOW, 50>(bits::<32>(0), value.get_bits::<LOW>(OFFSET));
        let high = cat2::<32, LOW, 50>(value, bits::<LOW>(0));
        let dw = self.place.val().dw;

        if self.write.val() && self.place.val().kind == MANAGEMENT {
            if dw == COMMAND {
                self.management_memory.d.next = value.get_bit(MEMORY);
            } else if dw == BAR_LOW {
                self.management.d.next = self.management.q.val() & HIGH_MASK | low;
            } else if dw == BAR_HIGH {
                self.management.d.next = self.management.q.val() & LOW_MASK | high;
            } else if dw == POWER {
                self.management_asleep.d.next = value.get_bits::<2>(0).any();
            } else if dw == DEVICE {
                self.current.d.next.mps = value.get_bits::<3>(MPS);
            }
        }
        if self.write.val() && self.place.val().kind == STORAGE {
            if dw == COMMAND {
                self.storage_memory.d.next = value.get_bit(MEMORY);
            } else if dw == BAR_LOW {
                self.storage.d.next = self.storage.q.val() & HIGH_MASK | low;
            } else if dw == BAR_HIGH {
                self.storage.d.next = self.storage.q.val() & LOW_MASK | high;
            } else if dw == POWER {
                self.storage_asleep.d.next = value.get_bits::<2>(0).any();
            } else if dw == DEVICE {
                self.current.d.next.mrrs = value.get_bits::<3>(MRRS);
                self.current.d.next.extended_tags = value.get_bit(EXTENDED_TAG);
            } else if dw == DEVICE_2 {
                self.current.d.next.timeout_disable = value.get_bit(TIMEOUT_DISABLE);
            } else if dw == VF_CONTROL {
                self.sriov.d.next.enable = value.get_bit(pci::SRIOV_ENABLE);
                self.sriov.d.next.memory = value.get_bit(pci::SRIOV_MEMORY);
            } else if dw == NUM_VFS {
                let count = value.get_bits::<4>(0);
                self.sriov.d.next.count =
                    if count > self.total_vfs.val() { self.total_vfs.val() } else { count };
            } else if dw == PAGE_SIZE {
                self.sriov.d.next.stride = stride_of(value);
            } else if dw == VF_BAR_LOW {
                self.vf.d.next = self.vf.q.val() & HIGH_MASK | low;
            } else if dw == VF_BAR_HIGH {
                self.vf.d.next = self.vf.q.val() & LOW_MASK | high;
            }
        }
        if self.capture.val() {
            self.current.d.next.bus = self.bus.val();
        }

        let vfs = self.sriov.q.val();
        self.vfs.next = vfs;
        self.link.next = self.current.q.val();
        self.apertures.next = Apertures {
            management: Aperture {
                enable: self.management_memory.q.val() && !self.management_asleep.q.val(),
                base: self.management.q.val(),
            },
            storage: Aperture {
                enable: self.storage_memory.q.val() && !self.storage_asleep.q.val(),
                base: self.storage.q.val(),
            },
            vfs: Aperture {
                enable: vfs.enable && vfs.memory && !self.storage_asleep.q.val(),
                base: self.vf.q.val(),
            },
            count: vfs.count,
            stride: vfs.stride,
        };
    }
}
