//! Which function's registers a memory address belongs to.

use nitride_abi::card;
use nitride_lang::prelude::*;

use super::request::{Aperture, Apertures, VfAperture};

const MANAGEMENT: u64 = card::PF_MANAGEMENT as u64;
const NETWORK: u64 = card::PF_NETWORK as u64;
const NETWORK_VFS: u64 = card::VF_NETWORK_FIRST as u64;
const STORAGE: u64 = card::PF_STORAGE as u64;
const STORAGE_VFS: u64 = card::VF_STORAGE_FIRST as u64;
/// Address bits inside of a BAR.
const OFFSET: usize = card::BAR0_SIZE.ilog2() as usize;

/// Distances of VFs' BARs that are there: see [`VfAperture::stride`].
const STRIDES: usize = 5;

/// A decoded address.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Hit {
    /// It belongs to a function.
    pub valid: Bit,
    /// Which one.
    pub function: Bits<5>,
}

#[hdl_fn]
fn inside(aperture: Aperture, page: Bits<50>) -> Bit {
    aperture.enable && aperture.base == page
}

/// The VF at a distance (units of 16 KiB) from the first one's BAR. The part of a VF's aperture that is beyond its 16 KiB, where pages are
/// larger, is nobody's.
#[hdl_fn]
fn vf_at(vfs: VfAperture, distance: Bits<50>, first: u64) -> Hit {
    let mut number = distance.get_bits::<4>(0);
    let mut beyond = (distance >> 4).any();
    for i in 1..STRIDES {
        if vfs.stride == i as u64 {
            number = distance.get_bits::<4>(2 * i);
            beyond = (distance >> (2 * i as u64 + 4)).any() || (distance & ((1u64 << (2 * i)) - 1)).any();
        }
    }
    Hit {
        valid: vfs.first.enable && !beyond && number < vfs.count,
        function: bit_cast::<5, 4>(number) + first,
    }
}

/// Decodes addresses: the PFs' BAR0s, and those of the VFs of PF1 and PF2, VF n at `first + n * stride` (PCIe 4.0 §9.3.3.14).
/// Latency 2 cycles, one address each cycle, no back-pressure.
#[derive(LogicBlock, Default)]
pub struct Decoder {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// The BARs.
    pub apertures: Signal<In, Apertures>,
    /// Byte address.
    pub address: Signal<In, Bits<64>>,
    /// What `address` hit 2 cycles ago.
    pub hit: Signal<Out, Hit>,
    physical: Reg<Hit>,
    // The address relative to a PF's first VF's BAR, in units of 16 KiB.
    network: Reg<Bits<50>>,
    storage: Reg<Bits<50>>,
    result: Reg<Hit>,
}

impl Logic for Decoder {
    #[hdl]
    fn update(&mut self) {
        let a = self.apertures.val();
        let page = self.address.val().get_bits::<50>(OFFSET);
        self.physical.d.next = if inside(a.management, page) {
            Hit { valid: true, function: bits::<5>(MANAGEMENT) }
        } else if inside(a.network, page) {
            Hit { valid: true, function: bits::<5>(NETWORK) }
        } else {
            Hit { valid: inside(a.storage, page), function: bits::<5>(STORAGE) }
        };
        self.network.d.next = page - a.network_vfs.first.base;
        self.storage.d.next = page - a.storage_vfs.first.base;

        let physical = self.physical.q.val();
        let network = vf_at(a.network_vfs, self.network.q.val(), NETWORK_VFS);
        let storage = vf_at(a.storage_vfs, self.storage.q.val(), STORAGE_VFS);
        self.result.d.next = if physical.valid {
            physical
        } else if network.valid {
            network
        } else {
            storage
        };
        self.hit.next = self.result.q.val();
    }
}
