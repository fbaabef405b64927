//! What lies where in a guest's physical address space.
//!
//! | from | to | what |
//! |---|---|---|
//! | 0 | 640 KiB | RAM: what the kernel is started with (below) |
//! | [`ACPI`] | 1 MiB | ACPI tables; at [`BIOS_ENTRY`] what is there instead of a BIOS |
//! | 1 MiB | [`HOLE`] at most | RAM: kernel and, at its end, the initrd |
//! | [`HOLE`] | [`ECAM`] | 32-bit PCI memory window |
//! | [`ECAM`] | 1 MiB on | configuration space of bus 0 |
//! | 0xfec0_0000 | 4 GiB | I/O APIC, local APIC, KVM's own pages |
//! | 4 GiB | | RAM beyond 3 GiB, then the 64-bit PCI memory window |

use std::ops::Range;

/// Start information of a PVH boot.
pub const PVH_START_INFO: u64 = 0x6000;
/// The zero page of the Linux boot protocol.
pub const ZERO_PAGE: u64 = 0x7000;
/// Page tables of a 64-bit start: PML4, PDPT and four page directories, 4 KiB each.
pub const PAGE_TABLES: u64 = 0x9000;
/// The kernel command line.
pub const CMDLINE: u64 = 0x2_0000;
/// Longest command line in bytes, with its terminating zero (Linux' COMMAND_LINE_SIZE on x86).
pub const CMDLINE_MAX: usize = 2048;
/// End of the RAM below the legacy hole, where an extended BIOS data area would be.
pub const LOW_END: u64 = 0x9_fc00;
/// Where the RSDP lies, and the other ACPI tables behind it: OSes look for it from here on (ACPI 6.5 §5.2.5.1).
pub const ACPI: u64 = 0xe_0000;
/// Where a CPU in real mode enters a PC's BIOS.
pub const BIOS_ENTRY: u64 = 0xf_fff0;
/// End of the space for ACPI tables, and start of the RAM where kernels are loaded.
pub const HIGH: u64 = 0x10_0000;
/// End of the RAM below 4 GiB in a machine with 3 GiB or more; start of the 32-bit PCI window.
pub const HOLE: u64 = 0xc000_0000;
/// Configuration space (PCIe 4.0 §7.2.2), [`ECAM_SIZE`] bytes: bus 0 only.
pub const ECAM: u64 = 0xe000_0000;
/// 32 devices of 8 functions with 4 KiB each.
pub const ECAM_SIZE: u64 = 0x10_0000;
/// The I/O APIC.
pub const IO_APIC: u32 = 0xfec0_0000;
/// The local APICs.
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// A page that KVM needs on Intel CPUs for real mode.
pub const KVM_IDENTITY_MAP: u64 = 0xfffb_c000;
/// Three pages that KVM needs on Intel CPUs for real mode.
pub const KVM_TSS: usize = 0xfffb_d000;
/// Where RAM goes on beyond [`HOLE`].
pub const ABOVE: u64 = 1 << 32;

/// COM1's first I/O port.
pub const COM1: u16 = 0x3f8;
/// COM1's interrupt.
pub const COM1_IRQ: u32 = 4;
/// The power button's interrupt.
pub const POWER_BUTTON_IRQ: u32 = 5;
/// The sleep control register (ACPI 6.5 §4.8.3.7), the sleep status register behind it.
pub const SLEEP_CONTROL: u16 = 0x600;
/// The reset register (ACPI 6.5 §4.8.3.6).
pub const RESET: u16 = 0x602;

/// The smallest machine that can hold a kernel.
pub const MEMORY_MIN: u64 = 32 << 20;
/// Size of the 64-bit PCI window.
const MMIO64_SIZE: u64 = 32 << 30;
/// Memory is given in pages of this size, so that it can be backed by huge ones.
const GRANULE: u64 = 2 << 20;

/// Why a machine of some size cannot be. One line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Below [`MEMORY_MIN`].
    #[error("memory of {} MiB is too small: a guest needs at least {} MiB", .0 >> 20, MEMORY_MIN >> 20)]
    Small(u64),
    /// Not a multiple of 2 MiB.
    #[error("memory of {0} bytes is not a multiple of 2 MiB")]
    Granule(u64),
    /// More than the host's CPU can address for a guest.
    #[error("memory of {} MiB is too large: a CPU with {bits} address bits leaves room for {} MiB", .asked >> 20, .room >> 20)]
    Large {
        /// Bytes that were asked for.
        asked: u64,
        /// Physical address bits.
        bits: u8,
        /// Bytes that are possible.
        room: u64,
    },
}

/// The parts of the address space that depend on the size of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// RAM, by ascending address, back to back in the memory that backs it.
    pub ram: Vec<Range<u64>>,
    /// PCI memory window below 4 GiB.
    pub mmio32: Range<u64>,
    /// PCI memory window above 4 GiB.
    pub mmio64: Range<u64>,
}

impl Layout {
    /// The layout of a machine with `memory` bytes of RAM and `address_bits` bits of physical address.
    pub fn new(memory: u64, address_bits: u8) -> Result<Self, Error> {
        if memory < MEMORY_MIN {
            return Err(Error::Small(memory));
        }
        if !memory.is_multiple_of(GRANULE) {
            return Err(Error::Granule(memory));
        }
        let space = 1u64.checked_shl(address_bits.into()).unwrap_or(u64::MAX);
        let room = space.saturating_sub(MMIO64_SIZE + ABOVE - HOLE);
        if memory > room {
            return Err(Error::Large { asked: memory, bits: address_bits, room });
        }
        let above = ABOVE..ABOVE + memory.saturating_sub(HOLE);
        let ram: Vec<_> =
            [0..memory.min(HOLE), above].into_iter().filter(|range| !range.is_empty()).collect();
        let end = ram.last().map_or(ABOVE, |range| range.end).max(ABOVE).next_multiple_of(1 << 30);
        // The rounding may have taken up to 1 GiB of the window.
        let mmio64 = end..(end + MMIO64_SIZE).min(space);
        Ok(Self { ram, mmio32: HOLE..ECAM, mmio64 })
    }

    /// End of the RAM below 4 GiB.
    pub fn low_ram_end(&self) -> u64 {
        self.ram.first().map_or(0, |range| range.end)
    }

    /// The memory map a guest gets to see (E820).
    pub fn memory_map(&self) -> Vec<(Range<u64>, MemoryKind)> {
        let mut map = vec![(0..LOW_END, MemoryKind::Ram), (ACPI..HIGH, MemoryKind::Reserved)];
        map.push((HIGH..self.low_ram_end(), MemoryKind::Ram));
        map.push((ECAM..ECAM + ECAM_SIZE, MemoryKind::Reserved));
        map.extend(self.ram.iter().skip(1).cloned().map(|range| (range, MemoryKind::Ram)));
        map
    }
}

/// The kinds of memory in a memory map, with their E820 numbers (ACPI 6.5 §15, table 15.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum MemoryKind {
    /// Usable.
    Ram = 1,
    /// Not to be used as memory.
    Reserved = 2,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_keeps_clear_of_the_pci_hole_and_loses_nothing_to_it() {
        for memory in [MEMORY_MIN, HOLE - GRANULE, HOLE, HOLE + GRANULE, 16 << 30] {
            let layout = Layout::new(memory, 40).unwrap();
            assert_eq!(layout.ram.iter().map(|range| range.end - range.start).sum::<u64>(), memory);
            for range in &layout.ram {
                assert!(range.end <= HOLE || range.start >= ABOVE, "{layout:?}");
                assert!(range.end <= layout.mmio64.start, "{layout:?}");
            }
        }
    }

    #[test]
    fn a_window_for_64_bit_bars_fits_into_the_address_space() {
        for bits in [36, 39, 40, 48, 52] {
            let room = (1u64 << bits) - MMIO64_SIZE - (ABOVE - HOLE);
            let layout = Layout::new(room / GRANULE * GRANULE, bits).unwrap();
            assert!(layout.mmio64.end <= 1 << bits, "{layout:?}");
            assert!(layout.mmio64.end - layout.mmio64.start >= MMIO64_SIZE - (1 << 30), "{layout:?}");
        }
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert_eq!(Layout::new(MEMORY_MIN - 1, 40), Err(Error::Small(MEMORY_MIN - 1)));
        assert_eq!(Layout::new(MEMORY_MIN + 1, 40), Err(Error::Granule(MEMORY_MIN + 1)));
        assert!(matches!(Layout::new(1 << 40, 40), Err(Error::Large { .. })));
        assert!(matches!(Layout::new(!(GRANULE - 1), 64), Err(Error::Large { .. })));
    }

    #[test]
    fn the_memory_map_is_sorted_and_disjoint() {
        let map = Layout::new(8 << 30, 40).unwrap().memory_map();
        assert!(map.windows(2).all(|pair| pair[0].0.end <= pair[1].0.start), "{map:?}");
    }
}
