//! What DMA engines bring into landing RAMs and take out of launch RAMs.

use nitride_lang::prelude::*;

use crate::bus::{DmaReadRequest, DmaWriteRequest, LandingWrite};

/// The DWs of a read from `begin` on, 8 at most, as a write into landing RAMs, and how many they are. `byte` is what memory holds.
pub fn landing(request: &DmaReadRequest, begin: u64, byte: impl Fn(u64) -> u8) -> (LandingWrite, u64) {
    let count = (request.length.to_u64() - begin).min(8);
    let place = request.destination.to_u64() + begin;
    let mut dwords = [0; 8];
    let (mut enable, mut wrap) = (0u64, 0u64);
    for i in 0..count {
        let lane = (place + i) % 8;
        enable |= 1 << lane;
        wrap |= u64::from((place + i) / 8 != place / 8) << lane;
        let at = request.address.to_u64().wrapping_add(4 * (begin + i));
        let bytes = [0, 1, 2, 3].map(|offset| byte(at.wrapping_add(offset)));
        dwords[lane as usize] = u64::from(u32::from_le_bytes(bytes));
    }
    let data = dwords.iter().rev().fold(Bits::<256>::default(), |all, dw| (all << 32) | Bits::from(*dw));
    let write = LandingWrite { enable: enable.into(), wrap: wrap.into(), row: (place / 8).into(), data };
    (write, count)
}

/// The bytes of host memory that the `row`-th row of a write, which begins at a row's start, goes to.
pub fn launched(request: &DmaWriteRequest, row: u64, data: Bits<256>) -> Vec<(u64, u8)> {
    let length = request.length.to_u64();
    assert_eq!(request.source.to_u64() % 8, 0);
    let mut bytes = vec![];
    for lane in 0..(length - 8 * row).min(8) {
        let dw = 8 * row + lane;
        let all = bits::<4>(0xf);
        let enable =
            if dw == 0 { request.first } else { all } & if dw + 1 == length { request.last } else { all };
        for byte in (0..4).filter(|byte| enable.get_bit(*byte)) {
            let value = data.get_bits::<8>(32 * lane as usize + 8 * byte).to_u64() as u8;
            bytes.push((request.address.to_u64() + 4 * dw + byte as u64, value));
        }
    }
    bytes
}
