//! Headers of the TLPs that the engines make.

use nitride_abi::tlp;
use nitride_lang::prelude::*;

use super::splitter::Transfer;

/// `value` at a field's place in its DW.
#[hdl_fn]
fn put<const W: usize>(value: Bits<W>, bit: usize) -> Bits<32> {
    bit_cast::<32, W>(value) << (bit % 32) as u64
}

/// The header of a memory request, in the 3-DW form below 4 GiB and else in the 4-DW form (PCIe 4.0 §2.2.4.1, §2.2.5,
/// §2.2.7). Traffic class 0, no attributes.
#[hdl_fn]
pub fn memory_header(write: Bit, requester: Bits<16>, tag: Bits<8>, transfer: Transfer) -> Bits<128> {
    let length = transfer.length;
    let address = transfer.address;
    let high = address.get_bits::<32>(32);
    let low = cat2::<30, 2, 32>(address.get_bits::<30>(2), bits::<2>(0));
    let wide = high.any();
    let fmt = if write {
        if wide { bits::<3>(tlp::FMT_4DW_DATA as u64) } else { bits::<3>(tlp::FMT_3DW_DATA as u64) }
    } else if wide {
        bits::<3>(tlp::FMT_4DW as u64)
    } else {
        bits::<3>(tlp::FMT_3DW as u64)
    };
    let only = length == 1;
    let first = if only { transfer.first & transfer.last } else { transfer.first };
    let last = if only { bits::<4>(0) } else { transfer.last };
    let dw0 = put::<3>(fmt, tlp::FMT.bit())
        | put::<5>(bits::<5>(tlp::TYPE_MEMORY as u64), tlp::TYPE.bit())
        | put::<10>(length.get_bits::<10>(0), tlp::LENGTH.bit());
    let dw1 = put::<16>(requester, tlp::REQUESTER.bit())
        | put::<8>(tag, tlp::TAG.bit())
        | put::<4>(last, tlp::LAST_BE.bit())
        | put::<4>(first, tlp::FIRST_BE.bit());
    let address = if wide { cat2::<32, 32, 64>(low, high) } else { cat2::<32, 32, 64>(bits::<32>(0), low) };
    cat2::<64, 64, 128>(address, cat2::<32, 32, 64>(dw1, dw0))
}

/// A tag `{generation, index}` as it is on the link: `short` has the index alone (PCIe 4.0 §2.2.6.2).
#[hdl_fn]
pub fn wire_tag(tag: Bits<8>, short: Bit) -> Bits<8> {
    if short { tag & 0x1f } else { tag }
}

/// The requester ID of a function of this card: every function number is below 32 and on the captured bus.
#[hdl_fn]
pub fn requester_id(bus: Bits<8>, function: Bits<5>) -> Bits<16> {
    cat2::<8, 8, 16>(bus, bit_cast::<8, 5>(function))
}
