//! The settings of one PF that the card obeys at once.

use nitride_abi::{card, pci};
use nitride_lang::prelude::*;

use super::store::DW_BITS;
use crate::pcie::request::{Aperture, VfAperture};

const COMMAND: u64 = pci::COMMAND as u64 / 4;
const MEMORY: usize = pci::COMMAND_MEMORY.ilog2() as usize;
const BAR_LOW: u64 = pci::BAR0 as u64 / 4;
const BAR_HIGH: u64 = BAR_LOW + 1;
const POWER: u64 = pci::PM_CONTROL as u64 / 4;
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

/// SR-IOV as a PF has it.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Vfs {
    /// VF Enable.
    pub enable: Bit,
    /// VF Memory Space Enable.
    pub memory: Bit,
    /// NumVFs, at most TotalVFs.
    pub count: Bits<4>,
    /// The VF BARs' distance: see [`VfAperture::stride`].
    pub stride: Bits<3>,
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

/// Keeps what the host wrote to a PF's BAR, Memory Space Enable, power state and SR-IOV structure. Those of a PF without one are never written.
///
/// Takes each new value of a DW in the cycle in which it is stored; the outputs follow one cycle later.
#[derive(LogicBlock, Default)]
pub struct Physical {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// A DW of this PF changes to `value`.
    pub write: Signal<In, Bit>,
    /// Which one.
    pub dw: Signal<In, Bits<DW_BITS>>,
    /// Its new value.
    pub value: Signal<In, Bits<32>>,
    /// TotalVFs.
    pub total_vfs: Signal<In, Bits<4>>,
    /// Its BAR, for the decoder.
    pub aperture: Signal<Out, Aperture>,
    /// Its VFs' BARs.
    pub vf_aperture: Signal<Out, VfAperture>,
    /// Its VFs, for the configuration space's control.
    pub vfs: Signal<Out, Vfs>,
    base: Reg<Bits<50>>,
    vf_base: Reg<Bits<50>>,
    // Memory Space Enable, and "not in D0".
    memory: Reg<Bit>,
    asleep: Reg<Bit>,
    sriov: Reg<Vfs>,
}

impl Logic for Physical {
    #[hdl]
    fn update(&mut self) {
        let value = self.value.val();
        let low = cat2::<32, LOW, 50>(bits::<32>(0), value.get_bits::<LOW>(OFFSET));
        let high = cat2::<32, LOW, 50>(value, bits::<LOW>(0));
        let dw = self.dw.val();
        if self.write.val() {
            if dw == COMMAND {
                self.memory.d.next = value.get_bit(MEMORY);
            } else if dw == BAR_LOW {
                self.base.d.next = self.base.q.val() & HIGH_MASK | low;
            } else if dw == BAR_HIGH {
                self.base.d.next = self.base.q.val() & LOW_MASK | high;
            } else if dw == POWER {
                self.asleep.d.next = value.get_bits::<2>(0).any();
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
                self.vf_base.d.next = self.vf_base.q.val() & HIGH_MASK | low;
            } else if dw == VF_BAR_HIGH {
                self.vf_base.d.next = self.vf_base.q.val() & LOW_MASK | high;
            }
        }
        let vfs = self.sriov.q.val();
        let awake = !self.asleep.q.val();
        self.vfs.next = vfs;
        self.aperture.next = Aperture { enable: self.memory.q.val() && awake, base: self.base.q.val() };
        self.vf_aperture.next = VfAperture {
            first: Aperture { enable: vfs.enable && vfs.memory && awake, base: self.vf_base.q.val() },
            count: vfs.count,
            stride: vfs.stride,
        };
    }
}
