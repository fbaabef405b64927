//! Between the bench's words and the blocks' signals.

use nitride_lang::prelude::*;

use super::host::Tlp;
use crate::bus::{FunctionState, FunctionUpdate, TlpBeat};

/// A number in a signal. Up to 64 bits.
pub fn number<const N: usize>(value: Bits<N>) -> u64 {
    (0..N.div_ceil(16)).map(|i| (value.get_bits::<16>(16 * i).index() as u64) << (16 * i)).sum()
}

/// DW `index` of something wide.
pub fn dw<const N: usize>(value: Bits<N>, index: usize) -> u32 {
    number(value.get_bits::<32>(32 * index)) as u32
}

/// DWs, the first in the lowest bits.
pub fn wide<const N: usize>(dws: &[u32]) -> Bits<N> {
    dws.iter().rev().fold(Bits::default(), |all, dw| (all << 32) | Bits::from(u64::from(*dw)))
}

/// The header words of a beat.
pub fn header(beat: &TlpBeat) -> [u32; 4] {
    std::array::from_fn(|i| dw(beat.hdr, i))
}

/// A TLP's beats.
pub fn beats(tlp: &Tlp) -> Vec<TlpBeat> {
    let count = tlp.beats();
    (0..count)
        .map(|i| TlpBeat {
            hdr: wide(&tlp.header),
            data: wide(tlp.payload.chunks(8).nth(i).unwrap_or_default()),
            last: i + 1 == count,
        })
        .collect()
}

/// A change of Bus Master Enable.
pub fn bus_master(function: u64, on: bool) -> FunctionUpdate {
    FunctionUpdate {
        valid: true,
        function: function.into(),
        state: FunctionState { bus_master: on, ..FunctionState::default() },
    }
}
