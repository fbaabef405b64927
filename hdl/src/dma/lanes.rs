//! DWs of a row, and where they go.

use nitride_lang::prelude::*;

/// Turns a row of 8 DWs so that DW `lane` becomes DW 0.
#[hdl_fn]
pub fn rotate_down(row: Bits<256>, lane: Bits<3>) -> Bits<256> {
    let by4 = if lane.get_bit(2) {
        cat2::<128, 128, 256>(row.get_bits::<128>(0), row.get_bits::<128>(128))
    } else {
        row
    };
    let by2 = if lane.get_bit(1) {
        cat2::<64, 192, 256>(by4.get_bits::<64>(0), by4.get_bits::<192>(64))
    } else {
        by4
    };
    if lane.get_bit(0) { cat2::<32, 224, 256>(by2.get_bits::<32>(0), by2.get_bits::<224>(32)) } else { by2 }
}

/// Turns a row of 8 DWs so that DW 0 becomes DW `lane`.
#[hdl_fn]
pub fn rotate_up(row: Bits<256>, lane: Bits<3>) -> Bits<256> {
    rotate_down(row, bits::<3>(0) - lane)
}

/// The lowest `count` (0 to 8) of 8 lanes.
#[hdl_fn]
pub fn first_lanes(count: Bits<4>) -> Bits<8> {
    bit_cast::<8, 9>((bits::<9>(1) << count) - 1)
}

/// The lanes from `lane` on, `count` of them, going round after lane 7.
#[hdl_fn]
pub fn lanes_from(lane: Bits<3>, count: Bits<4>) -> Bits<8> {
    let turned = bit_cast::<16, 8>(first_lanes(count)) << lane;
    turned.get_bits::<8>(0) | turned.get_bits::<8>(8)
}

/// Puts 8 DWs together, the first one least significant.
#[hdl_fn]
pub fn row_of(
    dw0: Bits<32>,
    dw1: Bits<32>,
    dw2: Bits<32>,
    dw3: Bits<32>,
    dw4: Bits<32>,
    dw5: Bits<32>,
    dw6: Bits<32>,
    dw7: Bits<32>,
) -> Bits<256> {
    let low = cat2::<64, 64, 128>(cat2::<32, 32, 64>(dw3, dw2), cat2::<32, 32, 64>(dw1, dw0));
    let high = cat2::<64, 64, 128>(cat2::<32, 32, 64>(dw7, dw6), cat2::<32, 32, 64>(dw5, dw4));
    cat2::<128, 128, 256>(high, low)
}
