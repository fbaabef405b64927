//! Function numbers in hardware.

use nitride_abi::card::{
    DEVICE_EXCEPTION, PF_MANAGEMENT, PF_NETWORK, PF_STORAGE, VF_NETWORK_FIRST, VF_STORAGE_FIRST,
};
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

/// The function of a network device (`abi::card::function_of_device`).
#[hdl_fn]
pub fn function_of_device(device: Bits<4>) -> Bits<5> {
    if device == 0 {
        bits::<5>(PF_NETWORK as u64).into()
    } else if device == DEVICE_EXCEPTION as u64 {
        bits::<5>(PF_MANAGEMENT as u64).into()
    } else {
        bit_cast::<5, 4>(device) + (VF_NETWORK_FIRST as u64 - 1)
    }
}
