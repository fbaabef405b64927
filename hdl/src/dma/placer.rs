//! The last step of a read's data: from the beat into the banks.

use nitride_lang::prelude::*;

use super::lanes::{lanes_from, rotate_up};
use crate::bus::{BufferAddress, LandingWrite};
use crate::profile::DATA_BITS;

/// Up to 8 DWs and where the first of them goes.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Placement {
    /// There is something to write.
    pub valid: Bit,
    /// Where DW 0 goes.
    pub place: BufferAddress,
    /// DWs, 0 to 8.
    pub count: Bits<4>,
    /// The DWs, from bit 0 on.
    pub data: Bits<DATA_BITS>,
}

/// Turns DWs so that each faces its bank. Latency 1 cycle, one placement a cycle, never waits.
#[derive(LogicBlock, Default)]
pub struct Placer {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// What to write.
    pub placement: Signal<In, Placement>,
    /// To the landing RAMs; no lane is enabled when there is nothing to write.
    pub landing: Signal<Out, LandingWrite>,
    write: Reg<LandingWrite>,
}

impl Logic for Placer {
    #[hdl]
    fn update(&mut self) {
        let placement = self.placement.val();
        let lane = placement.place.get_bits::<3>(0);
        if placement.valid {
            self.write.d.next = LandingWrite {
                enable: lanes_from(lane, placement.count),
                // The lanes before the first one hold what went round.
                wrap: lanes_from(bits::<3>(0), bit_cast::<4, 3>(lane)),
                row: placement.place.get_bits::<15>(3),
                data: rotate_up(placement.data, lane),
            };
        } else {
            self.write.d.next.enable = 0.into();
        }
        self.landing.next = self.write.q.val();
    }
}
