//! The RAMs that DMA engines write to and read from: 8 banks of one DW, so that 8 consecutive DWs can be moved in one
//! cycle from any DW on.

use nitride_lang::prelude::*;

use super::lanes::row_of;
use crate::bus::{LandingWrite, LaunchRead};
use crate::profile::{DATA_BITS, LANES};

/// Where one landing region ([`Landing`](crate::bus::Landing)) ends up: `2^A` rows (`A` at most 12) of 8 DWs, written by the DMA reader.
///
/// Takes a write each cycle; it is in the RAM one cycle later. The read port has a latency of one cycle and gives the old
/// row when it is written in the same cycle.
#[derive(LogicBlock, Default)]
pub struct LandingRam<const REGION: u64, const A: usize> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// From the DMA reader. Writes of other regions are ignored.
    pub write: Signal<In, LandingWrite>,
    /// Row to read.
    pub row: Signal<In, Bits<A>>,
    /// The row, one cycle later.
    pub data: Signal<Out, Bits<DATA_BITS>>,
    banks: [Ram<Bits<32>, A>; LANES],
}

impl<const REGION: u64, const A: usize> Logic for LandingRam<REGION, A> {
    #[hdl]
    fn update(&mut self) {
        let write = self.write.val();
        let hit = write.row.get_bits::<3>(12) == REGION;
        let row = write.row.get_bits::<A>(0);
        let next = row + 1;
        for lane in 0..LANES {
            self.banks[lane].write_address.next = if write.wrap.get_bit(lane) { next } else { row };
            self.banks[lane].write_data.next = write.data.get_bits::<32>(32 * lane);
            self.banks[lane].write_enable.next = hit && write.enable.get_bit(lane);
            self.banks[lane].read_address.next = self.row.val();
        }
        self.data.next = row_of(
            self.banks[0].read_data.val(),
            self.banks[1].read_data.val(),
            self.banks[2].read_data.val(),
            self.banks[3].read_data.val(),
            self.banks[4].read_data.val(),
            self.banks[5].read_data.val(),
            self.banks[6].read_data.val(),
            self.banks[7].read_data.val(),
        );
    }
}

/// Where one launch region ([`Launch`](crate::bus::Launch)) comes from: `2^A` rows (`A` at most 12) of 8 DWs, read by the DMA writer.
///
/// Takes a write of a row each cycle. `data` answers `launch` one cycle later, and is zero in every cycle whose
/// predecessor's `launch` named another region: the regions' outputs, ORed, are the writer's `launch_data`.
#[derive(LogicBlock, Default)]
pub struct LaunchRam<const REGION: u64, const A: usize> {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Row to write.
    pub write_row: Signal<In, Bits<A>>,
    /// What to write.
    pub write_data: Signal<In, Bits<DATA_BITS>>,
    /// Lanes (DWs) of the row that are written at this edge.
    pub write_enable: Signal<In, Bits<8>>,
    /// From the DMA writer.
    pub launch: Signal<In, LaunchRead>,
    /// The DWs, one cycle later: lane b in bits 32b+31:32b.
    pub data: Signal<Out, Bits<DATA_BITS>>,
    banks: [Ram<Bits<32>, A>; LANES],
    hit: Reg<Bit>,
}

impl<const REGION: u64, const A: usize> Logic for LaunchRam<REGION, A> {
    #[hdl]
    fn update(&mut self) {
        let launch = self.launch.val();
        let row = launch.row.get_bits::<A>(0);
        let next = row + 1;
        self.hit.d.next = launch.row.get_bits::<3>(12) == REGION;
        for lane in 0..LANES {
            self.banks[lane].write_address.next = self.write_row.val();
            self.banks[lane].write_data.next = self.write_data.val().get_bits::<32>(32 * lane);
            self.banks[lane].write_enable.next = self.write_enable.val().get_bit(lane);
            self.banks[lane].read_address.next = if launch.wrap.get_bit(lane) { next } else { row };
        }
        let data = row_of(
            self.banks[0].read_data.val(),
            self.banks[1].read_data.val(),
            self.banks[2].read_data.val(),
            self.banks[3].read_data.val(),
            self.banks[4].read_data.val(),
            self.banks[5].read_data.val(),
            self.banks[6].read_data.val(),
            self.banks[7].read_data.val(),
        );
        self.data.next = if self.hit.q.val() { data } else { 0.into() };
    }
}
