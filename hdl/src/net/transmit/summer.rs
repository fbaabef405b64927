//! The Internet checksum (RFC 1071).

use nitride_lang::prelude::*;

use crate::net::lanes::{first_bytes, from_lane};
use crate::profile::DATA_BITS;

/// Bytes to sum.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Summand {
    /// A frame begins: the sum is 0 again, and nothing is summed.
    pub clear: Bit,
    /// A beat of the frame; else nothing is summed.
    pub valid: Bit,
    /// The bytes.
    pub data: Bits<DATA_BITS>,
    /// How many, 0 to 32.
    pub bytes: Bits<6>,
    /// The beat's place in the frame.
    pub index: Bits<9>,
    /// The frame's first byte that is summed.
    pub start: Bits<16>,
}

/// Sums a frame from a byte on, a beat a cycle.
///
/// Latency 3 cycles. The words are taken as they lie in the beat, whether the first byte's place is even or odd, the first
/// byte least significant: the sum's bytes are then in order, or swapped (RFC 1071 §2, B).
#[derive(LogicBlock, Default)]
pub struct Summer {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// The next beat.
    pub summand: Signal<In, Summand>,
    /// One's complement sum of what was put in until 3 cycles ago.
    pub sum: Signal<Out, Bits<16>>,
    masked: Reg<Bits<DATA_BITS>>,
    /// The frame begins with the value in this stage.
    masked_clear: Reg<Bit>,
    quarters: [Reg<Bits<18>>; 4],
    quarters_clear: Reg<Bit>,
    /// At most 4,509 words of 16 bits.
    total: Reg<Bits<32>>,
}

impl Logic for Summer {
    #[hdl]
    fn update(&mut self) {
        let summand = self.summand.val();
        let index = bit_cast::<11, 9>(summand.index);
        let row = summand.start.get_bits::<11>(5);
        let taken = if !summand.valid || index < row {
            bits::<256>(0)
        } else if index == row {
            summand.data & from_lane(summand.start.get_bits::<5>(0))
        } else {
            summand.data
        };
        self.masked.d.next = taken & first_bytes(summand.bytes);
        self.masked_clear.d.next = summand.clear;

        let masked = self.masked.q.val();
        for i in 0..4 {
            let a = bit_cast::<18, 16>(masked.get_bits::<16>(64 * i));
            let b = bit_cast::<18, 16>(masked.get_bits::<16>(64 * i + 16));
            let c = bit_cast::<18, 16>(masked.get_bits::<16>(64 * i + 32));
            let d = bit_cast::<18, 16>(masked.get_bits::<16>(64 * i + 48));
            self.quarters[i].d.next = (a + b) + (c + d);
        }
        self.quarters_clear.d.next = self.masked_clear.q.val();

        let low = bit_cast::<32, 18>(self.quarters[0].q.val()) + bit_cast::<32, 18>(self.quarters[1].q.val());
        let high =
            bit_cast::<32, 18>(self.quarters[2].q.val()) + bit_cast::<32, 18>(self.quarters[3].q.val());
        self.total.d.next =
            if self.quarters_clear.q.val() { 0.into() } else { self.total.q.val() + (low + high) };

        let total = self.total.q.val();
        let once = bit_cast::<17, 16>(total.get_bits::<16>(0)) + bit_cast::<17, 16>(total.get_bits::<16>(16));
        self.sum.next = once.get_bits::<16>(0) + bit_cast::<16, 1>(once.get_bits::<1>(16));
    }
}
