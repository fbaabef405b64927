//! Function numbers in hardware.

use nitride_abi::card::{PF_STORAGE, VF_STORAGE_FIRST};
use nitride_lang::prelude::*;

/// The function of an NVMe controller (`abi::card::function_of`).
#[hdl_fn]
pub fn function_of(controller: Bits<4>) -> Bits<5> {
    if controller == 0 {
        bits::<5>(PF_STORAGE as u64).into()
    } else {
        bit_cast::<5, 4>(controller) + (VF_STORAGE_FIRST as u64 - 1)
    }
}
