//! Which function's registers a memory address belongs to.

use nitride_abi::card;
use nitride_lang::prelude::*;

use super::request::{Aperture, Apertures};

const MANAGEMENT: u64 = card::PF_MANAGEMENT as u64;
const STORAGE: u64 = card::PF_STORAGE as u64;
const STORAGE_VFS: u64 = card::VF_STORAGE_FIRST as u64;
/// Address bits inside of a BAR.
const OFFSET: usize = card::BAR0_SIZE.ilog2() as usize;

/// Distances of VFs' BARs that are there: see [`Apertures::stride`].
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

/// Decodes addresses: PF0's and PF2's BAR0, and those of PF2's VFs, VF n at `base + n * stride` (PCIe 4.0 §9.3.3.14).
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
    management: Reg<Bit>,
    storage: Reg<Bit>,
    // The address relative to the first VF's BAR, in units of 16 KiB.
    distance: Reg<Bits<50>>,
    result: Reg<Hit>,
}

impl Logic for Decoder {
    #[hdl]
    fn update(&mut self) {
        let a = self.apertures.val();
        let page = self.address.val().get_bits::<50>(OFFSET);
        self.management.d.next = inside(a.management, page);
        self.storage.d.next = inside(a.storage, page);
        self.distance.d.next = page - a.vfs.base;

        // The part of a VF's aperture that is beyond its 16 KiB, where pages are larger, is nobody's.
        let d = self.distance.q.val();
        let mut number = d.get_bits::<4>(0);
        let mut beyond = (d >> 4).any();
        for i in 1..STRIDES {
            if a.stride == i as u64 {
                number = d.get_bits::<4>(2 * i);
                beyond = (d >> (2 * i as u64 + 4)).any() || (d & ((1u64 << (2 * i)) - 1)).any();
            }
        }
        let vf = a.vfs.enable && !beyond && number < a.count;
        let pf = self.management.q.val() || self.storage.q.val();
        let mut function = bit_cast::<5, 4>(number) + STORAGE_VFS;
        if self.management.q.val() {
            function = bits::<5>(MANAGEMENT);
        } else if self.storage.q.val() {
            function = bits::<5>(STORAGE);
        }
        self.result.d.next = Hit { valid: pf || vf, function: function };
        self.hit.next = self.result.q.val();
    }
}
