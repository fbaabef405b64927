//! The BAR registers that a guest sees (PCIe 4.0 §7.5.1.2.1).

use nitride_driver::Bar;

/// The six BAR registers of a function.
///
/// They hold what the guest wrote, whatever sense it makes: it decides where its BARs are.
#[derive(Debug, Clone)]
pub struct Bars {
    bars: [Option<Bar>; 6],
    registers: [u32; 6],
}

/// A mapped BAR: where, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// Guest physical address of its first byte.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
    /// BAR index.
    pub bar: u8,
}

impl Bars {
    /// Registers for `bars`. Errors if a size is not a power of two of 16 bytes or more, or a 64-bit BAR has no room.
    pub fn new(bars: [Option<Bar>; 6]) -> Result<Self, String> {
        for (index, bar) in bars.iter().enumerate() {
            let Some(bar) = bar else { continue };
            if !bar.size.is_power_of_two() || bar.size < 16 || (!bar.wide && bar.size > 1 << 31) {
                return Err(format!("BAR{index} cannot be {} bytes", bar.size));
            }
            if bar.wide && bars.get(index + 1).is_none_or(Option::is_some) {
                return Err(format!("BAR{index} is 64-bit, but the BAR behind it is not free"));
            }
        }
        Ok(Self { bars, registers: [0; 6] })
    }

    /// The register at `index`, with its type bits.
    pub fn read(&self, index: usize) -> u32 {
        let Some(register) = self.registers.get(index) else { return 0 };
        match self.bars[index] {
            Some(bar) => {
                register & !(bar.size - 1) as u32
                    | u32::from(bar.wide) << 2
                    | u32::from(bar.prefetchable) << 3
            }
            None => match self.lower_half(index) {
                Some(bar) => register & !((bar.size - 1) >> 32) as u32,
                None => 0,
            },
        }
    }

    /// Writes the bits of `value` under `lanes` to the register at `index`.
    pub fn write(&mut self, index: usize, value: u32, lanes: u32) {
        if let Some(register) = self.registers.get_mut(index) {
            *register = *register & !lanes | value & lanes;
        }
    }

    /// Puts BAR `index` at `address`, as firmware does.
    pub fn place(&mut self, index: usize, address: u64) {
        self.write(index, address as u32, !0);
        if self.bars.get(index).is_some_and(|bar| bar.is_some_and(|bar| bar.wide)) {
            self.write(index + 1, (address >> 32) as u32, !0);
        }
    }

    /// All registers back to 0 (a reset).
    pub fn reset(&mut self) {
        self.registers = [0; 6];
    }

    /// Where the BARs are. One whose end is beyond the address space is nowhere.
    pub fn mappings(&self) -> impl Iterator<Item = Mapping> {
        self.bars.iter().enumerate().filter_map(|(index, bar)| {
            let bar = (*bar)?;
            let low = u64::from(self.read(index)) & !0xf;
            let high = if bar.wide { u64::from(self.read(index + 1)) << 32 } else { 0 };
            let address = high | low;
            address.checked_add(bar.size)?;
            Some(Mapping { address, size: bar.size, bar: index as u8 })
        })
    }

    /// The 64-bit BAR whose upper half is the register at `index`.
    fn lower_half(&self, index: usize) -> Option<Bar> {
        self.bars[index.checked_sub(1)?].filter(|bar| bar.wide)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bar(size: u64, wide: bool) -> Bar {
        Bar { size, wide, prefetchable: wide }
    }

    #[test]
    fn sizing_by_all_ones_tells_size_and_type() {
        let mut bars =
            Bars::new([Some(bar(0x4000, true)), None, Some(bar(0x1000, false)), None, None, None]).unwrap();
        for index in 0..6 {
            bars.write(index, !0, !0);
        }
        let read: Vec<u32> = (0..6).map(|index| bars.read(index)).collect();
        assert_eq!(read, [0xffff_c00c, 0xffff_ffff, 0xffff_f000, 0, 0, 0]);
    }

    #[test]
    fn a_bar_larger_than_4_gib_is_sized_in_its_upper_half() {
        let mut bars = Bars::new([Some(bar(1 << 34, true)), None, None, None, None, None]).unwrap();
        bars.write(0, !0, !0);
        bars.write(1, !0, !0);
        assert_eq!((bars.read(0), bars.read(1)), (0xc, 0xffff_fffc));
    }

    #[test]
    fn a_64_bit_bar_is_where_both_halves_say() {
        let mut bars = Bars::new([Some(bar(0x4000, true)), None, None, None, None, None]).unwrap();
        bars.place(0, 0x12_3456_8000);
        let mappings: Vec<_> = bars.mappings().collect();
        assert_eq!(mappings, [Mapping { address: 0x12_3456_8000, size: 0x4000, bar: 0 }]);
        assert_eq!((bars.read(0), bars.read(1)), (0x3456_800c, 0x12));
    }

    #[test]
    fn shapes_that_pci_does_not_know_are_refused() {
        let refused = |bars| Bars::new(bars).is_err();
        assert!(refused([Some(bar(0x3000, false)), None, None, None, None, None]));
        assert!(refused([Some(bar(0, false)), None, None, None, None, None]));
        assert!(refused([Some(bar(1 << 32, false)), None, None, None, None, None]));
        assert!(refused([None, None, None, None, None, Some(bar(0x1000, true))]));
        assert!(refused([Some(bar(0x1000, true)), Some(bar(0x1000, false)), None, None, None, None]));
    }

    proptest! {
        #[test]
        fn no_write_moves_a_bar_off_its_alignment(
            writes in prop::collection::vec((0usize..8, any::<u32>(), any::<u32>()), 0..32),
        ) {
            let mut bars = Bars::new([Some(bar(1 << 34, true)), None, Some(bar(0x1000, false)), None, Some(bar(16, true)), None]).unwrap();
            for (index, value, lanes) in writes {
                bars.write(index, value, lanes);
            }
            for mapping in bars.mappings() {
                prop_assert!(mapping.address.is_multiple_of(mapping.size));
            }
        }
    }
}
