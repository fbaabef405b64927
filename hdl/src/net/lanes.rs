//! Bytes of a beat, and where they go.

use nitride_lang::prelude::*;

/// Turns 32 bytes so that byte 0 becomes byte `places`, and what leaves at the top comes in at the bottom.
#[hdl_fn]
pub fn turn_up(row: Bits<256>, places: Bits<5>) -> Bits<256> {
    let by16 = if places.get_bit(4) {
        cat2::<128, 128, 256>(row.get_bits::<128>(0), row.get_bits::<128>(128))
    } else {
        row
    };
    let by8 = if places.get_bit(3) {
        cat2::<192, 64, 256>(by16.get_bits::<192>(0), by16.get_bits::<64>(192))
    } else {
        by16
    };
    let by4 = if places.get_bit(2) {
        cat2::<224, 32, 256>(by8.get_bits::<224>(0), by8.get_bits::<32>(224))
    } else {
        by8
    };
    let by2 = if places.get_bit(1) {
        cat2::<240, 16, 256>(by4.get_bits::<240>(0), by4.get_bits::<16>(240))
    } else {
        by4
    };
    if places.get_bit(0) { cat2::<248, 8, 256>(by2.get_bits::<248>(0), by2.get_bits::<8>(248)) } else { by2 }
}

/// Byte `value` at lane `lane` of 32, the others 0.
#[hdl_fn]
pub fn at_lane(value: Bits<8>, lane: Bits<5>) -> Bits<256> {
    bit_cast::<256, 8>(value) << cat2::<5, 3, 8>(lane, bits::<3>(0))
}

/// Ones in all bytes from `lane` on.
#[hdl_fn]
pub fn from_lane(lane: Bits<5>) -> Bits<256> {
    (!bits::<256>(0)) << cat2::<5, 3, 8>(lane, bits::<3>(0))
}

/// Ones in the first `count` (0 to 32) of 32 bytes.
#[hdl_fn]
pub fn first_bytes(count: Bits<6>) -> Bits<256> {
    let rest = from_lane(count.get_bits::<5>(0));
    if count.get_bit(5) { !bits::<256>(0) } else { !rest }
}
