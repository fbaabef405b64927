//! The DWs of all configuration spaces, and what a write does to them.

use nitride_abi::card;
use nitride_abi::pci::space::{self, Kind, Register};
use nitride_lang::prelude::*;

use crate::profile::Profile;

/// Width of a DW's number in a function's space.
pub const DW_BITS: usize = space::DWS.ilog2() as usize;
/// Width of a kind's number.
pub const KIND_BITS: usize = Kind::BITS;
const RAM_BITS: usize = DW_BITS + nitride_abi::card::FUNCTION_BITS;
const ROM_BITS: usize = DW_BITS + KIND_BITS;

const MANAGEMENT: u64 = card::PF_MANAGEMENT as u64;
const NETWORK: u64 = card::PF_NETWORK as u64;
const STORAGE: u64 = card::PF_STORAGE as u64;
const STORAGE_VFS: u64 = card::VF_STORAGE_FIRST as u64;

/// The kind of a function that is there.
#[hdl_fn]
pub fn kind_of(function: Bits<5>) -> Bits<KIND_BITS> {
    if function == MANAGEMENT {
        bits::<KIND_BITS>(Kind::Management as u64)
    } else if function == NETWORK {
        bits::<KIND_BITS>(Kind::Network as u64)
    } else if function == STORAGE {
        bits::<KIND_BITS>(Kind::Storage as u64)
    } else if function < STORAGE_VFS {
        bits::<KIND_BITS>(Kind::NetworkVf as u64)
    } else {
        bits::<KIND_BITS>(Kind::StorageVf as u64)
    }
}

/// Whether a function that is there is a PF.
#[hdl_fn]
pub fn is_physical(function: Bits<5>) -> Bit {
    function <= STORAGE
}

/// The PF of a VF; a PF itself.
#[hdl_fn]
pub fn physical_of(function: Bits<5>) -> Bits<5> {
    if is_physical(function) {
        function
    } else if function < STORAGE_VFS {
        bits::<5>(NETWORK)
    } else {
        bits::<5>(STORAGE)
    }
}

/// The PF after a PF, after the last the first. Without PF1, PF2 comes after PF0.
#[hdl_fn]
pub fn physical_after(function: Bits<5>, network: Bit) -> Bits<5> {
    if function == STORAGE {
        bits::<5>(MANAGEMENT)
    } else if function == NETWORK || !network {
        bits::<5>(STORAGE)
    } else {
        bits::<5>(NETWORK)
    }
}

/// A DW of a function.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Place {
    /// The function's number.
    pub function: Bits<5>,
    /// Its kind: `space::Kind`.
    pub kind: Bits<KIND_BITS>,
    /// DW in its space.
    pub dw: Bits<DW_BITS>,
}

/// What to do with the DW whose value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub enum Operation {
    /// Nothing.
    #[default]
    Read,
    /// The host writes `data`, in the bytes of `enable`.
    Write,
    /// The hardware sets the bits of `data`.
    Set,
    /// The hardware puts `data` in its place.
    Load,
    /// A function-level reset.
    Reset,
}

/// One [`Operation`] with its operands.
#[derive(Clone, Copy, Debug, PartialEq, Default, Packed)]
pub struct Access {
    /// What.
    pub operation: Operation,
    /// Operand.
    pub data: Bits<32>,
    /// Bytes of a write.
    pub enable: Bits<4>,
    /// RW bits that a write leaves alone this time.
    pub hold: Bits<32>,
}

#[hdl_fn]
fn byte_mask(enable: Bits<4>) -> Bits<32> {
    let mut mask = bits::<32>(0);
    for i in 0..4 {
        if enable.get_bit(i) {
            mask = mask | (0xffu64 << (8 * i));
        }
    }
    mask
}

/// The DWs of all configuration spaces in a RAM, and their reset values and masks in ROMs per kind of function.
///
/// One cycle after `place` was given, `value` is its DW. If `place` is held, `access` in that cycle changes the DW at the cycle's end
/// to `result`; the new value can be read two cycles later.
#[derive(LogicBlock)]
pub struct Store {
    /// Rising edge.
    pub clock: Signal<In, Clock>,
    /// Which DW.
    pub place: Signal<In, Place>,
    /// The DW at the place given one cycle ago.
    pub value: Signal<Out, Bits<32>>,
    /// What to do with it.
    pub access: Signal<In, Access>,
    /// What becomes of it.
    pub result: Signal<Out, Bits<32>>,
    ram: Ram<Bits<32>, RAM_BITS>,
    resets: Rom<Bits<32>, ROM_BITS>,
    writes: Rom<Bits<32>, ROM_BITS>,
    clears: Rom<Bits<32>, ROM_BITS>,
    stickies: Rom<Bits<32>, ROM_BITS>,
}

impl Store {
    /// The store of a card of this profile, every function in its reset state.
    pub fn new(profile: &Profile) -> Self {
        let layout = profile.layout();
        let dw = |index: usize| (index % space::DWS * 4) as u16;
        let mask = |field: fn(Register) -> u32| {
            let all = Kind::ALL
                .iter()
                .flat_map(|kind| (0..space::DWS).map(move |i| space::register(*kind, layout, dw(i))));
            Rom::new(all.map(|register| u64::from(field(register)).into()).collect())
        };
        let reset = |i: usize| {
            let kind = Kind::of((i / space::DWS) as u8, profile.vfs);
            kind.map_or(0, |kind| u64::from(space::register(kind, layout, dw(i)).reset)).into()
        };
        Self {
            clock: Signal::default(),
            place: Signal::default(),
            value: Signal::default(),
            access: Signal::default(),
            result: Signal::default(),
            ram: Ram::from_fn(reset),
            resets: mask(|r| r.reset),
            writes: mask(|r| r.write),
            clears: mask(|r| r.clear),
            stickies: mask(|r| r.sticky),
        }
    }
}

impl Logic for Store {
    #[hdl]
    fn update(&mut self) {
        let place = self.place.val();
        let address = cat2::<5, DW_BITS, RAM_BITS>(place.function, place.dw);
        let entry = cat2::<KIND_BITS, DW_BITS, ROM_BITS>(place.kind, place.dw);
        self.ram.read_address.next = address;
        self.resets.address.next = entry;
        self.writes.address.next = entry;
        self.clears.address.next = entry;
        self.stickies.address.next = entry;

        let access = self.access.val();
        let value = self.ram.read_data.val();
        let sticky = self.stickies.data.val();
        let bytes = byte_mask(access.enable);
        let writable = self.writes.data.val() & bytes & !access.hold;
        let cleared = access.data & self.clears.data.val() & bytes;
        let result = match access.operation {
            Operation::Write => (value & !writable & !cleared) | (access.data & writable),
            Operation::Set => value | access.data,
            Operation::Load => access.data,
            Operation::Reset => (value & sticky) | (self.resets.data.val() & !sticky),
            _ => value,
        };
        self.ram.write_address.next = address;
        self.ram.write_data.next = result;
        self.ram.write_enable.next = access.operation != Operation::Read;
        self.value.next = value;
        self.result.next = result;
    }
}
