//! The zero page of the Linux boot protocol (Documentation/arch/x86/boot.rst, zero-page.rst), and the
//! page tables for its 64-bit entry.

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use vm_memory::{ByteValued, GuestMemoryMmap};

use super::{Error, Loaded, write};
use crate::layout::{ACPI, CMDLINE, Layout, PAGE_TABLES, ZERO_PAGE};

const BOOT_FLAG: u16 = 0xaa55;
const HEADER_MAGIC: u32 = 0x5372_6448;
/// A boot loader without an assigned number.
const LOADER_OTHER: u8 = 0xff;
const KERNEL_ALIGNMENT: u32 = 0x0100_0000;

/// Page table entry: present, writable; in a directory, a 2 MiB page.
const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
/// GiB that are mapped.
const DIRECTORIES: u64 = 4;

/// Writes the zero page, with the setup header of a bzImage, and the page tables.
pub(super) fn write_zero_page(
    memory: &GuestMemoryMmap,
    layout: &Layout,
    loaded: &Loaded,
    header: Option<setup_header>,
) -> Result<(), Error> {
    let mut params = boot_params { hdr: header.unwrap_or_else(elf_header), ..boot_params::default() };
    params.hdr.type_of_loader = LOADER_OTHER;
    params.hdr.cmd_line_ptr = CMDLINE as u32;
    params.hdr.cmdline_size = loaded.cmdline_len as u32;
    if let Some((address, len)) = loaded.initrd {
        params.hdr.ramdisk_image = address as u32;
        params.hdr.ramdisk_size = len as u32;
    }
    params.acpi_rsdp_addr = ACPI;
    let map = layout.memory_map();
    params.e820_entries = map.len() as u8;
    let mut table = params.e820_table;
    for (entry, (range, kind)) in table.iter_mut().zip(map) {
        *entry = boot_e820_entry { addr: range.start, size: range.end - range.start, r#type: kind as u32 };
    }
    params.e820_table = table;
    write(memory, ZERO_PAGE, params.as_slice())?;
    write(memory, PAGE_TABLES, &page_tables())
}

/// What the header of a kernel without one would say.
fn elf_header() -> setup_header {
    setup_header {
        boot_flag: BOOT_FLAG,
        header: HEADER_MAGIC,
        kernel_alignment: KERNEL_ALIGNMENT,
        ..setup_header::default()
    }
}

/// Identity tables of the first 4 GiB: PML4, PDPT, four directories of 2 MiB pages.
fn page_tables() -> Vec<u8> {
    let table = |index: u64| PAGE_TABLES + 0x1000 * index;
    let mut entries = vec![0u64; 512 * (2 + DIRECTORIES as usize)];
    entries[0] = table(1) | PRESENT | WRITABLE;
    for directory in 0..DIRECTORIES {
        entries[512 + directory as usize] = table(2 + directory) | PRESENT | WRITABLE;
    }
    for (page, entry) in (0u64..).zip(entries.iter_mut().skip(1024)) {
        *entry = page << 21 | PRESENT | WRITABLE | LARGE;
    }
    entries.into_iter().flat_map(u64::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an address translates to by the tables as a CPU walks them.
    fn translate(tables: &[u8], address: u64) -> Option<u64> {
        let entry = |table: u64, index: u64| {
            let at = (table - PAGE_TABLES + 8 * (index & 511)) as usize;
            let entry = u64::from_le_bytes(tables[at..at + 8].try_into().unwrap());
            (entry & PRESENT != 0).then_some(entry)
        };
        let pdpt = entry(PAGE_TABLES, address >> 39)? & !0xfff;
        let directory = entry(pdpt, address >> 30)? & !0xfff;
        let page = entry(directory, address >> 21)?;
        assert_ne!(page & LARGE, 0);
        Some(page & !0x1f_ffff | address & 0x1f_ffff)
    }

    #[test]
    fn the_first_4_gib_are_mapped_onto_themselves_and_nothing_else_is() {
        let tables = page_tables();
        for address in [0, 0x1f_ffff, 0x20_0000, 0x3fff_ffff, 0x4000_0000, 0xc012_3456, 0xffff_ffff] {
            assert_eq!(translate(&tables, address), Some(address));
        }
        assert_eq!(translate(&tables, 1 << 32), None);
        assert_eq!(translate(&tables, 1 << 39), None);
    }
}
