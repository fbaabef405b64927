//! The start information of a PVH boot (Xen, docs/misc/pvh.pandoc; xen/include/public/arch-x86/hvm/start_info.h).

use vm_memory::GuestMemoryMmap;

use super::{Error, Loaded, write};
use crate::layout::{ACPI, CMDLINE, Layout, PVH_START_INFO};

const MAGIC: u32 = 0x336e_c578;
/// Version 1 has the memory map.
const VERSION: u32 = 1;
/// Sizes in bytes of the structures.
const START_INFO: usize = 56;
const MODULE: usize = 32;

/// Writes the start information, its module list and its memory map.
pub(super) fn write_start_info(
    memory: &GuestMemoryMmap,
    layout: &Layout,
    loaded: &Loaded,
) -> Result<(), Error> {
    let map = layout.memory_map();
    let modules = PVH_START_INFO + START_INFO as u64;
    let memory_map = modules + MODULE as u64;
    let mut bytes = Vec::new();
    let u32s = |values: &[u32], bytes: &mut Vec<u8>| {
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    let u64s = |values: &[u64], bytes: &mut Vec<u8>| {
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    };
    u32s(&[MAGIC, VERSION, 0, loaded.initrd.is_some().into()], &mut bytes);
    u64s(&[modules, CMDLINE, ACPI, memory_map], &mut bytes);
    u32s(&[map.len() as u32, 0], &mut bytes);
    let (address, len) = loaded.initrd.unwrap_or_default();
    u64s(&[address, len, 0, 0], &mut bytes);
    for (range, kind) in map {
        u64s(&[range.start, range.end - range.start], &mut bytes);
        u32s(&[kind as u32, 0], &mut bytes);
    }
    write(memory, PVH_START_INFO, &bytes)
}
